"""From what a person sends to the chats that are meant, and what is done with them: through the real bot, over HTTP."""

import re
from typing import Any

import pytest

from tests.conftest import ANA, BIA, STRANGER, Stage
from tests.sandbox.server import Json

NUMBERS = [f"55119999900{number:02}" for number in range(12)]
SHOWN = [f"+55 11 99999-00{number:02}" for number in range(12)]
TEAM: Json = {"id": -100123, "type": "supergroup", "title": "Team", "is_forum": True}
TOPIC = {"message_thread_id": 77, "is_topic_message": True}
FORWARD = {"forward_origin": {"type": "hidden_user", "date": 1, "sender_user_name": "Customer"}}
IN_PRIVATE = "Lists of chats are shown only in a private chat with me: @ryze_pin_bot"


def asked(stage: Stage) -> list[tuple[str | None, str, bool]]:
    """What Ryze was asked since this was last looked at."""
    calls = [(call.instance, call.number, call.pin) for call in stage.ryze.calls]
    stage.ryze.calls.clear()
    return calls


def labels(message: Json) -> list[str]:
    return [button["text"] for row in message.get("reply_markup", {}).get("inline_keyboard", []) for button in row]


def contact(number: str, **fields: str) -> Json:
    return {"contact": {"phone_number": number, "first_name": "Jo <b>", **fields}}


def several_instances(stage: Stage) -> None:
    stage.settings["operators"][0] = {"telegram_id": ANA, "name": "Ana", "instances": ["sales", "support"]}


# Several chats


async def test_several_chats_are_one_answer_with_a_line_each(stage: Stage) -> None:
    async with stage.bot():
        answer = await stage.say(f"/pin {NUMBERS[0]}\n{SHOWN[1]}, {NUMBERS[0]}; the usual one,")
        assert asked(stage) == [("sales", NUMBERS[0], True), ("sales", NUMBERS[1], True)]
        unpinned = await stage.say(f"/unpin\n{NUMBERS[1]},{NUMBERS[0]}")
        one = await stage.say(f"/pin {NUMBERS[0]},{NUMBERS[0]},")
    assert answer["text"].split("\n") == [
        f"📌 Pinned {SHOWN[0]} on sales.",
        f"📌 Pinned {SHOWN[1]} on sales.",
        "❓ I can't read “the usual one” as a chat; nothing was done with it on sales.",
    ]
    assert unpinned["text"].split("\n") == [f"✅ Unpinned {shown} on sales." for shown in (SHOWN[1], SHOWN[0])]
    assert labels(one) == ["Unpin"]


async def test_several_chats_stop_at_the_limit_and_those_left_are_named(stage: Stage) -> None:
    async with stage.bot():
        answer = await stage.say("/pin " + ",".join(NUMBERS[:6]))
    lines = answer["text"].split("\n")
    assert [line.split()[0] for line in lines] == ["📌", "📌", "📌", "❌", "⏭", "⏭"]
    assert "limit of three" in lines[3]
    assert lines[4:] == [f"⏭ {shown} was not tried on sales." for shown in SHOWN[4:6]]
    assert len(asked(stage)) == 4


async def test_several_chats_stop_where_the_rest_could_not_succeed_but_not_at_one_chats_own_trouble(
    stage: Stage,
) -> None:
    async with stage.bot():
        stage.ryze.fault(status=400, message="Invalid request body: no such number")
        answer = await stage.say("/pin " + ",".join(NUMBERS[:2]))
        assert [line.split()[0] for line in answer["text"].split("\n")] == ["❌", "📌"]
        stage.ryze.instances["sales"].connected = False
        answer = await stage.say("/pin " + ",".join(NUMBERS[:3]))
        assert [line.split()[0] for line in answer["text"].split("\n")] == ["❌", "⏭", "⏭"]
    assert len(asked(stage)) == 3


async def test_more_than_ten_chats_are_not_begun(stage: Stage) -> None:
    async with stage.bot():
        answer = await stage.say("/pin " + "\n".join(NUMBERS[:11]))
        assert answer["text"].startswith("Send ten chats at most in one message; nothing was done on sales.")
        assert not asked(stage)
        answer = await stage.say("/unpin " + "\n".join(NUMBERS[:10]))
        assert answer["text"].count("✅ Unpinned") == 10


@pytest.mark.parametrize("typed", [",", ".", "\n,\n;", "Maria, João"])
async def test_separators_and_words_alone_are_no_chats(stage: Stage, typed: str) -> None:
    async with stage.bot():
        answer = await stage.say(f"/pin {typed}")
    assert "inside the bot" not in answer["text"]
    assert not asked(stage)


# A reply


REPLIED: list[tuple[str | None, Json]] = [
    (f"please call {SHOWN[1]} today", {}),
    (f"https://wa.me/{NUMBERS[1]}?text=Hi%2C%205511888888888", {}),
    (f"{NUMBERS[1]}@s.whatsapp.net", {}),
    (None, {"photo": [{"file_id": "f", "file_unique_id": "u", "width": 9, "height": 9}], "caption": SHOWN[1]}),
    (None, contact(NUMBERS[1])),
    (None, contact(f"+{NUMBERS[1]}")),
    ("the customer", {"entities": [{"type": "text_link", "offset": 0, "length": 3, "url": f"wa.me/{NUMBERS[1]}"}]}),
    (f"📌 Pinned {SHOWN[1]} on sales.", {}),
]


async def test_a_reply_takes_the_chat_from_the_message_it_replies_to(stage: Stage) -> None:
    async with stage.bot():
        for text, fields in REPLIED:
            message = stage.telegram.message(STRANGER, text, chat=TEAM, **fields)
            answer = await stage.say("/unpin", chat=TEAM, reply_to_message=message)
            assert answer["text"].startswith("✅ Unpinned"), text
            ((instance, number, pin),) = asked(stage)
            assert (instance, number.removesuffix("@s.whatsapp.net"), pin) == ("sales", NUMBERS[1], False)


async def test_what_is_typed_counts_before_what_is_replied_to(stage: Stage) -> None:
    async with stage.bot():
        message = stage.telegram.message(STRANGER, SHOWN[1], chat=TEAM)
        await stage.say(f"/pin {NUMBERS[2]}", chat=TEAM, reply_to_message=message)
    assert asked(stage) == [("sales", NUMBERS[2], True)]


async def test_a_reply_to_anything_but_one_chat_does_nothing(stage: Stage) -> None:
    async with stage.bot():
        for text, says in (
            (f"{SHOWN[1]} or {SHOWN[2]}", "more than one number"),
            ("good morning", "no phone number"),
            ("51987654321", "two ways"),
            ("order 1234", "no phone number"),
        ):
            message = stage.telegram.message(STRANGER, text, chat=TEAM)
            answer = await stage.say("/pin", chat=TEAM, reply_to_message=message)
            assert says in answer["text"]
    assert not asked(stage)


async def test_in_a_topic_a_message_that_is_no_reply_is_none(stage: Stage) -> None:
    async with stage.bot():
        created: Json = {"message_id": 77, "date": 1, "chat": TEAM, **TOPIC}
        created["forum_topic_created"] = {"name": f"Calls {SHOWN[1]}", "icon_color": 1}
        answer = await stage.say("/pin", chat=TEAM, reply_to_message=created, **TOPIC)
        assert answer["text"].startswith("Which chat shall I pin on sales?")
        message = stage.telegram.message(STRANGER, SHOWN[1], chat=TEAM, reply_to_message=created, **TOPIC)
        answer = await stage.say("/pin", chat=TEAM, reply_to_message=message, **TOPIC)
        assert answer["text"].startswith("📌")
        assert answer["message_thread_id"] == 77


# Without a command


async def test_a_contact_or_a_number_in_private_is_offered_and_only_the_tap_acts(stage: Stage) -> None:
    async with stage.bot():
        sent: list[tuple[str | None, Json, str]] = [
            (None, contact(NUMBERS[1], last_name="Silva"), f"Jo <b> Silva, {SHOWN[1]} on sales"),
            (None, contact(NUMBERS[1]) | FORWARD, f"Jo <b>, {SHOWN[1]} on sales"),
            (SHOWN[1], {}, f"{SHOWN[1]} on sales"),
            (NUMBERS[1], FORWARD, f"{SHOWN[1]} on sales"),
            (f"https://wa.me/{NUMBERS[1]}", {}, f"{SHOWN[1]} on sales"),
        ]
        offers = []
        for text, fields, says in sent:
            offers.append(await stage.say(text, **fields))
            assert offers[-1]["text"] == f"{says}: what shall I do?"
            assert labels(offers[-1]) == ["Pin", "Unpin"]
        await stage.handled()
        assert not asked(stage)
        shown = await stage.press(offers[1], "Pin")
        assert shown["text"] == f"📌 Pinned {SHOWN[1]} on sales."
        assert asked(stage) == [("sales", NUMBERS[1], True)]


async def test_an_offer_of_two_readings_has_buttons_for_both(stage: Stage) -> None:
    async with stage.bot():
        offer = await stage.say("51987654321")
    assert labels(offer) == [
        f"{verb} {chat}" for chat in ("+55 51 98765-4321", "+51 987 654 321") for verb in ("Pin", "Unpin")
    ]


async def test_a_contact_without_a_usable_number_is_told_so(stage: Stage) -> None:
    async with stage.bot():
        for number in ("", "190", "12345"):
            answer = await stage.say(None, **contact(number))
            assert "nothing was done on sales" in answer["text"]


async def test_nobody_else_and_no_group_is_offered_anything(stage: Stage) -> None:
    async with stage.bot():
        refused = await stage.say(None, STRANGER, **contact(NUMBERS[1]))
        stage.telegram.message(ANA, None, chat=TEAM, **contact(NUMBERS[1]))
        stage.telegram.message(ANA, NUMBERS[1], chat=TEAM)
        await stage.handled()
    assert not labels(refused)
    assert stage.telegram.sent() == [refused]


async def test_pin_alone_offers_the_last_chats_and_unpin_alone_what_is_pinned(stage: Stage) -> None:
    async with stage.bot():
        for text in (f"/pin {NUMBERS[0]}", f"/pin {NUMBERS[1]}", f"/unpin {NUMBERS[0]}"):
            await stage.say(text)
        await stage.say(f"/pin {NUMBERS[5]}", BIA)
        which = await stage.say("/pin")
        assert labels(which) == [f"Pin {SHOWN[0]}", f"Pin {SHOWN[1]}"]
        assert labels(await stage.say("/unpin")) == [f"Unpin {SHOWN[1]}"]
        asked(stage)
        shown = await stage.press(which, SHOWN[0])
        assert shown["text"] == f"📌 Pinned {SHOWN[0]} on sales."
        assert asked(stage) == [("sales", NUMBERS[0], True)]
        for text in ("/pin", "/unpin"):
            answer = await stage.say(text, chat=TEAM)
            assert not labels(answer)
            assert answer["text"].endswith(IN_PRIVATE)


# Instances


OWN_NAMES = [
    (f"/pin {NUMBERS[1]}", "sales"),
    (f"/pin support {NUMBERS[1]}", "support"),
    (f"/pin SUPPORT\n{NUMBERS[1]}", "support"),
    (f"/pin support, {NUMBERS[1]}", "support"),
    (f"/pin support:{NUMBERS[1]}", "support"),
    (f"/pin sales {NUMBERS[1]}", "sales"),
]
FOREIGN_NAMES = [
    f"/pin night {NUMBERS[1]}",
    f"/pin night\n{NUMBERS[1]}",
    f"/pin night, {NUMBERS[1]}",
    f"/pin night: {NUMBERS[1]}, {NUMBERS[2]}",
    f"/pin night\n{NUMBERS[1]}\n{NUMBERS[2]}",
    "/pin night 51987654321",
    "/pin night 12345678",
    f"/unpin night {NUMBERS[1]}@s.whatsapp.net",
]


async def test_an_operator_of_several_instances_names_another_than_the_first(stage: Stage) -> None:
    several_instances(stage)
    async with stage.bot():
        for text, instance in OWN_NAMES:
            answer = await stage.say(text)
            assert answer["text"] == f"📌 Pinned {SHOWN[1]} on {instance}.", text
            assert asked(stage) == [(instance, NUMBERS[1], True)]
        message = stage.telegram.message(ANA, SHOWN[1], chat=TEAM)
        await stage.say("/unpin support", chat=TEAM, reply_to_message=message)
        assert asked(stage) == [("support", NUMBERS[1], False)]
        assert labels(await stage.say("/unpin sales")) == [f"Unpin {SHOWN[1]}"]
        assert not labels(await stage.say("/unpin support"))
        shown = await stage.press(await stage.say(f"/pin support {NUMBERS[2]}"), "Unpin")
        assert shown["text"] == f"✅ Unpinned {SHOWN[2]} on support."


async def test_a_name_that_is_not_theirs_is_told_so_and_nothing_is_done(stage: Stage) -> None:
    several_instances(stage)
    stage.ryze.instances["night"] = stage.ryze.instances["sales"]
    stage.settings["instances"]["night"] = {"token": "token-of-night"}
    async with stage.bot():
        for text in FOREIGN_NAMES:
            answer = await stage.say(text)
            assert answer["text"] == "“night” is not one of your instances; nothing was done. Yours: sales, support."
        message = stage.telegram.message(ANA, SHOWN[1], chat=TEAM)
        answer = await stage.say("/pin nowhere", chat=TEAM, reply_to_message=message)
        assert answer["text"].startswith("“nowhere” is not one of your instances")
    assert not asked(stage)


async def test_digits_are_a_chat_even_if_an_instance_is_called_so(stage: Stage) -> None:
    stage.ryze.instances["55"] = stage.ryze.instances.pop("support")
    stage.settings["instances"]["55"] = stage.settings["instances"].pop("support")
    stage.settings["operators"] = [{"telegram_id": ANA, "instances": ["sales", "55"]}]
    async with stage.bot():
        await stage.say("/pin 55 11 99999-0001")
        await stage.say(f"/pin 55 +{NUMBERS[1]}")
    assert asked(stage) == [("sales", NUMBERS[1], True), ("55", NUMBERS[1], True)]


async def test_a_link_or_an_address_is_no_name(stage: Stage) -> None:
    async with stage.bot():
        for text in (
            f"tel:+{NUMBERS[1]};ext=12",
            f"wa.me/{NUMBERS[1]},\nhttps://wa.me/{NUMBERS[1]}",
            f"tel:+{NUMBERS[1]}, tel:+{NUMBERS[1]}",
        ):
            answer = await stage.say(f"/pin {text}")
            assert answer["text"] == f"📌 Pinned {SHOWN[1]} on sales.", text


# The limit of three


async def full(stage: Stage, **fields: Any) -> Json:  # noqa: ANN401 - a message's fields
    """Pins three chats and then a fourth, and returns the answer to that."""
    await stage.say("/pin " + ",".join(NUMBERS[:3]), BIA, **fields)
    answer = await stage.say(f"/pin {NUMBERS[3]}", **fields)
    asked(stage)
    return answer


def team_up(stage: Stage) -> None:
    stage.settings["operators"][1]["instance"] = "sales"


async def test_at_the_limit_it_is_offered_what_can_go_and_one_tap_swaps_in_order(stage: Stage) -> None:
    team_up(stage)
    async with stage.bot():
        answer = await full(stage)
        lines = answer["text"].split("\n")
        assert "probably" in lines[1]
        offered = [line for line in lines if line.startswith("•")]
        assert all(re.fullmatch(r"• \+55 11 99999-000\d, pinned by Bia, today \d\d:\d\d", line) for line in offered)
        assert labels(answer) == [f"Unpin {shown}, pin this one" for shown in SHOWN[2::-1]] + ["Try again"]
        shown = await stage.press(answer, SHOWN[0])
    assert shown["text"] == f"✅ Unpinned {SHOWN[0]} on sales.\n📌 Pinned {SHOWN[3]} on sales."
    assert labels(shown) == ["Unpin"]
    assert asked(stage) == [("sales", NUMBERS[0], False), ("sales", NUMBERS[3], True)]


async def test_commands_right_behind_one_another_know_of_the_ones_before(stage: Stage) -> None:
    async with stage.bot():
        messages = [stage.telegram.message(ANA, f"/pin {number}") for number in NUMBERS[:4]]
        answer = await stage.telegram.answer(messages[-1])
    assert len(labels(answer)) == 4


async def test_only_what_the_bot_knows_is_offered(stage: Stage) -> None:
    stage.ryze.instances["sales"].pinned = [f"{number}@s.whatsapp.net" for number in NUMBERS[5:7]]
    async with stage.bot():
        await stage.say(f"/pin {NUMBERS[0]}")
        answer = await stage.say(f"/pin {NUMBERS[1]}")
        assert labels(answer) == [f"Unpin {SHOWN[0]}, pin this one", "Try again"]
        await stage.say(f"/unpin {NUMBERS[0]}")
        stage.ryze.instances["sales"].pinned.append("phone@lid")
        assert labels(await stage.say(f"/pin {NUMBERS[1]}")) == ["Try again"]


async def test_a_group_is_not_shown_what_is_pinned(stage: Stage) -> None:
    team_up(stage)
    async with stage.bot():
        answer = await full(stage, chat=TEAM)
        again = await stage.press(answer, "Try again")
    for shown in (answer, again):
        assert labels(shown) == ["Try again"]
        assert not any(number in shown["text"] for number in SHOWN[:3])
        assert IN_PRIVATE in shown["text"]


async def test_if_the_second_half_is_refused_the_first_is_put_back(stage: Stage) -> None:
    team_up(stage)
    async with stage.bot():
        answer = await full(stage)
        stage.ryze.instances["sales"].pinned[1] = "phone@lid"  # the phone's owner was faster
        stage.ryze.fault(
            status=500, message="maximum of 3 pinned chats reached", when=lambda call: call.number == NUMBERS[3]
        )
        shown = await stage.press(answer, SHOWN[0])
    assert asked(stage) == [("sales", NUMBERS[0], False), ("sales", NUMBERS[3], True), ("sales", NUMBERS[0], True)]
    lines = shown["text"].split("\n")
    assert lines[0] == f"❌ {SHOWN[3]} was not pinned on sales."
    assert lines[-1] == f"So I pinned {SHOWN[0]} again, as it was."
    assert f"{NUMBERS[0]}@s.whatsapp.net" in stage.ryze.instances["sales"].pinned


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ({"status": 422, "message": "no"}, f"⚠️ {SHOWN[0]} was pinned before, but I could not pin it again."),
        ({"status": 502, "body": b"bad gateway"}, f"⚠️ I can't tell whether {SHOWN[0]} was pinned on sales."),
    ],
)
async def test_if_it_cannot_be_put_back_the_answer_says_so(stage: Stage, order: Json, says: str) -> None:
    team_up(stage)
    async with stage.bot():
        answer = await full(stage)
        stage.ryze.fault(status=422, message="no", when=lambda call: call.number == NUMBERS[3])
        stage.ryze.fault(**order, times=None, when=lambda call: call.number == NUMBERS[0] and call.pin)
        shown = await stage.press(answer, SHOWN[0])
    assert shown["text"].split("\n")[-1] == says


async def test_if_the_outcome_of_the_second_half_is_unknown_the_answer_says_so(stage: Stage) -> None:
    team_up(stage)
    async with stage.bot():
        answer = await full(stage)
        stage.ryze.fault(status=200, body=b"?", when=lambda call: call.number == NUMBERS[3])
        shown = await stage.press(answer, SHOWN[0])
        assert asked(stage) == [("sales", NUMBERS[0], False), ("sales", NUMBERS[3], True)]
        lines = shown["text"].split("\n")
        assert lines[:2] == [
            f"✅ Unpinned {SHOWN[0]} on sales.",
            f"⚠️ I can't tell whether {SHOWN[3]} was pinned on sales.",
        ]
        assert lines[-1] == f"⚠️ {SHOWN[0]} stays unpinned."
        assert (await stage.press(shown, "Try again"))["text"].startswith(f"📌 Pinned {SHOWN[3]}")


async def test_if_the_first_half_fails_the_second_is_not_tried_and_both_can_be_tried_again(stage: Stage) -> None:
    team_up(stage)
    async with stage.bot():
        answer = await full(stage)
        stage.ryze.instances["sales"].connected = False
        shown = await stage.press(answer, SHOWN[0])
        assert shown["text"].startswith(f"❌ {SHOWN[0]} was not unpinned on sales.")
        assert shown["text"].endswith(f"⏭ {SHOWN[3]} was not tried on sales.")
        stage.ryze.instances["sales"].connected = True
        shown = await stage.press(shown, SHOWN[0])
        assert shown["text"].endswith(f"📌 Pinned {SHOWN[3]} on sales.")
