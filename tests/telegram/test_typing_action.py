"""“typing…” while a command takes its time."""

import asyncio

import pytest
from telegram import Bot, Message

from bot.telegram.typing_action import typing_action
from tests.sandbox.server import Json
from tests.sandbox.telegram import Call, TelegramServer
from tests.telegram.conftest import ANA

TOPIC: Json = {"chat": {"id": -100123, "type": "supergroup"}, "message_thread_id": 77, "is_topic_message": True}


@pytest.fixture
async def message(telegram: TelegramServer, bot: Bot) -> Message:
    message = Message.de_json(telegram.message(ANA, "/pin", **TOPIC), bot)
    assert message
    return message


def shown(telegram: TelegramServer) -> list[Call]:
    return [call for call in telegram.calls if call.method == "sendChatAction"]


async def test_it_is_shown_in_the_topic_again_and_again_until_the_block_ends(
    bot: Bot, telegram: TelegramServer, message: Message
) -> None:
    async with typing_action(bot, message, after=0.05, every=0.05):
        await telegram.wait_for(lambda: len(shown(telegram)) >= 5, what="typing, five times")
    assert shown(telegram)[0].params == {"chat_id": -100123, "action": "typing", "message_thread_id": 77}
    number = len(shown(telegram))
    async with typing_action(bot, message, after=0.1):  # a quick command shows nothing
        pass
    async with typing_action(bot, message, after=0.2):
        await telegram.wait_for(lambda: len(shown(telegram)) > number, what="another one's")
    assert len(shown(telegram)) == number + 1


@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 429, "retry_after": 60}, {"drop": "before"}])
async def test_its_errors_do_not_matter(bot: Bot, telegram: TelegramServer, message: Message, fault: Json) -> None:
    telegram.fault("sendChatAction", times=2, **fault)
    hanging = telegram.fault("sendChatAction", hang=True)
    async with asyncio.timeout(10), typing_action(bot, message, after=0.01, every=0.01):
        await telegram.wait_for(lambda: hanging.hits, what="a call that hangs, after two that fail")
    assert len(shown(telegram)) == 3
