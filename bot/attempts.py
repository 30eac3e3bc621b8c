"""Attempts to pin or unpin: their turn in the lane, their slots in the budget, the calls, a line of log for each."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from bot.budget import Budget
from bot.outcomes import RateLimited, Result, RyzeError
from bot.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from telegram import Bot, MaybeInaccessibleMessage

    from bot.buttons import Press
    from bot.chats import Chat
    from bot.config import Config, Operator
    from bot.intake import Pending
    from bot.lanes import Lanes
    from bot.replies import Answer, Replies
    from bot.ryze import RyzeClient

log = logging.getLogger(__name__)

LATE = timedelta(minutes=10)
LONGEST_QUEUE = 90.0  # seconds after which a request that waits for the budget is not made
FULL_LANE = 10  # commands in one lane, from which on a crowded bot takes no more for it


@dataclass(frozen=True, slots=True)
class Job:
    """What an operator asked for in one update. `retry` is the button that would ask for it again, if one can."""

    operator: Operator
    instance: str
    chats: Sequence[Chat]
    pin: bool
    replies: Replies
    pending: Pending
    message: MaybeInaccessibleMessage
    retry: Press | None = None
    sent: datetime | None = None  # for a command, which may be too late

    @property
    def shown(self) -> str:
        """Its chats as a person reads them."""
        return ", ".join(chat.display for chat in self.chats)


@dataclass(frozen=True, slots=True)
class Attempted:
    """A finished attempt, for those who keep or count them; `part` counts within an update, `seconds` to its answer."""

    job: Job
    part: int
    pin: bool
    chat: Chat
    outcome: str
    jid: str | None
    seconds: float
    ryze_seconds: float | None


@dataclass(frozen=True, slots=True)
class Done:
    """What a job's turn came to: the answer to send, and the attempts behind it."""

    answer: Answer
    attempted: Sequence[Attempted]


class NotRun(Exception):
    """A call was not made; `outcome` says why: "late", "busy" or "queue_timeout"."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Call(Protocol):
    """Makes one call within a job's turn; raises `NotRun` if its wait took too long."""

    async def __call__(self, chat: Chat, *, pin: bool) -> Result:
        """Pin or unpin one chat."""


class Attempts:
    """Runs jobs. `crowded` tells whether so many updates are unfinished that a full lane takes no more.

    With `patience` (seconds), waiting for a lane or a budget ends after it: then it is "busy". `remember` gets each
    attempt as soon as it is over, so that the lane's next command knows of it; `observers` once it was answered.
    """

    def __init__(
        self,
        config: Config,
        bot: Bot,
        ryze: RyzeClient,
        lanes: Lanes,
        crowded: Callable[[], bool],
        remember: Callable[[Attempted], None],
        observers: Sequence[Callable[[Attempted], None]] = (),
        patience: float | None = None,
    ) -> None:
        self.config = config
        self.bot = bot
        self.ryze = ryze
        self.lanes = lanes
        self.patience = patience
        self._crowded = crowded
        self.remember = remember
        self._observers = observers
        self.budgets: defaultdict[str, Budget] = defaultdict(Budget)

    @asynccontextmanager
    async def run(self, job: Job, steps: Callable[[Call], Awaitable[Answer]]) -> AsyncIterator[Done]:
        """Give `steps` the instance's turn, and its answer to the `with` block, which sends it outside the turn."""
        turn = _Turn(job, self)
        async with Waiting(self.bot, job.message, turn.reason) as waiting:
            try:
                answer = await self._in_turn(turn, steps)
            except NotRun as reason:
                turn.note(job.chats[0], reason.outcome, pin=job.pin)
                answer = job.replies.not_run(reason.outcome, job.shown, job.instance, job.retry)
            waiting.over()
            yield Done(answer, turn.attempted)
        for attempted in turn.attempted:
            for observe in self._observers:
                observe(replace(attempted, seconds=turn.seconds))

    async def _in_turn(self, turn: _Turn, steps: Callable[[Call], Awaitable[Answer]]) -> Answer:
        job = turn.job
        if self._crowded() and self.lanes.held(job.instance) >= FULL_LANE:
            raise NotRun("busy")
        job.pending.waiting = True
        try:
            async with self.lanes.turn(job.instance, self.patience):
                job.pending.waiting = False
                if job.sent and datetime.now(UTC) - job.sent > LATE:
                    raise NotRun("late")
                return await steps(turn.call)
        except TimeoutError:
            raise NotRun("busy") from None
        finally:
            job.pending.waiting = False


class _Turn:
    """One job's way through its lane: makes its calls, and notes each."""

    def __init__(self, job: Job, attempts: Attempts) -> None:
        self.job = job
        self.attempted: list[Attempted] = []
        self._attempts = attempts
        self._instance = attempts.config.instances[job.instance]
        self._budget = attempts.budgets[self._instance.token]
        self._clock = asyncio.get_running_loop().time
        self._begun = self._clock()
        self._waits_for = "waiting_lane"

    def reason(self) -> str:
        """What is being waited for, in a sentence."""
        seconds = max(1, round(self._budget.wait_for(max(0, self._budget.waiting - 1))))
        return self.job.replies.say(self._waits_for, chat=self.job.shown, instance=self.job.instance, seconds=seconds)

    async def call(self, chat: Chat, *, pin: bool) -> Result:
        """Wait for the budget, then make one call; a refusal by Ryze's rate limit waits again."""
        patience = self._attempts.patience or LONGEST_QUEUE
        refused: RateLimited | None = None
        while True:
            self._waits_for = "waiting_budget"
            try:
                async with asyncio.timeout_at(self._begun + patience):
                    await self._budget.take()
            except TimeoutError:
                if refused is None:
                    raise NotRun("queue_timeout") from None
                self.note(chat, refused.outcome, pin=pin)
                return Result(chat, pin, refused)
            self._waits_for = "waiting_ryze"
            began = self._clock()
            try:
                result = await self._made(chat, pin=pin)
            except RateLimited as error:
                refused = error
                continue
            self.note(chat, result.outcome, pin=pin, jid=result.jid, ryze_seconds=self._clock() - began)
            return result

    async def _made(self, chat: Chat, *, pin: bool) -> Result:
        places = self._attempts.lanes.places
        try:
            await places.acquire()
        except asyncio.CancelledError:
            self._budget.give_back()
            raise
        try:
            done = await self._attempts.ryze.pin_chat(self._instance, chat.number, pin=pin, meter=self._budget)
        except RateLimited:
            raise
        except RyzeError as error:
            log.debug("Ryze: %s", error)
            return Result(chat, pin, error)
        finally:
            places.release()
        return Result(chat, pin, jid=done.chat_jid)

    @property
    def seconds(self) -> float:
        """How long ago the command came."""
        return self._clock() - self._begun

    def note(
        self, chat: Chat, outcome: str, *, pin: bool, jid: str | None = None, ryze_seconds: float | None = None
    ) -> None:
        """Log an attempt, and keep it for the observers."""
        operator, seconds = self.job.operator, self.seconds
        log.info(
            "attempt operator=%d name=%r instance=%r action=%s chat=%s outcome=%s ms=%.0f",
            operator.telegram_id,
            operator.name,
            self.job.instance,
            "pin" if pin else "unpin",
            chat.masked,
            outcome,
            seconds * 1000,
        )
        attempted = Attempted(self.job, len(self.attempted), pin, chat, outcome, jid, seconds, ryze_seconds)
        self.attempted.append(attempted)
        self._attempts.remember(attempted)
