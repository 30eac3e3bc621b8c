"""What long polling and the webhook share: each update is handled once, then confirmed, whatever Telegram answers.

Telegram is the durable queue: it keeps an update until it is confirmed, and sends again what a process leaves undone.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from telegram import Bot, Update
from telegram.error import EndPointNotFound, InvalidToken

from bot.telegram.outbox import MAX_PAUSE, reason, seconds

log = logging.getLogger(__name__)

ALLOWED_UPDATES = ("message", "edited_message", "callback_query")
STARTING = "starting"
OVERLOADED = 80  # unfinished updates; Telegram shows no more than 100 at a time
Report = Callable[..., object]  # called as report(answered=…, pause=…) after each try; the next begins after the pause


class TokenRejected(Exception):
    """Telegram does not accept the bot's token."""


class Updates:
    """Starts to handle updates in the order in which they are accepted, and knows which are unfinished."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self.open = False  # once the bot knows who it is, until `finish`
        # By id, in the order of arrival. Ids are only compared for equality: after a quiet week they continue anywhere.
        self.known: dict[int, asyncio.Task[None]] = {}

    def begin(self, handle: Callable[[Update, bool], Awaitable[None]]) -> None:
        """Set what handles an update; an exception that it raises is logged, and the update counts as handled."""
        self._handle = handle

    @property
    def unfinished(self) -> dict[int, asyncio.Task[None]]:
        """The updates that are being handled, by id, oldest first; with those whose handling a stop has cancelled."""
        return {update_id: task for update_id, task in self.known.items() if not task.done() or task.cancelled()}

    def overloaded(self) -> bool:
        """Whether so many updates are unfinished that Telegram could soon show no further one."""
        return len(self.known) >= OVERLOADED and len(self.unfinished) >= OVERLOADED

    def accept(self, raw: dict[str, Any], *, fresh: bool = False) -> asyncio.Task[None]:
        """Start to handle an update as Telegram sent it, unless it is known; the task is cancelled by a stop only.

        `fresh` says that it was certainly sent less than a minute ago, whatever this machine's clock shows.
        """
        update_id: int = raw["update_id"]
        if update_id not in self.known:
            self.known[update_id] = asyncio.create_task(self._run(raw, fresh=fresh))
        return self.known[update_id]

    async def finish(self, is_waiting: Callable[[asyncio.Task[None]], bool], seconds: float = 15.0) -> None:
        """Finish every update up to the newest that has begun, within so many seconds; leave the rest to Telegram.

        `is_waiting` tells whether a task only waits for its turn, so that its update has not begun.
        """
        self.open = False
        await asyncio.sleep(0)  # tasks that were just created get as far as waiting for their turn
        tasks = list(self.known.values())
        for task in takewhile(is_waiting, reversed(tasks)):
            task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # then what still runs is cancelled
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, raw: dict[str, Any], *, fresh: bool) -> None:
        try:
            await self._handle(Update.de_json(raw, self._bot), fresh)
        except BaseException as error:
            task = asyncio.current_task()
            if task and task.cancelling():  # whatever became of the cancellation, Telegram sends the update again
                raise asyncio.CancelledError from error
            log.exception("update %d failed and is skipped", raw["update_id"])


@dataclass(frozen=True)
class Timings:
    """Periods in seconds."""

    long_poll: int = 30  # for which Telegram holds a request while there is no update
    answer: float = 12.0  # more until an answer is given up
    ask_again: float = 0.51  # between requests with the same offset; one within 0.5 s is given one update only
    still: float = 2.0  # for which the first update of a backlog has to stay the same before the backlog is begun
    check: float = 30.0  # between looks at the webhook
    first_pause: float = 0.5  # after a failure; doubled each time
    longest_pause: float = MAX_PAUSE
    patience: float = 60.0  # for which a rejected token, or a webhook of another process, may be a passing matter


class Source(ABC):
    """Where updates come from."""

    def __init__(self, bot: Bot, updates: Updates, report: Report) -> None:
        self._bot, self._updates, self._report = bot, updates, report
        self._clock = asyncio.get_running_loop().time
        self.ready = asyncio.Event()  # set once Telegram gives updates
        self.problem = STARTING  # why no update may come, or ""
        self.last_contact = self._problem_since = self._clock()  # when Telegram was last heard

    async def run(self, timings: Timings | None = None) -> None:
        """Take updates until cancelled; raises TokenRejected for a token that is rejected at once, or for a minute."""
        self._timings = timings or Timings()
        pause = self._timings.first_pause
        while True:
            try:
                await self._bot.initialize()  # learns who the bot is, the first time
                self._updates.open = True
                await self._step()
            except Exception as error:  # noqa: BLE001 - a broken answer makes the library raise anything; the bot goes on
                await self._recover(error)
                wait = max(pause, seconds(error))
                self._report(answered=False, pause=wait)
                await asyncio.sleep(wait)
                pause = min(2 * pause, self._timings.longest_pause)
            else:
                pause = self._timings.first_pause

    @abstractmethod
    async def _step(self) -> None:
        """Do what is next to get updates."""

    async def _recover(self, error: Exception) -> None:
        """Log what is new about this error, or raise one that ends the bot."""
        log.debug("Telegram: %r", error)
        if not isinstance(error, InvalidToken | EndPointNotFound):
            self._lasts("Telegram can't be reached", reason(error))
        elif self._lasts("Telegram rejects the bot's token") or not self.ready.is_set():
            raise TokenRejected from error

    def _heard(self) -> None:
        self._report(answered=True)
        self.last_contact = self._clock()
        if self.problem not in ("", STARTING):
            log.warning("Telegram is back: updates can be fetched again")
        self.problem = ""
        self.ready.set()

    def _lasts(self, problem: str, details: str = "") -> bool:
        """Note a problem, and tell whether it has lasted longer than it may."""
        if problem != self.problem:
            self.problem, self._problem_since = problem, self._clock()
            log.warning("%s", f"{problem}: {details}" if details else problem)
        return self._clock() - self._problem_since > self._timings.patience
