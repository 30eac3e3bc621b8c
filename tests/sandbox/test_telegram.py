"""The stand-in for Telegram keeps the semantics that the other tests rely on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.sandbox.ryze import RyzeServer
from tests.sandbox.server import ApiError, Json
from tests.sandbox.telegram import Call, TelegramServer

ANA = 111
TEAM: Json = {"id": -100123, "type": "supergroup", "title": "Team"}
TOPIC: Json = {"chat": TEAM, "message_thread_id": 7, "is_topic_message": True}


@dataclass
class Bot:
    """A bot that does just what a test says, without HTTP between it and Telegram."""

    telegram: TelegramServer

    async def __call__(self, method: str, **params: object) -> Any:  # noqa: ANN401 - a result is any JSON
        """The result, or the status and the description of a refusal."""
        try:
            return (await self.telegram._perform(Call(method, params)))["result"]
        except ApiError as error:
            return f"{error.status} {error.description}"

    async def ids(self, **params: object) -> list[int]:
        return [update["update_id"] for update in await self("getUpdates", **params)]


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramServer]:
    async with TelegramServer() as server:
        server.webhook_backoff = 0.05
        yield server


@pytest.fixture
def bot(telegram: TelegramServer) -> Bot:
    return Bot(telegram)


async def test_updates_stay_until_a_later_offset_confirms_them(telegram: TelegramServer, bot: Bot) -> None:
    first = telegram.next_update_id
    for number in range(3):
        telegram.message(ANA, f"/pin {number}")
    assert await bot.ids() == [first, first + 1, first + 2]
    assert await bot.ids(offset=first + 1, limit=1) == [first + 1]
    assert telegram.pending == [first + 1, first + 2]
    assert await bot.ids(offset=first + 3) == []
    telegram.next_update_id = 50  # ids may restart lower; an offset far above then starts at the head
    assert telegram.push({"poll": {}}) == 50
    assert await bot.ids(offset=first + 3, timeout=30) == [50]


async def test_the_same_offset_at_once_gets_one_update_only(telegram: TelegramServer, bot: Bot) -> None:
    now = 100.0
    telegram.clock = lambda: now
    first = telegram.push({"poll": {}})
    telegram.push({"poll": {}})
    assert [len(await bot.ids(offset=first)) for _ in range(2)] == [2, 1]
    now += 0.5
    assert len(await bot.ids(offset=first, allowed_updates=["callback_query"])) == 2
    telegram.press(ANA, telegram.message(ANA, "hi"), "data")
    assert telegram.pending == [first, first + 1, first + 2]


async def test_a_new_call_ends_an_older_one_only_while_that_waits(telegram: TelegramServer, bot: Bot) -> None:
    older = asyncio.create_task(bot("getUpdates", timeout=30))
    await telegram.wait_for(lambda: telegram._waiter)
    newer = asyncio.create_task(bot.ids(offset=1, timeout=30))
    assert (await older).startswith("409 Conflict: terminated by other getUpdates request; make sure")
    update_id = telegram.push({"poll": {}})
    assert await newer == [update_id]
    both = await asyncio.gather(bot.ids(timeout=30), bot.ids(offset=update_id, timeout=30))
    assert list(both) == [[update_id]] * 2


@pytest.mark.parametrize(
    ("params", "refusal"),
    [
        ({"text": "  "}, "message text is empty"),
        ({"text": "💬" * 2049}, "message is too long"),
        ({"text": "<b>x", "parse_mode": "HTML"}, "can't parse entities: Can't find end tag"),
        ({"text": "<b><i>x</b></i>", "parse_mode": "HTML"}, "can't parse entities: Unexpected end tag at byte"),
        ({"text": "é<x>", "parse_mode": "HTML"}, "can't parse entities: Unsupported start tag at byte offset 2"),
        ({"reply_parameters": {"message_id": 9}}, "message to be replied not found"),
        ({"chat_id": 999}, "chat not found"),
        ({"chat_id": 222}, "bot was blocked by the user"),
        ({"chat_id": -55}, "group chat was upgraded to a supergroup chat"),
        ({"reply_markup": {"inline_keyboard": [[{"text": "x", "callback_data": "x" * 65}]]}}, "BUTTON_DATA_INVALID"),
        ({"reply_markup": {"inline_keyboard": [[{"text": "x", "copy_text": {"text": ""}}]]}}, "BUTTON_COPY_TEXT"),
    ],
)
async def test_send_message_refuses(telegram: TelegramServer, bot: Bot, params: Json, refusal: str) -> None:
    for user in (ANA, 222):
        telegram.message(user, "hi")
    telegram.message(ANA, "hi", **TOPIC)
    telegram.message(ANA, "hi", chat={"id": -55, "type": "group"})
    telegram.migrate(-55)
    telegram.blocked.add(222)
    got = await bot("sendMessage", **{"chat_id": ANA, "text": "x", **params})
    assert got.partition(": ")[2].startswith(refusal)
    assert telegram.sent() == []


async def test_messages_are_sent_and_edited_and_only_the_bots_own(telegram: TelegramServer, bot: Bot) -> None:
    asked = telegram.message(ANA, "/pin 1", **TOPIC)
    keyboard = {"inline_keyboard": [[{"text": "Unpin", "callback_data": "u"}]]}
    reply: Json = {"message_id": asked["message_id"], "allow_sending_without_reply": True}
    html = {"chat_id": -100123, "text": "\n💬 <b>a &lt; <i>b</i></b>", "parse_mode": "HTML", "reply_markup": keyboard}
    await bot("sendMessage", **html, reply_parameters=reply)
    sent = await telegram.answer(asked)
    assert (sent["text"], sent["message_thread_id"], sent["reply_markup"]) == ("💬 a < b", 7, keyboard)
    assert [(entity["offset"], entity["length"]) for entity in sent["entities"]] == [(3, 5), (7, 1)]
    edit = html | {"message_id": sent["message_id"]}
    assert "message is not modified" in await bot("editMessageText", **edit)
    assert "reply_markup" not in await bot("editMessageText", **edit | {"reply_markup": ""})
    theirs = edit | {"message_id": telegram.edit(asked, "/pin 2")["message_id"]}
    assert await bot("editMessageText", **theirs) == "400 Bad Request: message can't be edited"
    for message in (asked, sent):
        telegram.delete(message)
    assert await bot("editMessageText", **edit) == "400 Bad Request: message to edit not found"
    assert "reply_to_message" not in await bot("sendMessage", **html, reply_parameters=reply)


async def test_a_webhook_gets_each_chats_updates_in_order_until_taken(telegram: TelegramServer, bot: Bot) -> None:
    waiting = asyncio.create_task(bot("getUpdates", timeout=30))
    await telegram.wait_for(lambda: telegram._waiter)
    async with RyzeServer({}) as hook:  # any server that can fail to order will do; it refuses what it does not know
        hook.fault(drop="before")
        await bot("setWebhook", url=f"{hook.url}/hook", secret_token="s3cret", max_connections=10)
        assert await waiting == "409 Conflict: terminated by setWebhook request"
        assert (await bot("getUpdates")).startswith("409 Conflict: can't use getUpdates method while webhook is")
        first = telegram.next_update_id
        asked = [telegram.message(user, "hi") for user in (ANA, ANA, 222)]
        telegram.press(ANA, asked[0], "data")
        await telegram.wait_for(lambda: len(hook.calls) >= 6)
        assert {delivery.params["update_id"] for delivery in telegram.deliveries} == {first, first + 2, first + 3}
        hook.fault(status=204, body=b"", times=None)
        await telegram.wait_for(lambda: not telegram.pending)
        taken = [delivery.params["update_id"] for delivery in telegram.deliveries if delivery.status == 204]
        assert sorted(taken) == [first, first + 1, first + 2, first + 3]
        assert taken.index(first) < taken.index(first + 1)
        assert {call.headers["x-telegram-bot-api-secret-token"] for call in hook.calls} == {"s3cret"}
        assert (await bot("getWebhookInfo"))["url"] == f"{hook.url}/hook"
    telegram.message(ANA, "hi")
    await bot("deleteWebhook")
    assert await bot.ids() == telegram.pending != []
