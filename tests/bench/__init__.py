"""The bot beside the plainest programs that do the same two calls."""
