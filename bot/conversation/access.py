"""Who may act: the sender's numeric Telegram id, and only in a message that this person wrote just so, now."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from telegram import Message

from bot.settings.model import RESERVED_IDS, Operator

# Marks of messages that were written for somebody else, with Bot API fields that the library may not know yet.
_FOREIGN = ("business_connection_id", "guest_query_id", "sender_chat", "sender_business_bot", "is_automatic_forward")

Denial: TypeAlias = Literal["edited", "forwarded", "via_bot", "not_a_person", "stranger"]


def identify(
    message: Message, operators: Mapping[int, Operator], *, edited: bool
) -> tuple[Operator | None, Denial | None]:
    """Tell which operator sent a message, and why it does not act: None if it does, else a sentence's key."""
    sender = message.from_user
    operator = operators.get(sender.id) if sender else None
    denial: Denial | None = None
    if sender is None or sender.is_bot or sender.id in RESERVED_IDS or _is_foreign(message):
        denial = "not_a_person"
    elif operator is None:
        denial = "edited" if edited else "stranger"
    elif _is_forwarded(message):
        denial = "forwarded"
    elif message.via_bot:
        denial = "via_bot"
    elif edited or message.edit_date:
        denial = "edited"
    return operator, denial


def _is_foreign(message: Message) -> bool:
    marks = (getattr(message, name, None) or message.api_kwargs.get(name) for name in _FOREIGN)
    return message.chat.type == "channel" or any(marks)


def _is_forwarded(message: Message) -> bool:
    legacy = any(name.startswith("forward_") for name in message.api_kwargs)  # from Bot API servers before 7.0
    return bool(message.forward_origin or legacy)
