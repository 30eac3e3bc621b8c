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
        # The server's current window: its end as the server names it (Unix seconds), that end by our clock, and what
        # is left in it.
        self._window, self._ends = 0.0, 0.0
        self._left: int | None = None
        # After a refusal nobody knows how fast others spend: when the hold is over, one goes first.
        self._held_until = 0.0
        self._one_first = False
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
        while self._answered and self._answered[0] + WINDOW <= now:
            self._answered.popleft()
        if self._left is not None and now >= self._ends:
            self._left = None
        if now < self._held_until:
            return 0
        free = self._unused if self._left is None else min(self._unused, self._left)
        return max(0, min(free, 1 - self._under_way) if self._one_first else free)

    @property
    def _unused(self) -> int:
        return self.limit - self._under_way - len(self._answered)

    def wait_for(self, place: int = 0) -> float:
        """About how many seconds until the request at this place in the queue may begin."""
        if place < self.left:
            return 0.0
        now = _now()
        slots = [*[now - WINDOW] * self._unused, *self._answered, *[now] * self._under_way]
        rounds, nth = divmod(place, self.limit)
        free_at = slots[nth] + WINDOW * (rounds + 1)
        told = self._ends if self._left is not None and place >= self._left else now
        return max(free_at, told, self._held_until) - now

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
            if not turn.cancelled():  # the slot was granted in the same moment
                self.give_back()
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def give_back(self) -> None:
        """Return a slot that was taken and not used."""
        self._under_way -= 1
        if self._left is not None:
            self._left += 1
        self._wake()

    def begin(self) -> bool:
        """Count a request as begun if one may begin now."""
        if not self.left:
            return False
        self._under_way += 1
        if self._left is not None:
            self._left -= 1
        return True

    def end(self, headers: Mapping[str, str], *, refused: bool = False) -> None:
        """Note a request's end.

        Args:
            headers: its answer's; empty if none came.
            refused: whether the server refused it because the budget is used up; holds the token until the window ends.

        """
        self._under_way -= 1
        self._answered.append(_now())
        self._correct(headers)
        if refused:
            reset = _reset_in(headers)
            pause = UNTOLD_RESET if reset is None else reset
            pause += random.uniform(0.1, 1.0)  # noqa: S311 - so that not all come back at once
            self._held_until = max(self._held_until, _now() + pause)
            self._one_first = True
        elif headers and _now() >= self._held_until:
            self._one_first = False
        self._wake()

    def _correct(self, headers: Mapping[str, str]) -> None:
        limit = _number(headers, "x-ratelimit-limit")
        if limit is not None:
            self.limit = max(self.limit, min(int(limit), MOST_LIMIT))
        window, left, reset = (
            _number(headers, "x-ratelimit-reset"),
            _number(headers, "x-ratelimit-remaining"),
            _reset_in(headers),
        )
        if window is None or left is None or reset is None:
            return
        now = _now()
        ends = now + min(reset + 1, WINDOW)  # a second for the header's rounding, but never later than our own count
        if window > self._window + 2 or now > self._ends + WINDOW:  # labels that are nearer name the same window
            self._window, self._ends, self._left = window, ends, int(left)
        elif window > self._window - 2 and self._left is not None:
            self._ends, self._left = min(self._ends, ends), min(self._left, int(left))

    def _wake(self) -> None:
        while self._queue and (self._queue[0].done() or self.begin()):
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        # No wait to be foreseen means that a request under way has to end first, and that wakes too.
        if self._queue and (delay := self.wait_for()):
            self._timer = asyncio.get_running_loop().call_later(max(delay, 0.001), self._wake)


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
