"""Answers: refused for the moment, they are sent again; refused for good, they go another way."""

import asyncio
import time
from typing import Any

import pytest
from telegram import Bot, InaccessibleMessage, Message
from telegram.error import Forbidden, NetworkError, TelegramError

from bot.telegram.outbox import Answer, Button, Outbox, call_raw, reason, topic_of, typing_action
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
        self.telegram, self.bot, self.outbox = telegram, bot, Outbox(bot)
        self.wait_for, self.fault = telegram.wait_for, telegram.fault

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


# Content


async def test_an_answer_is_a_reply_with_a_button_a_row(desk: Desk) -> None:
    buttons = (Button("Unpin", "u:sales:55"), Button("Copy", None, copy="telegram_id: 1"))
    message = desk.asked()
    await desk.outbox.reply(message, Answer(PINNED.text, buttons), ANA)
    (shown,) = desk.telegram.sent(ANA)
    assert (shown["text"], shown["reply_to_message"]["message_id"]) == (TEXT, message.message_id)
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
    {"status": 503, "body": b"[]"},
    *({"body": body} for body in (b"<html>Welcome to our hotel</html>", b"{}")),
    *({"drop": moment} for moment in ("before", "mid")),
]


@pytest.mark.parametrize("fault", PASSING)
async def test_an_answer_is_sent_again_while_others_get_theirs(desk: Desk, fault: Json) -> None:
    spoilt = desk.fault("sendMessage", when=lambda params: params["chat_id"] == ANA, **fault)
    first = asyncio.create_task(desk.outbox.reply(desk.asked(), PINNED, ANA))
    await desk.wait_for(lambda: spoilt.hits, what="the first try")
    await desk.outbox.reply(desk.asked(user=BIA), PINNED, BIA)
    assert len(desk.telegram.sent(BIA)) == 1
    await first
    assert {shown["text"] for shown in desk.telegram.sent(ANA)} == {TEXT}


async def test_answers_keep_their_order_in_a_chat(desk: Desk) -> None:
    desk.fault("sendMessage", status=429, retry_after=1)
    message = desk.asked()
    await asyncio.gather(*(desk.outbox.reply(message, Answer(text), ANA) for text in "123"))
    assert [shown["text"] for shown in desk.telegram.sent(ANA)] == ["1", "2", "3"]


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


@pytest.mark.parametrize("refusal", [{"status": 400, "description": "CHAT_WRITE_FORBIDDEN"}, {"status": 403}, {}])
async def test_where_the_bot_can_not_write_it_answers_in_private(desk: Desk, refusal: Json) -> None:
    message = desk.asked(SMALL)
    if refusal:
        desk.fault("sendMessage", when=lambda params: params["chat_id"] == SMALL["id"], **refusal)
    else:
        desk.telegram.migrate(SMALL["id"])
    await desk.outbox.reply(message, PINNED, ANA)
    (shown,) = desk.telegram.sent()
    assert (shown["chat"]["id"], shown["text"]) == (ANA, TEXT)


async def test_a_lost_answer_is_one_line_in_the_log(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    own = await desk.own(TEAM)
    desk.fault("editMessageText", status=429, retry_after=400)
    await desk.outbox.edit(own, PINNED, ANA)
    desk.telegram.blocked.add(ANA)
    desk.telegram.fault("sendMessage", status=400, description="Bad Request: TOPIC_CLOSED")
    await desk.outbox.reply(desk.asked(TEAM, **TOPIC), PINNED, ANA)
    await desk.outbox.reply(desk.asked(), PINNED, ANA)
    lost = [record.message.partition(" could not be delivered")[0] for record in caplog.records]
    assert lost == [f"an answer in chat {chat}" for chat in (TEAM["id"], TEAM["id"], ANA)]
    with pytest.raises(Forbidden):
        await desk.outbox.send(ANA, PINNED)


async def test_an_edit_replaces_and_one_that_changes_nothing_is_fine(desk: Desk) -> None:
    own = await desk.own(TEAM)
    desk.fault("editMessageText", status=500)
    for _ in range(2):
        await desk.outbox.edit(own, PINNED, ANA)
    assert [shown["text"] for shown in desk.telegram.sent()] == [TEXT]
    assert len(desk.calls("editMessageText")) == 3


async def test_an_edit_refused_for_good_is_sent_as_a_reply_in_the_same_topic(desk: Desk) -> None:
    own = await desk.own(TEAM, **TOPIC)
    desk.fault("editMessageText", status=400, description="Bad Request: message can't be edited")
    await desk.outbox.edit(own, PINNED, ANA)
    question, shown = desk.telegram.sent()
    assert (shown["text"], shown["message_thread_id"]) == (TEXT, 77)
    assert shown["reply_to_message"]["message_id"] == question["message_id"]


# Raw calls


async def test_a_raw_call_goes_over_the_same_connection(bot: Bot, telegram: TelegramServer) -> None:
    raw = await call_raw(bot, "sendMessage", {"chat_id": ANA, "text": "Grüße & +5511 = 📌", "parse_mode": None})
    assert raw["text"] == "Grüße & +5511 = 📌"
    assert (await bot.send_message(ANA, "hello")).text == "hello"
    assert "parse_mode" not in telegram.calls[-2].params
    assert telegram.connections == 1


@pytest.mark.parametrize("fault", [{"hang": True}, {"body": b"[]"}, {"body": b" " * 1000, "drip": 0.1}])
async def test_a_raw_call_fails_in_time(bot: Bot, telegram: TelegramServer, fault: Json) -> None:
    telegram.fault("sendMessage", **fault)
    with pytest.raises(TelegramError):
        await call_raw(bot, "sendMessage", {"chat_id": ANA, "text": "hello"}, 0.3)


async def test_the_reason_of_a_failure_is_named(bot: Bot, telegram: TelegramServer) -> None:
    await telegram.down()
    with pytest.raises(NetworkError) as refused:
        await bot.send_message(ANA, "hello")
    assert "Connect call failed" in reason(refused.value)
    gateway = NetworkError("Bad Gateway" * 100)
    gateway.__cause__ = TelegramError("Invalid server response")
    assert reason(gateway) == gateway.message[:200]
    assert reason(TimeoutError()) == "TimeoutError"


# “typing…”


async def test_typing_is_shown_again_and_again_until_the_block_ends(desk: Desk) -> None:
    message = desk.asked(TEAM, **TOPIC)
    async with typing_action(message, after=0.1):  # a quick command shows nothing
        pass
    await asyncio.sleep(0.2)
    assert desk.calls("sendChatAction") == []
    async with typing_action(message, after=0.05, every=0.05):
        await desk.wait_for(lambda: len(desk.calls("sendChatAction")) >= 5, what="five calls")
    shown = desk.calls("sendChatAction")
    assert shown[0] == {"chat_id": TEAM["id"], "action": "typing", "message_thread_id": 77}
    await asyncio.sleep(0.2)
    assert len(desk.calls("sendChatAction")) <= len(shown) + 1  # one may have been under way


@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 429, "retry_after": 60}, {"drop": "before"}])
async def test_errors_of_typing_do_not_matter(desk: Desk, fault: Json) -> None:
    desk.fault("sendChatAction", times=2, **fault)
    hanging = desk.fault("sendChatAction", hang=True)
    async with asyncio.timeout(10), typing_action(desk.asked(), after=0.01, every=0.01):
        await desk.wait_for(lambda: hanging.hits, what="the third call")
    assert len(desk.calls("sendChatAction")) == 3
