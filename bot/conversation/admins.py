"""What the admins are told: once each incident that needs them, once each person who asks for access."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from telegram import User
from telegram.error import TelegramError

from bot.conversation.access import Throttle
from bot.conversation.answers import for_admin
from bot.conversation.texts import Html, Languages, Texts
from bot.ryze.outcomes import Outcome
from bot.ryze.queue import Attempt
from bot.settings.model import Settings
from bot.telegram.outbox import Answer, Button, Outbox

log = logging.getLogger(__name__)

WAIT = 3.0  # seconds that an operator's answer waits for the admins to be told
REQUESTS, REQUESTS_AT_FIRST = 5, 200  # a day that are told one by one; the second while nobody is let in
Telling: TypeAlias = "asyncio.Future[list[bool]]"  # which admins have it
MAX_DIGEST = 30  # names in a digest; the rest is a number


class Admins:
    """Sends the admins their messages; those who ask for access in greater number every `digest_after` seconds."""

    def __init__(self, settings: Settings, outbox: Outbox, digest_after: float = 600.0) -> None:
        self._settings, self._outbox, self._digest_after = settings, outbox, digest_after
        self.languages = Languages(settings)
        self._incidents: dict[str, tuple[Outcome, Telling]] = {}  # by instance: what is wrong
        self._tellings: set[Telling] = set()
        self._requests = Throttle(1, REQUESTS if settings.operators else REQUESTS_AT_FIRST, 24 * 3600.0)
        self._strangers: dict[int, str] = {}  # who asked for access: the name for the next digest, "" once told
        self._digesting: asyncio.Task[None] | None = None

    async def notify(self, attempts: Sequence[Attempt]) -> bool:
        """Tell the admins what is new about an instance, and say whether they know what the last attempt met."""
        known = False
        for attempt in attempts:
            outcome, instance, known = attempt.reply.outcome, attempt.request.instance.name, False
            wrong, telling = self._incidents.get(instance, (None, None))
            untold = telling is None or (telling.done() and not any(telling.result()))
            if outcome.ok and wrong:
                del self._incidents[instance]
                if not untold:
                    self._begin(partial(Texts.say, key="admin_works_again", instance=instance))
            elif outcome.admin and self._settings.admins:
                # Two commands at once are one incident; one that no admin could be told of is told with the next.
                if telling is None or untold or wrong is not outcome:
                    telling = self._begin(partial(_trouble, attempt))
                    self._incidents[instance] = outcome, telling
                known = await _in_time(telling)
        return known

    async def request(self, stranger: User, entry: str) -> bool:
        """Pass a stranger's request for access on, once a person, and say whether the admins know of it."""
        if self._settings.admins and stranger.id not in self._strangers:
            self._strangers[stranger.id] = ""  # while they are told
            say = partial(Texts.say, key="admin_request", name=stranger.full_name, entry=entry)
            if not self._requests.allow(stranger.id) or not await self.tell(say, entry):
                del self._strangers[stranger.id]
                self.gather(stranger)
        return self._strangers.get(stranger.id) == ""

    def gather(self, stranger: User) -> None:
        """Have somebody who asks for access named in the next digest, unless the admins know of them."""
        untold = self._settings.admins and self._strangers.setdefault(stranger.id, stranger.full_name)
        if untold and (self._digesting is None or self._digesting.done()):
            self._digesting = asyncio.create_task(self._send_digest())

    async def tell(self, say: Callable[[Texts], Html], copy: str = "") -> bool:
        """Send every admin a sentence, with a button that copies a text, and say whether one has it in time."""
        return await _in_time(self._begin(say, copy))

    def _begin(self, say: Callable[[Texts], Html], copy: str = "") -> Telling:
        """Begin to tell all; it is held until it is done, as the event loop alone would let it go."""
        telling = asyncio.gather(*(self._send(admin, say, copy) for admin in self._settings.admins))
        self._tellings.add(telling)
        telling.add_done_callback(self._tellings.discard)
        return telling

    async def _send(self, admin: int, say: Callable[[Texts], Html], copy: str) -> bool:
        texts = self.languages.of_admin(admin)
        buttons = (Button(texts.plain("button_copy"), None, copy),) if copy else ()
        try:
            await self._outbox.send(admin, Answer(say(texts), buttons))
        except TelegramError as error:
            log.warning("admin %d could not be told: %s", admin, error)
            return False
        return True

    async def _send_digest(self) -> None:
        """Tell of those who are gathered, again and again until an admin could be told."""
        while any(self._strangers.values()):
            await asyncio.sleep(self._digest_after)
            people = {telegram_id: name for telegram_id, name in self._strangers.items() if name}
            names = [f"{name} ({telegram_id})" for telegram_id, name in people.items()]
            shown, more = ", ".join(names[:MAX_DIGEST]), max(0, len(names) - MAX_DIGEST)
            if await self.tell(partial(Texts.say, key="admin_digest", names=shown, more=more)):
                self._strangers |= dict.fromkeys(people, "")


async def _in_time(telling: Telling) -> bool:
    done, _ = await asyncio.wait({telling}, timeout=WAIT)
    return bool(done) and any(telling.result())


def _trouble(attempt: Attempt, texts: Texts) -> Html:
    instance, name = attempt.request.instance, attempt.reply.outcome.name
    why = texts.say(f"why.{name}", instance=instance.name, places=instance.pins)
    who = {"name": attempt.request.operator.name, "when": texts.when(time.time())}
    return texts.say("admin_trouble", instance=instance.name, why=why, details=for_admin(attempt, texts), **who)
