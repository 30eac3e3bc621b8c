"""Long polling that confirms an update only once it was handled.

The offset of each request is the oldest unfinished update, so Telegram shows that one and what came after it again and
again; `Updates` knows what it has. Source: tdlib/telegram-bot-api, `Client::process_get_updates_query`.
"""

import asyncio
import logging
import time
from contextlib import suppress
from itertools import takewhile
from typing import Any

from telegram import Bot
from telegram.error import Conflict

from bot.telegram.outbox import call_raw, reason
from bot.telegram.updates import ALLOWED_UPDATES, Report, Source, Updates

log = logging.getLogger(__name__)
Batch = dict[int, dict[str, Any]]  # updates by their id


class Polling(Source):
    """Fetches updates; `ready` with the first answer."""

    def __init__(self, bot: Bot, updates: Updates, report: Report) -> None:
        super().__init__(bot, updates, report)
        self._newest: int | None = None  # the newest update received
        self._sent: int | None = None  # the latest request's offset
        self._answered: int | None = None  # that of the latest request that was answered
        self._alone = False  # no other process is thought to handle the same updates
        self._rival_seen = float("-inf")

    async def confirm(self) -> None:
        """Tell Telegram what was handled since the latest request; called once, after `Updates.finish`."""
        offset = self._offset()
        if offset in (None, self._answered):
            return
        sent = offset == self._sent  # with the long poll, which has most likely arrived; if so, Telegram holds this one
        try:
            await call_raw(self._bot, "getUpdates", {"offset": offset, "limit": 1}, 0.3 if sent else 1.5)
        except Exception as error:  # noqa: BLE001 - as in `Source.run`
            if not sent:
                log.warning("the last updates could not be confirmed and may be handled again: %s", reason(error))

    def _offset(self) -> int | None:
        after = None if self._newest is None else self._newest + 1
        return next(iter(self._updates.unfinished), after)

    async def _step(self) -> None:
        """Fetch updates once something can have changed, and begin those that are not known yet."""
        if tasks := list(self._updates.unfinished.values()):
            await asyncio.wait(tasks[:1], timeout=self._timings.ask_again)
            # While many are unfinished each answer shows all of them again: no more than 33 a second.
            await asyncio.wait(tasks, timeout=max(0.0, self.last_contact + 0.03 - self._clock()))
        offset, busy, sent = self._offset(), bool(self._updates.unfinished), time.time()
        fresh = False
        if not (busy or self._alone):
            batch = await self._fetch_backlog(offset)
        elif busy or self.problem:  # not held, so that the end of a problem is noticed at once
            batch = await self._request(offset, 0)
        else:
            batch = await self._request(offset, self._timings.long_poll)
            held = time.time() - sent  # unlike the loop's, this clock counts the time for which a machine is suspended
            fresh = 1 <= held < 60  # so the updates were certainly sent during the request, less than a minute ago
            if not batch and held < 1:  # as a broken proxy answers
                await asyncio.sleep(0.1)
        self._alone, self._answered = True, offset
        known = self._updates.known
        for update_id in list(takewhile(lambda number: number != offset, known)):
            del known[update_id]  # what comes before the offset is confirmed, and its id may come again
        for update_id, raw in batch.items():
            if update_id not in known:
                self._newest = update_id
                self._updates.accept(raw, fresh=fresh)

    async def _fetch_backlog(self, offset: int | None) -> Batch:
        """Fetch what is there once its first update stays the same: until then another process is finishing some."""
        first, since = None, self._clock()
        while batch := await self._request(offset, 0):
            if first != (oldest := next(iter(batch))):
                first, since = oldest, self._clock()
            if self._clock() >= since + self._timings.still:
                break
            await asyncio.sleep(self._timings.ask_again)
        return batch

    async def _request(self, offset: int | None, hold: int) -> Batch:
        """Ask for updates, for which Telegram may wait `hold` seconds."""
        self._sent = offset
        parameters = {"offset": offset, "timeout": hold, "limit": 100, "allowed_updates": ALLOWED_UPDATES}
        # Raw, since python-telegram-bot's own method fails on a whole batch for one update that it can't read.
        answer = await call_raw(self._bot, "getUpdates", parameters, hold + self._timings.answer)
        batch = {raw["update_id"]: raw for raw in answer}
        self._heard()
        return batch

    async def _recover(self, error: Exception) -> None:
        """Name another poller; remove a webhook, unless it may be that of a process which replaces this one."""
        self._sent = None
        if not isinstance(error, Conflict):
            await super()._recover(error)
            return
        self._alone = False
        if "webhook" not in error.message.lower():
            # Two pollers end each other's requests in turn, with answers in between: named once all the same.
            if self._clock() - self._rival_seen >= self._timings.patience:
                log.warning("another process is polling with the same token; only one may: end the other one")
            self._rival_seen = self._clock()
        elif self._lasts("a webhook is set, with which another process gets the updates") or not self.ready.is_set():
            log.warning("the webhook is removed; pending updates are kept")
            with suppress(Exception):  # tried again at the next conflict
                await self._bot.delete_webhook(drop_pending_updates=False)
