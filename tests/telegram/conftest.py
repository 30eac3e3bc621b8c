"""A bot of python-telegram-bot on the stand-in for Telegram."""

from collections.abc import AsyncIterator

import pytest
from telegram import Bot

from bot.telegram import build_bot
from tests.sandbox.server import Json
from tests.sandbox.telegram import TelegramServer

ANA = 111


def raw_update(update_id: int) -> Json:
    user = {"id": ANA, "is_bot": False, "first_name": "Ana"}
    chat = {"id": ANA, "type": "private", "first_name": "Ana"}
    message = {"message_id": update_id, "date": 1, "from": user, "chat": chat, "text": "/help"}
    return {"update_id": update_id, "message": message}


class Reports(list[tuple[bool, float]]):
    """What was reported of each try to hear from Telegram."""

    def __call__(self, *, answered: bool, pause: float = 0.0) -> None:
        self.append((answered, pause))


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramServer]:
    async with TelegramServer() as server:
        server.add_chat(ANA)
        yield server


@pytest.fixture
async def bot(telegram: TelegramServer) -> AsyncIterator[Bot]:
    async with build_bot(telegram.token, telegram.url) as made:
        yield made
