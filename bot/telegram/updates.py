"""Updates: Telegram keeps each until it is confirmed, which happens only once it was handled."""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import takewhile
from typing import Any

from telegram import Bot, Update
from telegram.error import Conflict, EndPointNotFound, InvalidToken

from bot.telegram.outbox import call_raw, reason, seconds

log = logging.getLogger(__name__)

ALLOWED_UPDATES = ("message", "edited_message", "callback_query")
OVERLOADED = 80  # unfinished updates; Telegram shows no more than 100 at a time
REMEMBERED = 1000  # updates that are handled once, even if they are sent again
TokenRejected = (EndPointNotFound, InvalidToken)  # what the library raises
Report = Callable[..., object]  # called as report(answered=…, pause=…) after each try, before the pause


class Updates(ABC):
    """Takes updates from Telegram, begins them in their order, and knows which are unfinished."""

    first_pause = 0.5  # seconds after a failure; doubled each time, up to twenty times as long
    patience = 60.0  # seconds for which a rejected token, or another's webhook, may pass

    def __init__(self, bot: Bot, report: Report) -> None:
        self._bot, self._report = bot, report
        self.ready = asyncio.Event()  # set once Telegram gives updates
        self.problem = "starting"  # why no update may come, or ""
        self.last_contact = self._problem_since = time.monotonic()  # when Telegram was last heard
        self._open = False  # once the bot knows who it is, until `finish`
        # By id, in the order of arrival; after a quiet week the ids go on anywhere.
        self._known: dict[int, asyncio.Task[None]] = {}
        self.unfinished: dict[int, asyncio.Task[None]] = {}  # with those that a stop has cancelled

    async def run(self, handle: Callable[[Update, bool], Awaitable[None]]) -> None:
        """Have updates handled until cancelled; raises TokenRejected, and nothing that `handle` raises."""
        self._handle, pause = handle, self.first_pause
        while True:
            try:
                await self._bot.initialize()  # learns who the bot is, the first time
                self._open = True
                await self._step()
                pause = self.first_pause
            except Exception as error:  # noqa: BLE001 - a broken answer makes the library raise anything
                await self._recover(error)
                wait = max(pause, seconds(error))
                self._report(answered=False, pause=wait)
                await asyncio.sleep(wait)
                pause = min(2 * pause, 20 * self.first_pause)

    def overloaded(self) -> bool:
        """Whether so many updates are unfinished that Telegram could soon show no further one."""
        return len(self.unfinished) >= OVERLOADED

    async def finish(self, is_waiting: Callable[[asyncio.Task[None]], bool], seconds: float = 15.0) -> None:
        """Finish in time what has begun and all before it; `is_waiting` tells which tasks have not begun."""
        self._open = False
        await asyncio.sleep(0)  # tasks that were just created get as far as waiting for their turn
        tasks = list(self._known.values())
        for task in takewhile(is_waiting, reversed(tasks)):
            task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # then what still runs is cancelled
                await asyncio.gather(*tasks, return_exceptions=True)

    @abstractmethod
    async def _step(self) -> None:
        """Do what is next to get updates."""

    def _accept(self, raw: dict[str, Any], *, fresh: bool = False) -> asyncio.Task[None]:
        """Begin an update unless it is known; a `fresh` one was certainly sent within a minute."""
        update_id: int = raw["update_id"]
        if update_id not in self._known:
            task = asyncio.create_task(self._run(raw, fresh=fresh))
            self._known[update_id] = self.unfinished[update_id] = task
            if len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
        return self._known[update_id]

    async def _run(self, raw: dict[str, Any], *, fresh: bool) -> None:
        try:
            await self._handle(Update.de_json(raw, self._bot), fresh)
        except BaseException as error:
            task = asyncio.current_task()
            if task and task.cancelling():  # Telegram sends the update again
                raise asyncio.CancelledError from error
            log.exception("update %d failed and is skipped", raw["update_id"])
        self.unfinished.pop(raw["update_id"], None)

    async def _recover(self, error: Exception) -> None:
        """Log what is new about this error, or raise it if it ends the bot."""
        if not isinstance(error, TokenRejected):
            self._lasts("Telegram can't be reached", reason(error))
        elif self._lasts("Telegram rejects the bot's token"):
            raise error

    def _heard(self) -> None:
        self._report(answered=True)
        self.last_contact = time.monotonic()
        if self.problem not in ("", "starting"):
            log.warning("Telegram is back: updates can be fetched again")
        self.problem = ""
        self.ready.set()

    def _lasts(self, problem: str, details: str = "") -> bool:
        """Note a problem, and tell whether it is no passing matter: at the start, or for too long."""
        if problem != self.problem:
            self.problem, self._problem_since = problem, time.monotonic()
            log.warning("%s", f"{problem}: {details}" if details else problem)
        return not self.ready.is_set() or time.monotonic() - self._problem_since > self.patience


class Polling(Updates):
    """Long polling: a request's offset is the oldest unfinished update, which confirms what is before it."""

    ask_again = 0.51  # seconds until an offset is sent again; within 0.5 s one update only is shown
    still = 2.0  # seconds for which a backlog's first update has to stay
    _after: int | None = None  # the offset behind the newest update received
    _sent: int | None = None  # the latest request's offset
    _answered: int | None = None  # that of the latest request that was answered
    _first: int | None = None  # the first update that the latest answer showed
    _first_since = 0.0
    _alone = False  # no other process is thought to handle the same updates
    _rival_seen = float("-inf")

    async def confirm(self) -> None:
        """Tell Telegram what was handled since the latest request; called once, after `finish`."""
        offset = self._offset()
        sent = offset == self._sent  # and has most likely arrived; then Telegram holds this one
        if offset != self._answered:
            with suppress(Exception):  # the next process gets again what is not confirmed
                await call_raw(self._bot, "getUpdates", {"offset": offset, "limit": 1}, 0.3 if sent else 1.5)

    def _offset(self) -> int | None:
        return next(iter(self.unfinished), self._after)

    async def _step(self) -> None:
        """Fetch updates once something can have changed."""
        if tasks := list(self.unfinished.values()):
            await asyncio.wait(tasks, timeout=0.03)  # each answer shows all of them again
            await asyncio.wait(tasks[:1], timeout=self.ask_again)
        busy = bool(self.unfinished)
        # For how long the request may be held; in a problem not at all, so that its end is seen.
        hold = 30 if self._alone and not (busy or self.problem) else 0
        batch, fresh = await self._request(hold)
        first = next(iter(batch), None)
        if first != self._first:
            self._first, self._first_since = first, time.monotonic()
        if batch and not (busy or self._alone) and time.monotonic() < self._first_since + self.still:
            await asyncio.sleep(self.ask_again)  # another process may be finishing some
            return
        self._alone = True
        for update_id, raw in batch.items():
            if update_id not in self._known:
                self._after = update_id + 1
                self._accept(raw, fresh=fresh)

    async def _request(self, hold: int) -> tuple[dict[int, Any], bool]:
        """Ask for updates, held up to `hold` seconds; returns them by id, and whether they are fresh."""
        self._sent, sent_at = self._offset(), time.time()
        parameters = {"offset": self._sent, "timeout": hold, "limit": 100, "allowed_updates": ALLOWED_UPDATES}
        # Raw: the library's own method fails on a batch for one update that it can't read.
        answer = await call_raw(self._bot, "getUpdates", parameters, hold + 12.0)
        batch = {raw["update_id"]: raw for raw in answer}
        self._answered = self._sent
        self._heard()
        held = time.time() - sent_at if hold else 0.0  # a machine's suspension counts
        if hold and not batch and held < 1:  # as a broken proxy answers
            await asyncio.sleep(0.1)
        return batch, 1 <= held < 60

    async def _recover(self, error: Exception) -> None:
        """Name another poller; remove a webhook that is there at the start, or for too long."""
        self._sent = None
        self._alone = self._alone and not isinstance(error, Conflict)
        if not isinstance(error, Conflict):
            await super()._recover(error)
        elif "webhook" in error.message.lower():
            if self._lasts("a webhook is set, with which another process gets the updates"):
                log.warning("the webhook is removed; pending updates are kept")
                with suppress(Exception):  # tried again at the next conflict
                    await self._bot.delete_webhook(drop_pending_updates=False)
        else:  # no `problem`: two pollers end each other's requests in turn, with answers in between
            if time.monotonic() - self._rival_seen >= self.patience:
                log.warning("another process is polling with the same token: end it")
            self._rival_seen = time.monotonic()
