"""Whose turn it is: an instance's requests one after another, instances in parallel, all within the rate limits."""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic

from bot.ryze.chats import Chat
from bot.ryze.client import RyzeClient
from bot.ryze.outcomes import OUTCOMES, Outcome, Reply
from bot.ryze.rate_limit import RateLimit
from bot.settings.model import Instance, Operator

log = logging.getLogger(__name__)

LATE = timedelta(minutes=10)
MAX_WAIT = 90.0  # seconds after which a call that waits for the rate limit is not made
FULL = 10  # requests of one instance, from which on an overloaded bot takes no more for it


@dataclass(frozen=True, slots=True)
class PinRequest:
    """What an operator asked for in one update, to be done with each of the chats."""

    request_id: int
    operator: Operator
    instance: Instance
    chats: tuple[Chat, ...]
    pin: bool
    unpin_first: Chat | None = None  # a swap: the one chat is pinned only once this one is unpinned
    put_back: bool = False  # and this one is pinned again if the pin is definitely refused
    sent: datetime | None = None  # when the command was written; if that is long ago, it is not run


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of a request for one chat. The seconds are those since the request came, and those of the call."""

    request: PinRequest
    part: int  # from 0
    chat: Chat
    pin: bool
    reply: Reply
    seconds: float
    ryze_seconds: float | None


@dataclass(slots=True)
class _Run:
    request: PinRequest
    begun: float = field(default_factory=monotonic)
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(eq=False)
class PinQueue:
    """Runs requests. `waiting` are the tasks that wait for their instance's turn."""

    client: RyzeClient
    _: KW_ONLY
    observers: Sequence[Callable[[Attempt], None]]  # get each attempt at once, before the instance's turn ends
    overloaded: Callable[[], bool]  # so that an instance with `FULL` requests takes no more
    patience: float | None  # seconds to wait for the turn and the rate limit; None: without end, and `MAX_WAIT`
    concurrency: int = 32  # calls at once

    def __post_init__(self) -> None:
        self.waiting: set[asyncio.Task[None] | None] = set()
        self._calls = asyncio.Semaphore(self.concurrency)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # first come, first served
        self._unfinished: Counter[str] = Counter()
        self._rate_limits: defaultdict[str, RateLimit] = defaultdict(RateLimit)

    def waiting_in(self, instance_name: str) -> int:
        """How many of the instance's requests are unfinished, the running one included."""
        return self._unfinished[instance_name]

    def rate_limit(self, token: str) -> RateLimit:
        """The limit of a token, which several instances may share."""
        return self._rate_limits[token]

    async def run(self, request: PinRequest) -> tuple[Attempt, ...]:
        """Do what a request asks for in its instance's turn, and give its attempts, at least one."""
        run, task, name = _Run(request), asyncio.current_task(), request.instance.name
        full = self.overloaded() and self.waiting_in(name) >= FULL
        self.waiting.add(task)
        self._unfinished[name] += 1
        try:
            async with asyncio.timeout(0 if full else self.patience) as waiting, self._turns[name]:
                waiting.reschedule(None)
                self.waiting.discard(task)
                await self._steps(run)
        except TimeoutError:
            self._end(run, request.chats[0], Reply(OUTCOMES["busy"]), pin=request.pin)
        finally:
            self.waiting.discard(task)
            self._unfinished[name] -= 1
        return tuple(run.attempts)

    async def _steps(self, run: _Run) -> None:
        request = run.request
        if request.sent and datetime.now(UTC) - request.sent > LATE:
            self._end(run, request.chats[0], Reply(OUTCOMES["late"]), pin=request.pin)
        elif request.unpin_first is None:
            for chat in request.chats:
                if (await self._call(run, chat, pin=request.pin)).stops:
                    break
        elif (await self._call(run, request.unpin_first, pin=False)).ok:
            outcome = await self._call(run, request.chats[0], pin=True)
            if request.put_back and outcome.ran and not (outcome.ok or outcome.unsure):
                await self._call(run, request.unpin_first, pin=True)

    async def _call(self, run: _Run, chat: Chat, *, pin: bool) -> Outcome:
        """Make a call when the rate limit allows it; one that Ryze refuses for its own limit is made again."""
        instance, reply, seconds = run.request.instance, Reply(OUTCOMES["queue_timeout"]), None
        rate_limit = self.rate_limit(instance.token)
        with suppress(TimeoutError):
            while reply.outcome.name in ("queue_timeout", "rate_limited"):
                async with asyncio.timeout(run.begun + (self.patience or MAX_WAIT) - monotonic()):
                    await rate_limit.take()
                try:
                    await self._calls.acquire()
                except asyncio.CancelledError:
                    rate_limit.give_back()
                    raise
                began = monotonic()
                try:
                    reply = await self.client.pin_chat(instance, chat.number, pin=pin, rate_limit=rate_limit)
                finally:
                    self._calls.release()
                seconds = monotonic() - began
        return self._end(run, chat, reply, pin=pin, ryze_seconds=seconds)

    def _end(self, run: _Run, chat: Chat, reply: Reply, *, pin: bool, ryze_seconds: float | None = None) -> Outcome:
        operator, seconds = run.request.operator, monotonic() - run.begun
        who = operator.telegram_id, operator.name, run.request.instance.name, "pin" if pin else "unpin", chat.masked
        line = "attempt operator=%d name=%r instance=%r action=%s chat=%s outcome=%s ms=%.0f"
        log.info(line, *who, reply.outcome.name, seconds * 1000)
        run.attempts.append(attempt := Attempt(run.request, len(run.attempts), chat, pin, reply, seconds, ryze_seconds))
        for observe in self.observers:
            try:
                observe(attempt)
            except Exception:
                log.exception("an observer of attempts failed")
        return reply.outcome
