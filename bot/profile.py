"""What Telegram shows of the bot before anybody writes to it: the command menus and the short description."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from telegram import BotCommand, BotCommandScopeChat, BotCommandScopeDefault
from telegram.error import TelegramError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telegram import Bot

    from bot.config import Config
    from bot.outbox import Outbox
    from bot.replies import Replies

log = logging.getLogger(__name__)


async def publish(bot: Bot, outbox: Outbox, config: Config, replies: Replies) -> None:
    """Set the menus and the description; a refusal, as of an operator who never pressed Start, is one line of log."""

    def menu(*names: str) -> list[BotCommand]:
        return [BotCommand(name, replies.plain(f"menu_{name}")) for name in names]

    async def attempt(what: str, call: Callable[[], Awaitable[bool]]) -> None:
        try:
            await outbox.patiently(call, patience=60)
        except TelegramError as error:
            log.info("Telegram did not take %s: %s", what, error)

    await attempt("the short description", lambda: bot.set_my_short_description(replies.plain("short_description")))
    await attempt("the menu", lambda: bot.set_my_commands(menu("start", "id"), BotCommandScopeDefault()))
    for operator in config.operators:
        scope = BotCommandScopeChat(operator)
        await attempt(
            f"the menu of operator {operator}",
            lambda scope=scope: bot.set_my_commands(menu("pin", "unpin", "help"), scope),  # type: ignore[misc]
        )
