"""Whose turn it is: one request of an instance after another, within the rate limits."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic

from bot.ryze.chats import Chat
from bot.ryze.client import RateLimit, RyzeClient
from bot.ryze.outcomes import OUTCOMES, Reply
from bot.settings.model import Instance, Operator

log = logging.getLogger(__name__)

LATE = timedelta(minutes=10)
MAX_WAIT = 90.0  # seconds after which a call that waits for the rate limit is not made
FULL = 10  # requests of one instance: an overloaded bot takes no more for it


@dataclass(frozen=True, slots=True)
class PinRequest:
    """What an operator asked for in one update, to be done with each of the chats."""

    request_id: int
    operator: Operator
    instance: Instance
    chats: tuple[Chat, ...]
    pin: bool
    unpin_first: Chat | None = None  # a swap: the one chat is pinned once this one is unpinned
    put_back: bool = False  # it is pinned again if the pin is definitely refused
    sent: datetime | None = None  # when the command was written; if that is long ago, it is not run
    begun: float = field(default_factory=monotonic, compare=False)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of a request for one chat."""

    request: PinRequest
    part: int  # from 0
    chat: Chat
    pin: bool
    reply: Reply
    ryze_seconds: float | None = None  # of the call, if one was made


@dataclass(eq=False)
class PinQueue:
    """Runs requests. `waiting`: the tasks whose turn has not come; `rate_limits`: by token."""

    client: RyzeClient
    observers: Sequence[Callable[[Attempt], None]]  # get each attempt before the turn ends
    overloaded: Callable[[], bool]  # so that an instance with `FULL` requests takes no more
    patience: float | None  # seconds for turn and rate limit; None: no end, and `MAX_WAIT`
    waiting: dict[asyncio.Task[None] | None, str] = field(default_factory=dict)
    rate_limits: defaultdict[str, RateLimit] = field(default_factory=partial(defaultdict, RateLimit))
    _turns: defaultdict[str, asyncio.Lock] = field(default_factory=partial(defaultdict, asyncio.Lock))  # FIFO

    def waiting_in(self, instance_name: str) -> int:
        """How many of the instance's requests are unfinished, the running one included."""
        return [*self.waiting.values()].count(instance_name) + self._turns[instance_name].locked()

    async def run(self, request: PinRequest) -> tuple[Attempt, ...]:
        """Do what a request asks for in its instance's turn, and give its attempts, at least one."""
        task, name = asyncio.current_task(), request.instance.name
        full = self.overloaded() and self.waiting_in(name) >= FULL
        self.waiting[task] = name
        try:
            async with asyncio.timeout(0 if full else self.patience) as waiting, self._turns[name]:
                waiting.reschedule(None)
                del self.waiting[task]
                return tuple([attempt async for attempt in self._attempts(request)])
        except TimeoutError:
            return (self._end(Attempt(request, 0, request.chats[0], request.pin, Reply(OUTCOMES["busy"]))),)
        finally:
            self.waiting.pop(task, None)

    async def _attempts(self, request: PinRequest) -> AsyncIterator[Attempt]:
        if request.sent and datetime.now(UTC) - request.sent > LATE:
            yield self._end(Attempt(request, 0, request.chats[0], request.pin, Reply(OUTCOMES["late"])))
        elif request.unpin_first is None:
            for part, chat in enumerate(request.chats):
                yield (attempt := await self._call(request, part, chat, pin=request.pin))
                if attempt.reply.outcome.stops:
                    break
        else:
            yield (unpinned := await self._call(request, 0, request.unpin_first, pin=False))
            if unpinned.reply.outcome.ok:
                yield (pinned := await self._call(request, 1, request.chats[0], pin=True))
                outcome = pinned.reply.outcome
                if request.put_back and outcome.ran and not (outcome.ok or outcome.unsure):
                    yield await self._call(request, 2, request.unpin_first, pin=True)

    async def _call(self, request: PinRequest, part: int, chat: Chat, *, pin: bool) -> Attempt:
        """Make a call when the rate limit allows it; again if Ryze refuses it for that limit."""
        instance, reply, seconds = request.instance, Reply(OUTCOMES["queue_timeout"]), None
        rate_limit, deadline = self.rate_limits[instance.token], request.begun + (self.patience or MAX_WAIT)
        with suppress(TimeoutError):
            while reply.outcome.name in ("queue_timeout", "rate_limited"):
                async with asyncio.timeout(deadline - monotonic()):
                    await rate_limit.take()
                began = monotonic()
                reply = await self.client.pin_chat(instance, chat.number, pin=pin, rate_limit=rate_limit)
                seconds = monotonic() - began
        return self._end(Attempt(request, part, chat, pin, reply, seconds))

    def _end(self, attempt: Attempt) -> Attempt:
        request, action = attempt.request, "pin" if attempt.pin else "unpin"
        who = request.operator.telegram_id, request.operator.name, request.instance.name
        chat, outcome = attempt.chat.number.partition("@")[0][-4:], attempt.reply.outcome.name
        line = "attempt operator=%d name=%r instance=%r action=%s chat=…%s outcome=%s ms=%.0f"
        log.info(line, *who, action, chat, outcome, 1000 * (monotonic() - request.begun))
        for observe in self.observers:
            try:
                observe(attempt)
            except Exception:
                log.exception("an observer of attempts failed")
        return attempt
