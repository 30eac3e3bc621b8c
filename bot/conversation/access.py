"""Who may act: the sender's numeric Telegram id, and only in a message that this person wrote just so, now."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from telegram import Message, Update

from bot.settings.model import RESERVED_IDS, Operator

# Marks of messages that were written for somebody else, with Bot API fields that the library may not know yet.
_FOREIGN = ("business_connection_id", "guest_query_id", "sender_chat", "sender_business_bot", "is_automatic_forward")


class Reason(StrEnum):
    """Why a message does not act."""

    EDITED = "edited"
    FORWARDED = "forwarded"
    VIA_BOT = "via_bot"
    NOT_A_PERSON = "not_a_person"
    STRANGER = "stranger"


@dataclass(frozen=True, slots=True)
class Denied:
    """Nobody's command. `operator` is set where one sent it all the same, in a form that never acts."""

    reason: Reason
    operator: Operator | None = None


def identify(update: Update, operators: Mapping[int, Operator]) -> Operator | Denied:
    """Tell which operator sent the update's message, or why it does not act."""
    message = update.message or update.edited_message
    sender = message.from_user if message else None
    if message is None or sender is None:
        return Denied(Reason.NOT_A_PERSON)
    operator = operators.get(sender.id)
    if sender.is_bot or sender.id in RESERVED_IDS or _is_foreign(message):
        reason = Reason.NOT_A_PERSON
    elif operator is None:
        reason = Reason.EDITED if update.edited_message else Reason.STRANGER
    elif _is_forwarded(message):
        reason = Reason.FORWARDED
    elif message.via_bot:
        reason = Reason.VIA_BOT
    elif update.message is None or message.edit_date:
        reason = Reason.EDITED
    else:
        return operator
    return Denied(reason, operator)


def _is_foreign(message: Message) -> bool:
    marks = (getattr(message, name, None) or message.api_kwargs.get(name) for name in _FOREIGN)
    return message.chat.type == "channel" or any(marks)


def _is_forwarded(message: Message) -> bool:
    legacy = any(name.startswith("forward_") for name in message.api_kwargs)  # from Bot API servers before 7.0
    return bool(message.forward_origin or legacy)
