"""The authorisation matrix: exactly the plain messages of an operator act, in private and in groups."""

import logging
import time
from dataclasses import dataclass, field

import pytest
import yaml

from bot.config import load
from tests.conftest import ANA, STRANGER, Stage
from tests.sandbox.server import Json

COMMAND = "/pin 551199999"  # and four digits more
SPOKEN = ("text", "caption")
TEAM: Json = {"id": -100123, "type": "supergroup", "title": "Team"}
CHANNEL: Json = {"id": -100777, "type": "channel", "title": "News"}
ANONYMOUS: Json = {"id": 1087968824, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"}
CHANNEL_BOT: Json = {"id": 136817688, "is_bot": True, "first_name": "Channel", "username": "Channel_Bot"}
TELEGRAM: Json = {"id": 777000, "is_bot": False, "first_name": "Telegram"}
OTHER_BOT: Json = {"id": 5555, "is_bot": True, "first_name": "Via", "username": "via_bot"}
PHOTO = [{"file_id": "f", "file_unique_id": "u", "width": 9, "height": 9}]

HINT = "I don't know that."
EDITED = "Edited commands are not run"
FORWARDED = "Forwarded commands are not run"
VIA_BOT = "Commands sent through another bot are not run"
NOT_A_PERSON = "Commands are only run when a person sends them"


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
    Shape("through an inline bot", {"via_bot": OTHER_BOT}, private=VIA_BOT),
    Shape("by a bot with an operator's id", {"from": person(ANA, is_bot=True)}, private=NOT_A_PERSON),
    Shape("in the name of a chat", {"sender_chat": TEAM}, private=NOT_A_PERSON),
    Shape("in the name of a channel", {"sender_chat": CHANNEL}, private=NOT_A_PERSON),
    Shape("by a business account's bot", {"sender_business_bot": OTHER_BOT}, private=NOT_A_PERSON),
    Shape("a channel's post, forwarded by Telegram", {"is_automatic_forward": True}, private=NOT_A_PERSON),
    Shape("an anonymous admin", {"from": ANONYMOUS, "sender_chat": TEAM}),
    Shape("an anonymous admin's id alone", {"from": person(1087968824)}),
    Shape("a channel in a group", {"from": CHANNEL_BOT, "sender_chat": CHANNEL}),
    Shape("a channel's id alone", {"from": person(136817688)}),
    Shape("a linked channel", {"from": TELEGRAM, "sender_chat": CHANNEL, "is_automatic_forward": True}),
    Shape("Telegram itself", {"from": TELEGRAM}),
    Shape("nobody", {"from": None}),
    Shape("nobody but a chat", {"from": None, "sender_chat": TEAM}),
    Shape("a caption", {"text": None, "entities": None, "photo": PHOTO, "caption": COMMAND + "{number}"}, private=HINT),
    Shape(
        "an edited caption",
        {"text": None, "photo": PHOTO, "caption": COMMAND + "{number}", "edit_date": 1},
        "edited_message",
    ),
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
    room = stage.telegram.add_chat(chat, sender)
    message: Json = {"message_id": number, "from": sender, "chat": room.info, "date": int(time.time())}
    message |= {"text": f"{COMMAND}{number:04}", **shape.fields}
    message = {name: value for name, value in message.items() if value is not None}
    message |= {name: value.replace("{number}", f"{number:04}") for name, value in message.items() if name in SPOKEN}
    room.messages[number] = message
    stage.telegram.push({shape.kind: message})


async def handled(stage: Stage) -> None:
    """Waits until every update was handled and confirmed, so that what did not happen will not."""
    await stage.telegram.wait_for(lambda: not stage.telegram.pending, what="all updates confirmed")


async def play(stage: Stage, shapes: list[Shape], chat: Json) -> dict[str, tuple[bool, list[str]]]:
    """Sends a command of Ana's in each shape: by the shape's name, whether it reached Ryze, and what was answered.

    The commands are sent before the bot starts, so that also kinds which it does not ask for reach it, as those do that
    were sent while another program used its token.
    """
    for number, shape in enumerate(shapes, 1):
        push(stage, shape, chat, person(ANA), number)
    async with stage.bot():
        await handled(stage)
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


@pytest.mark.parametrize("text", ["/pin@other_bot 5511999999999", "/unpin@OTHER_BOT 5511999999999"])
async def test_a_command_for_another_bot_is_not_ours(stage: Stage, text: str) -> None:
    async with stage.bot():
        stage.telegram.message(ANA, text, chat=TEAM)
        private = stage.telegram.message(ANA, text)
        answer = await stage.telegram.answer(private)
        await handled(stage)
    assert "another bot's command" in answer["text"]
    assert stage.telegram.sent() == [answer]
    assert not stage.ryze.calls


async def test_an_edit_that_leaves_the_text_as_it_was_is_met_with_silence(stage: Stage) -> None:
    async with stage.bot():
        message = stage.telegram.message(ANA, f"{COMMAND}9999")
        await stage.telegram.answer(message)
        stage.telegram.edit(message, f"{COMMAND}9999")
        await handled(stage)
        assert len(stage.telegram.sent()) == 1
        stage.telegram.edit(message, "/pin 5511988887777")
        await stage.telegram.answers(message, 2)
        stage.telegram.edit(message, "/pin 5511988887777")
        await handled(stage)
    assert [EDITED in sent["text"] for sent in stage.telegram.sent()] == [False, True]
    assert len(stage.ryze.calls) == 1


async def test_what_is_passed_on_and_no_command_gets_a_hint_in_private(stage: Stage) -> None:
    passed_on = [shape for shape in INERT if shape.private in (FORWARDED, VIA_BOT)]
    played = await play(
        stage, [Shape(shape.name, {"text": "see you", **shape.fields}) for shape in passed_on], {"id": ANA}
    )
    assert {(acted, answers[0][: len(HINT)], len(answers)) for acted, answers in played.values()} == {(False, HINT, 1)}


@pytest.mark.parametrize(
    ("first_name", "written"),
    [
        ("Zé da Silva", "Zé da Silva"),
        ("line\nbreak\r\u2028more", "line break  more"),
        ('quo"te \\ and: #more {x} [y]', 'quo"te \\ and: #more {x} [y]'),
        ("<b>&amp;</b>", "<b>&amp;</b>"),
        ("\u202eevil\u202c\u200f", "evil"),
        ("${TELEGRAM_BOT_TOKEN}", "${TELEGRAM_BOT_TOKEN}"),
        ("null", "null"),
        ("\ufffe👍🏽", "👍🏽"),
        ("\u200b", str(STRANGER)),
        ("x" * 200, "x" * 63 + "…"),
    ],
)
async def test_a_strangers_refusal_holds_an_entry_ready_to_paste(stage: Stage, first_name: str, written: str) -> None:
    async with stage.bot():
        message = stage.telegram.message(person(STRANGER, first_name=first_name), "/start")
        answer = await stage.telegram.answer(message)
    text = answer["text"]
    assert str(STRANGER) in text.partition("\n\n")[0]
    for secret in ("sales", "support", "Ana", "Bia", "Ryze"):
        assert secret not in text
    (block,) = [entity for entity in answer["entities"] if entity["type"] == "pre"]
    units = text.encode("utf-16-le")[2 * block["offset"] :][: 2 * block["length"]]
    entry = units.decode("utf-16-le")
    example = (
        "instances:\n  sales:\n    token: ${RYZE_SALES_TOKEN}\n"
        f"operators:\n  - telegram_id: 1\n    instance: sales\n{entry.replace('INSTANCE', 'sales')}\n"
    )
    (stage.folder / "pasted.yaml").write_text(example, encoding="utf-8")
    config = load("pasted.yaml", {**stage.environ, "RYZE_SALES_TOKEN": "token"}, stage.folder)
    assert config.operators[STRANGER].name == written
    assert yaml.safe_load(entry.strip())[0]["telegram_id"] == STRANGER


@pytest.mark.parametrize("text", ["/pin 5511999999999", "/unpin 1", "/help", "hello", None])
async def test_a_stranger_learns_in_private_that_they_are_not_let_in(stage: Stage, text: str | None) -> None:
    fields = {} if text else {"dice": {"emoji": "🎲", "value": 3}}
    async with stage.bot():
        answer = await stage.telegram.answer(stage.telegram.message(STRANGER, text, **fields))
    assert f"telegram_id: {STRANGER}" in answer["text"]
    assert not stage.ryze.calls


async def test_refusals_and_their_log_lines_are_bounded(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bot")
    async with stage.bot():
        for number in range(50):
            stage.telegram.message(STRANGER, f"/pin {number}")
        await handled(stage)
        assert len(stage.telegram.sent()) == 3
        for number in range(50):
            stage.telegram.message(STRANGER + 1 + number, "let me in")
        await handled(stage)
        assert len(stage.telegram.sent()) == 10
        denials = [message for message in caplog.messages if message.startswith("denied")]
        assert len(denials) == 10
        stage.telegram.message(STRANGER, "x" * 4000, chat=TEAM)
        answer = await stage.telegram.answer(stage.telegram.message(ANA, f"{COMMAND}9999"))
    assert answer["text"].startswith("📌")


async def test_a_stranger_who_was_refused_often_may_still_ask_for_their_id(stage: Stage) -> None:
    async with stage.bot():
        for _ in range(5):
            stage.telegram.message(STRANGER, "hello")
        answer = await stage.telegram.answer(stage.telegram.message(STRANGER, "/id"))
    assert answer["text"] == f"Your Telegram id: {STRANGER}"


async def test_each_denial_of_an_operator_is_one_line_in_the_log(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bot")
    for shape in INERT[:5]:
        push(stage, shape, TEAM, person(ANA, first_name="Ana\nINFO attempt outcome=pinned"))
    async with stage.bot():
        await handled(stage)
    denials = [message for message in caplog.messages if message.startswith("denied")]
    assert denials == [
        *[f"denied: edited, sender {ANA}, chat supergroup"] * 3,
        *[f"denied: forwarded, sender {ANA}, chat supergroup"] * 2,
    ]


async def test_an_empty_list_of_operators_lets_nobody_in(stage: Stage) -> None:
    stage.settings["operators"] = []
    async with stage.bot():
        answer = await stage.telegram.answer(stage.telegram.message(ANA, f"{COMMAND}9999"))
    assert "not on its list" in answer["text"]
    assert not stage.ryze.calls
