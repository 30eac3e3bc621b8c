"""What the bot remembers, for an operator to read: `/pins` and `/history`, in private only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.replies import Answer
from bot.store import StoreAway

if TYPE_CHECKING:
    from bot.replies import Replies
    from bot.store import Store

PAGE = 10  # attempts
MOST_PINS = 10


async def pins(store: Store, instance: str, replies: Replies) -> Answer:
    """What is pinned on an instance as far as the bot knows."""
    try:
        return replies.pins((await store.pinned(instance))[:MOST_PINS], instance)
    except StoreAway:
        return Answer(replies.say("store_away", instance=instance))


async def history(store: Store, instance: str, replies: Replies, offset: int = 0) -> Answer:
    """A page of the attempts on an instance."""
    try:
        entries = await store.history(instance, None, PAGE + 1, offset)
    except StoreAway:
        return Answer(replies.say("store_away", instance=instance))
    return replies.history(entries[:PAGE], instance, offset, more=len(entries) > PAGE)
