"""One attempt to pin or unpin: its turn in the lane, its slot in the budget, the call, and one line in the log."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bot.budget import Budget
from bot.outcomes import RateLimited, RyzeError
from bot.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from telegram import Bot, MaybeInaccessibleMessage

    from bot.buttons import Press
    from bot.config import Config, Instance, Operator
    from bot.intake import Pending
    from bot.lanes import Lanes
    from bot.replies import Answer, Replies
    from bot.ryze import RyzeClient

log = logging.getLogger(__name__)

LATE = timedelta(minutes=10)
LONGEST_QUEUE = 90.0  # seconds after which a request that waits for the budget is not made
FULL_LANE = 10  # commands in one lane, from which on a crowded bot takes no more for it


@dataclass(slots=True)
class _Attempt:
    press: Press
    operator: Operator
    instance: Instance
    sent: datetime | None
    begun: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    waits_for: str = "waiting_lane"
    outcome: str = ""


class Attempts:
    """Runs attempts. `crowded` tells whether so many updates are unfinished that a full lane takes no more."""

    def __init__(
        self, config: Config, bot: Bot, ryze: RyzeClient, lanes: Lanes, replies: Replies, crowded: Callable[[], bool]
    ) -> None:
        self._config = config
        self._bot = bot
        self._ryze = ryze
        self._lanes = lanes
        self._replies = replies
        self._crowded = crowded
        self._budgets: defaultdict[str, Budget] = defaultdict(Budget)

    @asynccontextmanager
    async def attempt(
        self,
        press: Press,
        operator: Operator,
        instance: str,
        pending: Pending,
        message: MaybeInaccessibleMessage,
        sent: datetime | None = None,
    ) -> AsyncIterator[Answer]:
        """Do what was asked and give the answer to the `with` block, which sends it.

        Args:
            press: what was asked.
            operator: who asked.
            instance: the name of the operator's instance it is for.
            pending: the update, which waits while the lane is another's.
            message: where "typing…" is shown.
            sent: when a command was sent, if it may be too late for it.

        """
        attempt = _Attempt(press, operator, self._config.instances[instance], sent)

        def reason() -> str:
            seconds = round(self._budgets[attempt.instance.token].wait_for())
            return self._replies.say(
                attempt.waits_for, chat=press.chat.display, instance=instance, seconds=max(1, seconds)
            )

        async with Waiting(self._bot, message, reason) as waiting:
            answer = await self._in_turn(attempt, pending)
            waiting.over()
            milliseconds = (asyncio.get_running_loop().time() - attempt.begun) * 1000
            log.info(
                "attempt operator=%d name=%r instance=%r action=%s chat=%s outcome=%s ms=%.0f",
                operator.telegram_id,
                operator.name,
                instance,
                "pin" if press.pin else "unpin",
                press.chat.masked,
                attempt.outcome,
                milliseconds,
            )
            yield answer

    async def _in_turn(self, attempt: _Attempt, pending: Pending) -> Answer:
        lane = attempt.instance.name
        if self._crowded() and self._lanes.held(lane) >= FULL_LANE:
            return self._not_run(attempt, "busy")
        pending.waiting = True
        async with self._lanes.turn(lane):
            pending.waiting = False
            if attempt.sent and datetime.now(UTC) - attempt.sent > LATE:
                return self._not_run(attempt, "late")
            return await self._in_budget(attempt)

    async def _in_budget(self, attempt: _Attempt) -> Answer:
        budget = self._budgets[attempt.instance.token]
        until = attempt.begun + LONGEST_QUEUE
        refused: RateLimited | None = None
        while True:
            attempt.waits_for = "waiting_budget"
            try:
                async with asyncio.timeout_at(until):
                    await budget.take()
            except TimeoutError:
                return self._failed(attempt, refused) if refused else self._not_run(attempt, "queue_timeout")
            attempt.waits_for = "waiting_ryze"
            try:
                return await self._call(attempt, budget)
            except RateLimited as error:
                refused = error

    async def _call(self, attempt: _Attempt, budget: Budget) -> Answer:
        press, instance = attempt.press, attempt.instance
        try:
            await self._lanes.places.acquire()
        except asyncio.CancelledError:
            budget.give_back()
            raise
        try:
            done = await self._ryze.pin_chat(instance, press.chat.number, pin=press.pin, meter=budget)
        except RateLimited:
            raise
        except RyzeError as error:
            log.debug("Ryze: %s", error)
            return self._failed(attempt, error)
        finally:
            self._lanes.places.release()
        attempt.outcome = "pinned" if press.pin else "unpinned"
        return self._replies.done(done, press, instance.name)

    def _failed(self, attempt: _Attempt, error: RyzeError) -> Answer:
        attempt.outcome = error.outcome
        return self._replies.failed(error, attempt.press, attempt.instance.name)

    def _not_run(self, attempt: _Attempt, outcome: str) -> Answer:
        attempt.outcome = outcome
        return self._replies.not_run(outcome, attempt.press, attempt.instance.name)
