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


@dataclass(eq=False, slots=True)
class Pending:
    """An update that was taken in. It is `waiting` while the lane it needs is another command's."""

    update_id: int
    task: asyncio.Task[None] | None = None
    waiting: bool = False

    @property
    def finished(self) -> bool:
        """Whether it needs no more of the bot's time."""
        return self.task is None or self.task.done()


class Intake:
    """Takes updates in, in the order in which they are given, and knows which are unfinished."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._handle: Callable[[Update, Pending], Awaitable[None]] | None = None
        # From the oldest unfinished update on, in the order received. Told apart by equality alone: after a quiet week
        # Telegram's ids go on from anywhere.
        self.known: dict[int, Pending] = {}

    def begin(self, handle: Callable[[Update, Pending], Awaitable[None]]) -> None:
        """Say what handles an update; it must not raise."""
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
            return pending
        assert self._handle is not None  # noqa: S101 - `begin` comes before any update
        pending.task = asyncio.ensure_future(self._handle(update, pending))
        return pending

    async def finish(self) -> None:
        """Finish every update up to the newest begun, within `FINISHING`; leave the rest to the next process."""
        await asyncio.sleep(0)  # what was just taken in gets as far as its lane
        pendings = list(self.known.values())
        begun = [place for place, pending in enumerate(pendings) if not (pending.waiting and not pending.finished)]
        newest = begun[-1] if begun else -1
        await self._cancel(pendings[newest + 1 :])
        tasks = [pending.task for pending in pendings[: newest + 1] if pending.task and not pending.task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=FINISHING)
        await self._cancel(pendings)

    @staticmethod
    async def _cancel(pendings: list[Pending]) -> None:
        tasks = [pending.task for pending in pendings if pending.task and not pending.task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2)
