"""What an admin asks at the command line: what was done, what is to be forgotten, whether all can be reached."""

import asyncio
import csv
import io
import os
import re
import sys
import time
from dataclasses import replace

import pytest

from bot import app, maintenance
from bot.store import Entry, Store
from tests.conftest import ANA, BIA, Stage

NUMBER, OTHER = "5511999999999", "5511888888888"
DAY = 86400.0
ODD = 'Bia, "B" & <co>\u2028'  # a name that CSV has to quote

Out = pytest.CaptureFixture[str]


def entry(update_id: int, days_ago: float, chat: str, jid: str | None = None, outcome: str = "pinned") -> Entry:
    action = outcome.removesuffix("ned") if outcome.endswith("ned") else "pin"
    at = time.time() - days_ago * DAY
    return Entry(update_id, 0, at, ANA, "Ana", "sales", action, chat, jid, outcome)


@pytest.fixture
async def filled(stage: Stage) -> Stage:
    """The stage with four attempts in the store: one on another number, and three on the same person's names."""
    config = stage.config()
    store = Store.open(config.state, config.keep)
    store.record(entry(1, 9, NUMBER))
    store.record(replace(entry(2, 2, OTHER, None, "unpinned"), operator=ODD, instance="support"))
    store.record(entry(3, 1, f"{NUMBER}@s.whatsapp.net", "123456789012345@lid"))
    store.record(entry(4, 0, "123456789012345@lid", None, "not_connected"))
    await store.close()
    return stage


async def entries(
    stage: Stage, out: Out, since: float | None = None, instance: str | None = None
) -> list[dict[str, str]]:
    """The history as CSV, read back."""
    out.readouterr()
    assert await maintenance.history(stage.config(), since, instance, as_csv=True) == 0
    return list(csv.DictReader(io.StringIO(out.readouterr().out, newline="")))


async def test_the_history_as_csv_is_read_back_newest_first(filled: Stage, capsys: Out) -> None:
    filled.settings["timezone"] = "America/Sao_Paulo"
    rows = await entries(filled, capsys)
    assert [row["chat"] for row in rows] == ["123456789012345@lid", f"{NUMBER}@s.whatsapp.net", OTHER, NUMBER]
    assert list(rows[0]) == list(Entry.__slots__)
    assert rows[2] | {"at": ""} == {
        "update_id": "2", "part": "0", "at": "", "telegram_id": str(ANA), "operator": ODD,
        "instance": "support", "action": "unpin", "chat": OTHER, "jid": "", "outcome": "unpinned",
    }  # fmt: skip
    assert all(row["at"].endswith("-03:00") for row in rows)
    assert len(await entries(filled, capsys, since=7 * DAY)) == 3
    assert [row["chat"] for row in await entries(filled, capsys, 7 * DAY, "support")] == [OTHER]
    assert await entries(filled, capsys, instance="nowhere") == []


async def test_the_history_without_csv_is_a_line_each(filled: Stage, capsys: Out) -> None:
    assert await maintenance.history(filled.config(), None, "sales", as_csv=False) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.split("  ")[1:] == ["Ana", "sales", "pin", "123456789012345@lid", "not_connected"]
    assert len(rest) == 2


@pytest.mark.parametrize("written", [NUMBER, "+55 (11) 99999-9999", "11 99999-9999", f"{NUMBER}@s.whatsapp.net"])
async def test_forget_removes_a_number_however_it_is_written_and_the_jids_it_had(
    filled: Stage, capsys: Out, written: str
) -> None:
    assert await maintenance.forget(filled.config(), written) == 0
    assert capsys.readouterr().out == "attempts removed: 3\n"
    assert [row["chat"] for row in await entries(filled, capsys)] == [OTHER]
    assert await maintenance.forget(filled.config(), written) == 0
    assert capsys.readouterr().out == "attempts removed: 0\n"


@pytest.mark.parametrize("written", ["maria", "", "12345678", "51987654321", "1, 2"])
async def test_what_names_no_number_removes_nothing_and_is_told_so(filled: Stage, capsys: Out, written: str) -> None:
    assert await maintenance.forget(filled.config(), written) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "country code" in err
    assert len(await entries(filled, capsys)) == 4


async def test_where_nothing_is_kept_there_is_nothing_and_no_file_is_made(stage: Stage, capsys: Out) -> None:
    assert await maintenance.history(stage.config(), None, None, as_csv=False) == 0
    assert capsys.readouterr() == ("", "no attempts found\n")
    assert await entries(stage, capsys) == []
    assert await maintenance.forget(stage.config(), NUMBER) == 0
    assert "state.sqlite3" not in os.listdir(stage.folder)  # noqa: PTH208 - nothing else runs meanwhile


async def test_the_command_line_reads_what_a_running_bot_wrote_and_makes_it_forget(stage: Stage) -> None:
    async def command(*arguments: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", *arguments, "--config", str(stage.write())),
            env={**os.environ, **stage.environ},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    async with stage.bot():
        await stage.say(f"/pin {NUMBER}")
        await stage.say(f"/pin {OTHER}", BIA)
        status, out = await command("history", "--since", "7d", "--instance", "sales", "--csv")
        (row,) = csv.DictReader(io.StringIO(out, newline=""))
        assert (status, row["operator"], row["chat"], row["outcome"]) == (0, "Ana", NUMBER, "pinned")
        assert await command("forget", NUMBER) == (0, "attempts removed: 1\n")
        assert "Nothing is pinned" in (await stage.say("/pins"))["text"]


# check --live


async def live(stage: Stage, capsys: Out) -> tuple[int, list[str]]:
    status = await maintenance.check_live(stage.config())
    return status, capsys.readouterr().out.splitlines()


async def test_check_live_says_who_the_bot_is_who_has_started_it_and_that_ryze_answers(
    stage: Stage, capsys: Out
) -> None:
    stage.settings["admins"] = [500, ANA]
    for person in (ANA, BIA, 500):
        stage.telegram.add_chat(person)
    stage.telegram.message(ANA, f"/pin {NUMBER}")
    status, out = await live(stage, capsys)
    assert status == 0
    assert out == [
        "Telegram: the bot is @ryze_pin_bot",
        "Admin 500: has started the bot",
        "Operator Ana: has started the bot",
        "Operator Bia: has started the bot",
        f"Ryze: {stage.ryze.url} answers (HTTP 404); no token was sent",
    ]


async def test_check_live_changes_nothing_anywhere(stage: Stage, capsys: Out) -> None:
    stage.telegram.add_chat(ANA)
    stage.telegram.message(ANA, f"/pin {NUMBER}")
    await live(stage, capsys)
    assert {call.method for call in stage.telegram.calls} == {"getMe", "getChat"}
    assert [(call.method, call.token, call.body) for call in stage.ryze.calls] == [("GET", None, b"")]
    assert stage.telegram.pending
    assert "state.sqlite3" not in os.listdir(stage.folder)  # noqa: PTH208 - nothing else runs meanwhile


async def test_check_live_names_who_has_not_started_the_bot_or_has_blocked_it(stage: Stage, capsys: Out) -> None:
    stage.telegram.add_chat(ANA)
    stage.telegram.blocked.add(ANA)
    status, out = await live(stage, capsys)
    assert status == 1
    assert [line.partition(":")[2].split(";")[0] for line in out[1:3]] == [
        " has not pressed Start yet, or has blocked the bot"
    ] * 2
    assert out[3].startswith("Ryze: ")


async def test_check_live_tells_a_wrong_token_from_a_telegram_that_is_away(stage: Stage, capsys: Out) -> None:
    right = stage.environ["TELEGRAM_BOT_TOKEN"]
    stage.environ["TELEGRAM_BOT_TOKEN"] = "123456:another"
    status, out = await live(stage, capsys)
    assert (status, out[0]) == (1, "Telegram: rejects TELEGRAM_BOT_TOKEN; put in the one that BotFather gave")
    stage.environ["TELEGRAM_BOT_TOKEN"] = right
    for fault in ({"status": 502}, {"drop": "before"}, {"status": 200, "body": b'{"ok": true, "result": [1]}'}):
        order = stage.telegram.fault("getMe", times=None, **fault)
        status, out = await live(stage, capsys)
        assert status == 1
        assert out[0].startswith("Telegram: can't be reached (")
        assert right not in out[0]
        assert len(out) == 2
        order.stop()
    stage.telegram.fault("getChat", drop="before", times=None)
    status, out = await live(stage, capsys)
    assert (status, out[1][:29]) == (1, "Telegram: can't be reached (N")


async def test_check_live_says_that_ryze_is_away_or_silent(stage: Stage, capsys: Out) -> None:
    stage.settings["ryze"]["timeout"] = 0.5
    for person in (ANA, BIA):
        stage.telegram.add_chat(person)
    hanging = stage.ryze.fault(hang=True, times=None)
    status, out = await live(stage, capsys)
    assert (status, out[-1]) == (1, f"Ryze: {stage.ryze.url} can't be reached (TimeoutError)")
    hanging.stop()
    await stage.ryze.down()
    status, out = await live(stage, capsys)
    assert status == 1
    assert re.match(rf"Ryze: {stage.ryze.url} can't be reached \((Client)?Connect(or)?Error: ", out[-1])


async def test_check_live_says_that_the_environments_proxy_cannot_be_used(
    stage: Stage, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://user:hunter2@127.0.0.1:1")
    stage.environ["ALL_PROXY"] = os.environ["ALL_PROXY"]
    status, (line,) = await live(stage, capsys)
    assert status == app.ENVIRONMENT_WRONG
    assert line.startswith("The environment's proxy or certificates can't be used: ")
    assert "hunter2" not in line
