"""Journeys through the whole bot, over HTTP: what a person sends, what Ryze is asked, what the person then reads."""

import asyncio
import logging
import re
import time
from pathlib import Path

import pytest

from bot.conversation.callback_data import Action, Press, instance_hash, pack
from bot.ryze.chats import Chat
from tests.conftest import ANA, BIA, STRANGER, Stage
from tests.conversation.making import FORWARD, TEAM, TOPIC, calls, contact, shown_labels
from tests.sandbox.server import Json

CAIO = 333  # on both instances
NUMBER, SHOWN = "5511999999999", "+55 11 99999-9999"
NUMBERS = [f"55119999900{number:02}" for number in range(12)]
CHATS = [f"+55 11 99999-00{number:02}" for number in range(12)]
PERU, BRAZIL = "51987654321", "5551987654321"
ORIGIN: Json = {"origin": {"type": "hidden_user", "date": 1, "sender_user_name": "Customer"}}
IN_PRIVATE = "Lists of chats are shown only in a private chat with me: @ryze_pin_bot"
STICKER: Json = {"file_id": "f", "file_unique_id": "u", "width": 9, "height": 9, "type": "regular"}
STICKER |= dict.fromkeys(("is_animated", "is_video"), False)
OLD = int(time.time()) - 3600


@pytest.fixture
def stage(stage: Stage) -> Stage:
    stage.settings["operators"].append({"telegram_id": CAIO, "name": "Caio & <co>", "instances": ["sales", "support"]})
    return stage


def poll(question: str) -> Json:
    flags = ("is_closed", "is_anonymous", "allows_multiple_answers", "allows_revoting", "members_only")
    shown = {"id": "1", "question": question, "options": [], "total_voter_count": 0, "type": "regular"}
    return {"poll": shown | dict.fromkeys(flags, False)}


def data(action: Action, chat: str = NUMBER, *, instance: str = "sales", other: str = "") -> str:
    packed = pack(Press(action, instance, Chat(chat), Chat(other) if other else None))
    assert packed
    return packed


def held(stage: Stage) -> float:
    return max((call.at for call in stage.telegram.calls if call.params.get("timeout")), default=time.monotonic())


async def alert(stage: Stage, user: int | Json, message: Json, pressed: str) -> str:
    """Presses, and returns what the alert says; "" if there is none."""
    query = stage.telegram.press(user, message, pressed)
    await stage.handled()
    answer = stage.telegram.callback_answers[query]
    assert answer.get("show_alert", False) is bool(answer.get("text"))
    return str(answer.get("text", ""))


async def test_one_command_is_one_call_and_one_answer_whose_buttons_edit_it(stage: Stage) -> None:
    async with stage.bot():
        answer = await stage.say(f"/pin {NUMBER}")
        for label, says in (("Unpin", f"✅ Unpinned {SHOWN}."), ("Pin again", f"📌 Pinned {SHOWN}.")):
            answer = await stage.press(answer, label)
            assert answer["text"] == says
        for text in (f"/unpin@ryze_pin_bot {SHOWN}", f"/DESAFIXAR {NUMBER}", f"/desfijar\n{NUMBER}"):
            assert (await stage.say(text, BIA))["text"] == f"✅ Unpinned {SHOWN}."
        for text in (f"/fixar wa.me/{NUMBER}", f"/fijar {NUMBER}"):
            assert (await stage.say(text, BIA))["text"] == f"📌 Pinned {SHOWN}."
    assert [pin for _, _, pin in calls(stage)] == [True, False, True, False, False, False, True, True]
    assert len(stage.telegram.sent()) == 6


async def test_in_a_group_the_instance_is_named_and_successes_are_silent(stage: Stage) -> None:
    async with stage.bot():
        answer = await stage.say(f"/pin {NUMBER}", chat=TEAM, **TOPIC)
        assert (answer["text"], answer["message_thread_id"]) == (f"📌 Pinned {SHOWN} on sales.", 77)
        shown = await stage.press(answer, "Unpin", CAIO)
        assert shown["text"] == f"✅ Unpinned {SHOWN} on sales.\n👆 Caio & <co>"
        for text in ("/pins", "/history", "/pins night", "/unpin all"):
            assert (await stage.say(text, chat=TEAM))["text"] == IN_PRIVATE
        question = await stage.say("/pin", chat=TEAM)
        assert re.fullmatch(f"Which chat shall I pin on sales\\?.*{IN_PRIVATE}", question["text"], re.DOTALL)
        assert not shown_labels(question)
        for user, text in ((ANA, "hello"), (ANA, f"pin {NUMBER}"), (ANA, "/weather"), (STRANGER, f"/pin {NUMBER}")):
            stage.telegram.message(user, text, chat=TEAM)
        stage.telegram.message(ANA, None, chat=TEAM, **contact(NUMBER))
        stage.telegram.message(STRANGER, NUMBER, chat=TEAM, reply_to_message=question)
        await stage.handled()
    assert len(stage.telegram.sent()) == 6
    sends = [call.params.get("disable_notification") for call in stage.telegram.calls if call.method == "sendMessage"]
    assert sends == [True, *[None] * 5]


async def test_several_chats_at_the_limit_replace_then_try_the_rest_again(stage: Stage) -> None:
    async with stage.bot():
        answer = await stage.say(f"/pin {NUMBERS[0]}\n{CHATS[1]}, {CHATS[0]}; {CHATS[2]}, 98888-7777")
        *lines, last = answer["text"].split("\n")
        assert lines == [f"📌 {chat}" for chat in CHATS[:3]]
        assert last == "❓ 98888-7777 lacks its area code. Send it with its DDD: /pin 11 99999-9999"
        answer = await stage.say(f"/pin {NUMBERS[3]}, {NUMBERS[4]}")
        assert shown_labels(answer) == [*(f"Replace {chat}" for chat in CHATS[2::-1]), "Try the rest again"]
        shown = await stage.press(answer, f"Replace {CHATS[0]}")
        assert shown["text"] == f"✅ Unpinned {CHATS[0]}.\n📌 Pinned {CHATS[3]}."
        await stage.say(f"/unpin {NUMBERS[1]}")
        shown = await stage.press(shown, "Try the rest again")
        assert shown["text"] == f"📌 {CHATS[3]}\n📌 {CHATS[4]}"
        assert (await stage.say("/pin " + "\n".join(NUMBERS[:11])))["text"].startswith("❓ Send ten chats at most")


async def test_a_swap_puts_back_only_what_was_known_pinned(stage: Stage) -> None:
    async with stage.bot():
        await stage.say("/pin " + ",".join(NUMBERS[:3]))
        answer = await stage.say(f"/pin {NUMBERS[3]}")
        assert answer["text"] == f"❌ {CHATS[3]} was not pinned: 3 are already pinned. Which one goes?"
        stage.ryze.fault(status=422, message="no", when=lambda call: call.number == NUMBERS[3], times=None)
        calls(stage)
        shown = await stage.press(answer, CHATS[0])
        assert shown["text"].split("\n")[-1] == f"So I pinned {CHATS[0]} again, as it was."
        assert [pin for _, _, pin in calls(stage)] == [False, True, True]
        answer = await stage.say(f"/unpin {NUMBERS[0]}")
        assert await alert(stage, ANA, answer, data(Action.SWAP, NUMBERS[3], other=NUMBERS[0])) == ""
        assert "again, as it was" not in str(stage.telegram.current(answer))
        assert stage.ryze.instances["sales"].pinned == [f"{number}@s.whatsapp.net" for number in NUMBERS[2:0:-1]]


@pytest.mark.parametrize(
    ("texts", "made"),
    [
        ([f"/pin {PERU}"], [(BRAZIL, True), (BRAZIL, False), (PERU, True)]),
        ([f"/pin {BRAZIL}", f"/pin {PERU}"], [(BRAZIL, True), (BRAZIL, True), (PERU, True)]),
        ([f"/pin {BRAZIL}", f"/unpin {PERU}"], [(BRAZIL, True), (BRAZIL, False), (PERU, False), (BRAZIL, True)]),
    ],
)
async def test_one_tap_is_the_other_reading(stage: Stage, texts: list[str], made: list[tuple[str, bool]]) -> None:
    async with stage.bot():
        for text in texts:
            answer = await stage.say(text)
        shown = await stage.press(answer, "Meant 🇵🇪 +51 987 654 321")
    assert "+51 987 654 321" in shown["text"]
    assert [(number, pin) for _, number, pin in calls(stage)] == made


async def test_one_pin_too_many_is_a_success_that_says_so_and_pins_marks_what_may_be_gone(stage: Stage) -> None:
    stage.ryze.drops_oldest = True
    stage.settings["instances"]["sales"]["pins"] = 2
    async with stage.bot():
        await stage.say(f"/pin {NUMBERS[0]}, {NUMBERS[1]}")
        answer = await stage.say(f"/pin {NUMBERS[2]}")
        assert f"keeps only 2 on top and may have dropped the oldest, {CHATS[0]}." in answer["text"]
        listed = await stage.say("/pins")
        assert [line[:4] for line in listed["text"].split("\n")[1:4]] == ["• +5", "• +5", "• ❔ "]
        assert (await stage.press(answer, f"Unpin {CHATS[0]}"))["text"] == f"✅ Unpinned {CHATS[0]}."
        assert "❔" not in (await stage.say("/pins"))["text"]


REPLIES: list[tuple[str | None, Json, Json]] = [
    ("call +55 11 99999-0001 today", {}, {}),
    ("wa.me/5511999990001?text=Hi%2C%205511888888888", {}, {}),
    (None, {"photo": [{"file_id": "f", "file_unique_id": "u", "width": 9, "height": 9}], "caption": CHATS[1]}, {}),
    *((None, said, {}) for said in (contact(NUMBERS[1]), poll(f"Call {CHATS[1]}?"))),
    ("he", {"entities": [{"type": "text_link", "offset": 0, "length": 2, "url": f"https://wa.me/{NUMBERS[1]}"}]}, {}),
    (f"{CHATS[1]} or {CHATS[2]}", {}, {"quote": {"text": CHATS[1], "position": 0}}),
    *((None, {}, {"external_reply": ORIGIN | said}) for said in (contact(CHATS[1]), poll(f"Call {CHATS[1]}?"))),
    (None, {}, {"external_reply": ORIGIN, "quote": {"text": f"call {CHATS[1]}", "position": 5}}),
]


async def test_a_reply_takes_the_chat_from_what_it_replies_to(stage: Stage) -> None:
    async with stage.bot():
        for text, said, fields in REPLIES:
            replied = stage.telegram.message(STRANGER, text, chat=TEAM, **said)
            reply: Json = {} if "external_reply" in fields else {"reply_to_message": replied}
            assert (await stage.say("/unpin", chat=TEAM, **reply, **fields))["text"].startswith("✅"), (text, said)
            assert calls(stage) == [("sales", NUMBERS[1], False)]
        replied = stage.telegram.message(STRANGER, f"{CHATS[1]} or {CHATS[2]}", chat=TEAM)
        answer = await stage.say("/pin", chat=TEAM, reply_to_message=replied)
        assert shown_labels(answer) == [f"Pin {chat}" for chat in CHATS[1:3]]
        await stage.say(f"/pin {NUMBERS[5]}", chat=TEAM, reply_to_message=replied)
        created = replied | {"forum_topic_created": {"name": CHATS[1], "icon_color": 1}}
        answer = await stage.say("/pin", chat=TEAM, reply_to_message=created, **TOPIC)
        assert answer["text"].startswith("Which chat shall I pin")
    assert calls(stage) == [("sales", NUMBERS[5], True)]


async def test_a_reply_to_the_bots_question_with_a_number_is_its_answer(stage: Stage) -> None:
    async with stage.bot():
        cases: list[tuple[int, int | Json, str, Json, tuple[str, str, bool]]] = [
            (ANA, ANA, "/pin", {"text": CHATS[1]}, ("sales", NUMBERS[1], True)),
            (ANA, ANA, "/unpin", {"text": None, **contact(CHATS[1])}, ("sales", NUMBERS[1], False)),
            (CAIO, CAIO, "/pin support", {"text": CHATS[1]}, ("support", NUMBERS[1], True)),
            (CAIO, CAIO, "/pin support", {"text": f"sales {CHATS[1]}"}, ("sales", NUMBERS[1], True)),
            (ANA, TEAM, "/pin", {"text": CHATS[1]}, ("sales", NUMBERS[1], True)),
        ]
        for user, chat, text, said, made in cases:
            question = await stage.say(text, user, chat=chat)
            await stage.say(user=user, chat=chat, reply_to_message=question, **said)
            assert calls(stage) == [made]
        answer = await stage.say("/pin", CAIO)
        assert shown_labels(answer) == [f"Pin {CHATS[1]}"]
        await stage.say(None, reply_to_message=await stage.say("/pin"), sticker=STICKER)
        for says in ("/help", "/pin 5511"):  # the example in its answer is nobody's chat
            await stage.say("/pin", reply_to_message=await stage.say(says))
        await stage.say(CHATS[2], reply_to_message=answer | {"from": {"id": 5, "is_bot": True, "first_name": "B"}})
    assert not calls(stage)


async def test_without_a_command_a_number_or_contact_is_offered_and_only_the_tap_acts(stage: Stage) -> None:
    async with stage.bot():
        for text, fields, says in (
            (None, contact(NUMBER, last_name="Silva"), f"{SHOWN} (Jo <b> Silva): pin or unpin?"),
            (None, contact(NUMBER) | FORWARD, f"{SHOWN} (Jo <b>): pin or unpin?"),
            (NUMBER, FORWARD, f"{SHOWN}: pin or unpin?"),
            (f"pin {NUMBER}", {}, f"{SHOWN}: pin or unpin?"),
        ):
            offer = await stage.say(text, **fields)
            assert (offer["text"], shown_labels(offer)) == (says, ["Pin", "Unpin"])
        assert "lacks its area code" in (await stage.say(None, **contact("91234-5678")))["text"]
        assert not calls(stage)
        assert (await stage.press(offer, "Pin"))["text"] == f"📌 Pinned {SHOWN}."
        offer = await stage.say(NUMBER, CAIO)
        assert shown_labels(offer) == [f"{verb} · {name}" for name in ("sales", "support") for verb in ("Pin", "Unpin")]
        assert (await stage.press(offer, "Pin · support", CAIO))["text"] == f"📌 Pinned {SHOWN} on support."
        answer = await stage.say("/pin +55 11 9999999990")
        assert (await stage.press(answer, "anyway"))["text"] == "📌 Pinned +55 119999999990."
    assert b"Silva" not in await asyncio.to_thread(Path(stage.settings["state"]).read_bytes)


async def test_several_instances_are_named_and_others_are_not_yours(stage: Stage) -> None:
    async with stage.bot():
        for text, instance in (("", "sales"), ("SUPPORT\n", "support"), ("support:", "support"), ("tel:+", "sales")):
            assert (await stage.say(f"/pin {text}{NUMBER}", CAIO))["text"] == f"📌 Pinned {SHOWN} on {instance}."
        calls(stage)
        for text in (f"/pin night {NUMBER}", "/unpin night", "/pins night", "/history night"):
            answer = await stage.say(text, CAIO)
            assert answer["text"] == "“night” is not one of your instances, so I did nothing. Yours: sales, support."
        assert not calls(stage)
        assert (await stage.say(f"/pin suport {NUMBER}", BIA))["text"].startswith("“suport” is not one of your")
        assert (await stage.say(f"/pin Maria {SHOWN}", BIA))["text"].startswith("📌")
        assert SHOWN in (await stage.say("/pins support", CAIO))["text"]


async def test_a_late_command_is_not_run_and_its_button_is_its_own_operators(stage: Stage) -> None:
    late, mine = [stage.telegram.message(ANA, f"/pin {NUMBER}", chat=chat, date=OLD) for chat in (TEAM, ANA)]
    fresh = stage.telegram.message(ANA, f"/unpin {NUMBERS[1]}", date=int(time.time()) - 500)
    async with stage.bot():
        asked, own = await stage.telegram.answer(late), await stage.telegram.answer(mine)
        assert asked["text"].startswith(f"⏰ {SHOWN} on sales: this command is more than ten minutes old")
        assert (await stage.telegram.answer(fresh))["text"].startswith("✅")
    calls(stage)
    async with stage.bot():
        pin = stage.telegram.button(asked, "Pin")
        for message in (asked, own):
            assert "for the operator who sent the command" in await alert(stage, CAIO, message, pin)
        assert "no longer works" in await alert(stage, ANA, {"chat": TEAM, "message_id": 999}, pin)
        assert not calls(stage)
        assert (await stage.press(asked, "Pin"))["text"] == f"📌 Pinned {SHOWN} on sales.\n👆 Ana"
        assert (await stage.press(own, "Pin"))["text"] == f"📌 Pinned {SHOWN}."
        await stage.say("/unpin " + ",".join(NUMBERS[:10]))
        page = await stage.say("/history")
        older = await stage.press(page, "Older")
        assert older["text"].split("\n")[-1].endswith(f"Ana: pin {SHOWN} – too late, not run")
        assert (await stage.press(older, "Newest"))["text"] == page["text"]


async def test_a_long_poll_counts_more_than_this_clock(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async with stage.bot():
        for _ in range(2):
            await stage.telegram.wait_for(lambda: stage.telegram._waiter and time.monotonic() - held(stage) > 1.2)
            assert (await stage.say(f"/pin {NUMBER}", date=OLD))["text"].startswith("📌")
    assert caplog.text.count("clock seems wrong") == 1


async def test_near_misses_thanks_edits_and_forwards_in_private(stage: Stage) -> None:
    async with stage.bot():
        answer = await stage.say(f"/pinn {NUMBER}")
        assert (answer["text"], shown_labels(answer)) == ("Did you mean /pin?", [f"Pin {SHOWN}"])
        assert (await stage.say("/list"))["text"] == "Did you mean /pins?"
        assert (await stage.say("/unpin all"))["text"].startswith("Nothing pinned.")
        assert (await stage.say(f"/pin {NUMBER}", **FORWARD))["text"].startswith("I don't run forwarded commands")
        message = stage.telegram.message(ANA, f"/unpin {NUMBER}")
        await stage.telegram.answer(message)
        for text in (f"/unpin {NUMBERS[1]}", f"/unpin {NUMBERS[1]}", "never mind"):
            stage.telegram.edit(message, text)
        await stage.handled()
        edits = [sent["text"].split(":")[0] for sent in stage.telegram.replies(message)[1:]]
        assert edits == ["I don't run edited commands"] * 2
        thanks = stage.telegram.message(ANA, "Muito obrigado!")
        await stage.handled()
        assert stage.telegram.reactions == {(ANA, thanks["message_id"]): ["👍"]}
        assert stage.telegram.messages(ANA)[-1] == thanks
        stage.telegram.message(STRANGER, None, write_access_allowed={})
        await stage.handled()
        assert not stage.telegram.sent(STRANGER)
    assert calls(stage) == [("sales", NUMBER, False)]


async def test_operators_is_for_admins_in_private(stage: Stage) -> None:
    stage.settings["admins"] = [BIA, 500]
    async with stage.bot():
        for admin in (BIA, 500):
            assert "• Caio & <co> (333): sales, support" in (await stage.say("/operators", admin))["text"]
        assert "Who may" not in (await stage.say("/operators"))["text"]
        assert "Who may" not in (await stage.say("/operators", STRANGER))["text"]
        stage.telegram.message(BIA, "/operators", chat=TEAM)
        await stage.handled()
    assert not stage.telegram.sent(TEAM["id"])


async def test_who_may_not_press_is_told_so(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bot")
    page = f"h:{instance_hash('sales')}:0"
    async with stage.bot():
        answer = await stage.say(f"/pin {NUMBER}", chat=TEAM)
        calls(stage)
        presses: list[tuple[int | Json, str, str]] = [
            *((who, data(Action.PIN), "Only the team's operators") for who in (STRANGER, {"id": ANA, "is_bot": True})),
            *((BIA, pressed, "not yours") for pressed in (data(Action.SWAP, other=NUMBERS[1]), page)),
            (ANA, data(Action.PIN, instance="gone"), "not yours"),
            (ANA, page, "only in a private chat"),
            *((ANA, pressed, "no longer works") for pressed in ("\x00' OR 1=1", data(Action.REST, NUMBERS[1]))),
        ]
        for presser, pressed, says in presses:
            assert says in await alert(stage, presser, answer, pressed), pressed
        assert not calls(stage)
        assert stage.telegram.current(answer) == answer
        stage.telegram.delete(answer)
        stage.telegram.fault("answerCallbackQuery", status=400, description="Bad Request: query is too old")
        stage.telegram.press(ANA, answer, data(Action.UNPIN))
        await stage.handled()
        assert stage.telegram.sent()[-1]["text"] == f"✅ Unpinned {SHOWN} on sales.\n👆 Ana"
    assert f"denied a button: press_stranger, sender {STRANGER}" in caplog.messages


async def test_a_press_is_confirmed_at_once_and_typing_is_shown_while_ryze_is_slow(stage: Stage) -> None:
    async with stage.bot():
        answer = await stage.say(f"/pin {NUMBER}")
        slow = stage.ryze.fault(delay=60)
        query = stage.telegram.press(ANA, answer, data(Action.UNPIN))
        await stage.telegram.wait_for(lambda: query in stage.telegram.callback_answers, what="the confirmation")
        await stage.telegram.wait_for(lambda: stage.telegram.calls[-1].method == "sendChatAction", what="typing")
        slow.stop()
        await stage.handled()
    assert [call.method for call in stage.telegram.calls].count("sendChatAction") == 1


async def test_a_failure_inside_becomes_an_apology(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async with stage.bot():
        answer = await stage.say(None, contact={"phone_number": NUMBER, "first_name": 5})
        reference = answer["text"].partition("give your admin this code: ")[2]
        stage.telegram.message(ANA, f"/pin {NUMBER}", date="yesterday")  # can't be read at all
        assert (await stage.say(f"/pin {NUMBER}"))["text"].startswith("📌")
    (record,) = [record for record in caplog.records if f"reference {reference}" in record.getMessage()]
    assert record.exc_info


async def test_while_the_store_is_away_commands_go_on(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    folder = stage.folder / "not there yet"
    stage.settings["state"] = str(folder / "state.sqlite3")
    async with stage.bot():
        for text in ("/pins", "/history"):
            assert (await stage.say(text))["text"].startswith("I can't reach my records right now.")
        assert (await stage.say(f"/pin {NUMBER}"))["text"].startswith("📌")
        assert not shown_labels(await stage.say("/pin"))
        folder.mkdir()
        await stage.telegram.wait_for(lambda: "the store is back" in caplog.text, what="the store's return")
        assert shown_labels(await stage.say("/pins")) == [f"Unpin {SHOWN}"]
