"""Long polling against a server with Telegram's semantics: nothing lost, nobody kept waiting, never deaf."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import Counter
from contextlib import asynccontextmanager
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from telegram import Bot, Update

from bot import polling as polling_module
from bot.intake import Intake, Pending, TokenRejected
from bot.polling import Polling
from bot.transport import TelegramRequest, client
from bot.watchdog import Watchdog
from tests.sandbox.telegram import Call, TelegramServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sandbox.server import Fault

ANA = 111
RIVAL = "another process is polling with the same token"


class Line:
    """Polling and intake on the stand-in, with a handler that a test can hold up by a message's text."""

    def __init__(self, telegram: TelegramServer, watchdog: Watchdog) -> None:
        self.telegram = telegram
        # Reading certificates takes its time.
        self.request = TelegramRequest(client(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), 4))
        url = f"{telegram.url}/bot"
        self.bot = Bot(telegram.token, url, request=self.request, get_updates_request=self.request)
        self.intake = Intake(self.bot)
        self.polling = Polling(self.bot, self.intake, watchdog)
        self.begun: list[str] = []
        self.begun_at: dict[str, float] = {}
        self.done: list[str] = []
        self.held: dict[str, asyncio.Event] = {}
        self.intake.begin(self.handle)

    def hold(self, text: str) -> asyncio.Event:
        return self.held.setdefault(text, asyncio.Event())

    async def handle(self, update: Update, _pending: Pending) -> None:
        text = str(update.message and update.message.text)
        self.begun.append(text)
        self.begun_at[text] = time.monotonic()
        if text in self.held:
            await self.held[text].wait()
        self.done.append(text)

    @property
    def asked(self) -> list[Call]:
        return [call for call in self.telegram.calls if call.method == "getUpdates"]

    async def asks(self, times: int) -> None:
        since = len(self.asked)
        await self.telegram.wait_for(lambda: len(self.asked) >= since + times, what="asking again")

    async def waits(self) -> None:
        """Wait until everything is confirmed and a long poll is held."""
        await self.telegram.wait_for(
            lambda: not self.telegram.pending and self.telegram._waiter is not None, what="a long poll"
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        await self.bot.initialize()
        task = asyncio.create_task(self.polling.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])
            for event in self.held.values():
                event.set()
            await self.intake.finish()
            await self.request.shutdown()


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramServer]:
    async with TelegramServer() as telegram:
        yield telegram


@pytest.fixture
async def line(telegram: TelegramServer) -> AsyncIterator[Line]:
    with Watchdog(end=lambda _: None) as watchdog:
        line = Line(telegram, watchdog)
        yield line
        await line.request.shutdown()


async def hit(telegram: TelegramServer, fault: Fault[Call]) -> None:
    await telegram.wait_for(lambda: fault.hits, what="the fault")


def says(caplog: pytest.LogCaptureFixture, part: str) -> int:
    return sum(part in record.message for record in caplog.records)


def unlimited(telegram: TelegramServer) -> None:
    """Have no request be so early that it is given one update only."""
    telegram.clock = count(0, 1000).__next__


# Confirmed only once handled


async def test_an_update_is_confirmed_only_once_it_was_handled(line: Line, telegram: TelegramServer) -> None:
    async with line.running():
        await line.waits()
        held = line.hold("slow")
        telegram.message(ANA, "slow")
        before = len(line.asked)
        await telegram.wait_for(lambda: len(line.asked) > before + 2, what="asking again")
        assert len(telegram.pending) == 1
        held.set()
        await line.waits()
    assert line.begun == ["slow"]


async def test_what_came_after_the_oldest_unfinished_update_is_handled_once_and_confirmed_with_it(
    line: Line, telegram: TelegramServer
) -> None:
    async with line.running():
        await line.waits()
        held = line.hold("slow")
        for text in ("first", "slow", "second", "third"):
            telegram.message(ANA, text)
        await telegram.wait_for(lambda: len(line.done) == 3 and len(telegram.pending) == 3, what="the fast ones")
        telegram.message(ANA, "fourth")
        await telegram.wait_for(lambda: "fourth" in line.done, what="one more beside the slow one")
        assert len(telegram.pending) == 4
        held.set()
        await line.waits()
        assert line.intake.unfinished == []
    assert line.begun == ["first", "slow", "second", "third", "fourth"]


async def test_while_something_is_unfinished_no_request_is_so_early_that_it_gets_one_update_only(
    line: Line, telegram: TelegramServer
) -> None:
    async with line.running():
        await line.waits()
        held = line.hold("slow")
        telegram.message(ANA, "slow")
        await telegram.wait_for(lambda: "slow" in line.begun, what="the slow one")
        since = len(line.asked)
        await telegram.wait_for(lambda: len(line.asked) >= since + 5, what="asking again")
        asked = line.asked[since:]
        assert len({call.params["offset"] for call in asked}) == 1
        assert all(call.params["timeout"] == 0 for call in asked)
        assert min(b.at - a.at for a, b in pairwise(asked)) > 0.5
        held.set()


async def test_the_end_of_the_oldest_is_confirmed_without_waiting_for_the_next_turn(
    line: Line, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlimited(telegram)
    monkeypatch.setattr(polling_module, "ASK_AGAIN", 1000)
    async with line.running():
        await line.waits()
        slow, slower = line.hold("slow"), line.hold("slower")
        telegram.message(ANA, "slow")
        telegram.message(ANA, "slower")
        await telegram.wait_for(lambda: len(line.begun) == 2, what="both")
        slow.set()
        await telegram.wait_for(lambda: len(telegram.pending) == 1, what="the first one's confirmation")
        slower.set()
        await line.waits()


async def test_many_short_commands_do_not_have_the_same_updates_fetched_for_each_of_them(
    line: Line, telegram: TelegramServer
) -> None:
    """Each request shows all that is unfinished again, so two of them lie apart while anything is."""
    async with line.running():
        await line.waits()
        texts = [f"short {number}" for number in range(100)]
        for text in texts:
            line.hold(text)
            telegram.message(ANA, text)
        last = line.hold("last")
        await telegram.wait_for(lambda: len(line.begun) == 100, what="all to begin")
        telegram.message(ANA, "last")
        since = len(line.asked)
        for text in texts[:60]:
            line.held[text].set()
            await asyncio.sleep(0.002)
        await telegram.wait_for(lambda: "last" in line.begun, what="the last to begin")
        asked = line.asked[since:]
        for text in texts[60:]:
            line.held[text].set()
        assert min(b.at - a.at for a, b in pairwise(asked)) >= polling_module.BREATH
        last.set()
        await line.waits()
    assert sorted(line.begun) == sorted([*texts, "last"])


async def test_more_updates_than_telegram_shows_at_a_time_are_all_handled_in_order(
    line: Line, telegram: TelegramServer
) -> None:
    for number in range(350):
        telegram.message(ANA, str(number))
    async with line.running():
        await line.waits()
    assert line.begun == [str(number) for number in range(350)]


async def test_ids_that_restart_lower_are_handled_and_confirmed(line: Line, telegram: TelegramServer) -> None:
    async with line.running():
        await line.waits()
        telegram.message(ANA, "high")
        await line.waits()
        telegram.next_update_id = 500
        telegram.message(ANA, "low")
        telegram.message(ANA, "lower")
        await telegram.wait_for(lambda: line.begun == ["high", "low", "lower"], what="the low ids")
        await line.waits()


async def test_an_update_that_cannot_be_read_costs_its_batch_nothing(
    line: Line, telegram: TelegramServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with line.running():
        await line.waits()
        telegram.message(ANA, "before")
        telegram.push({"message": "no message at all"})
        telegram.message(ANA, "after")
        await telegram.wait_for(lambda: line.done == ["before", "after"], what="its neighbours")
        await line.waits()
    assert says(caplog, "can't be read") == 1


async def test_a_batch_of_nothing_but_what_cannot_be_read_is_confirmed(line: Line, telegram: TelegramServer) -> None:
    async with line.running():
        await line.waits()
        telegram.push({"message": [1, 2]})
        await line.waits()


async def test_edits_and_presses_are_asked_for_and_channel_posts_are_not(line: Line) -> None:
    async with line.running():
        await line.waits()
        assert line.asked[0].params["allowed_updates"] == ["message", "edited_message", "callback_query"]


# A backlog at the start


async def test_without_a_backlog_nothing_is_delayed(
    line: Line, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling_module, "STILL", 1000)
    monkeypatch.setattr(polling_module, "LONGEST_STILL", 1000)
    async with line.running():
        await telegram.wait_for(lambda: line.asked, what="the first request")
        telegram.message(ANA, "fresh")
        await telegram.wait_for(lambda: line.done == ["fresh"], what="the message")
        await line.waits()


async def test_a_backlog_is_begun_once_its_head_has_stood_still_for_two_seconds(
    line: Line, telegram: TelegramServer
) -> None:
    telegram.message(ANA, "old")
    async with line.running():
        await telegram.wait_for(lambda: line.done == ["old"], what="the backlog")
        assert line.begun_at["old"] - line.asked[0].at >= 2
        assert len({call.params.get("offset") for call in line.asked[:4]}) == 1
        await line.waits()


async def confirm_next(telegram: TelegramServer, http: httpx.AsyncClient) -> None:
    """What another process does when it has handled the oldest update."""
    head = telegram.pending[0]
    await http.post(f"{telegram.url}/bot{telegram.token}/getUpdates", data={"offset": head + 1, "timeout": 0})
    assert head not in telegram.pending


async def test_a_backlog_that_another_process_is_finishing_is_left_to_it(
    line: Line, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling_module, "STILL", 1000)  # as long as the other one moves, however slow this machine is
    monkeypatch.setattr(polling_module, "LONGEST_STILL", 1000)
    for number in range(5):
        telegram.message(ANA, str(number))
    async with httpx.AsyncClient(trust_env=False) as http, line.running():
        for _ in range(5):
            await line.asks(1)
            await confirm_next(telegram, http)
        telegram.message(ANA, "fresh")
        monkeypatch.setattr(polling_module, "STILL", 1)
        await telegram.wait_for(lambda: line.done == ["fresh"], what="what the other one left")
    assert line.begun == ["fresh"]


async def test_a_head_that_moves_starts_the_wait_again_but_not_for_ever(
    line: Line, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert polling_module.LONGEST_STILL == 25
    monkeypatch.setattr(polling_module, "STILL", 1000)
    monkeypatch.setattr(polling_module, "LONGEST_STILL", 3)
    for number in range(100):
        telegram.message(ANA, str(number))
    async with httpx.AsyncClient(trust_env=False) as http, line.running():
        while not line.begun:
            await line.asks(1)
            await confirm_next(telegram, http)
        assert line.begun_at[line.begun[0]] - line.asked[0].at >= 3
        assert int(line.begun[0]) > 1
        await line.waits()


async def test_menu_and_description_need_not_wait_for_the_backlog(
    line: Line, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling_module, "STILL", 1000)
    telegram.message(ANA, "old")
    async with line.running():
        async with asyncio.timeout(30):
            await line.polling.fetched.wait()
        assert line.begun == []


# Never deaf

_HTML = b"<html><h1>502 Bad Gateway</h1></html>"
FAULTS: dict[str, dict[str, Any]] = {
    "401": {"status": 401},
    "403": {"status": 403},
    "404": {"status": 404},
    "409": {"status": 409},
    "400": {"status": 400},
    "500": {"status": 500},
    "429": {"status": 429, "retry_after": 1},
    "429 without a time": {"status": 429},
    "429 with an odd time": {"status": 429, "body": b'{"ok":false,"parameters":{"retry_after":"soon"}}'},
    "429 with a time that was": {"status": 429, "retry_after": -5},
    "odd parameters": {"status": 429, "body": b'{"ok":false,"parameters":[7]}'},
    "an HTML 502": {"status": 502, "body": _HTML},
    "an HTML 200": {"status": 200, "body": _HTML},
    "broken JSON": {"body": b'{"ok":true,"result":[{"upd'},
    "an empty answer": {"body": b""},
    "no UTF-8": {"body": b'{"ok":true,"result":\xff\xfe}'},
    "200 that is not ok": {"body": b'{"ok":false,"error_code":500,"description":"Internal"}'},
    "200 that is not ok, but holds a result": {"body": b'{"ok":false,"result":[]}'},
    "no result": {"body": b'{"ok":true}'},
    "no object": {"body": b"[]"},
    "an error that is no object": {"status": 500, "body": b"[]"},
    "no list": {"body": b'{"ok":true,"result":true}'},
    "no updates": {"body": b'{"ok":true,"result":[5,null,"x"]}'},
    "updates without ids": {"body": b'{"ok":true,"result":[{"message":{}}]}'},
    "nested too deep": {"body": b'{"ok":true,"result":' + b"[" * 100_000},
    "a redirect": {"status": 302, "body": b"", "headers": {"Location": "http://127.0.0.1:1/"}},
    "no HTTP": {"raw": b"SSH-2.0-OpenSSH\r\n"},
    "a dropped connection": {"drop": "before"},
    "an answer that is cut off": {"drop": "mid"},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_one_bad_answer_does_not_end_polling(
    line: Line, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.setattr(polling_module, "SHORTEST_PAUSE", 0.05)
    async with line.running() as running:
        await line.waits()
        order = telegram.fault("getUpdates", **fault)
        telegram.message(ANA, "before")
        await telegram.wait_for(lambda: order.hits == 1, what="the fault")
        telegram.message(ANA, "after")
        await telegram.wait_for(lambda: line.done == ["before", "after"], timeout=15, what="polling to resume")
        assert not running.done()
        await line.waits()
    assert Counter(line.begun) == {"before": 1, "after": 1}


async def test_updates_with_ids_are_handled_though_others_of_the_answer_have_none(
    line: Line, telegram: TelegramServer
) -> None:
    async with line.running():
        await line.waits()
        result: list[object] = [None, {"message": {}}, {"update_id": 9}, {"update_id": "10"}]
        telegram.fault("getUpdates", body=json.dumps({"ok": True, "result": result}).encode())
        telegram.message(ANA, "wakes the long poll")
        await telegram.wait_for(lambda: line.done == ["wakes the long poll", "None"], what="what can be handled")


async def test_an_outage_is_one_line_when_it_begins_and_one_when_it_is_over(
    line: Line, telegram: TelegramServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling_module, "LONGEST_PAUSE", 0.5)
    async with line.running():
        await line.waits()
        assert line.polling.trouble == ""
        outage = telegram.fault("getUpdates", status=502, body=_HTML, times=None)
        telegram.message(ANA, "wakes the long poll")
        await telegram.wait_for(lambda: outage.hits >= 3, what="the outage")
        assert line.polling.trouble == polling_module.AWAY
        await telegram.down()
        await telegram.up()
        outage.stop()
        await telegram.wait_for(lambda: says(caplog, "Telegram is back"), what="the end of the outage")
        await line.waits()
        assert line.polling.trouble == ""
    assert says(caplog, "Telegram can't be reached") == 1
    assert says(caplog, "Telegram is back") == 1


async def test_the_end_of_an_outage_is_noticed_at_once_and_not_after_a_long_poll(
    line: Line, telegram: TelegramServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with line.running():
        await line.waits()
        telegram.fault("getUpdates", status=502, body=_HTML)
        telegram.close_connections()
        await telegram.wait_for(lambda: says(caplog, "Telegram is back"), timeout=15, what="the line")


async def test_pauses_grow_to_ten_seconds_and_no_further(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def note(pause: float) -> None:
        slept.append(pause)

    monkeypatch.setattr("bot.polling.asyncio.sleep", note)
    for error in [OSError()] * 8:
        await line.polling._recover(error)
    assert slept == [0.5, 1, 2, 4, 8, 10, 10, 10]


async def test_a_drip_is_given_up(line: Line, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling_module, "LONG_POLL", 0)
    monkeypatch.setattr(polling_module, "SLACK", 0.5)
    telegram.fault("getUpdates", body=b'{"ok":true,"result":[]}' + b" " * 10_000, drip=0.1)
    async with line.running():
        await telegram.wait_for(lambda: len(line.asked) > 1, what="the next request")


async def test_every_attempt_ends_well_within_the_watchdogs_limit() -> None:
    assert polling_module.LONG_POLL + polling_module.SLACK + polling_module.LONGEST_PAUSE < 60


async def test_flood_control_is_obeyed(line: Line, telegram: TelegramServer, caplog: pytest.LogCaptureFixture) -> None:
    async with line.running():
        await line.waits()
        telegram.fault("getUpdates", status=429, retry_after=2)
        since = len(line.asked)
        telegram.message(ANA, "one")
        await telegram.wait_for(lambda: len(line.asked) >= since + 2, what="the request after the pause")
        assert line.asked[since + 1].at - line.asked[since].at >= 2
    assert says(caplog, "Telegram asks to be left alone for 2 s") == 1


async def test_an_announced_pause_does_not_alarm_the_watchdog(telegram: TelegramServer) -> None:
    telegram.fault("getUpdates", status=429, retry_after=300)
    with Watchdog(90, end=lambda _: None) as watchdog:
        async with Line(telegram, watchdog).running():
            await telegram.wait_for(lambda: watchdog._due[1] > 90, what="the pause to be announced")
            assert watchdog._due[1] == pytest.approx(390, abs=1)


async def test_an_attempt_that_never_ends_alarms_the_watchdog(
    telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling_module, "SLACK", 1000)
    barked: list[int] = []
    telegram.fault("getUpdates", hang=True)
    with Watchdog(1, barked.append) as watchdog:
        async with Line(telegram, watchdog).running():
            await telegram.wait_for(lambda: barked, what="the alarm")


async def test_empty_answers_that_come_at_once_do_not_make_it_spin(line: Line, telegram: TelegramServer) -> None:
    telegram.fault("getUpdates", body=b'{"ok":true,"result":[]}', times=None)
    async with line.running():
        await telegram.wait_for(lambda: len(line.asked) >= 6, what="some requests")
        asked = line.asked[1:]  # after the first, which is not to be held
        assert min(b.at - a.at for a, b in pairwise(asked)) >= polling_module.EMPTY_PAUSE


# The token


async def test_a_lasting_rejection_of_the_token_ends_polling(
    line: Line, telegram: TelegramServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert polling_module.REJECTED_FOR + polling_module.LONGEST_PAUSE + polling_module.SLACK < 90
    monkeypatch.setattr(polling_module, "REJECTED_FOR", 0.2)
    async with line.running() as running:
        await line.waits()
        telegram.fault("getUpdates", status=401, times=None)
        telegram.message(ANA, "wakes the long poll")
        await telegram.wait_for(running.done, what="the end")
        assert isinstance(running.exception(), TokenRejected)
    assert says(caplog, "Telegram rejects the bot's token") == 1


async def test_rejections_with_another_answer_in_between_do_not_add_up(
    line: Line, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling_module, "SHORTEST_PAUSE", 0.05)
    monkeypatch.setattr(polling_module, "REJECTED_FOR", 0.1)
    async with line.running() as running:
        await line.waits()
        for status in (401, 502, 404, 200, 401):
            if status == 200:
                telegram.message(ANA, "between")
                await telegram.wait_for(lambda: "between" in line.done, what="a good answer")
                await line.waits()
                continue
            fault = telegram.fault("getUpdates", status=status)
            telegram.message(ANA, "wakes the long poll")
            await hit(telegram, fault)
        await line.waits()
        assert not running.done()


# Others with the same token


async def test_a_second_poller_is_named_once(
    line: Line, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(polling_module, "STILL", 0)
    telegram.conflict_pause = 0.1
    async with line.running(), httpx.AsyncClient(trust_env=False, timeout=60) as http:
        for _ in range(3):
            await line.waits()
            again = asyncio.create_task(line.asks(2))
            await http.post(f"{telegram.url}/bot{telegram.token}/getUpdates", data={"timeout": 1})
            await again
        await line.waits()
        telegram.message(ANA, "still here")
        await telegram.wait_for(lambda: line.done == ["still here"], what="the message")
    assert says(caplog, RIVAL) == 1


async def test_what_is_there_at_once_after_a_second_poller_showed_is_left_to_it_first(
    line: Line, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with line.running(), httpx.AsyncClient(trust_env=False) as http:
        await line.waits()
        monkeypatch.setattr(polling_module, "STILL", 1000)
        monkeypatch.setattr(polling_module, "LONGEST_STILL", 1000)
        fault = telegram.fault("getUpdates", status=409)
        telegram.message(ANA, "wakes the long poll")
        await telegram.wait_for(lambda: fault.hits, what="the conflict")
        telegram.message(ANA, "the other one's")
        await line.asks(1)
        await confirm_next(telegram, http)
        await line.waits()
        telegram.message(ANA, "ours")
        await telegram.wait_for(lambda: "ours" in line.done, what="what came to the long poll")
    assert line.begun == ["wakes the long poll", "ours"]


async def hook(telegram: TelegramServer) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(
            f"{telegram.url}/bot{telegram.token}/setWebhook", data={"url": "http://127.0.0.1:9/hook"}
        )
        answer.raise_for_status()


async def test_a_webhook_from_before_is_removed_and_what_was_pending_is_kept(
    line: Line, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(polling_module, "STILL", 0)
    await hook(telegram)
    telegram.message(ANA, "pending")
    async with line.running():
        await telegram.wait_for(lambda: line.done == ["pending"], what="the pending message")
        await line.waits()
    assert says(caplog, "Telegram has a webhook set for this bot; it is removed") == 1
    assert says(caplog, RIVAL) == 0


async def test_a_webhook_that_cannot_be_removed_yet_is_tried_again(
    line: Line, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling_module, "STILL", 0)
    telegram.conflict_pause = 0.1
    await hook(telegram)
    telegram.fault("deleteWebhook", status=500)
    telegram.fault("deleteWebhook", body=b"{}")
    telegram.message(ANA, "pending")
    async with line.running():
        await telegram.wait_for(lambda: line.done == ["pending"], what="the pending message")


async def test_a_webhook_that_another_process_sets_is_respected_while_that_may_be_a_change_of_mode(
    line: Line, telegram: TelegramServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling_module, "STILL", 0)
    telegram.conflict_pause = 0.1
    async with line.running():
        await line.waits()
        await hook(telegram)
        await line.asks(2)
        assert says(caplog, "another process takes its updates") == 1
        assert not any(call.method == "deleteWebhook" for call in telegram.calls)
        monkeypatch.setattr(polling_module, "TAKEN_OVER_FOR", 0)
        telegram.message(ANA, "pending")
        await telegram.wait_for(lambda: line.done == ["pending"], what="taking over again")


# The last confirmation


async def test_a_stop_confirms_what_was_handled_since_telegram_was_last_asked(
    line: Line, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlimited(telegram)
    monkeypatch.setattr(polling_module, "ASK_AGAIN", 1000)
    async with line.running() as running:
        await line.waits()
        for text in ("one", "two", "three"):
            line.hold(text)
            telegram.message(ANA, text)
        await telegram.wait_for(lambda: len(line.begun) == 3, what="all")
        running.cancel()
        await asyncio.wait([running])
        line.held["one"].set()
        line.held["three"].set()
        await telegram.wait_for(lambda: len(line.done) == 2, what="two to finish")
        await line.polling.confirm()
        assert len(telegram.pending) == 2


async def test_a_stop_does_not_confirm_what_it_cancelled(
    line: Line, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.intake.FINISHING", 0.05)
    async with line.running() as running:
        await line.waits()
        line.hold("stuck")
        telegram.message(ANA, "done")
        telegram.message(ANA, "stuck")
        await telegram.wait_for(lambda: len(line.begun) == 2, what="both")
        running.cancel()
        await asyncio.wait([running])
        await line.intake.finish()
        await line.polling.confirm()
        assert [pending.update_id for pending in line.intake.unfinished] == telegram.pending


@pytest.mark.parametrize("handled", [0, 1])
async def test_a_stop_at_rest_asks_nothing_that_telegram_would_hold(
    line: Line, telegram: TelegramServer, handled: int
) -> None:
    async with line.running() as running:
        await line.waits()
        for _ in range(handled):
            telegram.message(ANA, "one")
            await telegram.wait_for(lambda: line.done, what="the message")
        await line.waits()
        running.cancel()
        await asyncio.wait([running])
        line.polling._held = line.polling._held[0], line.polling._held[1] - 2  # held for two seconds more
        asked = len(line.asked)
        await line.polling.confirm()
        assert len(line.asked) == asked


async def test_a_long_poll_sent_just_now_may_not_have_arrived_so_its_offset_is_sent_again(
    line: Line, telegram: TelegramServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with line.running() as running:
        await line.waits()
        fault = telegram.fault("getUpdates", drop="before", hang=True)
        telegram.message(ANA, "one")
        await telegram.wait_for(lambda: fault.hits, what="the long poll that does not arrive")
        running.cancel()
        await asyncio.wait([running])
        line.polling._held = line.polling._held[0], asyncio.get_running_loop().time()
        await line.polling.confirm()
        assert telegram.pending == []
    assert says(caplog, "could not be confirmed") == 0


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"body": b"{}"}, {"hang": True}, {"status": 429, "retry_after": 600}]
)
async def test_a_confirmation_that_fails_is_one_line(
    line: Line,
    telegram: TelegramServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, Any],
) -> None:
    monkeypatch.setattr(polling_module, "CONFIRMING", 0.2 if "hang" in fault else 30)
    async with line.running() as running:
        await line.waits()
        line.hold("one")
        telegram.message(ANA, "one")
        await telegram.wait_for(lambda: line.begun, what="the message")
        running.cancel()
        await asyncio.wait([running])
        line.held["one"].set()
        await telegram.wait_for(lambda: line.done, what="its end")
        telegram.fault("getUpdates", **fault)
        await line.polling.confirm()
        assert len(telegram.pending) == 1
    assert says(caplog, "could not be confirmed") == 1
