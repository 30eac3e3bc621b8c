"""A thread that ends a process which has gone deaf, whatever its event loop is stuck in."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

log = logging.getLogger(__name__)

LIMIT = 90.0  # seconds of silence
SPEAKING = 2.0  # seconds for the last words; what blocks the loop may be the log itself
DEAF = 70  # the exit status EX_SOFTWARE


class Watchdog:
    """A context manager within which a sign of life is due every `limit` seconds, or `end` is called with a status.

    `end` must work from a thread; the default leaves at once, and Telegram delivers again what was unfinished.
    """

    def __init__(self, limit: float | None = None, end: Callable[[int], object] = os._exit) -> None:
        self._limit = LIMIT if limit is None else limit
        self._end = end
        self._over = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._due = ("", 0.0, 0.0)

    def __enter__(self) -> Self:
        self.alive()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over = True
        self._wake.set()
        self._thread.join()

    def alive(self, *, pause: float = 0.0) -> None:
        """An attempt to hear from Telegram has ended, well or not; the next begins after `pause` seconds."""
        self.expect("an attempt to hear from Telegram", pause + self._limit)

    def expect(self, what: str, within: float) -> None:
        """From now on this has to end within so many seconds, and nothing else."""
        due = time.monotonic() + within
        sooner = due < self._due[2]
        self._due = (what, within, due)  # one assignment, so that no thread sees half of it
        if sooner:
            self._wake.set()

    def _watch(self) -> None:
        while True:
            what, within, due = self._due
            left = due - time.monotonic()
            if left <= 0:
                break
            self._wake.wait(min(left, 3600))
            self._wake.clear()
            if self._over:
                return
        words = threading.Thread(target=_say, args=(what, within), daemon=True)
        words.start()
        words.join(SPEAKING)
        self._end(DEAF)


def _say(what: str, within: float) -> None:
    log.critical("%s has not ended for %.0f s: the process ends, to be started again", what, within)
    for handler in logging.getLogger().handlers:
        handler.flush()
