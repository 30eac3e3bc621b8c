"""Long polling: nothing is lost, nobody is kept waiting, no error ends it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count, pairwise
from typing import Any

import pytest
from telegram import Bot, Update
from telegram.error import Conflict

from bot.telegram.outbox import call_raw
from bot.telegram.updates import Polling, TokenRejected
from tests.sandbox.telegram import Call, TelegramServer
from tests.telegram.conftest import ANA, Reports

Caplog = pytest.LogCaptureFixture


class Line:
    """Polling on the stand-in, with a handler that a test can hold up by a message's text."""

    def __init__(self, telegram: TelegramServer, bot: Bot) -> None:
        self.telegram, self.bot, self.reports = telegram, bot, Reports()
        self.wait_for, self.fault = telegram.wait_for, telegram.fault
        self.polling = Polling(bot, self.reports)
        self.polling.first_pause, self.polling.still = 0.025, 0
        self.begun: dict[str, bool] = {}  # whether it was fresh, by the text
        self.done: list[str] = []
        self.held: dict[str, asyncio.Event] = {}

    def say(self, *texts: str) -> None:
        for text in texts:
            self.telegram.message(ANA, text)

    def hold(self, *texts: str) -> None:
        self.held |= {text: asyncio.Event() for text in texts}

    async def handle(self, update: Update, fresh: bool) -> None:  # noqa: FBT001 - as `Updates` calls it
        text = str(update.message and update.message.text)
        self.begun[text] = fresh
        if text in self.held:
            await self.held[text].wait()
        self.done.append(text)

    @property
    def asked(self) -> list[Call]:
        return [call for call in self.telegram.calls if call.method == "getUpdates"]

    async def asks(self, times: int) -> None:
        since = len(self.asked)
        await self.wait_for(lambda: len(self.asked) >= since + times, what="asking")

    async def begins(self, *texts: str) -> None:
        await self.wait_for(lambda: set(texts) <= self.begun.keys(), what=f"{texts} to begin")

    async def waits(self) -> None:
        """Wait until everything is confirmed and a long poll is held."""
        await self.wait_for(lambda: not self.telegram.pending and self.telegram._waiter, what="a long poll")

    async def does(self, *texts: str) -> None:
        """Wait until these are all that was handled."""
        await self.wait_for(lambda: self.done == list(texts), what=f"{texts}")

    async def hit(self, **fault: Any) -> None:  # noqa: ANN401 - what `TelegramServer.fault` takes
        """Have the request after the long poll fail."""
        order = self.fault("getUpdates", **fault)
        self.say("wakes the long poll")
        await self.wait_for(lambda: order.hits, what="the fault")

    async def another_confirms(self) -> None:
        """As another process that has handled the oldest update."""
        first = self.telegram.pending[0]
        await call_raw(self.bot, "getUpdates", {"offset": first + 1})
        assert first not in self.telegram.pending

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.polling.run(self.handle))
        try:
            yield task
        finally:
            await stopped(task)
            for event in self.held.values():
                event.set()
            await self.polling.finish(lambda _: False)


@pytest.fixture
async def line(telegram: TelegramServer, bot: Bot) -> Line:
    return Line(telegram, bot)


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def lines(caplog: Caplog, part: str) -> int:
    return sum(part in record.message for record in caplog.records)


# Confirmed only once handled


async def test_an_update_is_confirmed_only_once_it_and_all_before_it_were_handled(line: Line) -> None:
    pending = line.telegram._updates
    async with line.running():
        await line.waits()
        line.hold("slow")
        line.say("first", "slow", "second")
        await line.wait_for(lambda: len(line.done) == len(pending) == 2, what="the fast ones")
        line.say("third")
        await line.wait_for(lambda: "third" in line.done, what="the third")
        since = len(line.asked)
        await line.asks(4)
        asked, oldest = line.asked[since:], next(iter(pending))
        assert len(pending) == 3
        line.held["slow"].set()
        await line.waits()
        assert not line.polling.unfinished
    assert list(line.begun) == ["first", "slow", "second", "third"]
    assert line.asked[0].params["allowed_updates"] == ["message", "edited_message", "callback_query"]
    # No request comes so early that it gets one update only.
    assert {(call.params["offset"], call.params["timeout"]) for call in asked} == {(oldest, 0)}
    assert min(b.at - a.at for a, b in pairwise(asked)) > 0.5


async def test_the_end_of_the_oldest_is_confirmed_at_once(line: Line) -> None:
    line.telegram.clock = count(0, 1000).__next__  # no request comes too early
    line.polling.ask_again = 1000
    async with line.running():
        await line.waits()
        line.hold("slow", "slower")
        line.say("slow", "slower")
        await line.begins("slow", "slower")
        line.held["slow"].set()
        await line.wait_for(lambda: len(line.telegram.pending) == 1, what="one confirmation")
        line.held["slower"].set()
        await line.waits()


async def test_many_updates_keep_their_order_and_ids_may_restart_lower(line: Line) -> None:
    line.say(*map(str, range(250)))
    async with line.running():
        await line.waits()
        line.telegram.next_update_id = 500
        line.say(*map(str, range(250, 300)))
        await line.does(*map(str, range(300)))
        await line.waits()


async def test_only_what_a_long_poll_brings_after_a_second_is_fresh(line: Line) -> None:
    line.say("backlog")
    async with line.running():
        await line.waits()
        line.say("soon")
        await line.waits()
        await line.wait_for(lambda: time.monotonic() - line.asked[-1].at > 1.1, what="a second")
        line.hold("waited")
        line.say("waited")
        await line.begins("waited")
        line.say("beside it")
        await line.begins("beside it")
    assert line.begun == {"backlog": False, "soon": False, "waited": True, "beside it": False}


# A backlog at the start


async def test_a_backlog_is_begun_after_two_seconds_without_change(line: Line) -> None:
    line.polling.still = Polling.still
    line.say("old")
    async with line.running():
        await line.wait_for(line.polling.ready.is_set, what="the first answer")
        assert line.begun == {}
        await line.does("old")
        assert time.monotonic() - line.asked[0].at >= 2
        await line.waits()


async def test_what_another_process_is_finishing_is_left_to_it(line: Line) -> None:
    line.polling.still = 1000
    line.say(*"123")
    async with line.running():
        for _ in range(3):
            await line.asks(1)
            await line.another_confirms()
        await line.waits()
        await line.hit(status=409)
        line.say("the other one's")
        await line.asks(1)
        await line.another_confirms()
        await line.waits()
        line.say("ours")
        await line.does("wakes the long poll", "ours")


# No error ends it


@pytest.mark.parametrize(
    "fault",
    [
        *({"status": status} for status in (400, 401, 403, 404, 409, 429, 500)),
        *({"status": 429, "body": b'{"parameters":%s}' % wrong} for wrong in (b'{"retry_after":"soon"}', b"[7]")),
        {"status": 502, "body": b"<html><h1>502 Bad Gateway</h1></html>"},
        {"status": 302, "body": b"", "headers": {"Location": "http://127.0.0.1:1/"}},
        *({"body": b'{"ok":true,"result":%s}' % wrong} for wrong in (b"\xff\xfe", b"true", b"[5,null]", b'[{"a":1}]')),
        *({"body": wrong} for wrong in (b"[]", b"[" * 100_000)),
        {"raw": b"SSH-2.0-OpenSSH\r\n"},
        *({"drop": moment} for moment in ("before", "mid")),
    ],
)
async def test_one_bad_answer_does_not_end_polling(line: Line, fault: dict[str, Any]) -> None:
    async with line.running() as running:
        await line.waits()
        await line.hit(**fault)
        line.say("after")
        await line.wait_for(lambda: len(line.done) == 2, what="both")
        assert not running.done()
        await line.waits()
    assert Counter(line.done) == {"wakes the long poll": 1, "after": 1}


async def test_an_outage_is_a_line_at_its_start_and_at_its_end(line: Line, caplog: Caplog) -> None:
    async with line.running():
        await line.waits()
        before = line.polling.last_contact
        await line.telegram.down()
        await line.wait_for(lambda: line.reports.count((False, 0.5)) >= 2, what="some tries")
        assert line.polling.problem == "Telegram can't be reached"
        await line.telegram.up()
        await line.wait_for(lambda: line.polling.problem == "", what="its end")
        assert line.polling.last_contact > before
    assert lines(caplog, "Telegram can't be reached: ") == 1
    assert lines(caplog, "Telegram is back") == 1


async def test_pauses_double_up_to_a_maximum_or_are_as_telegram_asks(line: Line) -> None:
    line.polling.first_pause = 0.01
    line.fault("getUpdates", status=500, times=7)
    line.fault("getUpdates", status=429, retry_after=1)
    async with line.running():
        await line.waits()
    pauses = (0.01, 0.02, 0.04, 0.08, 0.16, 0.2, 0.2, 1.0)
    assert line.reports[:9] == [*((False, pause) for pause in pauses), (True, 0.0)]
    assert line.asked[8].at - line.asked[7].at >= 1


async def test_empty_answers_that_come_at_once_do_not_make_it_spin(line: Line) -> None:
    line.fault("getUpdates", body=b'{"ok":true,"result":[]}', times=None)
    async with line.running():
        await line.asks(6)
    assert min(b.at - a.at for a, b in pairwise(line.asked[1:])) >= 0.1


async def test_a_lasting_rejection_of_the_token_ends_polling(line: Line, caplog: Caplog) -> None:
    line.polling.patience = 0.2
    async with line.running() as running:
        await line.waits()
        await line.hit(status=401, times=None)
        await line.wait_for(running.done, what="the end")
        assert isinstance(running.exception(), TokenRejected)
    assert lines(caplog, "Telegram rejects the bot's token") == 1


# Others with the same token


async def test_a_second_poller_is_named_once(line: Line, caplog: Caplog) -> None:
    async with line.running():
        for _ in range(3):
            await line.waits()
            again = asyncio.create_task(line.asks(2))
            with suppress(Conflict):
                await call_raw(line.bot, "getUpdates", {"timeout": 1})
            await again
        await line.waits()
        line.say("still here")
        await line.does("still here")
        assert line.polling.problem == ""
    assert lines(caplog, "another process is polling with the same token") == 1


async def test_a_webhook_from_before_is_removed_and_nothing_lost(line: Line, caplog: Caplog) -> None:
    await line.bot.set_webhook("http://127.0.0.1:9/hook")
    line.fault("deleteWebhook", status=500)
    line.fault("deleteWebhook", body=b"{}")
    line.say("pending")
    async with line.running():
        await line.does("pending")
        await line.waits()
    assert lines(caplog, "pending updates are kept") >= 1
    assert lines(caplog, "another process is polling") == 0


async def test_a_webhook_of_another_process_is_removed_after_a_while(line: Line, caplog: Caplog) -> None:
    line.polling.patience = 2
    async with line.running():
        await line.waits()
        await line.bot.set_webhook("http://127.0.0.1:9/hook")
        set_at = time.monotonic()
        line.say("pending")
        await line.does("pending")
    removed = next(call.at for call in line.telegram.calls if call.method == "deleteWebhook")
    assert removed - set_at >= 2
    assert lines(caplog, "another process") == 1


# The last confirmation


async def test_a_stop_confirms_what_was_handled_since_the_latest_request(line: Line) -> None:
    line.telegram.clock = count(0, 1000).__next__  # no request comes too early
    line.polling.ask_again = 1000
    async with line.running() as running:
        await line.waits()
        line.hold("one", "two", "three")
        line.say("one", "two", "three")
        await line.begins("one", "two", "three")
        await stopped(running)
        line.held["one"].set()
        line.held["three"].set()
        await line.wait_for(lambda: len(line.done) == 2, what="two")
        await line.polling.finish(lambda _: False, 0.05)
        await line.polling.confirm()
        assert list(line.polling.unfinished) == line.telegram.pending[:1]
        assert len(line.telegram.pending) == 2


async def test_a_long_poll_that_did_not_arrive_has_its_offset_sent_again(line: Line) -> None:
    async with line.running() as running:
        await line.waits()
        fault = line.fault("getUpdates", drop="before", hang=True)
        line.say("one")
        await line.wait_for(lambda: fault.hits, what="the long poll")
        await stopped(running)
        await line.polling.confirm()
        assert line.telegram.pending == []
