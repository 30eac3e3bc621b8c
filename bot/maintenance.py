"""What an admin asks at the command line: what was done, what is to be forgotten, and whether all can be reached."""

from __future__ import annotations

import csv
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING

import httpx
from telegram.error import InvalidToken, TelegramError

from bot import app
from bot.logs import masker
from bot.store import Entry, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.config import Config

MOST_ENTRIES = 1_000_000


async def forget(config: Config, number: str) -> int:
    """Remove a number from what the bot remembers, and give the exit status."""
    async with _store(config) as store:
        count = await store.forget(number)
    print(f"{count} attempts removed")
    return 0


async def history(config: Config, since: float | None, instance: str | None, *, as_csv: bool) -> int:
    """Print the attempts of the last `since` seconds, of one instance or of all, newest first."""
    async with _store(config) as store:
        entries = await store.history(instance, since and time.time() - since, MOST_ENTRIES, 0)
    rows = [
        {**asdict(entry), "at": datetime.fromtimestamp(entry.at, config.timezone).isoformat(timespec="seconds")}
        for entry in entries
    ]
    if as_csv:
        table = csv.DictWriter(sys.stdout, [field.name for field in fields(Entry)])
        table.writeheader()
        table.writerows(rows)
    for row in () if as_csv else rows:
        print("  ".join(str(row[name]) for name in ("at", "operator", "instance", "action", "chat", "outcome")))
    return 0


async def check_live(config: Config) -> int:
    """Ask Telegram who the bot is and who has started it, and reach Ryze's host; changes nothing anywhere."""
    tls = httpx.create_ssl_context()
    bot = app.telegram(config, tls)
    mask, status = masker(config.secrets), 0
    try:
        me = await bot.get_me()
        print(f"Telegram: the bot is @{me.username}")
        for operator in config.operators.values():
            try:
                await bot.get_chat(operator.telegram_id)
            except TelegramError:
                print(f"Operator {operator.name}: has not pressed Start yet; they find the bot at @{me.username}")
                status = 1
            else:
                print(f"Operator {operator.name}: has started the bot")
    except InvalidToken:
        print("Telegram: rejects TELEGRAM_BOT_TOKEN; put in the one that BotFather gave")
        status = 1
    except TelegramError as error:
        print(f"Telegram: can't be reached ({mask(str(error))})")
        status = 1
    finally:
        await bot.shutdown()
    async with app.ryze_http(config, tls) as http:
        try:
            answer = await http.get(config.base_url)
        except httpx.HTTPError as error:
            print(f"Ryze: {config.base_url} can't be reached ({type(error).__name__}: {error})")
            status = 1
        else:
            print(f"Ryze: {config.base_url} answers (HTTP {answer.status_code}); no token was sent")
    return status


@asynccontextmanager
async def _store(config: Config) -> AsyncIterator[Store]:
    store = Store.open(config.database_url or config.state, config.keep)
    try:
        yield store
    finally:
        await store.close()
