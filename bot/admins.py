"""What the admins hear: once an incident that an instance needs them, once a person that somebody asks to be let in."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from telegram.error import TelegramError

from bot.replies import Answer
from bot.store import StoreAway
from bot.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from telegram import User

    from bot.attempts import Attempted
    from bot.config import Config
    from bot.languages import Languages
    from bot.outbox import Outbox
    from bot.store import Store

log = logging.getLogger(__name__)

INCIDENTS = frozenset({"not_connected", "token_refused", "token_forbidden"})
WORKS = frozenset({"pinned", "unpinned", "pin_limit"})
TELLING = 3.0  # seconds that an answer waits for the admins to be told
DAY = 24 * 3600.0
REQUESTS = 5  # of strangers, a day


class Admins:
    """Sends the admins their messages; nothing probes Ryze, so it is commands that show what works."""

    def __init__(self, config: Config, outbox: Outbox, languages: Languages, store: Store) -> None:
        self._config = config
        self._outbox = outbox
        self._languages = languages
        self._store = store
        self._incidents: dict[str, tuple[str, asyncio.Task[bool]]] = {}  # instance → what is wrong, the telling of it
        self._sending: set[asyncio.Task[bool]] = set()
        self._asked: set[int] = set()  # at most so many more a day
        self._requests = Throttle(per_key=1, overall=REQUESTS, period=DAY)

    async def hear(self, attempted: Sequence[Attempted]) -> bool:
        """Tell the admins what is new about an instance, and say whether they know what the answer complains of."""
        told = False
        for attempt in attempted:
            instance, outcome = attempt.job.instance, attempt.outcome
            known, telling = self._incidents.get(instance, ("", None))
            told = False
            if outcome in WORKS and telling:
                del self._incidents[instance]
                if not telling.done() or telling.result():
                    await self._in_time(self._tell("admin_works_again", instance=instance))
            elif outcome in INCIDENTS:
                told = telling is not None and telling.done() and telling.result()
                # Two commands at once are one incident; one that no admin could be told of is told with the next.
                if known != outcome or telling is None or (telling.done() and not told):
                    name = attempt.job.operator.name
                    telling = self._tell(f"admin_{outcome}", instance=instance, name=name)
                    self._incidents[instance] = outcome, telling
                    told = await self._in_time(telling)
        return told

    async def request(self, stranger: User, entry: str) -> None:
        """Pass a stranger's request for access on, with the entry that would let them in; never twice a person."""
        if not self._config.admins or not self._requests.allow(stranger.id):
            return
        first = stranger.id not in self._asked
        self._asked.add(stranger.id)
        with suppress(StoreAway):
            first = await self._store.first_request(stranger.id) and first
        if first:
            await self._in_time(self._tell("admin_request", name=stranger.full_name, entry=entry))

    def _tell(self, key: str, **fields: object) -> asyncio.Task[bool]:
        """Begin to send every admin a sentence; the task is done once one has got it, or none could."""
        at = time.time()

        async def send(admin: int) -> bool:
            replies = self._languages.of(self._config.operators.get(admin))
            text = replies.say(key, when=replies.when(at), **fields)
            try:
                await self._outbox.send(admin, Answer(text))
            except TelegramError as error:
                log.warning("admin %d could not be told: %s", admin, error)
                return False
            return True

        async def any_of(sending: Sequence[asyncio.Task[bool]]) -> bool:
            for told in asyncio.as_completed(sending):
                if await told:
                    return True
            return False

        sending = [self._kept(send(admin)) for admin in self._config.admins]
        return self._kept(any_of(sending))

    def _kept(self, work: Coroutine[None, None, bool]) -> asyncio.Task[bool]:
        """Begin a task, and hold it until it is done: the event loop alone would let it go."""
        task = asyncio.create_task(work)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return task

    @staticmethod
    async def _in_time(telling: asyncio.Task[bool]) -> bool:
        """Say whether an admin was told in the time that an answer can wait."""
        done, _ = await asyncio.wait({telling}, timeout=TELLING)
        return bool(done) and telling.result()
