"""What the admins are told: once each incident that needs them, once each person who asks for access."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial

from telegram import User
from telegram.error import TelegramError

from bot.conversation.answers import for_admin
from bot.conversation.texts import Html, Languages, Texts
from bot.conversation.throttle import Throttle
from bot.memory.store import Store, StoreAway
from bot.ryze.outcomes import Outcome
from bot.ryze.queue import Attempt
from bot.settings.model import Settings
from bot.telegram.outbox import Answer, Button, Outbox

log = logging.getLogger(__name__)

WAIT = 3.0  # seconds that an answer waits for the admins to be told
REQUESTS, REQUESTS_AT_FIRST = 5, 200  # a day that are told one by one; the second while nobody is let in
MAX_DIGEST = 30  # names in a digest; the rest is a number


class Admins:
    """Sends the admins their messages. Nothing probes Ryze: commands show what works.

    Requests for access that are not told one by one are gathered for `digest_after` seconds.
    """

    def __init__(
        self, settings: Settings, languages: Languages, outbox: Outbox, store: Store, digest_after: float = 600.0
    ) -> None:
        self._settings, self._languages, self._outbox, self._store = settings, languages, outbox, store
        self._digest_after = digest_after
        self._incidents: dict[str, tuple[Outcome, asyncio.Task[bool]]] = {}  # by instance: what is wrong, its telling
        self._tasks: set[asyncio.Task[bool]] = set()
        self._requests = Throttle(1, REQUESTS if settings.operators else REQUESTS_AT_FIRST, 24 * 3600.0)
        self._known: set[int] = set()  # the strangers that the admins know of
        self._digest: dict[int, str] = {}  # the names of those that the next digest tells of

    async def notify(self, attempts: Sequence[Attempt]) -> bool:
        """Tell the admins what is new about an instance, and say whether they know what the last attempt met."""
        known = False
        for attempt in attempts:
            outcome, instance, known = attempt.reply.outcome, attempt.request.instance.name, False
            incident = self._incidents.get(instance)
            if outcome.ok and incident:
                del self._incidents[instance]
                if not incident[1].done() or incident[1].result():
                    self._begin(self._send(partial(Texts.say, key="admin_works_again", instance=instance)))
            elif outcome.admin and self._settings.admins:
                # Two commands at once are one incident; one that no admin could be told of is told with the next.
                if not incident or incident[0] is not outcome or (incident[1].done() and not incident[1].result()):
                    incident = outcome, self._begin(self._send(partial(_trouble, attempt)))
                    self._incidents[instance] = incident
                known = await _in_time(incident[1])
        return known

    async def request(self, stranger: User, entry: str) -> bool:
        """Pass a stranger's request for access on, once a person, and say whether the admins know of it."""
        if self._settings.admins and stranger.id not in (*self._known, *self._digest):
            self._known.add(stranger.id)
            with suppress(StoreAway):
                if not await self._store.note(f"request:{stranger.id}", ""):
                    return True
            name, told = stranger.full_name, False
            if self._requests.allow(stranger.id):
                told = await self.tell(lambda texts: texts.say("admin_request", name=name, entry=entry), entry)
            if not told:
                self._known.discard(stranger.id)
                self.gather(stranger)
        return stranger.id in self._known

    def gather(self, stranger: User) -> None:
        """Have somebody who asks for access named in the next digest, unless the admins know of them."""
        if self._settings.admins and stranger.id not in self._known:
            if not self._digest:
                self._begin(self._send_digest())
            self._digest[stranger.id] = stranger.full_name

    async def tell(self, say: Callable[[Texts], Html], copy: str | None = None) -> bool:
        """Send every admin a sentence, with a button that copies a text, and say whether one has it in time."""
        return await _in_time(self._begin(self._send(say, copy)))

    async def _send(self, say: Callable[[Texts], Html], copy: str | None = None) -> bool:
        """Send to every admin; done once one has it, or none could."""

        async def send(admin: int) -> bool:
            texts = self._languages.of_admin(admin)
            buttons = (Button(texts.plain("button_copy"), None, copy),) if copy else ()
            try:
                await self._outbox.send(admin, Answer(say(texts), buttons))
            except TelegramError as error:
                log.warning("admin %d could not be told: %s", admin, error)
                return False
            return True

        for sent in asyncio.as_completed([self._begin(send(admin)) for admin in self._settings.admins]):
            if await sent:
                return True
        return False

    async def _send_digest(self) -> bool:
        """Tell of those who are gathered, again and again until an admin could be told."""
        while self._digest:
            await asyncio.sleep(self._digest_after)
            people, self._digest = self._digest, {}
            self._known.update(people)
            names = [f"{name} ({telegram_id})" for telegram_id, name in people.items()]
            shown, more = ", ".join(names[:MAX_DIGEST]), max(0, len(names) - MAX_DIGEST)
            digest = partial(Texts.say, key="admin_digest", names=shown, more=more)
            if people and not await self._send(digest):
                self._known -= people.keys()
                self._digest = people | self._digest
        return True

    def _begin(self, work: Coroutine[None, None, bool]) -> asyncio.Task[bool]:
        """Begin a task, and hold it until it is done: the event loop alone would let it go."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _in_time(task: asyncio.Task[bool]) -> bool:
    done, _ = await asyncio.wait({task}, timeout=WAIT)
    return bool(done) and task.result()


def _trouble(attempt: Attempt, texts: Texts) -> Html:
    instance, name = attempt.request.instance, attempt.reply.outcome.name
    why = texts.say(f"why.{name}", instance=instance.name, places=instance.pins)
    details = for_admin(attempt, texts) if texts.has(f"admin.{name}") else ""
    who, when = attempt.request.operator.name, texts.when(time.time())
    return texts.say("admin_trouble", instance=instance.name, why=why, details=details, name=who, when=when)
