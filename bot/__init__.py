"""A Telegram bot through which a team pins and unpins WhatsApp chats with the Ryze API."""

__version__ = "1.0.0"
