"""Pressed buttons: whoever presses whatever whenever, nothing wrong is done, and there is always a clear word."""

import re
import time

import pytest

from bot.buttons import Action, Page, Press, instance_hash, pack
from bot.chats import Chat
from tests.conftest import ANA, BIA, STRANGER, Stage
from tests.sandbox.server import Json

NUMBER, OTHER = "5511999999999", "5511888888888"
SHOWN = "+55 11 99999-9999"
TEAM: Json = {"id": -100123, "type": "supergroup", "title": "Team", "is_forum": True}
CAIO = 333


def data(action: Action, *, instance: str = "sales", other: str | None = None, owner: int | None = None) -> str:
    packed = pack(
        Press(action, instance_hash(instance), Chat(NUMBER), other=Chat(other) if other else None, owner=owner)
    )
    assert packed
    return packed


def labels(message: Json) -> list[str]:
    return [button["text"] for row in message.get("reply_markup", {}).get("inline_keyboard", []) for button in row]


def asked(stage: Stage) -> list[tuple[str | None, str, bool]]:
    """What Ryze was asked since this was last looked at."""
    calls = [(call.instance, call.number, call.pin) for call in stage.ryze.calls]
    stage.ryze.calls.clear()
    return calls


async def alert(stage: Stage, user: int, message: Json, pressed: str) -> str:
    """Presses, and returns what the alert says; "" if there is none."""
    query = stage.telegram.press(user, message, pressed)
    await stage.handled()
    answer = stage.telegram.callback_answers[query]
    assert answer.get("show_alert", False) is bool(answer.get("text"))
    return str(answer.get("text", ""))


async def test_every_answer_has_the_next_step_below_it_and_pressing_it_edits_that_message(stage: Stage) -> None:
    async with stage.bot():
        answer = await stage.say(f"/pin {NUMBER}")
        for label, says, then in (
            ("Unpin", f"✅ Unpinned {SHOWN} on sales.", "Pin again"),
            ("Pin again", f"📌 Pinned {SHOWN} on sales.", "Unpin"),
        ):
            assert labels(answer) == [label]
            answer = await stage.press(answer, label)
            assert answer["text"] == says
            assert labels(answer) == [then]
    assert len(stage.telegram.sent()) == 1
    assert [pin for _, _, pin in asked(stage)] == [True, False, True]


AGAIN: list[tuple[Json, list[str]]] = [
    ({"status": 503, "message": "Instance is not connected to WhatsApp"}, ["Try again"]),
    ({"status": 429, "message": "WhatsApp rate-overlimit"}, ["Try again"]),
    ({"status": 200, "body": b"?"}, ["Try again"]),
    ({"status": 200, "body": b'{"success": true, "pinned": false}'}, ["Try again"]),
    ({"status": 500, "body": b"oops"}, ["Try again"]),
    ({"status": 401, "message": "Invalid token"}, []),
    ({"status": 403, "message": "Token does not belong to this instance"}, []),
    ({"status": 404, "message": "Instance not found"}, []),
    ({"status": 400, "message": "Number is required"}, []),
    ({"status": 302, "body": b""}, []),
]


async def test_try_again_is_offered_where_it_can_help(stage: Stage) -> None:
    async with stage.bot():
        for order, wanted in AGAIN:
            stage.ryze.fault(**order)
            answer = await stage.say(f"/pin {NUMBER}")
            assert labels(answer) == wanted, order
        stage.ryze.instances["sales"].connected = False
        answer = await stage.say(f"/unpin {NUMBER}")
        assert (await stage.press(answer, "Try again"))["text"] == answer["text"]
        stage.ryze.instances["sales"].connected = True
        assert (await stage.press(answer, "Try again"))["text"] == f"✅ Unpinned {SHOWN} on sales."


async def test_in_a_group_the_answer_names_who_pressed_and_in_private_nobody(stage: Stage) -> None:
    stage.settings["operators"].append({"telegram_id": CAIO, "name": "Caio & <co>", "instance": "sales"})
    async with stage.bot():
        shown = await stage.press(await stage.say(f"/pin {NUMBER}", chat=TEAM), "Unpin", CAIO)
        assert shown["text"] == f"✅ Unpinned {SHOWN} on sales.\n👆 Caio & <co>"
        shown = await stage.press(await stage.say(f"/pin {NUMBER}"), "Unpin")
        assert shown["text"] == f"✅ Unpinned {SHOWN} on sales."


async def test_pressed_twice_or_after_a_newer_command_it_does_what_its_label_says(stage: Stage) -> None:
    async with stage.bot():
        answer = await stage.say(f"/pin {NUMBER}")
        unpin = stage.telegram.button(answer, "Unpin")
        queries = [stage.telegram.press(ANA, answer, unpin) for _ in range(3)]
        await stage.handled()
        assert all("text" not in stage.telegram.callback_answers[query] for query in queries)
        assert stage.telegram.sent() == [stage.telegram.current(answer)]
        assert not stage.ryze.instances["sales"].pinned
        await stage.say(f"/pin {NUMBER}")
        assert await alert(stage, ANA, answer, unpin) == ""
        assert not stage.ryze.instances["sales"].pinned
        shown = stage.telegram.current(answer)
        assert shown
        assert shown["text"] == f"✅ Unpinned {SHOWN} on sales."


async def test_a_swap_pressed_twice_is_done_once_and_harmless_the_second_time(stage: Stage) -> None:
    async with stage.bot():
        answer = await stage.say(f"/pin {OTHER}")
        for _ in range(2):
            stage.telegram.press(ANA, answer, data(Action.SWAP, other=OTHER))
        await stage.handled()
        shown = stage.telegram.current(answer)
    assert shown
    assert shown["text"].endswith(f"📌 Pinned {SHOWN} on sales.")
    assert stage.ryze.instances["sales"].pinned == [f"{NUMBER}@s.whatsapp.net"]


async def test_a_restart_loses_no_button_and_lets_nobody_press_who_may_not_any_more(stage: Stage) -> None:
    stage.settings["operators"].append({"telegram_id": CAIO, "name": "Caio", "instance": "sales"})
    async with stage.bot():
        answer = await stage.say(f"/pin {NUMBER}", chat=TEAM)
        mine = await stage.say(f"/pin {NUMBER}")
        asked(stage)
    unpin = stage.telegram.button(answer, "Unpin")
    ana, bia, _ = stage.settings["operators"]
    ana["instance"] = "support"
    stage.settings["operators"] = [ana, bia]
    async with stage.bot():
        assert (
            await alert(stage, ANA, answer, unpin)
            == "This button is for an instance that is not yours. Nothing was done."
        )
        assert "not yours" in await alert(stage, ANA, mine, unpin)
        assert await alert(stage, CAIO, answer, unpin) == "Only the team's operators can press this."
        assert not asked(stage)
    ana["instance"] = "sales"
    async with stage.bot():
        shown = await stage.press(answer, "Unpin")
    assert shown["text"].startswith("✅ Unpinned")
    assert asked(stage) == [("sales", NUMBER, False)]


async def test_whatever_is_made_up_is_checked_like_any_other_press(stage: Stage) -> None:
    made_up = [
        (BIA, data(Action.SWAP, other=OTHER), "not yours"),
        (ANA, data(Action.SWAP, other=OTHER, owner=BIA), "for the operator who sent the command"),
        (ANA, data(Action.SWAP, other=OTHER)[:-9], "can't read this button"),
        (ANA, data(Action.PIN).replace("p:", "s:"), "can't read this button"),
        (ANA, data(Action.PIN, instance="elsewhere"), "not yours"),
        (BIA, pack(Page(instance_hash("sales"), 0)) or "", "not yours"),
        (ANA, pack(Page(instance_hash("sales"), 0)) or "", "only in a private chat"),
        (STRANGER, pack(Page(instance_hash("sales"), 0)) or "", "Only the team's operators"),
        (STRANGER, "", "Only the team's operators"),
        (ANA, "x" * 5000, "can't read this button"),
    ]
    async with stage.bot():
        answer = await stage.say(f"/pin {OTHER}", chat=TEAM)
        asked(stage)
        for presser, pressed, says in made_up:
            assert says in await alert(stage, presser, answer, pressed), pressed
        assert not asked(stage)
        assert stage.telegram.current(answer) == answer
        # What is whole acts, whoever wrote it: its presser could have sent the command.
        assert await alert(stage, ANA, answer, data(Action.UNPIN)) == ""
        assert asked(stage) == [("sales", NUMBER, False)]


async def test_the_buttons_of_a_message_that_is_gone_or_out_of_reach_still_act_and_are_answered(stage: Stage) -> None:
    async with stage.bot():
        answer = await stage.say(f"/pin {NUMBER}", chat=TEAM)
        unpin = stage.telegram.button(answer, "Unpin")
        stage.telegram.delete(answer)
        assert await alert(stage, ANA, answer, unpin) == ""
        (shown,) = stage.telegram.sent()
        assert shown["text"] == f"✅ Unpinned {SHOWN} on sales.\n👆 Ana"
        assert shown["message_id"] != answer["message_id"]


async def test_a_press_too_old_to_be_confirmed_acts_all_the_same(stage: Stage) -> None:
    async with stage.bot():
        answer = await stage.say(f"/pin {NUMBER}")
        stage.telegram.fault("answerCallbackQuery", status=400, description="Bad Request: query is too old")
        shown = await stage.press(answer, "Unpin")
    assert shown["text"] == f"✅ Unpinned {SHOWN} on sales."


async def test_a_press_is_confirmed_at_once_though_ryze_is_slow(stage: Stage) -> None:
    async with stage.bot():
        answer = await stage.say(f"/pin {NUMBER}")
        slow = stage.ryze.fault(delay=60)
        query = stage.telegram.press(ANA, answer, stage.telegram.button(answer, "Unpin"))
        await stage.telegram.wait_for(lambda: query in stage.telegram.callback_answers, what="the confirmation")
        assert stage.telegram.current(answer) == answer
        slow.stop()
        await stage.handled()
        assert stage.telegram.current(answer) != answer


async def test_a_late_commands_button_is_its_operators_own_even_after_a_restart(stage: Stage) -> None:
    stage.settings["operators"].append({"telegram_id": CAIO, "name": "Caio", "instance": "sales"})
    async with stage.bot():
        late = await stage.say(f"/pin {NUMBER}", chat=TEAM, date=int(time.time()) - 3600)
    async with stage.bot():
        assert "who sent the command" in await alert(stage, CAIO, late, stage.telegram.button(late, "Run it now"))
        assert not asked(stage)
        shown = await stage.press(late, "Run it now")
    assert shown["text"] == f"📌 Pinned {SHOWN} on sales.\n👆 Ana"


async def test_the_log_says_who_was_denied_a_button_and_why(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "bot")
    async with stage.bot():
        answer = await stage.say(f"/pin {NUMBER}", chat=TEAM)
        await alert(stage, BIA, answer, data(Action.PIN))
        await alert(stage, STRANGER, answer, data(Action.PIN))
    denied = [re.sub("denied a button: ", "", line) for line in caplog.messages if line.startswith("denied a button")]
    assert denied == [f"press_other_instance, sender {BIA}", f"press_stranger, sender {STRANGER}"]
