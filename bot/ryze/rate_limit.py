"""How many requests a token may still make: never more than the server's limit in any of its windows."""

import asyncio
import time
from collections.abc import Callable, Mapping

WINDOW = 60.0  # seconds
LIMIT, MAX_LIMIT = 100, 1000  # requests a window and token, at first and as what may be learnt at most
UNKNOWN_RESET = 10.0  # seconds to wait where the answer does not say when to come back


class RateLimit:
    """One token's. Whoever takes a slot finishes it; the request counts until a window after that."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.limit = LIMIT
        self._clock = clock  # Unix seconds
        self._used = 0  # by requests, until a window after their answers, and by what holds the token
        self._queue = asyncio.Lock()  # first come, first served; its holder waits for a slot
        self._changed = asyncio.Event()

    @property
    def available(self) -> int:
        """How many requests could begin now."""
        return max(0, self.limit - self._used)

    def try_take(self) -> bool:
        """Take a slot if there is one now."""
        taken = self.available > 0
        self._used += taken
        return taken

    async def take(self) -> None:
        """Wait, first come first served, for a slot and take it."""
        async with self._queue:
            while not self.try_take():
                self._changed.clear()
                await self._changed.wait()

    def finish(self, headers: Mapping[str, str], *, refused: bool = False) -> None:
        """Note a request's end: its answer's headers, if one came, and whether it was over the limit."""
        loop = asyncio.get_running_loop()
        loop.call_later(WINDOW, self._free, 1)
        limit, left, reset = (_number(headers, f"x-ratelimit-{name}") for name in ("limit", "remaining", "reset"))
        self.limit = max(self.limit, min(limit, MAX_LIMIT))
        self._changed.set()
        if refused or left == 0:
            seconds = reset - self._clock() + 1  # for the header's rounding
            seconds = min(seconds, WINDOW) if 0 < seconds < 2 * WINDOW else UNKNOWN_RESET
            self._used += MAX_LIMIT  # holds the token
            loop.call_later(seconds, self._free, MAX_LIMIT)

    def _free(self, slots: int) -> None:
        self._used -= slots
        self._changed.set()


def _number(headers: Mapping[str, str], name: str) -> int:
    """A header's whole number, or -1."""
    value = headers.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 16 else -1
