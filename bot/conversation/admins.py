"""What the admins are told: once each incident that needs them, once each person who asks for access."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

from telegram import User
from telegram.error import TelegramError

from bot.conversation.access import Throttle
from bot.conversation.answers import for_admin
from bot.conversation.texts import Html, Languages, Texts
from bot.ryze.outcomes import Outcome
from bot.ryze.queue import Attempt
from bot.settings.model import Settings
from bot.telegram.outbox import Answer, Button, Outbox, reason

log = logging.getLogger(__name__)

WAIT = 3.0  # seconds that an operator's answer waits for the admins to be told
REQUESTS, REQUESTS_AT_FIRST = 5, 200  # a day that are told one by one; the second while nobody is let in
MAX_DIGEST = 30  # names in a digest; the rest is a number


class Admins:
    """Sends the admins their messages; those who ask for access in greater number every `digest_after` seconds."""

    def __init__(self, settings: Settings, outbox: Outbox, digest_after: float = 600.0) -> None:
        self._settings, self._outbox, self._digest_after = settings, outbox, digest_after
        self.languages = Languages(settings)
        self._incidents: dict[str, Outcome] = {}  # by instance: what the admins were told of
        self._telling: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._requests = Throttle(1, REQUESTS if settings.operators else REQUESTS_AT_FIRST, 24 * 3600.0)
        self._strangers: dict[int, str] = {}  # who asked for access: the name for the next digest, "" once told
        self._digesting: asyncio.Task[None] | None = None

    async def notify(self, attempts: Sequence[Attempt]) -> bool:
        """Tell the admins what is new about an instance, and say whether they know what the last attempt met."""
        known = False
        for attempt in attempts:
            outcome, instance = attempt.reply.outcome, attempt.request.instance.name
            async with self._telling[instance]:  # two commands at once are one incident
                known = self._incidents.get(instance) is outcome
                if outcome.ok and instance in self._incidents:
                    del self._incidents[instance]
                    await self.tell(partial(Texts.say, key="admin_works_again", instance=instance))
                elif outcome.admin and not known and await self.tell(partial(_trouble, attempt)):
                    self._incidents[instance], known = outcome, True
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
        return any(await asyncio.gather(*(self._send(admin, say, copy) for admin in self._settings.admins)))

    async def _send(self, admin: int, say: Callable[[Texts], Html], copy: str) -> bool:
        texts = self.languages.of_admin(admin)
        buttons = (Button(texts.plain("button_copy"), None, copy),) if copy else ()
        try:
            async with asyncio.timeout(WAIT):
                await self._outbox.send(admin, Answer(say(texts), buttons))
        except (TelegramError, TimeoutError) as error:
            log.warning("admin %d could not be told: %s", admin, reason(error))
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


def _trouble(attempt: Attempt, texts: Texts) -> Html:
    instance, name = attempt.request.instance, attempt.reply.outcome.name
    why = texts.say(f"why.{name}", instance=instance.name, places=instance.pins)
    who = {"name": attempt.request.operator.name, "when": texts.when(time.time())}
    return texts.say("admin_trouble", instance=instance.name, why=why, details=for_admin(attempt, texts), **who)
