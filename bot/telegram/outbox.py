"""Answers: in order within a chat, sent again while a refusal may pass, else sent another way."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from telegram import Bot, MaybeInaccessibleMessage, Message
from telegram.constants import ChatAction
from telegram.error import BadRequest, ChatMigrated, Forbidden, TelegramError

log = logging.getLogger(__name__)

REFUSALS = (BadRequest, Forbidden, ChatMigrated)  # for good: the same call would be refused again
Json = dict[str, Any]
AnyMessage: TypeAlias = MaybeInaccessibleMessage
Buttons: TypeAlias = "tuple[Button, ...]"


@dataclass(frozen=True, slots=True)
class Button:
    """A button below an answer: it sends `data` (at most 64 bytes) to the bot, or copies a text."""

    label: str
    data: str | None
    copy: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in Telegram's HTML, a button a row; a `silent` one makes no sound in a group."""

    text: str
    buttons: Buttons = ()
    silent: bool = False


class Outbox:
    """Sends and edits messages."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._chats: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def reply(self, message: AnyMessage, answer: Answer, person: int) -> None:
        """Reply to a message; where that fails, write to `person` (an id) in private, or log one line."""
        await self._deliver(answer, _reply_to(message, answer), {"chat_id": person})

    async def edit(self, message: AnyMessage, answer: Answer, person: int) -> None:
        """Replace one of the bot's own messages; where that fails, reply to it."""
        own = {"chat_id": message.chat.id, "message_id": message.message_id}
        await self._deliver(answer, own, _reply_to(message, answer), {"chat_id": person})

    async def send(self, person: int, answer: Answer) -> None:
        """Send a person a message that answers none of theirs; raises TelegramError."""
        async with self._chats.setdefault(person, asyncio.Lock()):
            await self._call(answer, {"chat_id": person})

    async def with_retries(self, call: Callable[[], Awaitable[object]], patience: float = 300.0) -> None:
        """Call Telegram until it works; raises TelegramError if it can't, or not in `patience` seconds."""
        clock = asyncio.get_running_loop().time
        until, pause = clock() + patience, 0.5
        while True:
            try:
                await call()
            except TelegramError as error:
                wait = max(pause, seconds(error))
                if isinstance(error, REFUSALS) or clock() + wait > until:
                    raise
            else:
                return
            pause = min(2 * pause, 10.0)
            await asyncio.sleep(wait)

    async def _deliver(self, answer: Answer, *targets: Json) -> None:
        chat = targets[0]["chat_id"]
        try:
            async with self._chats.setdefault(chat, asyncio.Lock()):
                await self._call(answer, *targets)
        except TelegramError as error:
            log.warning("an answer in chat %s could not be delivered: %s", chat, reason(error))

    async def _call(self, answer: Answer, target: Json, *others: Json) -> None:
        """Send or edit with a target's parameters, or with the others' where that is refused."""
        method = "editMessageText" if "message_id" in target else "sendMessage"
        keyboard = [[_button(button)] for button in answer.buttons]
        parameters = {
            "text": answer.text,
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
            "reply_markup": {"inline_keyboard": keyboard} if keyboard else None,
            **target,
        }
        try:
            await self.with_retries(lambda: call_raw(self._bot, method, parameters))
        except REFUSALS as refusal:
            if not others:
                raise
            if "not modified" not in refusal.message.lower():
                await self._call(answer, *others)


async def call_raw(bot: Bot, method: str, parameters: Json, read_timeout: float = 10.0) -> Any:  # noqa: ANN401 - as it came
    """Call a method without the library's objects, which cost as much; None is not sent."""
    try:
        # The library drops the underscore, without which it would warn of its own methods.
        return await bot.do_api_request(f"{method}_", parameters, read_timeout=read_timeout)
    except (AttributeError, KeyError, TypeError) as error:
        raise TelegramError(f"not the Bot API's answer: {error!r}") from error


@asynccontextmanager
async def typing_action(message: AnyMessage, after: float = 0.5, every: float = 4.5) -> AsyncIterator[None]:
    """Show “typing…” (for five seconds) `after` so many seconds, then `every` so many until left."""

    async def show() -> None:
        await asyncio.sleep(after)
        while True:
            with suppress(Exception):  # only the answer matters
                await message.get_bot().send_chat_action(message.chat.id, ChatAction.TYPING, topic_of(message))
            await asyncio.sleep(every)

    task = asyncio.create_task(show())
    try:
        yield
    finally:
        task.cancel()


def topic_of(message: AnyMessage) -> int | None:
    """Return the id of a message's forum topic; a thread of replies is none."""
    return message.message_thread_id if isinstance(message, Message) and message.is_topic_message else None


def seconds(error: Exception) -> float:
    """Return for how long Telegram asks not to be called, by flood control; else 0."""
    pause = getattr(error, "retry_after", None)  # as it came if it is no number
    return pause.total_seconds() if isinstance(pause, timedelta) else 0.0


def reason(error: Exception) -> str:
    """Say for the log what went wrong, as the library's own words often do not."""
    cause = error.__cause__ if isinstance(error, TelegramError) else None
    shown = error if cause is None or isinstance(cause, TelegramError) else cause
    return (str(shown) or type(shown).__name__)[:200]


def _button(button: Button) -> Json:
    if button.copy is None:
        return {"text": button.label, "callback_data": button.data}
    return {"text": button.label, "copy_text": {"text": button.copy}}


def _reply_to(message: AnyMessage, answer: Answer) -> Json:
    return {
        "chat_id": message.chat.id,
        "message_thread_id": topic_of(message),
        "reply_parameters": {"message_id": message.message_id, "allow_sending_without_reply": True},
        "disable_notification": (answer.silent and message.chat.type != "private") or None,
    }
