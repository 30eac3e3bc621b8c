"""Chats, the one call to Ryze, what its answer means, and whose turn it is. Knows no Telegram and no language."""
