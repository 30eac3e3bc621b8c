"""What the admins are told: once each incident that needs them, once each person who asks for access."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial

from telegram import User
from telegram.error import TelegramError

from bot.conversation.access import Throttle
from bot.conversation.answers import for_admin
from bot.conversation.texts import Html, Languages, Texts
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

    def __init__(self, settings: Settings, outbox: Outbox, store: Store, digest_after: float = 600.0) -> None:
        self._settings, self._outbox, self._store, self._digest_after = settings, outbox, store, digest_after
        self.languages = Languages(settings)
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
            wrong, telling = self._incidents.get(instance, (None, None))
            untold = telling is None or (telling.done() and not telling.result())
            if outcome.ok and wrong:
                del self._incidents[instance]
                if not untold:
                    self._begin(self._send(partial(Texts.say, key="admin_works_again", instance=instance)))
            elif outcome.admin and self._settings.admins:
                # Two commands at once are one incident; one that no admin could be told of is told with the next.
                if telling is None or untold or wrong is not outcome:
                    telling = self._begin(self._send(partial(_trouble, attempt)))
                    self._incidents[instance] = outcome, telling
                known = await _in_time(telling)
        return known

    async def request(self, stranger: User, entry: str) -> bool:
        """Pass a stranger's request for access on, once a person, and say whether the admins know of it."""
        if not self._settings.admins or stranger.id in (*self._known, *self._digest):
            return stranger.id in self._known
        self._known.add(stranger.id)
        note, told = f"stranger:{stranger.id}", False
        with suppress(StoreAway):
            told = note in await self._store.notes(note)
        if not told and self._requests.allow(stranger.id):
            say = partial(Texts.say, key="admin_request", name=stranger.full_name, entry=entry)
            told = await self.tell(say, entry)
            with suppress(StoreAway):
                await self._store.note(note, "told" if told else None)
        if not told:
            self._known.discard(stranger.id)
            self.gather(stranger)
        return told

    def gather(self, stranger: User) -> None:
        """Have somebody who asks for access named in the next digest, unless the admins know of them."""
        if self._settings.admins and stranger.id not in self._known:
            self._digest[stranger.id] = stranger.full_name
            if len(self._digest) == 1:
                self._begin(self._send_digest())

    async def tell(self, say: Callable[[Texts], Html], copy: str = "") -> bool:
        """Send every admin a sentence, with a button that copies a text, and say whether one has it in time."""
        return await _in_time(self._begin(self._send(say, copy)))

    async def _send(self, say: Callable[[Texts], Html], copy: str = "") -> bool:
        return any(await asyncio.gather(*(self._send_to(admin, say, copy) for admin in self._settings.admins)))

    async def _send_to(self, admin: int, say: Callable[[Texts], Html], copy: str) -> bool:
        texts = self.languages.of_admin(admin)
        buttons = (Button(texts.plain("button_copy"), None, copy),) if copy else ()
        try:
            await self._outbox.send(admin, Answer(say(texts), buttons))
        except TelegramError as error:
            log.warning("admin %d could not be told: %s", admin, error)
            return False
        return True

    def _begin(self, work: Coroutine[None, None, bool]) -> asyncio.Task[bool]:
        """Begin a task, and hold it until it is done: the event loop alone would let it go."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _send_digest(self) -> bool:
        """Tell of those who are gathered, again and again until an admin could be told."""
        while self._digest:
            await asyncio.sleep(self._digest_after)
            people = dict(self._digest)
            names = [f"{name} ({telegram_id})" for telegram_id, name in people.items()]
            shown, more = ", ".join(names[:MAX_DIGEST]), max(0, len(names) - MAX_DIGEST)
            if await self._send(partial(Texts.say, key="admin_digest", names=shown, more=more)):
                self._known.update(people)
                self._digest = {key: name for key, name in self._digest.items() if key not in people}
        return True


async def _in_time(task: asyncio.Task[bool]) -> bool:
    done, _ = await asyncio.wait({task}, timeout=WAIT)
    return bool(done) and task.result()


def _trouble(attempt: Attempt, texts: Texts) -> Html:
    instance, name = attempt.request.instance, attempt.reply.outcome.name
    why = texts.say(f"why.{name}", instance=instance.name, places=instance.pins)
    who = {"name": attempt.request.operator.name, "when": texts.when(time.time())}
    return texts.say("admin_trouble", instance=instance.name, why=why, details=for_admin(attempt, texts), **who)
