"""What Telegram shows of the bot before anybody writes to it: the command menus and the short description."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial

from telegram import Bot, BotCommandScope, BotCommandScopeChat, BotCommandScopeDefault

from bot.conversation.texts import Texts
from bot.memory.store import Store, StoreAway
from bot.settings.model import LANGUAGES, Settings
from bot.telegram.outbox import Outbox

log = logging.getLogger(__name__)

FOR_OPERATORS = ("pin", "unpin", "pins", "history", "help")
FOR_EVERYBODY = ("start", "id")
PAUSE = 0.1  # seconds between two calls: ten a second

Change = tuple[str, str, Callable[[], Awaitable[object]]]  # what it is, its text ("" to remove it), the call


async def publish(bot: Bot, outbox: Outbox, settings: Settings, store: Store) -> None:
    """Set the menus and descriptions that changed since they were last set; who is no operator any more loses theirs.

    A refusal, as of an operator who never pressed Start, is one line in the log, and is tried again at the next start.
    """
    known: dict[str, str] = {}
    with suppress(StoreAway):
        known = await store.notes("menu:")
    for key, text, call in _changes(bot, settings, known):
        digest = hashlib.sha256(f"{bot.id} {text}".encode()).hexdigest()[:16]
        if known.get(key) == digest:
            continue
        try:
            await outbox.with_retries(call, patience=60)
        except Exception as error:  # noqa: BLE001 - a broken answer makes the library raise anything
            log.info("Telegram did not take %s: %s", key, error)
        else:
            with suppress(StoreAway):
                await store.note(key, digest if text else None)
        await asyncio.sleep(PAUSE)


def _changes(bot: Bot, settings: Settings, known: dict[str, str]) -> Iterator[Change]:
    # Telegram shows a language's own texts to who has it, and those without a language to everybody else.
    codes: dict[str | None, str] = {None: settings.language or LANGUAGES[0]}
    if not settings.language:
        codes |= {language[:2]: language for language in LANGUAGES[1:]}
    owners = {operator.telegram_id: operator.language for operator in settings.operators.values()}
    gone = {key for key in known if not key.startswith("menu:description:")}
    for owner, own in {0: None, **owners}.items():
        for code, language in {None: own}.items() if own else codes.items():
            texts = Texts(language, settings.timezone, settings.region)
            if not owner:
                description = texts.plain("short_description")
                call = partial(bot.set_my_short_description, description, code)
                yield f"menu:description:{code or ''}", description, call
            names = FOR_OPERATORS if owner else FOR_EVERYBODY
            menu = [(name, texts.plain(f"menu_{name}", example=texts.example)) for name in names]
            key = f"menu:{owner}:{code or ''}"
            gone.discard(key)
            yield key, repr(menu), partial(bot.set_my_commands, menu, _scope(owner), code)
    for key in sorted(gone):
        _, former, code = key.split(":")
        yield key, "", partial(bot.delete_my_commands, _scope(int(former)), code or None)


def _scope(owner: int) -> BotCommandScope:
    return BotCommandScopeChat(owner) if owner else BotCommandScopeDefault()
