"""What Telegram shows of the bot before anybody writes to it: the command menus and the short description."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from telegram import BotCommand, BotCommandScopeChat, BotCommandScopeDefault
from telegram.error import TelegramError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telegram import Bot

    from bot.config import Config
    from bot.languages import Languages
    from bot.outbox import Outbox
    from bot.replies import Replies

log = logging.getLogger(__name__)

FOR_OPERATORS = ("pin", "unpin", "pins", "history", "help")
FOR_EVERYBODY = ("start", "id")


async def publish(bot: Bot, outbox: Outbox, config: Config, languages: Languages) -> None:
    """Set the menus and the description; a refusal, as of an operator who never pressed Start, is one line of log."""

    async def attempt(what: str, call: Callable[[], Awaitable[bool]]) -> None:
        try:
            await outbox.patiently(call, patience=60)
        except TelegramError as error:
            log.info("Telegram did not take %s: %s", what, error)

    def menu(replies: Replies, names: tuple[str, ...]) -> list[BotCommand]:
        return [BotCommand(name, replies.plain(f"menu_{name}")) for name in names]

    # Telegram shows a language's own texts to who has it, and those without a language to everybody else.
    default = languages.of(None)
    in_languages: dict[str | None, Replies] = {None: default}
    if not config.language:
        in_languages.update(languages.by_code)
    for code, replies in in_languages.items():
        description = replies.plain("short_description")
        await attempt("the description", partial(bot.set_my_short_description, description, code))
        commands = menu(replies, FOR_EVERYBODY)
        await attempt("the menu", partial(bot.set_my_commands, commands, BotCommandScopeDefault(), code))
    for operator in config.operators.values():
        scope = BotCommandScopeChat(operator.telegram_id)
        own: dict[str | None, Replies] = {None: languages.of(operator)} if operator.language else in_languages
        for code, replies in own.items():
            what = f"the menu of operator {operator.telegram_id}"
            await attempt(what, partial(bot.set_my_commands, menu(replies, FOR_OPERATORS), scope, code))
