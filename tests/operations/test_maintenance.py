"""What an admin asks at the command line: what was done, what is to be forgotten, whether all can be reached."""

import csv
import io
import time

import pytest

from bot.memory.store import Entry, Store
from bot.operations import maintenance
from tests.conftest import ANA, Stage

NUMBER, OTHER = "5511999999999", "5511888888888"
DAY = 86400.0
Out = pytest.CaptureFixture[str]


@pytest.fixture
async def filled(stage: Stage) -> Stage:
    """The stage with four attempts in the store: one on another number, and three on the same person's names."""
    stage.settings["timezone"] = "America/Sao_Paulo"
    store = Store(stage.load().state, stage.load().keep)
    attempts = [(9, NUMBER, None), (2, OTHER, None), (1, f"{NUMBER}@s.whatsapp.net", "777@lid"), (0, "777@lid", None)]
    for update_id, (days_ago, chat, jid) in enumerate(attempts, 1):
        at, who = time.time() - days_ago * DAY, ('Bia, "B"', "support") if chat == OTHER else ("Ana", "sales")
        store.record(Entry(update_id, 0, at, ANA, *who, "pin", chat, jid, "pinned"))
    await store.aclose()
    return stage


async def rows(stage: Stage, out: Out, since: float | None = None, instance: str | None = None) -> list[dict[str, str]]:
    out.readouterr()
    assert await maintenance.history(stage.load(), since, instance, as_csv=True) == 0
    return list(csv.DictReader(io.StringIO(out.readouterr().out, newline="")))


async def test_the_history_as_csv_is_read_back_newest_first(filled: Stage, capsys: Out) -> None:
    found = await rows(filled, capsys)
    assert [row["update_id"] for row in found] == ["4", "3", "2", "1"]
    assert list(found[0]) == list(Entry._fields)
    assert (found[2]["operator"], found[2]["jid"], found[2]["at"][19:]) == ('Bia, "B"', "", "-03:00")
    assert [row["chat"] for row in await rows(filled, capsys, 7 * DAY, "support")] == [OTHER]


async def test_the_history_is_a_line_each_and_says_once_where_its_times_are(filled: Stage, capsys: Out) -> None:
    assert await maintenance.history(filled.load(), None, "sales", as_csv=False) == 0
    zone, first, _, _ = capsys.readouterr().out.splitlines()
    assert zone == "Times are in America/Sao_Paulo."
    assert time.strptime(first[:19], "%Y-%m-%d %H:%M:%S")
    assert first[19:] == "  Ana  sales  pin  777@lid  pinned"
    assert await maintenance.history(filled.load(), None, "nowhere", as_csv=False) == 2
    assert capsys.readouterr() == ("", "There is no instance nowhere; there are: sales, support\n")


@pytest.mark.parametrize("written", [NUMBER, "+55 (11) 99999-9999", "11 99999-9999", f"{NUMBER}@s.whatsapp.net"])
async def test_forget_removes_a_number_however_it_is_written(filled: Stage, capsys: Out, written: str) -> None:
    assert await maintenance.forget(filled.load(), written) == 0
    assert capsys.readouterr().out == "Attempts removed: 3\n"
    assert [row["chat"] for row in await rows(filled, capsys)] == [OTHER]


@pytest.mark.parametrize("written", ["maria", "", "98888-7777", f"{NUMBER}, {OTHER}"])
async def test_what_names_not_one_number_removes_nothing(filled: Stage, capsys: Out, written: str) -> None:
    assert await maintenance.forget(filled.load(), written) == 2
    assert "country code" in capsys.readouterr().err


async def test_where_nothing_was_done_nothing_is_shown_and_forgotten(stage: Stage, capsys: Out) -> None:
    assert await maintenance.history(stage.load(), None, None, as_csv=False) == 0
    assert await maintenance.forget(stage.load(), NUMBER) == 0
    assert capsys.readouterr().out == "No attempts found.\nAttempts removed: 0\n"


async def live(stage: Stage, capsys: Out) -> tuple[int, list[str]]:
    return await maintenance.check_live(stage.load()), capsys.readouterr().out.splitlines()


async def test_check_live_changes_nothing_and_says_who_the_bot_is_and_how_the_instances_are(
    stage: Stage, capsys: Out
) -> None:
    stage.telegram.message(ANA, f"/pin {NUMBER}")
    bot = "Telegram: the bot is @ryze_pin_bot"
    sales, support = (f"Ryze, with the token of {name}: {name} is connected" for name in ("sales", "support"))
    assert await live(stage, capsys) == (0, [bot, sales, support])
    assert {call.method for call in stage.telegram.calls} == {"getMe"}
    assert {(call.method, call.path, call.body) for call in stage.ryze.calls} == {("GET", "/api/instance/list", b"")}
    assert stage.telegram.pending
    stage.ryze.instances["support"].connected = False
    assert await live(stage, capsys) == (1, [bot, sales, support.replace("connected", "disconnected")])
    for token, said in (("token-of-sales", "sales is connected"), ("wrong", "it is rejected (HTTP 401)")):
        stage.settings["instances"]["support"] = {"token": token}
        assert await live(stage, capsys) == (1, [bot, sales, f"Ryze, with the token of support: {said}"])


@pytest.mark.parametrize(
    ("status", "body", "known"),
    [
        (200, b'[{"x": 1, "name": "sales", "connection": {"y": [], "state": "connected"}}]', "sales is connected"),
        (200, b'{"data": {"instance": {"connection": {"state": "logged"}, "name": "sales"}}}', "sales is logged"),
        *((status, b'{"name": "sales", "connection": "open"}', "") for status in (200, 302, 404)),
        *((200, body, "") for body in (b"<html>", b"[" * 10_000, b"[]", b"", b'{"name": {}, "connection": {}}')),
        (200, b'{"name": "sales", "connection": {"state": "connected"}, "x": "' + b"x" * 100_000 + b'"}', ""),
    ],
)
async def test_check_live_reads_what_it_can_of_ryzes_answer(
    stage: Stage, capsys: Out, status: int, body: bytes, known: str
) -> None:
    stage.ryze.fault(status=status, body=body, times=None, headers={"Location": f"{stage.ryze.url}/elsewhere"})
    unclear = f"answers, but not as described (HTTP {status}); nothing can be said of the token"
    result, lines = await live(stage, capsys)
    assert lines[1] == f"Ryze, with the token of sales: {known or unclear}"
    assert result == (1 if known else 0), "support is not in it"
    assert len(stage.ryze.calls) == 2, "no redirect is followed"


async def test_check_live_says_what_is_away_silent_or_wrong_without_a_token(stage: Stage, capsys: Out) -> None:
    stage.settings["ryze"]["timeout"] = 0.5
    stage.ryze.fault(times=None, drip=0.1)
    status, out = await live(stage, capsys)
    assert (status, out[1]) == (1, "Ryze, with the token of sales: can't be used (TimeoutError)")
    await stage.ryze.down()
    stage.telegram.fault("getMe", status=200, body=b'{"ok": true, "result": [1]}')
    status, out = await live(stage, capsys)
    assert (status, out[0][:25]) == (1, "Telegram: can't be used (")
    assert out[2].startswith("Ryze, with the token of support: can't be used (Cannot connect")
    stage.environ["TELEGRAM_BOT_TOKEN"] = "123456:another"
    _, out = await live(stage, capsys)
    assert out[0] == "Telegram: can't be used (The token `***` was rejected by the server.)"
