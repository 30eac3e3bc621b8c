"""Who may act: the sender's numeric Telegram id, and only in a message that this person wrote just so, now."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telegram import Message, Update

    from bot.config import Operator

# Telegram's own senders: anonymous group admins, channels, and service messages.
# Source: the Bot API's `Message.from` and `Message.sender_chat`.
RESERVED_IDS = frozenset({1087968824, 136817688, 777000})


class Reason(StrEnum):
    """Why a message does not act."""

    EDITED = "edited"
    FORWARDED = "forwarded"
    VIA_BOT = "via_bot"
    NOT_A_PERSON = "not_a_person"
    STRANGER = "stranger"


class Denied(Exception):
    """Nobody's command. `operator` is set where one sent it all the same, in a form that never acts."""

    def __init__(self, reason: Reason, operator: Operator | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.operator = operator


def identify(update: Update, operators: Mapping[int, Operator]) -> Operator:
    """Tell which operator sent the update's message.

    Raises:
        Denied: a stranger sent it, or it is of a kind that never acts, whatever the id in it.

    """
    message = update.message
    written = message or update.edited_message
    sender = written.from_user if written else None
    if written is None or sender is None:
        raise Denied(Reason.NOT_A_PERSON)
    operator = operators.get(sender.id)
    if sender.is_bot or sender.id in RESERVED_IDS or _speaks_for_another(written):
        raise Denied(Reason.NOT_A_PERSON, operator)
    if _is_forwarded(written):
        raise Denied(Reason.FORWARDED if operator else Reason.STRANGER, operator)
    if written.via_bot:
        raise Denied(Reason.VIA_BOT if operator else Reason.STRANGER, operator)
    if message is None or message.edit_date:
        raise Denied(Reason.EDITED, operator)
    if operator is None:
        raise Denied(Reason.STRANGER)
    return operator


def _speaks_for_another(message: Message) -> bool:
    bots = message.sender_chat or message.sender_business_bot or message.is_automatic_forward
    return bool(bots or message.chat.type == "channel")


def _is_forwarded(message: Message) -> bool:
    legacy = any(name.startswith("forward_") for name in message.api_kwargs)  # from Bot API servers before 7.0
    return bool(message.forward_origin or legacy)
