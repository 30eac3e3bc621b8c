"""What Telegram shows of the bot before anybody writes to it: the command menus and the short description."""

import asyncio
import hashlib
import logging
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from telegram import Bot, BotCommandScopeChat, BotCommandScopeDefault

from bot.conversation.texts import Texts
from bot.memory.store import Store, StoreAway
from bot.settings.model import LANGUAGES, Settings
from bot.telegram.outbox import Outbox

log = logging.getLogger(__name__)

FOR_OPERATORS = ("pin", "unpin", "pins", "history", "help")
FOR_EVERYBODY = ("start", "id")
PAUSE = 0.1  # seconds between two calls: ten a second

Shown: TypeAlias = str | list[tuple[str, str]]  # a description, or a menu: commands and what they do; empty: none


async def publish(bot: Bot, outbox: Outbox, settings: Settings, store: Store) -> None:
    """Set the menus and descriptions that changed since they were last set; who is no operator any more loses theirs.

    A refusal, as of an operator who never pressed Start, is one line in the log, and is tried again at the next start.
    """
    known: dict[str, str] = {}
    with suppress(StoreAway):
        known = await store.notes("menu:")
    wanted: dict[str, Shown] = dict(_wanted(settings))
    for key in {**known, **wanted}:
        shown = wanted.get(key, "")
        digest = hashlib.sha256(f"{bot.id} {shown}".encode()).hexdigest()[:16]
        if known.get(key) == digest:
            continue
        try:
            await outbox.with_retries(partial(_set, bot, key, shown), patience=60)
        except Exception as error:  # noqa: BLE001 - a broken answer makes the library raise anything
            log.info("Telegram did not take %s: %s", key, error)
        else:
            with suppress(StoreAway):
                await store.note(key, digest if shown else None)
        await asyncio.sleep(PAUSE)


def _wanted(settings: Settings) -> Iterator[tuple[str, Shown]]:
    """Give what is to be shown, by `menu:WHOSE:LANGUAGE`; 0 is everybody."""
    # Telegram shows a language's own texts to who has it, and those without a language to everybody else.
    codes = {"": settings.language or LANGUAGES[0]}
    if not settings.language:
        codes |= {language[:2]: language for language in LANGUAGES[1:]}
    operators = {str(operator.telegram_id): operator.language for operator in settings.operators.values()}
    for whose, own in {"description": None, "0": None, **operators}.items():
        for code, language in {"": own}.items() if own else codes.items():
            texts = Texts(language, settings.timezone, settings.region)
            names = FOR_OPERATORS if whose in operators else FOR_EVERYBODY
            menu = [(name, texts.plain(f"menu_{name}", example=texts.example)) for name in names]
            yield f"menu:{whose}:{code}", texts.plain("short_description") if whose == "description" else menu


async def _set(bot: Bot, key: str, shown: Shown) -> None:
    _, whose, code = key.split(":")
    if whose == "description":
        await bot.set_my_short_description(str(shown), code)
        return
    scope = BotCommandScopeDefault() if whose == "0" else BotCommandScopeChat(whose)
    if isinstance(shown, list):
        await bot.set_my_commands(shown, scope, code)
    else:
        await bot.delete_my_commands(scope, code)
