"""What the bot remembers, as an operator reads it."""

import asyncio
import os
import re
import stat
from pathlib import Path

import pytest

from tests.conftest import ANA, BIA, Stage
from tests.sandbox.server import Json

NUMBERS = [f"55119999900{number:02}" for number in range(12)]
SHOWN = [f"+55 11 99999-00{number:02}" for number in range(12)]
TEAM: Json = {"id": -100123, "type": "supergroup", "title": "Team"}
UNSEEN = "I can't see what is pinned or unpinned on the phone itself."
AWAY = "I can't reach my records right now. Pinning and unpinning on sales still work."
TIME = re.compile(r"today \d\d:\d\d")


def labels(message: Json) -> list[str]:
    return [button["text"] for row in message.get("reply_markup", {}).get("inline_keyboard", []) for button in row]


def lines(message: Json) -> list[str]:
    return [TIME.sub("today", line) for line in message["text"].split("\n")]


async def test_pins_shows_what_the_bot_pinned_by_whom_with_buttons_to_unpin(stage: Stage) -> None:
    async with stage.bot():
        assert lines(await stage.say("/pins")) == ["Nothing is pinned on sales, as far as I know.", UNSEEN]
        await stage.say(f"/pin {NUMBERS[0]}, {NUMBERS[1]}")
        await stage.say(f"/pin {NUMBERS[2]}", BIA)
        await stage.say(f"/unpin {NUMBERS[1]}")
        stage.ryze.instances["sales"].connected = False
        await stage.say(f"/unpin {NUMBERS[0]}")
        stage.ryze.instances["sales"].connected = True
        await stage.say(f"/pin {NUMBERS[3]}")
        shown = await stage.say("/pins")
        assert lines(shown) == [
            "Pinned on sales, as far as I know:",
            f"• {SHOWN[3]}, pinned by Ana, today",
            f"• {SHOWN[0]}, pinned by Ana, today",
            UNSEEN,
        ]
        assert labels(shown) == [f"Unpin {SHOWN[3]}", f"Unpin {SHOWN[0]}"]
        assert (await stage.press(shown, SHOWN[0]))["text"] == f"✅ Unpinned {SHOWN[0]} on sales."
        assert labels(await stage.say("/pins")) == [f"Unpin {SHOWN[3]}"]
        assert labels(await stage.say("/pins", BIA)) == [f"Unpin {SHOWN[2]}"]


async def test_history_shows_the_last_ten_attempts_with_their_outcome_and_buttons_for_more(stage: Stage) -> None:
    stage.settings["operators"][1]["instance"] = "sales"
    async with stage.bot():
        assert lines(await stage.say("/history")) == ["Nothing has been done on sales yet, as far as I remember."]
        await stage.say("/unpin " + ",".join(NUMBERS[:9]))
        await stage.say(f"/pin {NUMBERS[9]}", BIA)
        stage.ryze.fault(status=422, message="no")
        await stage.say(f"/pin {NUMBERS[10]}")
        await stage.say(f"/pin {NUMBERS[11]}", date=1)
        page = await stage.say("/history")
        assert lines(page)[:5] == [
            "The latest on sales:",
            f"today, Ana: pin {SHOWN[11]} – too late, not run",
            f"today, Ana: pin {SHOWN[10]} – refused",
            f"today, Bia: pin {SHOWN[9]}",
            f"today, Ana: unpin {SHOWN[8]}",
        ]
        assert len(lines(page)) == 11
        assert labels(page) == ["Older"]
        older = await stage.press(page, "Older")
        assert lines(older)[1:] == [f"today, Ana: unpin {SHOWN[1]}", f"today, Ana: unpin {SHOWN[0]}"]
        assert labels(older) == ["Newest"]
        assert lines(await stage.press(older, "Newest")) == lines(page)


async def test_the_lists_are_of_the_operators_own_instances_and_in_private_only(stage: Stage) -> None:
    stage.settings["operators"][0] = {"telegram_id": ANA, "name": "Ana", "instances": ["sales", "support"]}
    async with stage.bot():
        await stage.say(f"/pin {NUMBERS[1]}", BIA, chat=TEAM)
        assert SHOWN[1] not in (await stage.say("/history"))["text"]
        assert SHOWN[1] in (await stage.say("/history Support"))["text"]
        assert SHOWN[1] in (await stage.say("/pins support"))["text"]
        for text in ("/history sales", "/pins night"):
            answer = await stage.say(text, BIA)
            assert "is not one of your instances" in answer["text"]
            assert "Yours: support." in answer["text"]
        for text in ("/history", "/pins", "/pins night"):
            answer = await stage.say(text, chat=TEAM)
            assert answer["text"] == "Lists of chats are shown only in a private chat with me: @ryze_pin_bot"
            assert not labels(answer)


async def test_a_redelivered_update_is_one_attempt(stage: Stage) -> None:
    async with stage.bot():
        update = stage.telegram.next_update_id
        answer = await stage.say(f"/pin {NUMBERS[0]}")
        await stage.press(answer, "Unpin")
    stage.telegram.next_update_id = update
    async with stage.bot():
        answer = await stage.say(f"/pin {NUMBERS[0]}")
        await stage.press(answer, "Unpin")
        assert len(lines(await stage.say("/history"))) == 3


async def test_what_was_done_is_remembered_after_a_restart_in_a_file_for_its_owner_alone(stage: Stage) -> None:
    async with stage.bot():
        await stage.say(f"/pin {NUMBERS[0]}")
    assert stat.S_IMODE(os.stat(stage.settings["state"]).st_mode) == 0o600  # noqa: PTH116 - nothing else runs meanwhile
    async with stage.bot():
        assert labels(await stage.say("/pins")) == [f"Unpin {SHOWN[0]}"]


async def test_no_contact_names_are_stored(stage: Stage) -> None:
    async with stage.bot():
        offer = await stage.say(None, contact={"phone_number": NUMBERS[0], "first_name": "Josefina"})
        await stage.press(offer, "Pin")
    stored = await asyncio.to_thread(Path(stage.settings["state"]).read_bytes)
    assert NUMBERS[0].encode() in stored
    assert b"Josefina" not in stored


async def test_while_the_store_is_away_commands_go_on_and_it_is_written_later(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    folder = stage.folder / "not there yet"
    stage.settings["state"] = str(folder / "state.sqlite3")
    async with stage.bot():
        for text in ("/pins", "/history"):
            assert (await stage.say(text))["text"] == AWAY
        await stage.say(f"/pin {','.join(NUMBERS[:3])}")
        answer = await stage.say(f"/pin {NUMBERS[3]}")
        assert "limit of three" in answer["text"]
        assert labels(answer) == ["Try again"]
        assert labels(await stage.say("/pin")) == []
        assert "which chat" in (await stage.say("/unpin"))["text"].lower()
        folder.mkdir()
        await stage.telegram.wait_for(lambda: "the store is back" in caplog.text, what="the store's return")
        assert labels(await stage.say("/pins")) == [f"Unpin {shown}" for shown in SHOWN[2::-1]]
    assert caplog.text.count("the store is away") == 1


async def test_with_keep_0_nothing_is_written(stage: Stage) -> None:
    stage.settings["keep"] = 0
    async with stage.bot():
        await stage.say(f"/pin {NUMBERS[0]}")
        assert not labels(await stage.say("/pins"))
        assert not labels(await stage.say("/history"))
    assert "state.sqlite3" not in os.listdir(stage.folder)  # noqa: PTH208 - as above
