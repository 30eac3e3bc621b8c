"""Whose turn it is: what waits, what is not run, and what a request's attempts are; over real HTTP."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot import http_client
from bot.ryze.chats import Chat
from bot.ryze.client import LIMIT, RyzeClient
from bot.ryze.queue import FULL, LATE, Attempt, PinQueue, PinRequest
from bot.settings.model import Instance, Operator
from tests.sandbox.ryze import Call, RyzeServer
from tests.sandbox.server import Fault

SALES = Instance(name="sales", token="token-of-sales")
SUPPORT = Instance(name="support", token="token-of-support")
ANA = Operator(telegram_id=111, name="Ana", instances=("sales", "support"))
CHATS = tuple(Chat(f"55119999900{number:02}") for number in range(12))
ONE, TWO = CHATS[:2]
OWN_LIMIT = "Rate limit exceeded. Try again later."


class Stage:
    """The stand-in for Ryze, and what was attempted. What a test sets has to be set before `queue`."""

    def __init__(self, ryze: RyzeServer) -> None:
        self.ryze = ryze
        self.attempts: list[Attempt] = []
        self.observers = [self.attempts.append]
        self.overloaded = False

    @asynccontextmanager
    async def queue(self, patience: float | None = None) -> AsyncIterator[PinQueue]:
        async with http_client.build_transport(self.ryze.url) as transport:
            client = RyzeClient(transport, self.ryze.url, timeout=12)
            yield PinQueue(client, self.observers, lambda: self.overloaded, patience)

    async def occupy(self, queue: PinQueue) -> tuple[Fault[Call], "asyncio.Task[tuple[Attempt, ...]]"]:
        """Begin a call for sales that ends once the fault is stopped."""
        hold = self.ryze.fault(when=lambda call: call.instance == "sales", delay=30)
        slow = asyncio.create_task(queue.run(request()))
        await self.ryze.wait_for(lambda: hold.hits, what="the first call")
        return hold, slow


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with RyzeServer(tokens={"sales": SALES.token, "support": SUPPORT.token}) as ryze:
        yield Stage(ryze)


def request(*chats: Chat, instance: Instance = SALES, pin: bool = True, **fields: Any) -> PinRequest:  # noqa: ANN401 - a request's fields
    return PinRequest(1, ANA, instance, chats or (ONE,), pin, **fields)


def outcomes(attempts: Sequence[Attempt]) -> list[str]:
    return [attempt.reply.outcome.name for attempt in attempts]


def use_up(queue: PinQueue, token: str, *, but: int) -> None:
    for _ in range(LIMIT - but):
        queue.rate_limits[token].try_take()


async def test_an_instances_requests_run_one_after_another_in_their_order(stage: Stage) -> None:
    stage.ryze.delay = 0.02
    async with stage.queue() as queue:
        done = await asyncio.gather(*(queue.run(request(chat, pin=False)) for chat in CHATS))
    assert [call.number for call in stage.ryze.calls] == [chat.number for chat in CHATS]
    assert stage.ryze.instances["sales"].most_at_once == 1
    assert [outcomes(attempts) for attempts in done] == [["unpinned"]] * len(CHATS)


async def test_a_request_is_waiting_until_its_turn_has_come(stage: Stage) -> None:
    async with stage.queue() as queue:
        hold, slow = await stage.occupy(queue)
        tasks: list[Any] = [asyncio.create_task(queue.run(request(TWO))) for _ in range(2)]
        await asyncio.sleep(0)
        assert [*queue.waiting] == tasks
        assert [queue.waiting_in(name) for name in ("sales", "support")] == [3, 0], "the running one included"
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        assert ([*queue.waiting], queue.waiting_in("sales")) == (tasks[1:], 2)
        hold.stop()
        await asyncio.wait([slow, *tasks])
        assert (queue.waiting, queue.waiting_in("sales"), len(stage.ryze.calls)) == ({}, 0, 2)


async def test_an_overloaded_bot_is_busy_at_once_for_a_full_instance_and_serves_the_others(stage: Stage) -> None:
    stage.overloaded = True
    async with stage.queue() as queue:
        hold, slow = await stage.occupy(queue)
        tasks = [slow, *(asyncio.create_task(queue.run(request())) for _ in range(FULL - 1))]
        await asyncio.sleep(0)
        (busy,) = await queue.run(request(TWO, ONE, pin=False))
        assert (busy.reply.outcome.name, busy.chat, busy.pin, busy.part) == ("busy", TWO, False, 0)
        assert outcomes(await queue.run(request(instance=SUPPORT))) == ["pinned"]
        stage.overloaded = False
        tasks.append(asyncio.create_task(queue.run(request())))
        hold.stop()
        assert [outcomes(await task) for task in tasks] == [["pinned"]] * (FULL + 1)
    assert outcomes(stage.attempts).count("busy") == 1


async def test_a_request_whose_turn_does_not_come_in_time_is_not_run(stage: Stage) -> None:
    async with stage.queue(patience=0.3) as queue:
        hold, slow = await stage.occupy(queue)
        assert outcomes(await queue.run(request(TWO))) == ["busy"]
        hold.stop()
        assert outcomes(await slow) == ["pinned"], "what has its turn is not ended by the wait's limit"
    assert len(stage.ryze.calls) == 1


async def test_a_request_whose_slot_in_the_rate_limit_does_not_come_in_time_is_not_run(stage: Stage) -> None:
    async with stage.queue(patience=0.3) as queue:
        use_up(queue, SALES.token, but=2)
        attempts = await queue.run(request(*CHATS[:4]))
        assert outcomes(attempts) == ["pinned", "pinned", "queue_timeout"]
        assert (attempts[2].chat, attempts[2].ryze_seconds) == (CHATS[2], None)
        assert outcomes(await queue.run(request(instance=SUPPORT))) == ["pinned"], "another token's"
        use_up(queue, SUPPORT.token, but=2)
        swap = request(instance=SUPPORT, unpin_first=TWO, put_back=True)
        assert outcomes(await queue.run(swap)) == ["unpinned", "queue_timeout"], "nothing is put back"


async def test_a_command_that_is_too_old_when_its_turn_comes_is_not_run(stage: Stage) -> None:
    now = datetime.now(UTC)
    async with stage.queue() as queue:
        for sent in (None, now, now - LATE + timedelta(seconds=30)):
            assert outcomes(await queue.run(request(ONE, TWO, sent=sent))) == ["pinned", "pinned"]
        assert outcomes(await queue.run(request(ONE, TWO, sent=now - LATE))) == ["late"]
    assert outcomes(stage.attempts) == ["pinned"] * 6 + ["late"]
    assert len(stage.ryze.calls) == 6


async def test_a_refusal_by_ryzes_own_rate_limit_is_the_outcome_if_it_does_not_pass(stage: Stage) -> None:
    reset = str(int(stage.ryze.clock()) + 2)
    stage.ryze.fault(status=429, message=OWN_LIMIT, headers={"X-RateLimit-Reset": reset}, times=2)
    async with stage.queue(patience=0.3) as queue:
        (attempt,) = await queue.run(request(ONE, TWO))
    assert (attempt.reply.outcome.name, attempt.reply.text, len(stage.ryze.calls)) == ("rate_limited", OWN_LIMIT, 1)
    async with stage.queue() as queue:
        assert outcomes(await queue.run(request())) == ["pinned"], "it waited"
    assert len(stage.ryze.calls) == 3


async def test_instances_with_one_token_share_its_limit_and_who_waits_for_it_hinders_nobody() -> None:
    tokens = {"sales": SALES.token, "night": SALES.token, "support": SUPPORT.token}
    async with RyzeServer(tokens=tokens) as ryze, Stage(ryze).queue(patience=1) as queue:
        use_up(queue, SALES.token, but=1)
        assert outcomes(await queue.run(request())) == ["pinned"]
        late = asyncio.create_task(queue.run(request(instance=Instance(name="night", token=SALES.token))))
        assert outcomes(await queue.run(request(instance=SUPPORT))) == ["pinned"]
        assert not late.done()
        assert outcomes(await late) == ["queue_timeout"]


async def test_several_chats_are_done_in_order_and_stop_where_the_rest_would_meet_the_same(stage: Stage) -> None:
    async with stage.queue() as queue:
        attempts = await queue.run(request(*CHATS[:6]))
        assert outcomes(attempts) == ["pinned", "pinned", "pinned", "pin_limit"]
        assert [(attempt.part, attempt.chat) for attempt in attempts] == list(enumerate(CHATS[:4]))
        assert attempts[0].reply.jid == f"{ONE.number}@s.whatsapp.net"
        stage.ryze.fault(status=400, message="Invalid request body: no such number")
        assert outcomes(await queue.run(request(ONE, TWO, pin=False))) == ["bad_request", "unpinned"]
        stage.ryze.instances["sales"].connected = False
        assert outcomes(await queue.run(request(*CHATS[:3]))) == ["not_connected"]


@pytest.mark.parametrize(
    ("put_back", "failing", "status", "expected"),
    [
        (True, None, 0, "-TWO unpinned +ONE pinned"),
        (True, TWO, 404, "-TWO not_ryze"),
        (True, TWO, 200, "-TWO unreadable_answer"),
        (True, ONE, 404, "-TWO unpinned +ONE not_ryze +TWO pinned"),
        (False, ONE, 404, "-TWO unpinned +ONE not_ryze"),
        (True, ONE, 200, "-TWO unpinned +ONE unreadable_answer"),
    ],
)
async def test_a_swap_pins_once_the_other_is_unpinned_and_puts_it_back_if_definitely_refused(
    stage: Stage, failing: Chat | None, status: int, expected: str, *, put_back: bool
) -> None:
    if failing:
        stage.ryze.fault(status=status, body=b"?", when=lambda call: call.number == failing.number)
    async with stage.queue() as queue:
        attempts = await queue.run(request(ONE, unpin_first=TWO, put_back=put_back))
    names = {(ONE, True): "+ONE", (TWO, False): "-TWO", (TWO, True): "+TWO"}
    steps = [f"{names[attempt.chat, attempt.pin]} {attempt.reply.outcome.name}" for attempt in attempts]
    assert (" ".join(steps), len(stage.ryze.calls)) == (expected, len(attempts))


async def test_observers_get_an_attempt_before_the_instances_next_request_runs_and_one_that_fails_breaks_nothing(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []
    stage.observers[:0] = [lambda attempt: [][attempt.part], lambda _: seen.append(len(stage.ryze.calls))]
    async with stage.queue() as queue:
        done = await asyncio.gather(queue.run(request(ONE, TWO)), queue.run(request(CHATS[2])))
    assert seen == [1, 2, 3]
    assert [*done[0], *done[1]] == stage.attempts
    assert [attempt.chat for attempt in stage.attempts] == list(CHATS[:3])
    assert caplog.text.count("IndexError") == 3


async def test_each_attempt_is_one_line_of_log_with_the_chat_masked(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "bot.ryze.queue")
    async with stage.queue() as queue:
        await queue.run(request(ONE))
        await queue.run(request(Chat("120363025246125486@g.us"), pin=False, sent=datetime.now(UTC) - LATE))
    lines = [record.getMessage() for record in caplog.records if record.name == "bot.ryze.queue"]
    who = "attempt operator=111 name='Ana' instance='sales'"
    assert len(lines) == 2
    assert re.fullmatch(rf"{who} action=pin chat=…0000 outcome=pinned ms=\d+", lines[0])
    assert re.fullmatch(rf"{who} action=unpin chat=…5486 outcome=late ms=\d+", lines[1])
