"""Long polling that confirms an update only once it was handled.

The offset it asks with is the oldest unfinished update, so Telegram shows that one and what came after it again and
again, and the intake recognises what it has. Source: tdlib/telegram-bot-api, `Client::process_get_updates_query`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from telegram.error import Conflict, EndPointNotFound, Forbidden, InvalidToken, RetryAfter, TelegramError

from bot.intake import ALLOWED_UPDATES
from bot.outbox import seconds

if TYPE_CHECKING:
    from telegram import Bot

    from bot.intake import Intake

log = logging.getLogger(__name__)

LONG_POLL = 30  # seconds for which Telegram holds a request while there is nothing to give
SLACK = 10.0  # seconds more until an answer is given up
# A request that repeats an offset within 0.5 s is given one update only.
ASK_AGAIN = 0.55
LONGEST_PAUSE = 10.0
CONFIRMING = 2.0  # seconds that a stop gives to the last confirmation
REJECTED_FOR = 60.0  # seconds for which a rejection of the token may pass


class TokenRejected(Exception):
    """Telegram does not accept the bot's token."""


class Polling:
    """Asks Telegram for updates and hands them to the intake."""

    def __init__(self, bot: Bot, intake: Intake) -> None:
        self._bot = bot
        self._intake = intake
        self._last: int | None = None  # the newest update received; confirmed with everything before it
        self._confirmed: int | None = None  # the offset that Telegram was last asked with, and gave an answer to
        self.fetched = asyncio.Event()  # set by the first answer
        self._trouble = ""
        self._rejected_since: float | None = None

    async def run(self) -> None:
        """Poll until cancelled.

        Raises:
            TokenRejected: Telegram has rejected the token for a minute.

        """
        pause = 0.5
        while True:
            try:
                await self._fetch()
            except Exception as error:  # noqa: BLE001 - whatever a broken answer makes the library raise, the bot stays
                pause = await self._pause(error, pause)
                continue
            pause = 0.5
            self._rejected_since = None
            if self._trouble:
                log.warning("Telegram is back")
                self._trouble = ""
            self.fetched.set()
            if unfinished := self._oldest():
                await asyncio.wait([unfinished], timeout=ASK_AGAIN)

    async def confirm(self) -> None:
        """Tell Telegram what was handled since it was last asked; called once, after the intake finished."""
        offset = self._offset()
        if offset is None or offset == self._confirmed:
            return
        try:
            async with asyncio.timeout(CONFIRMING):
                await self._get_updates(offset, hold=0, limit=1)
        except (TelegramError, TimeoutError) as error:
            log.warning("the last updates could not be confirmed and will be handled again: %s", error)

    async def _fetch(self) -> None:
        offset = self._offset()
        batch = await self._get_updates(offset, hold=0 if self._oldest() else LONG_POLL, limit=100)
        self._confirmed = offset
        known = self._intake.known
        for update_id in list(known):  # what comes before the offset is confirmed: forgotten, its id may come again
            if update_id == offset:
                break
            del known[update_id]
        for raw in batch:
            fresh = raw["update_id"] not in known
            self._intake.accept(raw)
            if fresh:
                self._last = raw["update_id"]

    async def _get_updates(self, offset: int | None, *, hold: int, limit: int) -> list[dict[str, Any]]:
        parameters: dict[str, Any] = {"timeout": hold, "limit": limit, "allowed_updates": ALLOWED_UPDATES}
        if offset is not None:
            parameters["offset"] = offset
        # Raw, since python-telegram-bot's own method fails on a whole batch for one update that it can't read; spelt so
        # that the library, which takes either case, does not recommend that method in a warning.
        batch = await self._bot.do_api_request("get_Updates", parameters, read_timeout=hold + SLACK)
        if not isinstance(batch, list):
            raise TelegramError("getUpdates gave no list")
        updates = [raw for raw in batch if isinstance(raw, dict) and isinstance(raw.get("update_id"), int)]
        if batch and not updates:
            raise TelegramError("getUpdates gave updates without ids, which can't be confirmed")
        return updates

    def _offset(self) -> int | None:
        for pending in self._intake.known.values():
            if not pending.finished:
                return pending.update_id
        return None if self._last is None else self._last + 1

    def _oldest(self) -> asyncio.Task[None] | None:
        return next((p.task for p in self._intake.known.values() if p.task and not p.task.done()), None)

    async def _pause(self, error: Exception, pause: float) -> float:
        """Wait as this error asks for, say what is new about it, and tell the pause for the next."""
        if isinstance(error, RetryAfter):
            log.warning("Telegram asks to be left alone for %.0f s", seconds(error))
            await asyncio.sleep(seconds(error) + 0.1)
            return 0.5
        if isinstance(error, Conflict):
            if "webhook" in error.message.lower():
                log.warning("Telegram has a webhook set for this bot; it is removed, pending updates are kept")
                await self._remove_webhook()
                return 0.5
            self._say("another process is polling with the same token; only one may: end the other one")
        elif isinstance(error, InvalidToken | EndPointNotFound | Forbidden):
            now = asyncio.get_running_loop().time()
            self._rejected_since = self._rejected_since or now
            if now - self._rejected_since > REJECTED_FOR:
                raise TokenRejected from error
            self._say("Telegram rejects the bot's token")
        else:
            self._say("Telegram can't be reached")
            log.debug("getUpdates: %r", error)
        await asyncio.sleep(pause)
        return min(pause * 2, LONGEST_PAUSE)

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("%s", trouble)
            self._trouble = trouble

    async def _remove_webhook(self) -> None:
        try:
            await self._bot.delete_webhook(drop_pending_updates=False)
        except TelegramError as error:
            log.debug("deleteWebhook: %s", error)
            await asyncio.sleep(1)
