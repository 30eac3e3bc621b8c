"""How often something may be done: so many times a period for each key, and so many for all keys together."""

import time
from collections import deque
from collections.abc import Callable


class Throttle:
    """Allows `per_key` times, and `overall` for all keys, in any `period` seconds; remembers no more than that."""

    def __init__(
        self, per_key: int, overall: int, period: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_key = per_key
        self._overall = overall
        self._period = period
        self._clock = clock
        self._allowed: deque[tuple[float, object]] = deque()  # when, and which key; oldest first

    def allow(self, key: object) -> bool:
        """Whether it may be done for `key` now; if so, it counts as done."""
        now = self._clock()
        while self._allowed and now - self._allowed[0][0] >= self._period:
            self._allowed.popleft()
        if len(self._allowed) >= self._overall or sum(key == done for _, done in self._allowed) >= self._per_key:
            return False
        self._allowed.append((now, key))
        return True
