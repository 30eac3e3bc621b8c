"""Answers on their way: in order within a chat, patient with what may pass, resourceful with what will not."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from telegram import Message
from telegram.constants import ParseMode
from telegram.error import BadRequest, ChatMigrated, Forbidden, RetryAfter, TelegramError

from bot.transport import call_raw

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telegram import Bot, MaybeInaccessibleMessage

    from bot.replies import Answer

log = logging.getLogger(__name__)

PATIENCE = 300.0  # seconds for which a passing refusal is tried again
LONGEST_PAUSE = 10.0  # seconds between two tries, where Telegram does not say
_T = TypeVar("_T")


class Outbox:
    """Sends and edits the bot's messages, at most so many calls at once as there are places."""

    def __init__(self, bot: Bot, places: int) -> None:
        self._bot = bot
        self._places = asyncio.Semaphore(places)
        self._chats: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def reply(self, message: MaybeInaccessibleMessage, answer: Answer, person: int) -> None:
        """Answer a message as a reply to it, in its topic; where that is refused for good, the next best way.

        The last of these is in private to `person`, a Telegram id, whose command it is. What cannot be delivered is one
        line in the log: it is not the command's failure.
        """
        chat, thread = message.chat.id, topic(message)
        silent = answer.good and message.chat.type != "private"
        async with self._in_order(chat):
            try:
                try:
                    await self._send(chat, answer, reply_to=message.message_id, thread=thread, silent=silent)
                except BadRequest as refusal:
                    if "repl" not in refusal.message.lower():
                        raise
                    await self._send(chat, answer, thread=thread, silent=silent)
                except ChatMigrated as moved:
                    await self._send(moved.new_chat_id, answer, silent=silent)
            except TelegramError as error:
                await self._in_private(message, answer, person, error)

    async def _in_private(
        self, message: MaybeInaccessibleMessage, answer: Answer, person: int, error: TelegramError
    ) -> None:
        if isinstance(error, BadRequest | Forbidden) and (message.chat.id != person or topic(message)):
            try:
                await self._send(person, answer)
            except TelegramError as refusal:
                error = refusal
            else:
                log.info("answered in private, since chat %s refuses: %s", message.chat.id, error)
                return
        log.warning("an answer in chat %s could not be delivered: %s", message.chat.id, error)

    async def edit(self, message: MaybeInaccessibleMessage, answer: Answer, person: int) -> None:
        """Replace one of the bot's own messages; where Telegram lets it be replaced no more, answer it."""
        chat = message.chat.id
        async with self._in_order(chat):
            try:
                await self._call("editMessageText", chat, answer, message_id=message.message_id)
            except (BadRequest, Forbidden, ChatMigrated) as refusal:
                if "not modified" in refusal.message.lower():
                    return
            except TelegramError as error:
                log.warning("an answer in chat %s could not be delivered: %s", chat, error)
                return
            else:
                return
        await self.reply(message, answer, person)

    async def send(self, person: int, answer: Answer) -> None:
        """Send a person a message that answers none of theirs.

        Raises:
            TelegramError: it could not be delivered.

        """
        async with self._in_order(person):
            await self._send(person, answer)

    async def patiently(self, call: Callable[[], Awaitable[_T]], patience: float = PATIENCE) -> _T:
        """Make a call to Telegram, again and again while a refusal may pass or the outcome is unknown.

        Raises:
            TelegramError: a refusal that will not pass, or the last one after `patience` seconds.

        """
        clock = asyncio.get_running_loop().time
        until = clock() + patience
        growing = 0.5
        while True:
            try:
                async with self._places:
                    return await call()
            except (BadRequest, Forbidden, ChatMigrated):
                raise
            # All but the first are what the library raises on an answer that is not of the Bot API's shape.
            except (TelegramError, AttributeError, KeyError, TypeError) as error:
                if isinstance(error.__cause__, UnicodeError):  # what can't even be sent now never can
                    raise
                if isinstance(error, RetryAfter):
                    pause = seconds(error) + 0.1
                else:
                    pause, growing = growing, min(growing * 2, LONGEST_PAUSE)
                if clock() + pause > until:
                    if isinstance(error, TelegramError):
                        raise
                    raise TelegramError(f"not the Bot API's answer: {error!r}") from error
                log.debug("Telegram is tried again in %.1f s: %s", pause, error)
            await asyncio.sleep(pause)

    def _in_order(self, chat: int) -> asyncio.Lock:
        return self._chats.setdefault(chat, asyncio.Lock())

    async def _send(
        self,
        chat: int,
        answer: Answer,
        *,
        reply_to: int | None = None,
        thread: int | None = None,
        silent: bool = False,
    ) -> None:
        await self._call(
            "sendMessage",
            chat,
            answer,
            message_thread_id=thread,
            disable_notification=silent or None,
            reply_parameters=None if reply_to is None else {"message_id": reply_to},
        )

    async def _call(self, method: str, chat: int, answer: Answer, **parameters: object) -> None:
        parameters |= {
            "chat_id": chat,
            "text": answer.text,
            "parse_mode": ParseMode.HTML,
            "link_preview_options": {"is_disabled": True},
            "reply_markup": _keyboard(answer),
        }
        # Raw, since nobody needs the message that comes back, and reading it would take as long as sending it.
        await self.patiently(lambda: call_raw(self._bot, method, parameters))


def topic(message: MaybeInaccessibleMessage) -> int | None:
    """Name the forum topic that a message is in; a thread of replies elsewhere is none."""
    return message.message_thread_id if isinstance(message, Message) and message.is_topic_message else None


def seconds(flood: RetryAfter) -> float:
    """How long Telegram asks to be left alone."""
    pause: object = flood.retry_after  # as it came, whatever its type
    if isinstance(pause, timedelta):
        return pause.total_seconds()
    return float(pause) if isinstance(pause, int | float) else 1.0


def _keyboard(answer: Answer) -> object:
    if not answer.buttons:
        return None
    return {"inline_keyboard": [[{"text": button.label, "callback_data": button.data}] for button in answer.buttons]}
