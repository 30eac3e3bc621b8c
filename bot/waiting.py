"""What a person sees while a command waits: "typing…" soon, and after a while a message that says what for."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from telegram.constants import ChatAction, ParseMode

from bot.outbox import topic

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from telegram import Bot, MaybeInaccessibleMessage, Message

log = logging.getLogger(__name__)

TYPING_AFTER = 0.5  # seconds
TYPING_LASTS = 4.5  # Telegram shows it for five seconds
WORDS_AFTER = 10.0
CLEARING = 5.0  # for how long taking the words away again is tried


class Waiting:
    """Shows in a message's chat that it is being worked on, until `over`; the `with` block's end takes the words away.

    `reason` is asked, when it is time for words, for the sentence that says what is being waited for.
    """

    def __init__(self, bot: Bot, message: MaybeInaccessibleMessage, reason: Callable[[], str]) -> None:
        self._bot = bot
        self._chat = message.chat.id
        self._thread = topic(message)
        self._reason = reason
        self._timer: asyncio.TimerHandle | None = None
        self._show: asyncio.Task[None] | None = None
        self._words: asyncio.Task[Message] | None = None

    async def __aenter__(self) -> Self:
        self._timer = asyncio.get_running_loop().call_later(TYPING_AFTER, self._begin)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.over()
        if self._words:
            with suppress(Exception):  # whatever a broken answer makes the library raise: the answer is what counts
                async with asyncio.timeout(CLEARING):
                    words = await self._words
                    await self._bot.delete_message(self._chat, words.message_id)

    def over(self) -> None:
        """Stop typing: the answer is ready."""
        if self._timer:
            self._timer.cancel()
        if self._show:
            self._show.cancel()

    def _begin(self) -> None:
        self._show = asyncio.create_task(self._typing())

    async def _typing(self) -> None:
        clock = asyncio.get_running_loop().time
        words_at = clock() + WORDS_AFTER - TYPING_AFTER
        while True:
            with suppress(Exception):  # as above
                await self._bot.send_chat_action(self._chat, ChatAction.TYPING, message_thread_id=self._thread)
            if self._words is None:
                await asyncio.sleep(min(TYPING_LASTS, max(0.0, words_at - clock())))
                if clock() >= words_at:
                    self._words = asyncio.create_task(self._say())
            else:
                await asyncio.sleep(TYPING_LASTS)

    async def _say(self) -> Message:
        return await self._bot.send_message(
            self._chat,
            self._reason(),
            parse_mode=ParseMode.HTML,
            message_thread_id=self._thread,
            disable_notification=True,
        )
