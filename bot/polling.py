"""Long polling that confirms an update only once it was handled.

The offset it asks with is the oldest unfinished update, so Telegram shows that one and what came after it again and
again, and the intake recognises what it has. Source: tdlib/telegram-bot-api, `Client::process_get_updates_query`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from telegram.error import Conflict, EndPointNotFound, Forbidden, InvalidToken, RetryAfter, TelegramError

from bot.intake import ALLOWED_UPDATES, TokenRejected
from bot.outbox import seconds
from bot.transport import call_raw

if TYPE_CHECKING:
    from telegram import Bot

    from bot.intake import Intake, Pending
    from bot.watchdog import Watchdog

log = logging.getLogger(__name__)

Batch = list[dict[str, Any]]

LONG_POLL = 30  # seconds for which Telegram holds a request while there is nothing to give
SLACK = 12.0  # seconds more until an answer is given up
# A request that repeats an offset within 0.5 s is given one update only.
ASK_AGAIN = 0.51
BREATH = 0.03  # seconds between two requests while much is unfinished: each shows all of it again
EMPTY_PAUSE = 0.1  # after an empty answer that was not held, as a broken proxy gives
STILL = 2.0  # seconds for which a backlog's head must not move before the backlog is begun
LONGEST_STILL = 25.0  # seconds after which it is begun in any case
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
CONFIRMING = 1.5  # seconds that a stop gives to the last confirmation
REJECTED_FOR = 60.0  # seconds for which a rejection of the token may pass
TAKEN_OVER_FOR = 60.0  # seconds for which another process may have set a webhook before it is removed
QUIET = 60.0  # seconds without a second poller after which the next one is news

AWAY = "Telegram can't be reached"
STARTING = "starting"


class Polling:
    """Asks Telegram for updates and hands them to the intake.

    `heard` is when Telegram last answered (the loop's time); `trouble` says why no update can be taken now, or is "".
    """

    def __init__(self, bot: Bot, intake: Intake, watchdog: Watchdog) -> None:
        self._bot = bot
        self._intake = intake
        self._watchdog = watchdog
        self._clock = asyncio.get_running_loop().time
        self.fetched = asyncio.Event()  # set by the first answer
        self.heard = self._clock()
        self.trouble = STARTING
        self._last: int | None = None  # the newest update received; confirmed with everything before it
        self._confirmed: int | None = None  # the offset that Telegram was last asked with, and gave an answer to
        self._held: tuple[int | None, float] = None, 0.0  # the offset of the latest long poll, and when it was sent
        self._alone = False  # no other process is thought to be at the same updates
        self._pause = SHORTEST_PAUSE
        self._rejected_since: float | None = None
        self._hooked_since: float | None = None
        self._rival_seen = -QUIET

    async def run(self) -> None:
        """Poll until cancelled.

        Raises:
            TokenRejected: Telegram has rejected the token for a minute.

        """
        while True:
            try:
                await self._fetch()
            except Exception as error:  # noqa: BLE001 - whatever a broken answer makes the library raise, the bot stays
                await self._recover(error)
            else:
                self._pause = SHORTEST_PAUSE
                await self._until_due()

    async def confirm(self) -> None:
        """Tell Telegram what was handled since it was last asked; called once, after the intake finished."""
        offset = self._offset()
        if offset is None or offset == self._confirmed:
            return
        held, sent = self._held
        if offset == held and self._clock() - sent > 1:
            return  # surely arrived; what a repetition would do is wait for the next update
        patience = CONFIRMING / 4 if offset == held else CONFIRMING
        try:
            async with asyncio.timeout(patience):
                await self._get_updates(offset, hold=0, limit=1)
        except Exception as error:  # noqa: BLE001 - as in `run`
            if offset != held:
                log.warning("the last updates could not be confirmed and may be handled again: %r", error)

    async def _fetch(self) -> None:
        offset = self._offset()
        busy = self._oldest() is not None
        batch: Batch = []
        if busy or self.trouble or not self._alone:  # an answer at once: what there is, or that the trouble is over
            batch = await self._ask(offset, hold=0)
        if batch and not (busy or self._alone):
            batch = await self._left_alone(offset, batch)
        self._alone = True
        if not (batch or busy):
            batch = await self._long_poll(offset)
        self._confirmed = offset
        known = self._intake.known
        for update_id in list(known):  # what comes before the offset is confirmed: forgotten, its id may come again
            if update_id == offset:
                break
            del known[update_id]
        for raw in batch:
            if raw["update_id"] not in known:
                self._last = raw["update_id"]
                self._intake.accept(raw)

    async def _left_alone(self, offset: int | None, batch: Batch) -> Batch:
        """The backlog, once its head has stood still: until then another process is about to finish it."""
        head, since = batch[0]["update_id"], self._clock()
        until = since + LONGEST_STILL
        while batch and self._clock() < min(since + STILL, until):
            await asyncio.sleep(ASK_AGAIN)
            batch = await self._ask(offset, hold=0)
            if batch and batch[0]["update_id"] != head:
                head, since = batch[0]["update_id"], self._clock()
        return batch

    async def _long_poll(self, offset: int | None) -> Batch:
        sent = self._clock()
        self._held = offset, sent
        batch = await self._ask(offset, hold=LONG_POLL)
        if not batch and self._clock() - sent < 1:
            await asyncio.sleep(EMPTY_PAUSE)
        return batch

    async def _until_due(self) -> None:
        tasks = [pending.task for pending in self._intake.unfinished if pending.task]
        if not tasks:
            return
        await asyncio.wait(tasks[:1], timeout=ASK_AGAIN)
        breath = self.heard + BREATH - self._clock()
        if breath > 0 and not all(task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=breath)

    async def _get_updates(self, offset: int | None, *, hold: int, limit: int = 100) -> Batch:
        parameters = {"offset": offset, "timeout": hold, "limit": limit, "allowed_updates": ALLOWED_UPDATES}
        async with asyncio.timeout(hold + SLACK):  # in all: the library's own timeouts start afresh with every byte
            # Raw, since python-telegram-bot's own method fails on a whole batch for one update that it can't read.
            batch = await call_raw(self._bot, "getUpdates", parameters, read=hold + SLACK)
        if not isinstance(batch, list):
            raise TelegramError("getUpdates gave no list")
        updates = [raw for raw in batch if isinstance(raw, dict) and isinstance(raw.get("update_id"), int)]
        if batch and not updates:
            raise TelegramError("getUpdates gave updates without ids, which can't be confirmed")
        return updates

    async def _ask(self, offset: int | None, *, hold: int) -> Batch:
        batch = await self._get_updates(offset, hold=hold)
        self._watchdog.alive()
        self.heard = self._clock()
        self.fetched.set()
        self._rejected_since = self._hooked_since = None
        if self.trouble not in ("", STARTING):
            log.warning("Telegram is back" if self.trouble == AWAY else "updates can be fetched again")
        self.trouble = ""
        return batch

    def _offset(self) -> int | None:
        if oldest := self._oldest():
            return oldest.update_id
        return None if self._last is None else self._last + 1

    def _oldest(self) -> Pending | None:
        return next((pending for pending in self._intake.known.values() if not pending.finished), None)

    async def _recover(self, error: Exception) -> None:
        """Say what is new about this error, and wait as long as it asks for."""
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        self._held = None, 0.0
        log.debug("getUpdates: %r", error)
        if not isinstance(error, InvalidToken | EndPointNotFound | Forbidden):
            self._rejected_since = None
        if isinstance(error, RetryAfter):
            pause = max(pause, seconds(error) + 0.1)
            log.warning("Telegram asks to be left alone for %.0f s", pause)
        elif isinstance(error, Conflict):
            self._alone = False
            if "webhook" in error.message.lower():
                await self._reclaim()
            else:
                self._name_rival()
        elif isinstance(error, InvalidToken | EndPointNotFound | Forbidden):
            self._rejected_since = self._rejected_since or self._clock()
            if self._clock() - self._rejected_since > REJECTED_FOR:
                raise TokenRejected from error
            self._say("Telegram rejects the bot's token")
        else:
            self._say(AWAY)
        self._watchdog.alive(pause=pause)
        await asyncio.sleep(pause)

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("%s", trouble)
            self.trouble = trouble

    def _name_rival(self) -> None:
        # Two pollers end each other's requests in turn, with answers in between: named once all the same.
        if self._clock() - self._rival_seen >= QUIET:
            log.warning("another process is polling with the same token; only one may: end the other one")
        self._rival_seen = self._clock()

    async def _reclaim(self) -> None:
        """Remove the webhook, unless one was set just now: then a process in webhook mode is about to replace this."""
        self._hooked_since = self._hooked_since or self._clock()
        if self.fetched.is_set() and self._clock() - self._hooked_since < TAKEN_OVER_FOR:
            self._say("a webhook was set for this bot: another process takes its updates; end one of the two")
            return
        self._say("Telegram has a webhook set for this bot; it is removed, pending updates are kept")
        try:
            await self._bot.delete_webhook(drop_pending_updates=False)
        except Exception as error:  # noqa: BLE001 - as in `run`
            log.debug("deleteWebhook: %r", error)
