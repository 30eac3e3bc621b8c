"""Pressed buttons. Whoever pressed and whatever came with it is checked afresh: a button is untrusted input."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from telegram.error import TelegramError

from bot.buttons import Page, instance_hash, unpack
from bot.lists import history
from bot.throttle import Throttle

if TYPE_CHECKING:
    from telegram import CallbackQuery, MaybeInaccessibleMessage

    from bot.admins import Admins
    from bot.buttons import Press
    from bot.config import Config, Operator
    from bot.intake import Pending
    from bot.languages import Languages
    from bot.outbox import Outbox
    from bot.pinning import Pinning
    from bot.replies import Replies
    from bot.store import Store

log = logging.getLogger(__name__)

CONFIRMING = 10.0  # seconds for which confirming a press is tried


class Presses:
    """Does what a valid button's label says, now, and answers in the message that the button is below."""

    def __init__(
        self, config: Config, languages: Languages, pinning: Pinning, admins: Admins, store: Store, outbox: Outbox
    ) -> None:
        self._config = config
        self._languages = languages
        self._pinning = pinning
        self._admins = admins
        self._store = store
        self._outbox = outbox
        self._denials = Throttle(per_key=3, overall=10)
        self._instances = {instance_hash(name): name for name in config.instances}

    async def press(self, query: CallbackQuery, pending: Pending) -> None:
        """Do it, or say in an alert why not."""
        press, message = unpack(query.data or ""), query.message
        operator = None if query.from_user.is_bot else self._config.operators.get(query.from_user.id)
        instance = self._instances.get(press.instance_hash) if press else None
        replies = self._languages.of(operator, query.from_user)
        if operator is None:
            refusal = "press_stranger"
        elif press is None or message is None:
            refusal = "press_unknown"
        elif instance is None or instance not in operator.instances:
            refusal = "press_other_instance"
        elif isinstance(press, Page):
            if message.chat.type == "private":
                await self._show(query, message, press, operator, instance, replies)
                return
            refusal = "press_in_private"
        elif press.owner not in (None, operator.telegram_id):
            refusal = "press_other_operator"
        else:
            await self._act(query, message, press, operator, instance, pending, replies)
            return
        if operator or self._denials.allow(query.from_user.id):
            log.info("denied a button: %s, sender %s", refusal, query.from_user.id)
        await self.confirm(query, replies.plain(refusal))

    async def confirm(self, query: CallbackQuery, alert: str | None = None) -> None:
        """Tell Telegram that a press was taken, with an alert if there is something to say."""
        try:
            await self._outbox.patiently(lambda: query.answer(alert, show_alert=bool(alert)), patience=CONFIRMING)
        except TelegramError as error:  # it lives for a short while only, and nothing depends on it
            log.debug("a button's press could not be confirmed: %s", error)

    async def _act(
        self,
        query: CallbackQuery,
        message: MaybeInaccessibleMessage,
        press: Press,
        operator: Operator,
        instance: str,
        pending: Pending,
        replies: Replies,
    ) -> None:
        confirmed = asyncio.create_task(self.confirm(query))
        async with self._pinning.pressed(press, operator, instance, pending, message, replies) as done:
            told = await self._admins.hear(done.attempted)
            answer = replies.with_admin(done.answer) if told else done.answer
            if message.chat.type != "private":
                answer = replace(answer, text=f"{answer.text}\n{replies.say('pressed_by', name=operator.name)}")
            await self._outbox.edit(message, answer, operator.telegram_id)
        await confirmed

    async def _show(
        self,
        query: CallbackQuery,
        message: MaybeInaccessibleMessage,
        page: Page,
        operator: Operator,
        instance: str,
        replies: Replies,
    ) -> None:
        confirmed = asyncio.create_task(self.confirm(query))
        answer = await history(self._store, instance, replies, page.offset)
        await self._outbox.edit(message, answer, operator.telegram_id)
        await confirmed
