"""Delivery: what Telegram refuses for the moment is sent again; what it refuses for good goes another way."""

import asyncio
import time
from typing import Any

import pytest
from telegram import Bot, InaccessibleMessage, Message
from telegram.error import Forbidden, NetworkError, TelegramError

from bot.telegram.outbox import Answer, Button, Outbox, call_raw, reason, topic_of
from tests.sandbox.server import Json
from tests.sandbox.telegram import TelegramServer
from tests.telegram.conftest import ANA

BIA = 222
TEAM: Json = {"id": -100123, "type": "supergroup", "title": "Team", "is_forum": True}
SMALL: Json = {"id": -4001, "type": "group", "title": "Small"}
TOPIC = {"message_thread_id": 77, "is_topic_message": True}
PINNED = Answer("📌 <b>Pinned</b> +55 &amp; more")
TEXT = "📌 Pinned +55 & more"


class Desk:
    """An outbox, and what people write to it."""

    def __init__(self, telegram: TelegramServer, bot: Bot) -> None:
        self.telegram, self.bot, self.outbox = telegram, bot, Outbox(bot, 4)

    def read(self, raw: Json) -> Message:
        message = Message.de_json(raw, self.bot)
        assert message
        return message

    def asked(self, chat: Json | None = None, user: int = ANA, **fields: Any) -> Message:  # noqa: ANN401 - a message's fields
        return self.read(self.telegram.message(user, "/pin", chat=chat, **fields))

    async def own(self, chat: Json, **fields: Any) -> Message:  # noqa: ANN401 - as above
        """One of the bot's own messages, as a button's press shows it."""
        await self.outbox.reply(self.asked(chat, **fields), Answer("Which one?"), ANA)
        return self.read(self.telegram.sent()[-1])

    def calls(self, method: str) -> list[Json]:
        return [call.params for call in self.telegram.calls if call.method == method]


@pytest.fixture
async def desk(telegram: TelegramServer, bot: Bot) -> Desk:
    return Desk(telegram, bot)


def lost(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if "could not be delivered" in record.message]


# Content


async def test_an_answer_is_a_reply_with_a_button_a_row_that_sends_data_or_copies(desk: Desk) -> None:
    buttons = (Button("Unpin", "u:sales:55"), Button("Copy", None, copy="telegram_id: 1"))
    message = desk.asked()
    await desk.outbox.reply(message, Answer(PINNED.text, buttons), ANA)
    (shown,) = desk.telegram.sent(ANA)
    assert shown["text"] == TEXT
    assert shown["reply_to_message"]["message_id"] == message.message_id
    assert shown["reply_markup"]["inline_keyboard"] == [
        [{"text": "Unpin", "callback_data": "u:sales:55"}],
        [{"text": "Copy", "copy_text": {"text": "telegram_id: 1"}}],
    ]
    (call,) = desk.calls("sendMessage")
    assert call["link_preview_options"] == {"is_disabled": True}
    assert "disable_notification" not in call


@pytest.mark.parametrize(("chat", "silent"), [(None, False), (TEAM, True), (SMALL, True)])
async def test_a_silent_answer_makes_no_sound_in_a_group(desk: Desk, chat: Json | None, *, silent: bool) -> None:
    await desk.outbox.reply(desk.asked(chat), Answer("done", silent=True), ANA)
    assert desk.calls("sendMessage")[0].get("disable_notification", False) is silent


async def test_only_a_forum_topic_is_a_topic(desk: Desk) -> None:
    raw = {"message_id": 1, "date": 1, "chat": TEAM, "text": "x"}
    assert topic_of(desk.read(raw | TOPIC)) == 77
    assert topic_of(desk.read(raw | {"message_thread_id": 5})) is None
    assert topic_of(InaccessibleMessage(chat=desk.read(raw).chat, message_id=1)) is None


# For the moment


PASSING: list[Json] = [
    {"status": 429, "retry_after": 1},
    {"status": 502, "body": b"<html><h1>502 Bad Gateway</h1></html>"},
    {"status": 503, "body": b"[]"},
    {"status": 200, "body": b"<html>Welcome to our hotel</html>"},
    {"status": 200, "body": b"{}"},
    {"drop": "before", "times": 2},
    {"drop": "mid"},
]


@pytest.mark.parametrize("fault", PASSING)
async def test_an_answer_refused_for_the_moment_is_sent_again_while_others_get_theirs(desk: Desk, fault: Json) -> None:
    spoilt = desk.telegram.fault("sendMessage", when=lambda params: params["chat_id"] == ANA, **fault)
    first = asyncio.create_task(desk.outbox.reply(desk.asked(), PINNED, ANA))
    await desk.telegram.wait_for(lambda: spoilt.hits, what="the first try")
    await desk.outbox.reply(desk.asked(user=BIA), PINNED, BIA)
    assert len(desk.telegram.sent(BIA)) == 1
    await first
    assert {shown["text"] for shown in desk.telegram.sent(ANA)} == {TEXT}


async def test_answers_keep_their_order_in_a_chat_even_if_the_first_must_wait(desk: Desk) -> None:
    desk.telegram.fault("sendMessage", status=429, retry_after=1)
    message = desk.asked()
    await asyncio.gather(*(desk.outbox.reply(message, Answer(text), ANA) for text in ("one", "two", "three")))
    assert [shown["text"] for shown in desk.telegram.sent(ANA)] == ["one", "two", "three"]


async def test_no_more_calls_than_allowed_are_made_at_once(desk: Desk) -> None:
    hang = desk.telegram.fault("sendMessage", hang=True, times=None)
    replies = [asyncio.create_task(desk.outbox.reply(desk.asked(user=n), PINNED, n)) for n in range(500, 506)]
    await desk.telegram.wait_for(lambda: hang.hits == 4, what="four calls")
    hang.stop()
    await asyncio.gather(*replies)
    assert len(desk.telegram.sent()) == 6


async def test_an_answer_that_would_have_to_wait_too_long_is_one_line_in_the_log(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    own = await desk.own(TEAM)
    for method in ("sendMessage", "editMessageText"):
        desk.telegram.fault(method, status=429, retry_after=400)
    await desk.outbox.reply(desk.asked(), PINNED, ANA)
    await desk.outbox.edit(own, PINNED, ANA)
    assert len(lost(caplog)) == 2
    assert len(desk.telegram.sent()) == 1


async def test_a_call_is_repeated_with_growing_pauses_until_patience_ends(desk: Desk) -> None:
    tried: list[float] = []

    async def call() -> None:
        tried.append(time.monotonic())
        raise NetworkError("no")

    with pytest.raises(NetworkError):
        await desk.outbox.with_retries(call, patience=2)
    assert len(tried) == 3
    assert 0.5 <= tried[1] - tried[0] < tried[2] - tried[1]


# For good


async def test_a_deleted_command_is_answered_unquoted_in_its_topic(desk: Desk) -> None:
    raw = desk.telegram.message(ANA, "/pin", chat=TEAM, **TOPIC)
    desk.telegram.delete(raw)
    await desk.outbox.reply(desk.read(raw), PINNED, ANA)
    (shown,) = desk.telegram.sent()
    assert (shown["text"], shown["message_thread_id"]) == (TEXT, 77)
    assert "reply_to_message" not in shown


async def test_a_group_that_became_a_supergroup_is_answered_there(desk: Desk) -> None:
    own, message = await desk.own(SMALL), desk.asked(SMALL)
    moved = desk.telegram.migrate(SMALL["id"])
    await desk.outbox.reply(message, PINNED, ANA)
    await desk.outbox.edit(own, PINNED, ANA)
    assert [shown["text"] for shown in desk.telegram.sent(moved)] == [TEXT, TEXT]


@pytest.mark.parametrize("refusal", [{"status": 400, "description": "CHAT_WRITE_FORBIDDEN"}, {"status": 403}])
async def test_where_the_bot_can_write_no_more_the_answer_comes_in_private(desk: Desk, refusal: Json) -> None:
    desk.telegram.fault("sendMessage", when=lambda params: params["chat_id"] == TEAM["id"], times=None, **refusal)
    await desk.outbox.reply(desk.asked(TEAM, **TOPIC), PINNED, ANA)
    (shown,) = desk.telegram.sent()
    assert (shown["chat"]["id"], shown["text"]) == (ANA, TEXT)


async def test_who_can_be_answered_nowhere_costs_one_line(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.telegram.blocked.add(ANA)
    await desk.outbox.reply(desk.asked(), PINNED, ANA)
    desk.telegram.fault("sendMessage", status=400, description="Bad Request: TOPIC_CLOSED")
    await desk.outbox.reply(desk.asked(TEAM, **TOPIC), PINNED, ANA)
    assert [line.partition(" could")[0] for line in lost(caplog)] == [
        f"an answer in chat {chat}" for chat in (ANA, TEAM["id"])
    ]
    with pytest.raises(Forbidden):
        await desk.outbox.send(ANA, PINNED)


async def test_an_edit_replaces_and_one_that_changes_nothing_is_fine(desk: Desk) -> None:
    own = await desk.own(TEAM)
    desk.telegram.fault("editMessageText", status=500)
    for _ in range(2):
        await desk.outbox.edit(own, PINNED, ANA)
    assert [shown["text"] for shown in desk.telegram.sent()] == [TEXT]
    assert len(desk.calls("editMessageText")) == 3


async def test_an_edit_refused_for_good_is_sent_as_a_reply_in_the_same_topic(desk: Desk) -> None:
    own = await desk.own(TEAM, **TOPIC)
    desk.telegram.fault("editMessageText", status=400, description="Bad Request: message can't be edited")
    await desk.outbox.edit(own, PINNED, ANA)
    question, shown = desk.telegram.sent()
    assert (shown["text"], shown["message_thread_id"]) == (TEXT, 77)
    assert shown["reply_to_message"]["message_id"] == question["message_id"]


# Raw calls


async def test_a_raw_call_is_the_librarys_call_over_the_same_connection(bot: Bot, telegram: TelegramServer) -> None:
    raw = await call_raw(bot, "sendMessage", {"chat_id": ANA, "text": "Grüße & +5511 = 📌", "parse_mode": None})
    assert raw["text"] == "Grüße & +5511 = 📌"
    assert (await bot.send_message(ANA, "hello")).text == "hello"
    assert "parse_mode" not in telegram.calls[-2].params
    assert telegram.connections == 1


@pytest.mark.parametrize("fault", [{"hang": True}, {"body": b"[]"}])
async def test_a_raw_call_fails_as_the_library_does(bot: Bot, telegram: TelegramServer, fault: Json) -> None:
    telegram.fault("sendMessage", **fault)
    with pytest.raises(TelegramError):
        await call_raw(bot, "sendMessage", {"chat_id": ANA, "text": "hello"}, 0.3)


async def test_the_reason_of_a_failure_is_named(bot: Bot, telegram: TelegramServer) -> None:
    await telegram.down()
    with pytest.raises(NetworkError) as refused:
        await bot.send_message(ANA, "hello")
    assert "Connect call failed" in reason(refused.value)
    await telegram.up()
    telegram.fault("sendMessage", status=502, body=b"<html>" + b"x" * 1000)
    with pytest.raises(NetworkError) as gateway:
        await bot.send_message(ANA, "hello")
    assert reason(gateway.value).startswith("Bad Gateway")
    assert len(reason(gateway.value)) <= 200
    assert reason(TimeoutError()) == "TimeoutError"
