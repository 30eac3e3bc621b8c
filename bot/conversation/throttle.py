"""How often something may be done: so many times a period for each key, and so many for all keys together."""

import time
from collections import deque


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
