"""How many requests a token may still make: never more than the server's limit in any of its windows.

Source: the vendor's page on rate limits: 100 requests a minute, counted per token. The phase of the server's window is
unknown, so a request counts until a whole window has passed since its answer; the `X-RateLimit-*` headers correct that,
because other programs may spend from the same token.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

WINDOW = 60.0  # seconds
LIMIT = 100  # requests a window and token
UNTOLD_RESET = 10.0  # seconds to wait after a refusal that does not say when to come back
MOST_LIMIT = 1000  # what an account's own limit may at most be learnt as


class Budget:
    """One token's budget. Times are the event loop's, in seconds."""

    def __init__(self) -> None:
        self.limit = LIMIT
        self._under_way = 0
        self._answered: deque[float] = deque()
        self._left: int | None = None  # in the server's current window, as its headers tell
        self._reset = 0.0  # when that window ends
        self._queue: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._queue)

    @property
    def left(self) -> int:
        """How many requests could begin now."""
        now = _now()
        while self._answered and self._answered[0] <= now - WINDOW:
            self._answered.popleft()
        if self._left is not None and now >= self._reset:
            self._left = None
        free = self.limit - self._under_way - len(self._answered)
        return max(0, free if self._left is None else min(free, self._left))

    def wait_for(self, place: int = 0) -> float:
        """About how many seconds until the request at this place in the queue may begin."""
        if place < self.left:
            return 0.0
        free_at = [answered + WINDOW for answered in self._answered]
        missing = place - (self.limit - self._under_way - len(self._answered))
        by_count = 0.0 if missing < 0 else free_at[min(missing, len(free_at) - 1)] if free_at else _now() + WINDOW
        return max(0.0, max(by_count, self._reset if self._left is not None else 0.0) - _now())

    async def take(self) -> None:
        """Wait, first come first served, for a slot and count it as used. Whoever takes one ends it."""
        if not self._queue and self.begin():
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self._wake()
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._queue:
                self._queue.remove(turn)
            else:
                self.give_back()
            raise

    def give_back(self) -> None:
        """Return a slot that was taken and not used."""
        self._under_way -= 1
        self._wake()

    def begin(self) -> bool:
        """Count a request as begun if one may begin now."""
        if not self.left:
            return False
        self._under_way += 1
        if self._left is not None:
            self._left -= 1
        return True

    def end(self, headers: Mapping[str, str]) -> None:
        """Note a request's end and its answer's headers, empty if none came."""
        self._under_way -= 1
        self._answered.append(_now())
        self._correct(headers)
        self._wake()

    def exhausted(self, headers: Mapping[str, str]) -> None:
        """Hold the token until the server's window ends: it has just refused a request for its number."""
        reset = _reset_in(headers)
        pause = UNTOLD_RESET if reset is None else reset
        self._left = 0
        self._reset = _now() + pause + random.uniform(0.1, 1.0)  # noqa: S311 - so that not all come back at once
        self._wake()

    def _correct(self, headers: Mapping[str, str]) -> None:
        limit = _number(headers, "x-ratelimit-limit")
        if limit is not None:
            self.limit = max(self.limit, min(int(limit), MOST_LIMIT))
        left, reset = _number(headers, "x-ratelimit-remaining"), _reset_in(headers)
        if left is None or reset is None:
            return
        ends = _now() + reset
        if self._left is None or ends > self._reset + 2:  # clocks of whole seconds: nearer is the same window
            self._left, self._reset = int(left), ends
        elif ends > self._reset - 2:
            self._left = min(self._left, int(left))

    def _wake(self) -> None:
        while self._queue and (self._queue[0].done() or self.begin()):
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._queue:
            delay = max(self.wait_for(), 0.001)
            self._timer = asyncio.get_running_loop().call_later(delay, self._wake)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _number(headers: Mapping[str, str], name: str) -> float | None:
    try:
        number = float(headers[name])
    except (KeyError, ValueError):
        return None
    return number if isfinite(number) and number >= 0 else None


def _reset_in(headers: Mapping[str, str]) -> float | None:
    """Seconds until the server's counter resets, by the server's own clock if told; None if it makes no sense."""
    reset = _number(headers, "x-ratelimit-reset")
    if reset is None:
        return None
    try:
        server_now = parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        server_now = time.time()
    seconds = reset - server_now
    return seconds if 0 <= seconds <= 2 * WINDOW else None
