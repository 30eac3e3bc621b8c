"""The plainest program on python-telegram-bot: its defaults, and one client to Ryze."""

import json
import os
import sys
from pathlib import Path

import httpx
from telegram import Update
from telegram.ext import ApplicationBuilder, CommandHandler, ContextTypes

settings = json.loads(Path(sys.argv[1]).read_text())
operators = {entry["telegram_id"]: entry["instance"] for entry in settings["operators"]}
ryze = httpx.AsyncClient()


async def pin_chat(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    message = update.message
    if not message or not message.text or not message.from_user or not context.args:
        return
    instance = operators[message.from_user.id]
    url = f"{settings['ryze']['base_url']}/api/chat/pinChat/{instance}"
    headers = {"token": settings["instances"][instance]["token"]}
    body = {"number": context.args[0], "pin": message.text.startswith("/pin")}
    answer = (await ryze.post(url, headers=headers, json=body)).json()
    await message.reply_text(answer["message"] if answer["success"] else answer["error"]["message"])


token, api = os.environ["TELEGRAM_BOT_TOKEN"], settings["telegram"]["api_url"]
application = ApplicationBuilder().token(token).base_url(f"{api}/bot").build()
application.add_handler(CommandHandler(["pin", "unpin"], pin_chat))
application.run_polling()
