"""What an admin asks at the command line: what was done, what is to be forgotten, and whether all can be reached."""

from __future__ import annotations

import asyncio
import csv
import sys
import time
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import httpx
from telegram.error import BadRequest, Forbidden, InvalidToken

from bot import app
from bot.chats import ChatError, parse_chat
from bot.logs import masker
from bot.ryze import HEADERS
from bot.store import Entry, Store
from bot.transport import Body, Request, client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telegram import Bot

    from bot.config import Config

MOST_ENTRIES = 1_000_000
PATIENCE = 60.0  # seconds for Telegram to say all that it is asked
USAGE = 2  # the exit status that argparse has for it


async def forget(config: Config, number: str) -> int:
    """Remove a number from what the bot remembers, and give the exit status."""
    try:
        number = parse_chat(number, config.region).number
    except ChatError:
        if "@" not in number:  # else maybe a device's JID, which is kept with its suffix
            print("not a number: write it as +, country code and digits, or as a chat's JID", file=sys.stderr)
            return USAGE
    async with _store(config) as store:
        count = await store.forget(number)
    print(f"attempts removed: {count}")
    return 0


async def history(config: Config, since: float | None, instance: str | None, *, as_csv: bool) -> int:
    """Print the attempts of the last `since` seconds, of one instance or of all, newest first."""
    async with _store(config) as store:
        entries = await store.history(instance, since and time.time() - since, MOST_ENTRIES, 0)
    rows = [
        {**asdict(entry), "at": datetime.fromtimestamp(entry.at, config.timezone).isoformat(timespec="seconds")}
        for entry in entries
    ]
    if not rows:
        print("no attempts found", file=sys.stderr)
    if as_csv:
        table = csv.DictWriter(sys.stdout, [field.name for field in fields(Entry)])
        table.writeheader()
        table.writerows(rows)
    for row in () if as_csv else rows:
        print("  ".join(str(row[name]) for name in ("at", "operator", "instance", "action", "chat", "outcome")))
    return 0


async def check_live(config: Config) -> int:
    """Ask Telegram who the bot is and who has started it, and reach Ryze's host; changes nothing anywhere."""
    mask = masker(config.secrets)
    try:
        tls = httpx.create_ssl_context()
        bot, http = app.telegram(config, tls), client(tls, kept=1)
    except (ImportError, OSError, RuntimeError, ValueError, httpx.InvalidURL) as error:
        print(f"The environment's proxy or certificates can't be used: {mask(str(error))}")
        return app.ENVIRONMENT_WRONG
    try:
        async with asyncio.timeout(PATIENCE):
            status = 0 if await _ask_telegram(config, bot) else 1
    except InvalidToken:
        print("Telegram: rejects TELEGRAM_BOT_TOKEN; put in the one that BotFather gave")
        status = 1
    except Exception as error:  # noqa: BLE001 - the library raises anything on an answer that is not of the Bot API's shape
        print(f"Telegram: can't be reached ({mask(_described(error))})")
        status = 1
    finally:
        await bot.request.shutdown()
    try:
        async with asyncio.timeout(config.timeout), aclosing(http):
            named = {"User-Agent": HEADERS["User-Agent"]}
            asked = Request("GET", config.base_url, named, Body(b""), connect=config.timeout, most=0)
            answer = await http.request(asked)
            print(f"Ryze: {config.base_url} answers (HTTP {answer.status}); no token was sent")
    except Exception as error:  # noqa: BLE001 - the libraries let through what ssl, idna and anyio raise
        print(f"Ryze: {config.base_url} can't be reached ({mask(_described(error))})")
        status = 1
    return status


async def _ask_telegram(config: Config, bot: Bot) -> bool:
    """Print what Telegram knows, and tell whether everybody has started the bot."""
    await bot.initialize()
    print(f"Telegram: the bot is @{bot.username}")
    people = {admin: f"Admin {admin}" for admin in config.admins}
    people |= {operator.telegram_id: f"Operator {operator.name}" for operator in config.operators.values()}
    all_started = True
    for person, name in people.items():
        try:
            await bot.get_chat(person)
        except (BadRequest, Forbidden):
            print(f"{name}: has not pressed Start yet, or has blocked the bot; they find the bot at @{bot.username}")
            all_started = False
        else:
            print(f"{name}: has started the bot")
    return all_started


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


@asynccontextmanager
async def _store(config: Config) -> AsyncIterator[Store]:
    # Without its file there is nothing to read or to forget; made here, it might be another user's than the bot's.
    there = config.database_url or config.state.exists()
    store = Store.open(config.database_url or config.state, config.keep if there else timedelta(0))
    try:
        yield store
    finally:
        await store.close()
