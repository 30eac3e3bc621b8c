"""The intake: each update begun once, in order; whatever a handler does, the next one works."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from telegram import Bot, Update

from bot import intake as intake_module
from bot.intake import CROWDED, Intake, Pending

Handle = Callable[[Update, Pending], Awaitable[None]]


def raw(update_id: int, text: str = "/help") -> dict[str, Any]:
    user = {"id": 111, "is_bot": False, "first_name": "Ana"}
    chat = {"id": 111, "type": "private", "first_name": "Ana"}
    return {
        "update_id": update_id,
        "message": {"message_id": update_id, "date": 1, "from": user, "chat": chat, "text": text},
    }


def begun(handle: Handle) -> Intake:
    intake = Intake(Bot("123456:never-asked"))
    intake.begin(handle)
    return intake


async def ended(*pendings: Pending) -> None:
    async with asyncio.timeout(30):
        await asyncio.wait([pending.task for pending in pendings if pending.task])


async def test_updates_are_begun_in_the_order_in_which_they_are_given() -> None:
    seen = []

    async def handle(update: Update, _pending: Pending) -> None:
        seen.append(update.update_id)

    intake = begun(handle)
    await ended(*[intake.accept(raw(update_id)) for update_id in (7, 8, 3, 4)])
    assert seen == [7, 8, 3, 4]


async def test_a_known_update_is_not_begun_again_but_is_the_same_pending() -> None:
    seen = []

    async def handle(update: Update, _pending: Pending) -> None:
        seen.append(update.update_id)

    intake = begun(handle)
    first = intake.accept(raw(7))
    assert intake.accept(raw(7)) is first
    await ended(first)
    assert intake.accept(raw(7)) is first
    assert seen == [7]


async def test_the_handler_is_given_the_update_and_its_pending() -> None:
    seen = []

    async def handle(update: Update, pending: Pending) -> None:
        assert update.message
        seen.append((update.message.text, pending))

    intake = begun(handle)
    pending = intake.accept(raw(7, "hello"))
    assert intake.unfinished == [pending]
    await ended(pending)
    assert seen == [("hello", pending)]
    assert pending.finished
    assert intake.unfinished == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"message": "text"},
        {"message": {"message_id": 1}},
        {"message": [[]]},
        {"callback_query": {"id": "1", "from": 5}},
        {"message": {"message_id": 1, "date": 10**30, "chat": {"id": 1, "type": "private"}}},
    ],
)
async def test_an_update_that_cannot_be_read_is_logged_and_counts_as_handled(
    wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(_update: Update, _pending: Pending) -> None:
        raise AssertionError("nothing to handle")

    intake = begun(handle)
    pending = intake.accept({"update_id": 7, **wrong})
    assert pending.finished
    assert pending.task is None
    assert "update 7 can't be read" in caplog.text
    assert intake.accept({"update_id": 7, **wrong}) is pending


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, SystemExit, KeyboardInterrupt, GeneratorExit])
async def test_whatever_a_handler_raises_costs_only_its_update(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(update: Update, _pending: Pending) -> None:
        if update.update_id == 7:
            raise error

    intake = begun(handle)
    failed, next_one = intake.accept(raw(7)), intake.accept(raw(8))
    await ended(failed, next_one)
    assert failed.finished
    assert next_one.finished
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.message for record in records] == ["update 7 failed and is passed over"]
    assert records[0].exc_info


async def test_a_crowd_is_eighty_unfinished_updates_whatever_else_is_known() -> None:
    gate = asyncio.Event()

    async def handle(update: Update, _pending: Pending) -> None:
        if update.update_id <= CROWDED:
            await gate.wait()

    intake = begun(handle)
    held = [intake.accept(raw(update_id)) for update_id in range(1, CROWDED)]
    await ended(*[intake.accept(raw(update_id)) for update_id in range(500, 500 + CROWDED)])
    assert not intake.crowded()
    held.append(intake.accept(raw(CROWDED)))
    assert intake.crowded()
    gate.set()
    await ended(*held)
    assert not intake.crowded()


class Lane:
    """A handler that does one update at a time, each when it is let."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.let: set[int] = set()
        self.changed = asyncio.Condition()
        self.done: list[int] = []

    async def handle(self, update: Update, pending: Pending) -> None:
        if update.update_id < 100:  # the others need no lane
            pending.waiting = True
            async with self.lock:
                pending.waiting = False
                await self.work(update.update_id)
        else:
            await self.work(update.update_id)

    async def work(self, update_id: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: update_id in self.let)
        self.done.append(update_id)

    async def permit(self, *update_ids: int) -> None:
        async with self.changed:
            self.let.update(update_ids)
            self.changed.notify_all()


async def test_a_stop_finishes_what_has_begun_and_leaves_what_waits_for_its_lane() -> None:
    lane = Lane()
    intake = begun(lane.handle)
    running, *waiting = [intake.accept(raw(update_id)) for update_id in (1, 2, 3)]
    stop = asyncio.create_task(intake.finish())
    await ended(*waiting)
    assert not stop.done()
    await lane.permit(1, 2, 3)
    await stop
    assert lane.done == [1]
    assert [running.finished, *[pending.finished for pending in waiting]] == [True, False, False]
    assert [pending.task.cancelled() for pending in waiting if pending.task] == [True, True]


async def test_a_stop_also_finishes_what_waits_before_the_newest_begun() -> None:
    lane = Lane()
    intake = begun(lane.handle)
    one, two, other, last = [intake.accept(raw(update_id)) for update_id in (1, 2, 101, 3)]
    stop = asyncio.create_task(intake.finish())
    await ended(last)
    await lane.permit(1, 2, 3, 101)
    await stop
    assert sorted(lane.done) == [1, 2, 101]
    assert [one.finished, two.finished, other.finished, last.finished] == [True, True, True, False]


async def test_a_finished_update_counts_as_begun_so_that_those_before_it_are_finished() -> None:
    lane = Lane()
    intake = begun(lane.handle)
    one, two, other = [intake.accept(raw(update_id)) for update_id in (1, 2, 101)]
    await asyncio.sleep(0)
    await lane.permit(101)
    await ended(other)
    stop = asyncio.create_task(intake.finish())
    await lane.permit(1, 2)
    await stop
    assert lane.done == [101, 1, 2]
    assert one.finished
    assert two.finished


async def test_what_does_not_finish_in_time_is_cancelled_and_never_counts_as_finished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake_module, "FINISHING", 0.05)
    lane = Lane()
    intake = begun(lane.handle)
    pending = intake.accept(raw(101))
    await intake.finish()
    assert pending.task
    assert pending.task.cancelled()
    assert not pending.finished
    assert intake.unfinished == [pending]


async def test_a_handler_that_fails_while_it_is_cancelled_stays_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "FINISHING", 0.05)

    async def handle(_update: Update, _pending: Pending) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("the clearing up failed")

    intake = begun(handle)
    pending = intake.accept(raw(7))
    await intake.finish()
    assert pending.task
    assert pending.task.cancelled()
    assert not pending.finished


async def test_a_handler_that_clings_to_life_does_not_hold_the_stop_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "FINISHING", 0.05)
    monkeypatch.setattr(intake_module, "CANCELLING", 0.05)
    gate = asyncio.Event()

    async def handle(_update: Update, _pending: Pending) -> None:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue

    intake = begun(handle)
    pending = intake.accept(raw(7))
    async with asyncio.timeout(30):
        await intake.finish()
    assert not pending.finished
    gate.set()
    await ended(pending)


async def test_a_stop_at_rest_is_immediate() -> None:
    async def handle(_update: Update, _pending: Pending) -> None:
        return

    intake = begun(handle)
    await intake.finish()
    await ended(intake.accept(raw(7)))
    await intake.finish()
    assert intake.unfinished == []


def test_a_stop_takes_well_under_twenty_seconds() -> None:
    assert intake_module.FINISHING == 15
    assert intake_module.FINISHING + intake_module.CANCELLING < 17
