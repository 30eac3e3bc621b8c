"""What an admin asks for: the history, forgetting a number, whether all can be reached."""

import asyncio
import csv
import json
import sys
import time
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from typing import Any

import httpx

from bot import http_client
from bot.memory.store import Entry, Store
from bot.operations.logs import masker
from bot.ryze.chats import read_command
from bot.ryze.client import HEADERS, MAX_BYTES
from bot.settings.model import Settings
from bot.telegram import build_bot
from bot.telegram.outbox import reason


async def history(settings: Settings, since: float | None, instance: str | None, *, as_csv: bool) -> int:
    """Print the attempts of the last `since` seconds, newest first; give the exit status."""
    if instance is not None and instance not in settings.instances:
        print(f"There is no instance {instance}; there are: {', '.join(settings.instances)}", file=sys.stderr)
        return 2
    async with aclosing(_open(settings)) as store:
        entries = await store.history(instance, since and time.time() - since, 1_000_000, 0)
    columns = Entry._fields if as_csv else ("at", "operator", "instance", "action", "chat", "outcome")
    write = csv.writer(sys.stdout).writerow if as_csv else lambda values: print(*values, sep="  ")
    write(columns if as_csv else [f"Times are in {settings.timezone}." if entries else "No attempts found."])
    for entry in entries:
        at = datetime.fromtimestamp(int(entry.at), settings.timezone)
        values = entry._asdict() | {"at": at.isoformat() if as_csv else at.replace(tzinfo=None)}
        write([values[name] for name in columns])
    return 0


async def forget(settings: Settings, number: str) -> int:
    """Remove a number from what the bot remembers, and give the exit status."""
    reading, *others = read_command(number, settings.region)
    chat = reading.chat or reading.anyway
    if chat is None or others:
        print("Not one number: write +, country code and digits, or a chat's JID", file=sys.stderr)
        return 2
    async with aclosing(_open(settings)) as store:
        print(f"Attempts removed: {await store.forget(chat.number)}")
    return 0


def _open(settings: Settings) -> Store:
    # A file that is not there has nothing to read; made here, it might be another user's than the bot's.
    exists = settings.database_url or settings.state.exists()
    return Store(settings.database_url or settings.state, settings.keep if exists else timedelta(0))


async def check_live(settings: Settings) -> int:
    """Ask who the bot is and how the instances are, changing nothing; give the exit status."""
    looks = {"Telegram": asyncio.create_task(_ask_telegram(settings))}
    for name in settings.instances:
        looks[f"Ryze, with the token of {name}"] = asyncio.create_task(_ask_ryze(settings, name))
    mask, status = masker(settings.secrets), 0
    for who, look in looks.items():
        try:
            said, good = await look
        except Exception as error:  # noqa: BLE001 - the libraries raise anything on an odd answer
            said, good = f"can't be used ({reason(error)})", False
        print(mask(f"{who}: {said}"))
        status = status if good else 1
    return status


async def _ask_telegram(settings: Settings) -> tuple[str, bool]:
    async with asyncio.timeout(60), build_bot(settings.telegram_token, settings.telegram.api_url) as bot:
        return f"the bot is @{bot.username}", True


async def _ask_ryze(settings: Settings, name: str) -> tuple[str, bool]:
    """Ask which instances a token reaches, as the vendor recommends for a look at one."""
    url, states = f"{settings.ryze.base_url}/api/instance/list", dict[str, str]()

    def note(found: dict[str, Any]) -> dict[str, Any]:
        with suppress(KeyError, TypeError):  # an object that is no instance
            states[found["name"]] = found["connection"]["state"]
        return found

    request = httpx.Request("GET", url, headers=HEADERS | {"token": settings.instances[name].token})
    async with asyncio.timeout(settings.ryze.timeout), http_client.build_transport(url) as transport:
        response = await transport.handle_async_request(request)
        body = await anext(response.aiter_raw(MAX_BYTES), b"")
    if response.status_code == 401:
        return "it is rejected (HTTP 401)", False
    with suppress(ValueError, RecursionError):
        json.loads(body, object_hook=note)
    unclear = f"answers, but not as described (HTTP {response.status_code}); nothing can be said of the token"
    said = ", ".join(f"{name} is {state}" for name, state in states.items())
    return said or unclear, not states or states.get(name) == "connected"
