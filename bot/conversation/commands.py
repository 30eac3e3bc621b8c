"""What a command asks for: a message's text → a request to pin or unpin, or the answer that asks back."""

import difflib
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from telegram import Bot, MaybeInaccessibleMessage, Message

from bot.conversation import questions
from bot.conversation.texts import Html, Texts, shorten
from bot.memory.store import Store, StoreAway
from bot.ryze.chats import Chat, Problem, Reading, read_command, read_message
from bot.ryze.queue import PinRequest
from bot.settings.model import Operator, Settings
from bot.telegram.outbox import Answer

MAX_CHATS = 10  # in one message
SHOWN = 5  # chats to choose from
MAX_PINS, PAGE = 20, 10  # pins and attempts in a list
VERBS = {"pin": True, "fixar": True, "fijar": True, "unpin": False, "desafixar": False, "desfijar": False}
_COMMAND = re.compile(r"/(\w+)(?:@(\w+))?(?!\S)(.*)", re.DOTALL | re.ASCII)


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks, where, and in which language. `sent` is when; None if the command can't be late."""

    operator: Operator
    message: MaybeInaccessibleMessage
    texts: Texts
    request_id: int
    sent: datetime | None = None

    @property
    def private(self) -> bool:
        """Whether it was asked in a private chat, where lists of chats may be shown."""
        return self.message.chat.type == "private"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request, how its one number could be read too, and a sentence for each piece that names no chat."""

    request: PinRequest
    other: Chat | None = None
    unread: tuple[Html, ...] = ()


class Commands:
    """Reads `/pin` and `/unpin` and answers `/pins` and `/history`."""

    def __init__(self, settings: Settings, store: Store, bot: Bot) -> None:
        self._settings, self._store, self._bot = settings, store, bot

    async def read(self, ask: Ask, typed: str, *, pin: bool) -> Wanted | Answer:
        """Read what was typed after the command; nothing there → the message that the command replies to."""
        region = self._settings.region
        replied = read_reply(ask.message, region) if isinstance(ask.message, Message) else None
        instance, typed, foreign = self._instance(ask.operator, typed)
        if foreign:
            return not_yours(foreign, ask)
        if typed:
            return self.wanted(ask, instance, read_command(typed, region), pin=pin)
        if replied:
            return self.wanted(ask, instance, (replied,), pin=pin)
        chats = await self._known(instance, pin=pin) if ask.private else []
        question = questions.which_chat(chats, instance, ask.texts, pin=pin)
        return question if ask.private else Answer(f"{question.text}\n{self.in_private(ask.texts)}")

    def wanted(self, ask: Ask, instance: str, readings: tuple[Reading, ...], *, pin: bool) -> Wanted | Answer:
        """Make a request of what was read, or ask back."""
        texts = ask.texts
        if len(readings) > MAX_CHATS:
            return Answer(texts.say("chat_too_many"))
        chats = tuple(dict.fromkeys(reading.chat for reading in readings if reading.chat))
        choices = tuple(dict.fromkeys(chat for reading in readings for chat in reading.choices))[:SHOWN]
        if choices and not chats:
            return questions.choose(choices, instance, texts, texts.say("which_number"), pin=pin)
        if len(readings) == 1 and not chats:
            return questions.problem(readings[0], instance, texts, pin=pin)
        unread = tuple(questions.unread(reading, texts, pin=pin) for reading in readings if not reading.chat)
        if not chats:
            return Answer("\n".join(unread))
        request = PinRequest(
            ask.request_id, ask.operator, self._settings.instances[instance], chats, pin, sent=ask.sent
        )
        return Wanted(request, readings[0].other if len(readings) == 1 else None, unread)

    def offer(self, ask: Ask) -> Answer | None:
        """Offer to pin or unpin the chats that a message without a command names; None if it names none."""
        message, region = ask.message, self._settings.region
        assert isinstance(message, Message)  # noqa: S101 - a message that was sent just now
        name = ""
        if message.contact:
            reading = read_message(message.contact.phone_number, region)
            name = " ".join(filter(None, (message.contact.first_name, message.contact.last_name)))
        else:
            reading = read_message(text_of(message), region)
        if chats := (reading.chat,) if reading.chat else reading.choices:
            return questions.offer(chats, name, ask.operator.instances, ask.texts)
        if reading.problem is Problem.WORDS and not message.contact:
            return None
        return questions.problem(reading, ask.operator.instance, ask.texts, pin=True)

    async def show(self, ask: Ask, typed: str, *, offset: int | None = None) -> Answer:
        """List what is pinned or, with an `offset`, a page of what was done from there on; in private only."""
        named = [name for name in ask.operator.instances if name.casefold() == typed.casefold()]
        instance = self._settings.instances[named[0] if named else ask.operator.instance]
        if not ask.private:
            return Answer(self.in_private(ask.texts))
        if typed and not named:
            return not_yours(typed, ask)
        try:
            if offset is None:
                pinned = await self._store.pinned(instance.name)
                return questions.pins(pinned[:MAX_PINS], instance.name, instance.pins, ask.texts)
            entries = await self._store.history(instance.name, None, PAGE + 1, offset)
        except StoreAway:
            return Answer(ask.texts.say("store_away"))
        return questions.history(entries[:PAGE], instance.name, offset, ask.texts, more=len(entries) > PAGE)

    def in_private(self, texts: Texts) -> Html:
        """Say where lists of chats are shown."""
        return texts.say("in_private", username=self._bot.username)

    def _instance(self, operator: Operator, typed: str) -> tuple[str, str, str]:
        """Split off the instance that is named first: its name, the rest, and a name that is not the operator's."""
        for name in sorted(operator.instances, key=len, reverse=True):
            head, rest = typed[: len(name)], typed[len(name) :]
            named = head.casefold() == name.casefold() and re.match(r"[\s,;:]|$", rest)
            # Digits are a chat first, whatever an instance is called.
            if named and (re.search(r"[^\W\d_]", name) or not read_command(typed, self._settings.region)[0].chat):
                return name, rest.strip(" \n,;:"), ""
        word, between, rest = re.match(r"(\S*?)(:?[\s,;]+|$)(.*)", typed, re.DOTALL).groups()  # type: ignore[union-attr]  # it always matches
        if not re.fullmatch(r"[^\W\d_][\w.-]*", word):
            return operator.instance, typed, ""
        similar = bool(difflib.get_close_matches(word.casefold(), map(str.casefold, operator.instances), cutoff=0.7))
        unknown = len(operator.instances) > 1 and not between.startswith(":")
        reads = not rest or any(r.problem is not Problem.WORDS for r in read_command(rest, self._settings.region))
        return operator.instance, typed, word if reads and (similar or unknown) else ""

    async def _known(self, instance: str, *, pin: bool) -> list[Chat]:
        with suppress(StoreAway):
            if pin:
                return [Chat(number) for number in await self._store.recent_chats(instance, SHOWN)]
            return [Chat(entry.chat) for entry in (await self._store.pinned(instance))[:SHOWN]]
        return []


def parse_command(text: str | None, username: str = "") -> tuple[str | None, str]:
    """Split a text into a command's name and what follows: None if it is no command, "" if it is another bot's."""
    found = _COMMAND.fullmatch(text or "")
    if not found:
        return None, ""
    if username and found[2] and found[2].lower() != username.lower():
        return "", ""
    return found[1].lower(), found[3].strip()


def not_yours(name: str, ask: Ask) -> Answer:
    """Say that an instance is not the operator's, whether it exists or not."""
    return Answer(ask.texts.say("not_yours", name=shorten(name, 40), instances=", ".join(ask.operator.instances)))


def read_reply(message: Message, region: str | None) -> Reading | None:
    """Read what a message replies to: the quoted part, else what of another chat comes along, else the message."""
    replied, external = message.reply_to_message, message.external_reply
    if message.quote:
        return read_message(message.quote.text, region)
    if (replied is None and external is None) or (replied and replied.forum_topic_created):
        return None  # a topic's first message is not replied to: every message of the topic has it
    source = external or replied
    if source and source.contact:
        return read_message(source.contact.phone_number, region)
    if external:
        return read_message(external.poll.question if external.poll else "", region)
    return read_message(text_of(replied), region) if replied else None


def text_of(message: Message) -> str:
    """All that a message says: its links' addresses, its text, caption or question."""
    links = [entity.url for entity in message.entities or message.caption_entities if entity.url]
    question = message.poll.question if message.poll else ""
    return "\n".join([*links, message.text or message.caption or question])
