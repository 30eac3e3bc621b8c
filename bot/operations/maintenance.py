"""What an admin asks at the command line: what was done, what is to be forgotten, and whether all can be reached."""

import asyncio
import csv
import json
import sys
import time
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from typing import Any

import httpx
from telegram.error import BadRequest, Forbidden

from bot import http_client
from bot.memory.store import Entry, Store
from bot.operations.logs import masker
from bot.ryze.client import HEADERS, MAX_BYTES
from bot.ryze.reading import read_command
from bot.settings.model import Instance, Settings
from bot.telegram import build_bot
from bot.telegram.outbox import reason


async def history(settings: Settings, since: float | None, instance: str | None, *, as_csv: bool) -> int:
    """Print the attempts of the last `since` seconds, of one instance or of all, newest first; give the exit status."""
    if instance is not None and instance not in settings.instances:
        print(f"There is no instance {instance}; there are: {', '.join(settings.instances)}", file=sys.stderr)
        return 2
    async with aclosing(_open(settings)) as store:
        entries = await store.history(instance, since and time.time() - since, 1_000_000, 0)
    columns = Entry._fields if as_csv else ("at", "operator", "instance", "action", "chat", "outcome")
    write = csv.writer(sys.stdout).writerow if as_csv else lambda values: print(*values, sep="  ")
    write(columns if as_csv else [f"Times are in {settings.timezone}." if entries else "No attempts found."])
    for entry in entries:
        at = datetime.fromtimestamp(entry.at, settings.timezone)
        values = entry._asdict() | {"at": at.isoformat(timespec="seconds") if as_csv else f"{at:%Y-%m-%d %H:%M:%S}"}
        write([values[name] for name in columns])
    return 0


async def forget(settings: Settings, number: str) -> int:
    """Remove a number from what the bot remembers, and give the exit status."""
    reading, *others = read_command(number, settings.region)
    chat = reading.chat or reading.anyway
    if chat is None or others:
        print("Not one number: write it as +, country code and digits, or as a chat's JID", file=sys.stderr)
        return 2
    async with aclosing(_open(settings)) as store:
        print(f"Attempts removed: {await store.forget(chat.number)}")
    return 0


def _open(settings: Settings) -> Store:
    # A file that is not there has nothing to read or to forget; made here, it might be another user's than the bot's.
    exists = settings.database_url or settings.state.exists()
    return Store(settings.history_target, settings.keep if exists else timedelta(0))


async def check_live(settings: Settings) -> int:
    """Ask Telegram who the bot is and who has started it, and Ryze how the instances are; changes nothing anywhere."""
    looks = [_look_at(settings, instance) for instance in settings.instances.values()]
    results, mask = [*await _ask_telegram(settings), *await asyncio.gather(*looks)], masker(settings.secrets)
    print(*(mask(line) for line, _ in results), sep="\n")
    return 0 if all(good for _, good in results) else 1


async def _ask_telegram(settings: Settings) -> list[tuple[str, bool]]:
    people = {admin: f"Admin {admin}" for admin in settings.admins}
    people |= {operator.telegram_id: f"Operator {operator.name}" for operator in settings.operators.values()}
    lines = []
    try:
        api = settings.telegram_token, settings.telegram.api_url
        async with asyncio.timeout(60), build_bot(*api) as bot:
            lines.append((f"Telegram: the bot is @{bot.username}", True))
            for person, name in people.items():
                try:
                    await bot.get_chat(person)
                except (BadRequest, Forbidden):
                    lines.append((f"{name}: has not pressed Start yet, or has blocked the bot", False))
    except Exception as error:  # noqa: BLE001 - the library raises anything on an answer that is not of the Bot API's shape
        lines.append((f"Telegram: can't be used ({reason(error)})", False))
    return lines


async def _look_at(settings: Settings, instance: Instance) -> tuple[str, bool]:
    """Ask for the instances that a token reaches: by the vendor's pages, the recommended look at an instance."""
    url, timeout, states = settings.ryze.base_url, settings.ryze.timeout, dict[str, str]()

    def note(found: dict[str, Any]) -> dict[str, Any]:
        with suppress(KeyError, TypeError):  # an object that is no instance
            states[found["name"]] = found["connection"]["state"]
        return found

    try:
        request = httpx.Request("GET", f"{url}/api/instance/list", headers=HEADERS | {"token": instance.token})
        async with asyncio.timeout(timeout), http_client.connect() as send, aclosing(await send(request)) as response:
            body = await anext(response.aiter_raw(MAX_BYTES), b"")
    except Exception as error:  # noqa: BLE001 - the libraries let through what ssl, idna and anyio raise
        return f"Ryze: {url} can't be reached ({reason(error)})", False
    with suppress(ValueError, RecursionError):
        json.loads(body, object_hook=note)
    unclear = f"answers, but not as described (HTTP {response.status_code}); nothing can be said of the token"
    found = ", ".join(f"{name} is {state}" for name, state in states.items())
    if response.status_code == 401:
        found = "it is rejected (HTTP 401)"
    good = states.get(instance.name, found) in ("connected", "")
    return f"Ryze, with the token of {instance.name}: {found or unclear}", good
