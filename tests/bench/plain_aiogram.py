"""The plainest program on aiogram 3: its defaults, its own session to Telegram, one aiohttp session to Ryze."""

import asyncio
import json
import os
import sys
from pathlib import Path

import aiohttp
from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.filters import Command, CommandObject
from aiogram.types import Message

settings = json.loads(Path(sys.argv[1]).read_text())
operators = {entry["telegram_id"]: entry["instance"] for entry in settings["operators"]}
dispatcher = Dispatcher()


@dispatcher.message(Command("pin", "unpin"))
async def pin_chat(message: Message, command: CommandObject, ryze: aiohttp.ClientSession) -> None:
    if message.from_user is None:
        return
    instance = operators[message.from_user.id]
    url = f"{settings['ryze']['base_url']}/api/chat/pinChat/{instance}"
    headers = {"token": settings["instances"][instance]["token"]}
    body = {"number": command.args, "pin": command.command == "pin"}
    async with ryze.post(url, headers=headers, json=body) as got:
        answer = await got.json()
    await message.answer(answer["message"] if answer["success"] else answer["error"]["message"])


async def main() -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(settings["telegram"]["api_url"]))
    async with aiohttp.ClientSession() as ryze:
        await dispatcher.start_polling(Bot(os.environ["TELEGRAM_BOT_TOKEN"], session=session), ryze=ryze)


asyncio.run(main())
