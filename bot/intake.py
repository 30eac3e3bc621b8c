"""Each update handled once, then confirmed: what is the same however updates arrive.

Telegram is the durable queue: it keeps an update until it is confirmed, and that happens only after handling. Whatever
is lost with this process is therefore delivered again.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from telegram import Update

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telegram import Bot

log = logging.getLogger(__name__)

# What there is a handler for: edits are answered with why they are not run.
ALLOWED_UPDATES = ("message", "edited_message", "callback_query")
CROWDED = 80  # unfinished updates; Telegram shows no more than 100 at a time
FINISHING = 15.0  # seconds that a stop gives to what has begun
CANCELLING = 0.5  # seconds that it then gives to the rest


class TokenRejected(Exception):
    """Telegram does not accept the bot's token."""


class WebhookRefused(Exception):
    """Telegram does not take the address as a webhook."""


@dataclass(eq=False, slots=True)
class Pending:
    """An update that was taken in.

    It is `waiting` while the lane it needs is another command's, and `finished` once it needs no more of the bot: one
    whose task a stop has cancelled never is, so that it stays with Telegram.
    """

    update_id: int
    task: asyncio.Task[None] | None = None
    waiting: bool = False
    finished: bool = False


class Intake:
    """Takes updates in, in the order in which they are given, and knows which are unfinished."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._handle: Callable[[Update, Pending], Awaitable[None]] | None = None
        # From the oldest unfinished update on, in the order received. Told apart by equality alone: after a quiet week
        # Telegram's ids go on from anywhere.
        self.known: dict[int, Pending] = {}

    def begin(self, handle: Callable[[Update, Pending], Awaitable[None]]) -> None:
        """Say what handles an update; what it lets out is logged, and the update counts as handled."""
        self._handle = handle

    @property
    def unfinished(self) -> list[Pending]:
        """What is still being handled, oldest first."""
        return [pending for pending in self.known.values() if not pending.finished]

    def crowded(self) -> bool:
        """Whether Telegram could soon not show any further update."""
        return len(self.known) >= CROWDED and len(self.unfinished) >= CROWDED

    def accept(self, raw: dict[str, Any]) -> Pending:
        """Begin to handle an update, raw, unless it is known; one that can't be read counts as handled."""
        update_id: int = raw["update_id"]
        if known := self.known.get(update_id):
            return known
        pending = self.known[update_id] = Pending(update_id)
        try:
            update = Update.de_json(raw, self._bot)
        except Exception:
            log.exception("update %d can't be read and is passed over", update_id)
            pending.finished = True
        else:
            pending.task = asyncio.create_task(self._run(update, pending))
        return pending

    async def finish(self) -> None:
        """Finish every update up to the newest begun, within `FINISHING`; leave the rest to the next process."""
        await asyncio.sleep(0)  # what was just taken in gets as far as its lane
        pendings = list(self.known.values())
        begun = [place for place, pending in enumerate(pendings) if pending.finished or not pending.waiting]
        newest = begun[-1] if begun else -1
        for pending in pendings[newest + 1 :]:
            if pending.task:
                pending.task.cancel()
        if tasks := [pending.task for pending in pendings[: newest + 1] if pending.task and not pending.finished]:
            await asyncio.wait(tasks, timeout=FINISHING)
        if tasks := [pending.task for pending in pendings if pending.task and not pending.task.done()]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=CANCELLING)

    async def _run(self, update: Update, pending: Pending) -> None:
        assert self._handle is not None  # noqa: S101 - `begin` comes before any update
        try:
            await self._handle(update, pending)
        except BaseException as error:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise asyncio.CancelledError from error
            log.exception("update %d failed and is passed over", pending.update_id)
        pending.finished = True
