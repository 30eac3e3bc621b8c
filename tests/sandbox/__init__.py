"""Stand-ins for Telegram and Ryze on loopback: what the tests and the demo talk to."""
