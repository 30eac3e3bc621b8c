"""What Telegram shows of the bot before anybody writes to it: the command menus and the short description."""

import asyncio
import hashlib
import logging
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from telegram import Bot

from bot.conversation.texts import Texts
from bot.memory.store import Store, StoreAway
from bot.settings.model import LANGUAGES, Settings
from bot.telegram.outbox import Json, Outbox, call_raw

log = logging.getLogger(__name__)

FOR_OPERATORS = ("pin", "unpin", "pins", "history", "help")
FOR_EVERYBODY = ("start", "id")
PAUSE = 0.1  # seconds between two calls: ten a second


async def publish(bot: Bot, outbox: Outbox, settings: Settings, store: Store) -> None:
    """Set the menus and descriptions that changed since they were last set; a former operator loses the menu."""
    known: dict[str, str] = {}
    with suppress(StoreAway):
        known = await store.notes("menu:")
    wanted = {f"menu:{whose}:{code}": parameters for whose, code, parameters in _wanted(settings)}
    for key in {**known, **wanted}:
        _, whose, code = key.split(":")
        described, shown = whose == "description", wanted.get(key, {})
        method = "setMyShortDescription" if described else "setMyCommands" if shown else "deleteMyCommands"
        digest = hashlib.sha256(f"{bot.id} {shown}".encode()).hexdigest()[:16]
        if known.get(key) == digest:
            continue
        personal = whose.isdigit() and whose != "0"
        scope = {"type": "chat", "chat_id": int(whose)} if personal else {"type": "default"}
        parameters: Json = {**shown, "language_code": code, "scope": None if described else scope}
        try:
            await outbox.with_retries(partial(call_raw, bot, method, parameters), patience=60)
        except Exception as error:  # noqa: BLE001 - a broken answer makes the library raise anything
            # As of an operator who never pressed Start; it is tried again at the next start.
            log.info("Telegram did not take %s: %s", key, error)
        else:
            with suppress(StoreAway):
                await store.note(key, digest if shown else None)
        await asyncio.sleep(PAUSE)


def _wanted(settings: Settings) -> Iterator[tuple[str, str, Json]]:
    """Give what is to be shown to whom (an operator's id, or 0 for everybody) in which language, as call parameters."""
    # Telegram shows a language's own texts to who has it, and those without a language to everybody else.
    codes = {"": settings.language or LANGUAGES[0]}
    if not settings.language:
        codes |= {language[:2]: language for language in LANGUAGES[1:]}
    operators = {str(operator.telegram_id): operator.language for operator in settings.operators.values()}
    for whose, own in {"description": None, "0": None, **operators}.items():
        for code, language in {"": own}.items() if own else codes.items():
            texts = Texts(language, settings.timezone, settings.region)
            names = FOR_OPERATORS if whose in operators else FOR_EVERYBODY
            menu = [
                {"command": name, "description": texts.plain(f"menu_{name}", example=texts.example)} for name in names
            ]
            description = {"short_description": texts.plain("short_description")}
            yield whose, code, description if whose == "description" else {"commands": menu}
