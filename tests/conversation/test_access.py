"""The authorisation matrix: exactly the plain messages of an operator act, in private and in groups."""

import logging
import time
from dataclasses import dataclass, field

import pytest

from bot.settings.load import load
from tests.conftest import ANA, STRANGER, Stage
from tests.conversation.making import FORWARD, TEAM, VIA_BOT
from tests.sandbox.server import Json

COMMAND = "/pin 551199999"  # and four digits more
SPOKEN = ("text", "caption")
CHANNEL: Json = {"id": -100777, "type": "channel", "title": "News"}
ANONYMOUS: Json = {"id": 1087968824, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"}
CHANNEL_BOT: Json = {"id": 136817688, "is_bot": True, "first_name": "Channel", "username": "Channel_Bot"}
TELEGRAM: Json = {"id": 777000, "is_bot": False, "first_name": "Telegram"}
OTHER_BOT: Json = VIA_BOT["via_bot"]
PHOTO = [{"file_id": "f", "file_unique_id": "u", "width": 9, "height": 9}]

OFFER = "+55 11 99999-"
EDITED = "I don't run edited commands: "
FORWARDED = "I don't run forwarded commands: "
THROUGH_A_BOT = "I don't run commands sent through another bot: "
NOT_A_PERSON = "I only run commands that a person sends: "


@dataclass(frozen=True)
class Shape:
    """A command of Ana's, and what makes it special. `private` is how its one answer in private begins, if any."""

    name: str
    fields: Json = field(default_factory=dict)
    kind: str = "message"
    private: str = ""


def person(telegram_id: int, **fields: object) -> Json:
    return {"id": telegram_id, "is_bot": False, "first_name": f"User {telegram_id}", **fields}


def forward(**origin: object) -> Json:
    return {"forward_origin": {"date": 1_700_000_000, **origin}}


PLAIN = [
    Shape("as typed"),
    Shape("to this bot by name", {"text": "/pin@Ryze_Pin_Bot 551199999{number}"}),
    Shape("as a reply", {"reply_to_message": {"message_id": 3, "date": 1, "chat": TEAM, "text": "hi"}}),
    Shape("with a quote from another chat", {"quote": {"text": "hi", "position": 0}}),
    Shape("sent by schedule", {"is_from_offline": True}),
    Shape("by a member who boosted the group", {"sender_boost_count": 2}),
    Shape("with fields of a future API", {"from": person(ANA, aura="blue"), "mood": {"kind": "new"}}),
]
INERT = [
    Shape("edited", {"edit_date": 1_700_000_000}, "edited_message", EDITED),
    Shape("edited without a date of it", {}, "edited_message", EDITED),
    Shape("a message that was edited before it was seen", {"edit_date": 1_700_000_000}, private=EDITED),
    Shape("forwarded from a user", forward(type="user", sender_user=person(ANA)), private=FORWARDED),
    Shape("forwarded from a hidden user", forward(type="hidden_user", sender_user_name="Ana"), private=FORWARDED),
    Shape("forwarded from a group", forward(type="chat", sender_chat=TEAM), private=FORWARDED),
    Shape("forwarded from a channel", forward(type="channel", chat=CHANNEL, message_id=1), private=FORWARDED),
    Shape("forwarded from who knows where", forward(type="a new kind"), private=FORWARDED),
    Shape("forwarded, as old servers tell", {"forward_date": 1, "forward_from": person(ANA)}, private=FORWARDED),
    Shape("forwarded, as old servers tell of a hidden user", {"forward_sender_name": "Ana"}, private=FORWARDED),
    Shape("forwarded, told by its date alone", {"forward_date": 1_700_000_000}, private=FORWARDED),
    Shape("forwarded and edited", {**forward(type="user", sender_user=person(ANA)), "edit_date": 1}, private=FORWARDED),
    Shape("through an inline bot", VIA_BOT, private=THROUGH_A_BOT),
    Shape("by a bot with an operator's id", {"from": person(ANA, is_bot=True)}, private=NOT_A_PERSON),
    Shape("in the name of a chat", {"sender_chat": TEAM}, private=NOT_A_PERSON),
    Shape("in the name of a channel", {"sender_chat": CHANNEL}, private=NOT_A_PERSON),
    Shape("by a business account's bot", {"sender_business_bot": OTHER_BOT}, private=NOT_A_PERSON),
    Shape("through a business connection", {"business_connection_id": "b"}, private=NOT_A_PERSON),
    Shape("through a guest's query", {"guest_query_id": "g"}, private=NOT_A_PERSON),
    Shape("a channel's post, forwarded by Telegram", {"is_automatic_forward": True}, private=NOT_A_PERSON),
    Shape("an anonymous admin", {"from": ANONYMOUS, "sender_chat": TEAM}),
    Shape("an anonymous admin's id alone", {"from": person(1087968824)}),
    Shape("a channel in a group", {"from": CHANNEL_BOT, "sender_chat": CHANNEL}),
    Shape("a channel's id alone", {"from": person(136817688)}),
    Shape("a linked channel", {"from": TELEGRAM, "sender_chat": CHANNEL, "is_automatic_forward": True}),
    Shape("Telegram itself", {"from": TELEGRAM}),
    Shape("nobody", {"from": None}),
    Shape("nobody but a chat", {"from": None, "sender_chat": TEAM}),
    Shape(
        "a caption", {"text": None, "entities": None, "photo": PHOTO, "caption": COMMAND + "{number}"}, private=OFFER
    ),
    Shape("an edited caption", {"text": None, "caption": COMMAND + "{number}", "edit_date": 1}, "edited_message"),
    Shape("to another bot", {"text": "/pin@OTHER_BOT 551199999{number}"}, private="I don't understand that."),
    Shape("a message in a channel", {"chat": CHANNEL}),
    Shape("a channel post", {"chat": CHANNEL}, "channel_post"),
    Shape("a channel post signed by an operator", {"chat": CHANNEL, "author_signature": "Ana"}, "channel_post"),
    Shape("an edited channel post", {"chat": CHANNEL, "edit_date": 1}, "edited_channel_post"),
    Shape("a channel post in a chat of another type", {}, "channel_post"),
    Shape("a message to a business account", {"business_connection_id": "b"}, "business_message"),
    Shape("an edited message to a business account", {"business_connection_id": "b"}, "edited_business_message"),
    Shape("a kind of update that nobody knows", {}, "guest_message"),
]


def push(stage: Stage, shape: Shape, chat: Json, sender: Json, number: int = 7) -> None:
    """Queues Ana's command in a shape; `number` is its message's id and the end of the phone number in it."""
    room = stage.telegram.add_chat(chat)
    message: Json = {"message_id": number, "from": sender, "chat": room.info, "date": int(time.time())}
    message |= {"text": f"{COMMAND}{number:04}", **shape.fields}
    message = {name: value for name, value in message.items() if value is not None}
    message |= {name: value.replace("{number}", f"{number:04}") for name, value in message.items() if name in SPOKEN}
    room.messages[number] = message
    stage.telegram.push({shape.kind: message})


async def play(stage: Stage, shapes: list[Shape], chat: Json) -> dict[str, tuple[bool, list[str]]]:
    """Sends a command of Ana's in each shape: by the shape's name, whether it reached Ryze, and what was answered.

    The commands are sent before the bot starts, so that also kinds which it does not ask for reach it.
    """
    for number, shape in enumerate(shapes, 1):
        push(stage, shape, chat, person(ANA), number)
    async with stage.bot():
        await stage.handled()
    called = [call.number for call in stage.ryze.calls]
    assert len(called) == len(set(called))
    answers: dict[int, list[str]] = {}
    for message in stage.telegram.sent():
        answers.setdefault(message["reply_to_message"]["message_id"], []).append(message["text"])
    return {
        shape.name: (f"551199999{number:04}" in called, answers.get(number, []))
        for number, shape in enumerate(shapes, 1)
    }


@pytest.mark.parametrize("chat", [{"id": ANA}, TEAM], ids=["private", "group"])
async def test_exactly_the_plain_messages_act_and_only_in_private_is_it_said_why_the_rest_do_not(
    stage: Stage, chat: Json
) -> None:
    played = await play(stage, [*PLAIN, *INERT], chat)
    assert [name for name, (acted, _) in played.items() if acted] == [shape.name for shape in PLAIN]
    assert len(stage.ryze.calls) == len(PLAIN)
    assert all(len(played[shape.name][1]) == 1 for shape in PLAIN)
    for shape in INERT:
        answers = played[shape.name][1]
        if shape.private and chat is not TEAM:
            assert len(answers) == 1, shape.name
            assert answers[0].startswith(shape.private), shape.name
            assert "\n" not in answers[0], shape.name
        else:
            assert not answers, shape.name


async def test_no_shape_of_a_strangers_message_acts_and_groups_hear_nothing(stage: Stage) -> None:
    stage.settings["operators"] = []
    played = await play(stage, [*PLAIN, *INERT], TEAM)
    assert set(map(str, played.values())) == {"(False, [])"}
    assert not stage.ryze.calls


@pytest.mark.parametrize("chat", [{"id": ANA}, TEAM], ids=["private", "group"])
async def test_an_answer_to_the_bots_question_acts_only_where_a_command_would(stage: Stage, chat: Json) -> None:
    async with stage.bot():
        question = await stage.say("/pin", chat=chat)
        marks: list[Json] = [
            *(FORWARD, VIA_BOT, {"sender_chat": TEAM}, {"business_connection_id": "b"}, {"guest_query_id": "g"}),
            *({"edit_date": 1}, {"from": person(STRANGER)}, {"from": person(ANA, is_bot=True)}, {"from": ANONYMOUS}),
        ]
        for mark in marks:
            stage.telegram.message(ANA, "5511999990001", chat=chat, reply_to_message=question, **mark)
        await stage.handled()
        assert not stage.ryze.calls
        answer = await stage.say("5511999990001", chat=chat, reply_to_message=question)
    assert answer["text"].startswith("📌")
    assert len(stage.ryze.calls) == 1


NAMES = [
    ("Zé da Silva", "Zé da Silva"),
    ("line\nbreak\r\u2028more", "line break  more"),
    ('quo"te \\ and: #more {x} [y]', 'quo"te \\ and: #more {x} [y]'),
    ("\u202eevil\u202c\u200f", "evil"),
    ("${TELEGRAM_BOT_TOKEN}", "${TELEGRAM_BOT_TOKEN}"),
    ("\ufffe👍🏽", "👍🏽"),
    ("\u200b", str(STRANGER)),
    ("x" * 200, "x" * 63 + "…"),
    ('"' * 200, '"' * 63 + "…"),
]


@pytest.mark.parametrize(("first_name", "written"), NAMES)
async def test_a_strangers_refusal_holds_an_entry_ready_to_paste_and_a_button_that_copies_it(
    stage: Stage, first_name: str, written: str
) -> None:
    async with stage.bot():
        message = stage.telegram.message(person(STRANGER, first_name=first_name), "/start")
        answer = await stage.telegram.answer(message)
    text = answer["text"]
    assert str(STRANGER) in text.partition("\n\n")[0]
    for secret in ("sales", "support", "Ana", "Bia", "Ryze"):
        assert secret not in text
    (button,) = answer["reply_markup"]["inline_keyboard"][0]
    entry = button["copy_text"]["text"]
    assert text.endswith(entry.lstrip())
    pasted = (
        "instances:\n  sales:\n    token: ${RYZE_SALES_TOKEN}\n"
        f"operators:\n  - telegram_id: 1\n    instance: sales\n{entry.replace('INSTANCE', 'sales')}\n"
    )
    (stage.folder / "pasted.yaml").write_text(pasted, encoding="utf-8")
    settings = load("pasted.yaml", {**stage.environ, "RYZE_SALES_TOKEN": "token"}, stage.folder)
    assert settings.operators[STRANGER].name == written


@pytest.mark.parametrize(("name", "written"), [("tele sales", '"tele sales"'), ('1"', '"1\\""')])
async def test_the_entry_names_the_instance_if_there_is_only_one(stage: Stage, name: str, written: str) -> None:
    stage.settings |= {"operators": [], "instances": {name: {"token": "t"}}}
    async with stage.bot():
        answer = await stage.say("/start", STRANGER)
    assert answer["text"].endswith(f"instance: {written}}}")


async def test_refusals_and_their_log_lines_are_bounded(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bot")
    async with stage.bot():
        for number in range(50):
            stage.telegram.message(STRANGER, f"/pin {number}")
        await stage.handled()
        assert len(stage.telegram.sent()) == 3
        for number in range(50):
            stage.telegram.message(STRANGER + 1 + number, "let me in")
        await stage.handled()
        assert len(stage.telegram.sent()) == 10
        assert sum(message.startswith("denied") for message in caplog.messages) == 10
        assert (await stage.say(f"{COMMAND}9999"))["text"].startswith("📌")
