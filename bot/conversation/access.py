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
    sender, extra = message.from_user, message.api_kwargs  # the latter holds the fields that the library does not know
    operator = operators.get(sender.id) if sender else None
    foreign = message.chat.type == "channel" or any(
        getattr(message, mark, None) or extra.get(mark) for mark in _FOREIGN
    )
    forwarded = message.forward_origin or any(name.startswith("forward_") for name in extra)  # by servers before 7.0
    denial: Denial | None = None
    if sender is None or sender.is_bot or sender.id in RESERVED_IDS or foreign:
        denial = "not_a_person"
    elif operator is None:
        denial = "edited" if edited else "stranger"
    elif forwarded:
        denial = "forwarded"
    elif message.via_bot:
        denial = "via_bot"
    elif edited or message.edit_date:
        denial = "edited"
    return denial or operator or "stranger"


class Throttle:
    """Allows `per_key` times, and `overall` for all keys, in any `period` seconds; remembers no more than that."""

    def __init__(self, per_key: int, overall: int, period: float = 60.0) -> None:
        self._per_key, self._overall, self._period = per_key, overall, period
        self._allowed: deque[tuple[float, object]] = deque()  # when, and which key; oldest first

    def allow(self, key: object) -> bool:
        """Say whether it may be done for `key` now; if so, it counts as done."""
        while self._allowed and time.monotonic() - self._allowed[0][0] >= self._period:
            self._allowed.popleft()
        times = sum(key == done for _, done in self._allowed)
        if times >= self._per_key or len(self._allowed) >= self._overall:
            return False
        self._allowed.append((time.monotonic(), key))
        return True
