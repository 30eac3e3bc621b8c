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
    from collections.abc import Sequence

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
        self._incidents: dict[str, tuple[str, bool]] = {}  # instance → what is wrong, and whether an admin was told
        self._sending: set[asyncio.Task[None]] = set()
        self._asked: set[int] = set()  # at most so many more a day
        self._requests = Throttle(per_key=1, overall=REQUESTS, period=DAY)

    async def hear(self, attempted: Sequence[Attempted]) -> bool:
        """Tell the admins what is new about an instance, and say whether they know what the answer complains of."""
        told = False
        for attempt in attempted:
            instance, outcome = attempt.job.instance, attempt.outcome
            known, told = self._incidents.get(instance, ("", False))
            if outcome in WORKS and known:
                del self._incidents[instance]
                if told:
                    await self._tell("admin_works_again", instance=instance)
            elif outcome in INCIDENTS and known != outcome:
                self._incidents[instance] = (outcome, False)  # two commands at once are one incident
                told = await self._tell(f"admin_{outcome}", instance=instance, name=attempt.job.operator.name)
                self._incidents[instance] = (outcome, told)
        return told and outcome in INCIDENTS

    async def request(self, stranger: User, entry: str) -> None:
        """Pass a stranger's request for access on, with the entry that would let them in; never twice a person."""
        if not self._config.admins or not self._requests.allow(stranger.id):
            return
        first = stranger.id not in self._asked
        self._asked.add(stranger.id)
        with suppress(StoreAway):
            first = await self._store.first_request(stranger.id) and first
        if first:
            await self._tell("admin_request", name=stranger.full_name, entry=entry)

    async def _tell(self, key: str, **fields: object) -> bool:
        """Send every admin a sentence, and say whether one got it in the time that an answer can wait."""

        async def send(admin: int) -> None:
            replies = self._languages.of(self._config.operators.get(admin))
            text = replies.say(key, when=replies.when(time.time()), **fields)
            try:
                await self._outbox.send(admin, Answer(text))
            except TelegramError as error:
                log.warning("admin %d could not be told: %s", admin, error)
                raise

        sending = [asyncio.create_task(send(admin)) for admin in self._config.admins]
        self._sending.update(sending)
        for task in sending:
            task.add_done_callback(self._sending.discard)
        if not sending:
            return False
        done, _ = await asyncio.wait(sending, timeout=TELLING, return_when=asyncio.FIRST_COMPLETED)
        return any(task.exception() is None for task in done)
