"""Who may act: the sender's numeric Telegram id, and only in a message that this person wrote just so, now."""

import time
from collections import deque
from collections.abc import Mapping
from typing import Literal, TypeAlias

from telegram import Message

from bot.settings.model import RESERVED_IDS, Operator

# Marks of messages that were written for somebody else, with Bot API fields that the library may not know yet.
_FOREIGN = ("business_connection_id", "guest_query_id", "sender_chat", "sender_business_bot", "is_automatic_forward")

Denial: TypeAlias = Literal["edited", "forwarded", "via_bot", "not_a_person", "stranger"]


def identify(message: Message, operators: Mapping[int, Operator], *, edited: bool) -> Operator | Denial:
    """Tell which operator sent a message, or why it does not act: the key of the sentence that says so."""
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
    return denial or operator or "stranger"


def _is_foreign(message: Message) -> bool:
    marks = (getattr(message, name, None) or message.api_kwargs.get(name) for name in _FOREIGN)
    return message.chat.type == "channel" or any(marks)


def _is_forwarded(message: Message) -> bool:
    legacy = any(name.startswith("forward_") for name in message.api_kwargs)  # from Bot API servers before 7.0
    return bool(message.forward_origin or legacy)


class Throttle:
    """Allows `per_key` times, and `overall` for all keys, in any `period` seconds; remembers no more than that."""

    def __init__(self, per_key: int, overall: int, period: float = 60.0) -> None:
        self._per_key = per_key
        self._overall = overall
        self._period = period
        self._allowed: deque[tuple[float, object]] = deque()  # when, and which key; oldest first

    def allow(self, key: object) -> bool:
        """Say whether it may be done for `key` now; if so, it counts as done."""
        if self.count(key) >= self._per_key or len(self._allowed) >= self._overall:
            return False
        self._allowed.append((time.monotonic(), key))
        return True

    def count(self, key: object) -> int:
        """How many times it was done for `key` in this period."""
        while self._allowed and time.monotonic() - self._allowed[0][0] >= self._period:
            self._allowed.popleft()
        return sum(key == done for _, done in self._allowed)
