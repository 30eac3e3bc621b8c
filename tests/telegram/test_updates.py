"""Each update is handled once, in order, whatever a handler does; a stop finishes what has begun."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Coroutine
from typing import Any

import pytest
from telegram import Bot, Update

from bot.telegram.updates import OVERLOADED, REMEMBERED, Polling
from tests.telegram.conftest import Reports, raw_update

Task = asyncio.Task[None]


class Handler:
    """Notes what it is given. Updates below 100 take turns, and each ends when a test lets it."""

    def __init__(self) -> None:
        self.given: list[tuple[int, bool]] = []
        self.done: list[int] = []
        self.waiting: set[Task | None] = set()
        self.error: BaseException | None = None
        self.error_when_cancelled: BaseException = asyncio.CancelledError()
        self._gates: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._turn = asyncio.Lock()
        self.updates = Polling(Bot("123456:never-called"), Reports())
        self.updates._handle = self.handle

    async def handle(self, update: Update, fresh: bool) -> None:  # noqa: FBT001 - as `Updates` calls it
        number = update.update_id
        self.given.append((number, fresh))
        if self.error:
            raise self.error
        if number >= 100:
            await self._work(number)
            return
        self.waiting.add(asyncio.current_task())
        async with self._turn:
            self.waiting.discard(asyncio.current_task())
            await self._work(number)

    async def _work(self, number: int) -> None:
        try:
            await self._gates[number].wait()
        except asyncio.CancelledError:
            raise self.error_when_cancelled from None
        self.done.append(number)

    def let(self, *numbers: int) -> None:
        for number in numbers:
            self._gates[number].set()

    async def ends(self, *numbers: int) -> None:
        self.let(*numbers)
        async with asyncio.timeout(30):
            await asyncio.wait(self.accept(*numbers))

    def accept(self, *numbers: int) -> list[Task]:
        return [self.updates._accept(raw_update(number)) for number in numbers]

    def finish(self, *seconds: float) -> Coroutine[Any, Any, None]:
        return self.updates.finish(lambda task: task in self.waiting, *seconds)


@pytest.fixture
async def handler() -> Handler:
    return Handler()


async def test_each_update_is_begun_once_in_the_order_of_arrival(handler: Handler) -> None:
    handler.updates._accept(raw_update(107))
    handler.updates._accept(raw_update(108), fresh=True)
    last = handler.updates._accept(raw_update(103))
    assert handler.updates._accept(raw_update(103), fresh=True) is last
    assert list(handler.updates.unfinished) == [107, 108, 103]
    await asyncio.sleep(0)
    assert handler.given == [(107, False), (108, True), (103, False)]
    await handler.ends(103)
    assert list(handler.updates.unfinished) == [107, 108]
    assert handler.updates._accept(raw_update(103)) is last
    await handler.finish(0)


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, SystemExit, None])
async def test_a_failure_is_logged_and_costs_only_its_update(
    handler: Handler, error: type[BaseException] | None, caplog: pytest.LogCaptureFixture
) -> None:
    handler.error = error() if error else None
    spoilt = raw_update(7) if error else {"update_id": 7, "message": "text"}
    await asyncio.wait([handler.updates._accept(spoilt)], timeout=30)
    handler.error = None
    await handler.ends(8)
    assert not handler.updates.unfinished
    assert handler.done == [8]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.message == "update 7 failed and is skipped"
    assert record.exc_info


async def test_eighty_unfinished_are_an_overload_and_a_thousand_are_known(handler: Handler) -> None:
    await handler.ends(*range(1000, 1000 + REMEMBERED))
    handler.accept(*range(500, 500 + OVERLOADED - 1))
    assert not handler.updates.overloaded()
    handler.accept(900)
    assert handler.updates.overloaded()
    await handler.ends(900, 1000 + REMEMBERED - 1)
    assert not handler.updates.overloaded()
    assert len(handler.updates._known) == REMEMBERED
    assert len(handler.given) == REMEMBERED + OVERLOADED
    await handler.finish(0)


@pytest.mark.parametrize(
    ("accepted", "done_before", "finished"),
    [
        ([1, 2, 3], [], [1]),  # 1 has its turn, the others wait for it
        ([1, 2, 101, 3], [], [1, 2, 101]),  # what waits before the newest begun is finished too
        ([1, 2, 101, 3], [101], [1, 2, 101]),  # one that is finished had begun
        ([], [], []),
    ],
)
async def test_a_stop_finishes_what_is_up_to_the_newest_begun_and_leaves_the_rest(
    handler: Handler, accepted: list[int], done_before: list[int], finished: list[int]
) -> None:
    handler.accept(*accepted)
    await asyncio.sleep(0)
    handler.let(*done_before)
    stop = asyncio.create_task(handler.finish())
    for _ in range(5):  # it cancels before anything else ends
        await asyncio.sleep(0)
    handler.let(*accepted)
    await stop
    assert sorted(handler.done) == finished
    assert list(handler.updates.unfinished) == [number for number in accepted if number not in finished]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), OSError("the clearing up failed")])
async def test_what_does_not_finish_in_time_stays_unfinished(handler: Handler, error: BaseException) -> None:
    handler.error_when_cancelled = error
    (task,) = handler.accept(101)
    await handler.finish(0.05)
    assert task.cancelled()
    assert handler.updates.unfinished == {101: task}
