"""Whether the bot is well: a watchdog that ends a deaf process, and what `health` says."""

import faulthandler
import time
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException

from bot.settings.model import Settings


class Health:
    """Ends the process, showing where it hung, if no try to hear from Telegram ends in `silence` s."""

    def __init__(self, settings: Settings, silence: float = 90.0) -> None:
        self._heartbeat = settings.state.with_suffix(".heartbeat")
        self._silence, self._stopping, self._next = silence, False, 0.0
        self.report(answered=False)

    def report(self, *, answered: bool, pause: float = 0.0) -> None:
        """Tell that a try to hear from Telegram has ended; the next one begins after `pause` seconds."""
        if self._stopping or (answered and time.monotonic() < self._next):
            return
        faulthandler.dump_traceback_later(self._silence + pause, exit=True, file=2)
        if answered:
            self._next = time.monotonic() + 1  # each arming begins a thread
            with suppress(OSError):  # `health` then says that the file is missing or old
                self._heartbeat.touch()

    def stopping(self, limit: float) -> None:
        """Expect nothing more but the end of the process, within `limit` seconds."""
        self._stopping = True
        faulthandler.dump_traceback_later(limit, exit=True, file=2)


def health(settings: Settings) -> int:
    """Print whether the bot is healthy, by its `/healthz` or its heartbeat file; give the exit status."""
    address = settings.metrics or (settings.webhook and ("127.0.0.1", settings.webhook.port))
    try:
        if address:
            with closing(HTTPConnection(*address, timeout=5)) as connection:
                connection.request("GET", "/healthz")
                response = connection.getresponse()
                problem = "" if response.status == 200 else response.read(200).decode().strip() or "not ready"
        else:
            age = time.time() - settings.state.with_suffix(".heartbeat").stat().st_mtime
            problem = "" if abs(age) < 120 else f"Telegram last answered {age:.0f} s ago"  # 30 s are usual
    except (OSError, ValueError, HTTPException) as error:
        problem = f"the bot does not run, or has just begun ({error})"
    print(problem or "healthy")  # noqa: T201 - the command's output
    return 1 if problem else 0
