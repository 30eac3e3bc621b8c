"""Who goes next: one command at a time an instance, in the order received, and a bounded number in all."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Lanes:
    """A first-come queue an instance. Waiting in one takes none of the places of those that run."""

    def __init__(self, places: int) -> None:
        self._queues: defaultdict[str, deque[asyncio.Future[None]]] = defaultdict(deque)
        self.places = asyncio.Semaphore(places)

    def held(self, instance: str) -> int:
        """How many commands the instance's lane holds, the running one included."""
        return len(self._queues[instance]) if instance in self._queues else 0

    @asynccontextmanager
    async def turn(self, instance: str, patience: float | None = None) -> AsyncIterator[None]:
        """Wait for the instance's earlier commands, then hold its lane.

        The place in the queue is taken before anything is awaited, so the order of the calls is the order of the turns.
        """
        queue = self._queues[instance]
        mine = asyncio.get_running_loop().create_future()
        queue.append(mine)
        try:
            if queue[0] is not mine:
                async with asyncio.timeout(patience):
                    await mine
            yield
        finally:
            queue.remove(mine)
            if not queue:
                del self._queues[instance]
            elif not queue[0].done():  # else it runs already, or is cancelled and about to leave
                queue[0].set_result(None)
