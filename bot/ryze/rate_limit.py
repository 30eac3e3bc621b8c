"""How many requests a token may still make: never more than the server's limit in any of its windows.

Source: the vendor's page on rate limits: 100 requests a minute and token. When the server's window begins is unknown,
so a request counts until a window after its answer. Others may use the token, so the answers' headers count too.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime

WINDOW = 60.0  # seconds
LIMIT, MAX_LIMIT = 100, 1000  # requests a window and token, at first and as what may be learnt at most
UNKNOWN_RESET = 10.0  # seconds to wait where the answer does not say when to come back


class RateLimit:
    """One token's. Whoever takes a slot finishes it or gives it back."""

    def __init__(self) -> None:
        self.limit = LIMIT
        self._used = 0  # by requests under way, by those answered less than a window ago, and by what holds the token
        self._queue = asyncio.Lock()  # first come, first served; its holder waits for a slot
        self._changed = asyncio.Event()

    @property
    def available(self) -> int:
        """How many requests could begin now."""
        return max(0, self.limit - self._used)

    def try_take(self) -> bool:
        """Take a slot if there is one now."""
        if self._used >= self.limit:
            return False
        self._used += 1
        return True

    async def take(self) -> None:
        """Wait, first come first served, for a slot and take it."""
        async with self._queue:
            while not self.try_take():
                self._changed.clear()
                await self._changed.wait()

    def give_back(self, slots: int = 1) -> None:
        """Return what was taken for a request that was not made."""
        self._used -= slots
        self._changed.set()

    def finish(self, headers: Mapping[str, str], *, refused: bool = False) -> None:
        """Note a request's end: its answer's headers, empty if none came, and whether it was over the limit."""
        loop = asyncio.get_running_loop()
        loop.call_later(WINDOW, self.give_back)
        if (limit := min(_number(headers, "x-ratelimit-limit"), MAX_LIMIT)) > self.limit:
            self.limit = int(limit)
            self._changed.set()
        if refused or _number(headers, "x-ratelimit-remaining") == 0:
            self._used += MAX_LIMIT  # holds the token
            # A second more for the rounding of the headers, but never longer than a window.
            loop.call_later(min(_reset_in(headers) + 1, WINDOW), self.give_back, MAX_LIMIT)


def _number(headers: Mapping[str, str], name: str) -> float:
    """A header's number; if there is none NaN, which is neither more nor less than anything."""
    with suppress(ValueError):
        return float(headers.get(name, "nan"))
    return float("nan")


def _reset_in(headers: Mapping[str, str]) -> float:
    """Seconds until the server's counter resets, by its own clock if told."""
    now = time.time()
    with suppress(KeyError, ValueError, TypeError, OverflowError):
        now = parsedate_to_datetime(headers["date"]).timestamp()
    seconds = _number(headers, "x-ratelimit-reset") - now
    return seconds if 0 <= seconds <= 2 * WINDOW else UNKNOWN_RESET
