"""Long polling on a server with Telegram's semantics: nothing is lost, nobody is kept waiting, no error ends it."""

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
from bot.telegram.polling import Polling
from bot.telegram.updates import Timings, TokenRejected, Updates
from tests.sandbox.telegram import Call, TelegramServer
from tests.telegram.conftest import ANA, Reports

Caplog = pytest.LogCaptureFixture


class Line:
    """Polling on the stand-in, with a handler that a test can hold up by a message's text."""

    def __init__(self, telegram: TelegramServer, bot: Bot) -> None:
        self.telegram, self.bot, self.timings = telegram, bot, Timings()
        self.updates, self.reports = Updates(bot), Reports()
        self.polling = Polling(bot, self.updates, self.reports)
        self.begun: list[str] = []
        self.fresh: dict[str, bool] = {}
        self.done: list[str] = []
        self.held: dict[str, asyncio.Event] = {}
        self.updates.begin(self.handle)

    def say(self, *texts: str) -> None:
        for text in texts:
            self.telegram.message(ANA, text)

    def hold(self, *texts: str) -> None:
        self.held |= {text: asyncio.Event() for text in texts}

    async def handle(self, update: Update, fresh: bool) -> None:  # noqa: FBT001 - as `Updates` calls it
        text = str(update.message and update.message.text)
        self.begun.append(text)
        self.fresh[text] = fresh
        if text in self.held:
            await self.held[text].wait()
        self.done.append(text)

    @property
    def asked(self) -> list[Call]:
        return [call for call in self.telegram.calls if call.method == "getUpdates"]

    async def asks(self, times: int) -> None:
        since = len(self.asked)
        await self.telegram.wait_for(lambda: len(self.asked) >= since + times, what="asking again")

    async def begins(self, *texts: str) -> None:
        await self.telegram.wait_for(lambda: set(texts) <= set(self.begun), what=f"{texts} to begin")

    async def waits(self) -> None:
        """Wait until everything is confirmed and a long poll is held."""
        await self.telegram.wait_for(lambda: not self.telegram.pending and self.telegram._waiter, what="a long poll")

    async def does(self, *texts: str) -> None:
        """Wait until these are all that was handled."""
        await self.telegram.wait_for(lambda: self.done == list(texts), what=f"{texts}")

    async def hit(self, **fault: Any) -> None:  # noqa: ANN401 - what `TelegramServer.fault` takes
        """Have the long poll end, and the request after it fail."""
        order = self.telegram.fault("getUpdates", **fault)
        self.say("wakes the long poll")
        await self.telegram.wait_for(lambda: order.hits, what="the fault")

    async def another_confirms(self) -> None:
        """What another process does when it has handled the oldest update."""
        first = self.telegram.pending[0]
        await call_raw(self.bot, "getUpdates", {"offset": first + 1})
        assert first not in self.telegram.pending

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.polling.run(self.timings))
        try:
            yield task
        finally:
            await stopped(task)
            for event in self.held.values():
                event.set()
            await self.updates.finish(lambda _: False)


@pytest.fixture
async def line(telegram: TelegramServer, bot: Bot) -> Line:
    return Line(telegram, bot)


@pytest.fixture
async def quick(line: Line) -> Line:
    line.timings = Timings(first_pause=0.05, longest_pause=0.5, still=0)
    return line


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def lines(caplog: Caplog, part: str) -> int:
    return sum(part in record.message for record in caplog.records)


# Confirmed only once handled


async def test_an_update_is_confirmed_only_once_it_and_all_before_it_were_handled(line: Line) -> None:
    telegram = line.telegram
    async with line.running():
        await line.waits()
        line.hold("slow")
        line.say("first", "slow", "second")
        await telegram.wait_for(lambda: len(line.done) == 2 and len(telegram.pending) == 2, what="the fast ones")
        line.say("third")
        await telegram.wait_for(lambda: "third" in line.done, what="one more beside the slow one")
        since = len(line.asked)
        await line.asks(4)
        asked = line.asked[since:]
        assert len(telegram.pending) == 3
        line.held["slow"].set()
        await line.waits()
        assert not line.updates.unfinished
    assert line.begun == ["first", "slow", "second", "third"]
    # So early that it gets one update only is no request.
    assert {(call.params["offset"], call.params["timeout"]) for call in asked} == {(telegram.next_update_id - 3, 0)}
    assert min(b.at - a.at for a, b in pairwise(asked)) > 0.5


async def test_the_end_of_the_oldest_is_confirmed_without_waiting_for_the_next_turn(line: Line) -> None:
    line.telegram.clock = count(0, 1000).__next__  # no request is so early that it is given one update only
    line.timings = Timings(ask_again=1000)
    async with line.running():
        await line.waits()
        line.hold("slow", "slower")
        line.say("slow", "slower")
        await line.begins("slow", "slower")
        line.held["slow"].set()
        await line.telegram.wait_for(lambda: len(line.telegram.pending) == 1, what="the first one's confirmation")
        line.held["slower"].set()
        await line.waits()


async def test_more_updates_than_are_shown_at_once_are_handled_in_order_and_ids_may_restart_lower(quick: Line) -> None:
    quick.say(*map(str, range(250)))
    async with quick.running():
        await quick.waits()
        quick.telegram.next_update_id = 500
        quick.say(*map(str, range(250, 300)))
        await quick.does(*map(str, range(300)))
        await quick.waits()


async def test_an_update_that_cannot_be_read_is_confirmed_and_costs_its_batch_nothing(line: Line) -> None:
    async with line.running():
        await line.waits()
        line.say("before")
        line.telegram.push({"message": "no message at all"})
        line.say("after")
        await line.does("before", "after")
        await line.waits()
    assert line.asked[0].params["allowed_updates"] == ["message", "edited_message", "callback_query"]


async def test_only_what_a_long_poll_that_had_waited_a_second_brings_is_certainly_fresh(line: Line) -> None:
    line.say("backlog")
    async with line.running():
        await line.waits()
        line.say("soon")
        await line.waits()
        await line.telegram.wait_for(lambda: time.monotonic() - line.asked[-1].at > 1.1, what="a second")
        line.hold("waited")
        line.say("waited")
        await line.begins("waited")
        line.say("beside it")
        await line.begins("beside it")
    assert line.fresh == {"backlog": False, "soon": False, "waited": True, "beside it": False}


# A backlog at the start


async def test_a_backlog_is_begun_once_its_first_update_has_stayed_the_same_for_two_seconds(line: Line) -> None:
    line.say("old")
    async with line.running():
        await line.telegram.wait_for(line.polling.ready.is_set, what="the first answer")
        assert line.begun == []
        await line.does("old")
        assert time.monotonic() - line.asked[0].at >= 2
        await line.waits()


async def test_a_backlog_that_another_process_is_finishing_is_left_to_it(line: Line) -> None:
    line.say(*"01234")
    line.timings = Timings(still=3)
    async with line.running():
        for _ in range(5):
            await line.asks(1)
            await line.another_confirms()
        line.say("new")
        await line.does("new")


# No error ends it


@pytest.mark.parametrize(
    "fault",
    [
        *({"status": status} for status in (400, 401, 403, 404, 409, 429, 500)),
        {"status": 429, "body": b'{"ok":false,"parameters":{"retry_after":"soon"}}'},
        {"status": 429, "body": b'{"ok":false,"parameters":[7]}'},
        {"status": 502, "body": b"<html><h1>502 Bad Gateway</h1></html>"},
        {"status": 302, "body": b"", "headers": {"Location": "http://127.0.0.1:1/"}},
        {"body": b"[]"},
        {"body": b'{"ok":true,"result":\xff\xfe}'},
        {"body": b'{"ok":true,"result":true}'},
        {"body": b'{"ok":true,"result":[5,null,"x"]}'},
        {"body": b'{"ok":true,"result":[{"message":{}}]}'},
        {"body": b'{"ok":true,"result":' + b"[" * 100_000},
        {"raw": b"SSH-2.0-OpenSSH\r\n"},
        {"drop": "before"},
        {"drop": "mid"},
    ],
)
async def test_one_bad_answer_does_not_end_polling(quick: Line, fault: dict[str, Any]) -> None:
    async with quick.running() as running:
        await quick.waits()
        await quick.hit(**fault)
        quick.say("after")
        await quick.telegram.wait_for(lambda: len(quick.done) == 2, what="polling to go on")
        assert not running.done()
        await quick.waits()
    assert Counter(quick.begun) == {"wakes the long poll": 1, "after": 1}


async def test_an_outage_is_one_line_with_its_reason_and_one_when_it_is_over(quick: Line, caplog: Caplog) -> None:
    async with quick.running():
        await quick.waits()
        before = quick.polling.last_contact
        await quick.telegram.down()
        await quick.telegram.wait_for(lambda: quick.reports.count((False, 0.5)) >= 2, what="some tries")
        assert quick.polling.problem == "Telegram can't be reached"
        await quick.telegram.up()
        await quick.telegram.wait_for(lambda: quick.polling.problem == "", what="the end of the outage")
        assert quick.polling.last_contact > before
    assert lines(caplog, "Telegram can't be reached: ") == 1
    assert lines(caplog, "Telegram is back") == 1


async def test_pauses_double_up_to_the_longest_and_are_reported(line: Line) -> None:
    line.timings = Timings(first_pause=0.01, longest_pause=0.05)
    line.telegram.fault("getUpdates", status=500, times=5)
    async with line.running():
        await line.waits()
    assert line.reports[:6] == [*((False, pause) for pause in (0.01, 0.02, 0.04, 0.05, 0.05)), (True, 0.0)]


async def test_an_answer_that_comes_drop_by_drop_is_given_up(line: Line) -> None:
    line.timings = Timings(long_poll=0, answer=0.5)
    line.telegram.fault("getUpdates", body=b'{"ok":true,"result":[]}' + b" " * 10_000, drip=0.1)
    async with line.running():
        await line.asks(2)
    assert line.reports[0] == (False, 0.5)


async def test_flood_control_is_obeyed_and_reported(line: Line, caplog: Caplog) -> None:
    async with line.running():
        await line.waits()
        since = len(line.asked)
        await line.hit(status=429, retry_after=2)
        await line.telegram.wait_for(lambda: len(line.asked) >= since + 2, what="the request after the pause")
        assert line.asked[since + 1].at - line.asked[since].at >= 2
    assert lines(caplog, "Telegram can't be reached: Flood control exceeded") == 1
    assert (False, 2.0) in line.reports


async def test_empty_answers_that_come_at_once_do_not_make_it_spin(line: Line) -> None:
    line.telegram.fault("getUpdates", body=b'{"ok":true,"result":[]}', times=None)
    async with line.running():
        await line.asks(6)
    asked = line.asked[1:]  # after the first, which is not to be held
    assert min(b.at - a.at for a, b in pairwise(asked)) >= 0.1


async def test_a_lasting_rejection_of_the_token_ends_polling(line: Line, caplog: Caplog) -> None:
    line.timings = Timings(patience=0.2)
    async with line.running() as running:
        await line.waits()
        await line.hit(status=401, times=None)
        await line.telegram.wait_for(running.done, what="the end")
        assert isinstance(running.exception(), TokenRejected)
    assert lines(caplog, "Telegram rejects the bot's token") == 1


# Others with the same token


async def test_a_second_poller_is_named_once(quick: Line, caplog: Caplog) -> None:
    async with quick.running():
        for _ in range(3):
            await quick.waits()
            again = asyncio.create_task(quick.asks(2))
            with suppress(Conflict):
                await call_raw(quick.bot, "getUpdates", {"timeout": 1})
            await again
        await quick.waits()
        quick.say("still here")
        await quick.does("still here")
        assert quick.polling.problem == ""
    assert lines(caplog, "another process is polling with the same token") == 1


async def test_what_is_there_after_a_conflict_is_left_to_the_other_poller_first(line: Line) -> None:
    line.timings = Timings(first_pause=0.05, still=1000)
    async with line.running():
        await line.waits()
        await line.hit(status=409)
        line.say("the other one's")
        await line.asks(1)
        await line.another_confirms()
        await line.waits()
        line.say("ours")
        await line.does("wakes the long poll", "ours")


async def test_a_webhook_from_before_is_removed_and_what_was_pending_is_kept(quick: Line, caplog: Caplog) -> None:
    await quick.bot.set_webhook("http://127.0.0.1:9/hook")
    quick.telegram.fault("deleteWebhook", status=500)
    quick.telegram.fault("deleteWebhook", body=b"{}")
    quick.say("pending")
    async with quick.running():
        await quick.does("pending")
        await quick.waits()
    assert lines(caplog, "pending updates are kept") >= 1
    assert lines(caplog, "another process is polling") == 0


async def test_a_webhook_that_another_process_sets_is_removed_only_after_a_while(quick: Line, caplog: Caplog) -> None:
    quick.timings = Timings(first_pause=0.1, longest_pause=0.1, still=0, patience=2)
    async with quick.running():
        await quick.waits()
        await quick.bot.set_webhook("http://127.0.0.1:9/hook")
        set_at = time.monotonic()
        quick.say("pending")
        await quick.does("pending")
    removed = next(call.at for call in quick.telegram.calls if call.method == "deleteWebhook")
    assert removed - set_at >= 2
    assert lines(caplog, "another process") == 1


# The last confirmation


async def test_a_stop_confirms_what_was_handled_since_the_latest_request(line: Line) -> None:
    line.telegram.clock = count(0, 1000).__next__  # no request is so early that it is given one update only
    line.timings = Timings(ask_again=1000)
    async with line.running() as running:
        await line.waits()
        line.hold("one", "two", "three")
        line.say("one", "two", "three")
        await line.begins("one", "two", "three")
        await stopped(running)
        line.held["one"].set()
        line.held["three"].set()
        await line.telegram.wait_for(lambda: len(line.done) == 2, what="two to finish")
        await line.updates.finish(lambda _: False, 0.05)
        await line.polling.confirm()
        assert list(line.updates.unfinished) == line.telegram.pending[:1]
        assert len(line.telegram.pending) == 2


async def test_a_stop_at_rest_is_quiet_and_short(line: Line, caplog: Caplog) -> None:
    async with line.running() as running:
        await line.waits()
        line.say("one")
        await line.waits()
        await stopped(running)
        begun = time.monotonic()
        await line.polling.confirm()
        assert time.monotonic() - begun < 1.5
    assert lines(caplog, "could not be confirmed") == 0


async def test_a_long_poll_that_did_not_arrive_has_its_offset_sent_again(line: Line) -> None:
    async with line.running() as running:
        await line.waits()
        fault = line.telegram.fault("getUpdates", drop="before", hang=True)
        line.say("one")
        await line.telegram.wait_for(lambda: fault.hits, what="the long poll that does not arrive")
        await stopped(running)
        await line.polling.confirm()
        assert line.telegram.pending == []


@pytest.mark.parametrize("fault", [{"status": 500}, {"hang": True}])
async def test_a_confirmation_that_fails_is_one_line(line: Line, caplog: Caplog, fault: dict[str, Any]) -> None:
    async with line.running() as running:
        await line.waits()
        line.hold("one")
        line.say("one")
        await line.begins("one")
        await stopped(running)
        line.held["one"].set()
        await line.does("one")
        line.telegram.fault("getUpdates", **fault)
        await line.polling.confirm()
        assert len(line.telegram.pending) == 1
    assert lines(caplog, "could not be confirmed") == 1
