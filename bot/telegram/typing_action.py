"""Shows “typing…” in a chat while a command takes its time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from telegram import Bot, MaybeInaccessibleMessage
from telegram.constants import ChatAction

from bot.telegram.outbox import topic_of


@asynccontextmanager
async def typing_action(
    bot: Bot, message: MaybeInaccessibleMessage, *, after: float = 0.5, every: float = 4.5
) -> AsyncIterator[None]:
    """Show “typing…” (for five seconds) `after` so many seconds, then `every` so many until left; mostly not at all."""
    tasks: list[asyncio.Task[None]] = []

    async def show() -> None:
        while True:
            with suppress(Exception):  # only the answer matters
                await bot.send_chat_action(message.chat.id, ChatAction.TYPING, message_thread_id=topic_of(message))
            await asyncio.sleep(every)

    timer = asyncio.get_running_loop().call_later(after, lambda: tasks.append(asyncio.create_task(show())))
    try:
        yield
    finally:
        timer.cancel()
        for task in tasks:
            task.cancel()
