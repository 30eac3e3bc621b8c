"""What commands and pressed buttons ask for: a request to pin or unpin, or an answer; presses are untrusted input."""

import difflib
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import dropwhile

from telegram import ExternalReplyInfo, MaybeInaccessibleMessage, Message

from bot.conversation import questions
from bot.conversation.callback_data import PAGE_DATA, Action, Press, instance_hash, unpack
from bot.conversation.texts import Html, Texts, shorten
from bot.memory.store import Store, StoreAway
from bot.ryze.chats import Chat, Problem, Reading, read_command, read_message
from bot.ryze.queue import PinRequest
from bot.settings.model import Operator, Settings
from bot.telegram.outbox import Answer, Button, Buttons

MAX_CHATS = 10  # in one message
SHOWN = 5  # chats to choose from
MAX_PINS, PAGE = 20, 10  # pins and attempts in a list
VERBS = {"pin": True, "fixar": True, "fijar": True, "unpin": False, "desafixar": False, "desfijar": False}
PINS = frozenset({Action.PIN, Action.PIN_OWN, Action.SWAP, Action.MEANT})
OWN = frozenset({Action.PIN_OWN, Action.UNPIN_OWN, Action.REST})  # for who sent the command that the button is about
_COMMAND = re.compile(r"/(\w+)(?:@(\w+))?(?!\S)(.*)", re.DOTALL | re.ASCII)


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks, where, in which language, and of which bot. `sent` is when; None if the command can't be late."""

    operator: Operator
    message: MaybeInaccessibleMessage
    texts: Texts
    request_id: int
    settings: Settings
    store: Store
    sent: datetime | None = None

    @property
    def private(self) -> bool:
        """Whether it was asked in a private chat, where lists of chats may be shown."""
        return self.message.chat.type == "private"

    @property
    def in_private(self) -> Html:
        """Say where lists of chats are shown."""
        return self.texts.say("in_private", username=self.message.get_bot().username)

    def not_yours(self, name: str) -> Answer:
        """Say that an instance is not the operator's, whether it exists or not."""
        yours = ", ".join(self.operator.instances)
        return Answer(self.texts.say("not_yours", name=shorten(name, 40), instances=yours))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request, how its one number could be read too, and a sentence for each piece that names no chat."""

    request: PinRequest
    other: Chat | None = None
    unread: tuple[Html, ...] = ()


async def read(ask: Ask, typed: str, *, pin: bool, default: str = "") -> Wanted | Answer:
    """Read what was typed, or else the message that is replied to; `default` is the instance if none is named."""
    named, typed, foreign = _split_instance(ask, typed)
    if foreign:
        return ask.not_yours(foreign)
    instance, region = named or default or ask.operator.instances[0], ask.texts.region
    if readings := read_command(typed, region) if typed else read_reply(ask.message, region):
        return _wanted(ask, instance, readings, pin=pin)
    if not ask.private:
        return Answer(f"{questions.which_chat((), instance, ask.texts, pin=pin).text}\n{ask.in_private}")
    likely: list[Chat] = []
    with suppress(StoreAway):
        entries = await (ask.store.history(instance, None, 200, 0) if pin else ask.store.pinned(instance))
        likely = list(dict.fromkeys(Chat(entry.chat) for entry in entries))[:SHOWN]
    return questions.which_chat(likely, instance, ask.texts, pin=pin)


def _wanted(ask: Ask, instance: str, readings: tuple[Reading, ...], *, pin: bool) -> Wanted | Answer:
    """Make a request of what was read, or ask back."""
    texts = ask.texts
    if len(readings) > MAX_CHATS:
        return Answer(texts.say("chat_too_many"))
    chats = tuple(dict.fromkeys(reading.chat for reading in readings if reading.chat))
    likely = tuple(dict.fromkeys(chat for reading in readings for chat in reading.choices))[:SHOWN]
    if likely and not chats:
        return Answer(texts.say("which_number"), questions.choices(likely, instance, texts, pin=pin))
    if len(readings) == 1 and not chats:
        return questions.problem(readings[0], instance, texts, pin=pin)
    unread = [questions.explain(each, texts, pin=pin, one_of_several=True) for each in readings if not each.chat]
    if not chats:
        return Answer("\n".join(unread))
    other = readings[0].other if len(readings) == 1 else None
    on = ask.settings.instances[instance]
    return Wanted(PinRequest(ask.request_id, ask.operator, on, chats, pin, sent=ask.sent), other, tuple(unread))


def offer(ask: Ask) -> Answer | None:
    """Offer to pin or unpin the chats that a message without a command names; None if it names none."""
    message, region = ask.message, ask.texts.region
    assert isinstance(message, Message)  # noqa: S101 - a message that was sent just now
    contact = message.contact
    reading = read_message(text_of(message), region)
    if chats := (reading.chat,) if reading.chat else reading.choices:
        name = " ".join(filter(None, (contact.first_name, contact.last_name))) if contact else ""
        return questions.offer(chats, name, ask.operator.instances, ask.texts)
    if reading.problem is Problem.WORDS and not contact:
        return None
    return questions.problem(reading, ask.operator.instances[0], ask.texts, pin=True)


async def show(ask: Ask, typed: str, *, offset: int | None = None) -> Answer:
    """List what is pinned or, with an `offset`, a page of what was done from there on; in private only."""
    named = [name for name in ask.operator.instances if name.casefold() == typed.casefold()]
    instance = ask.settings.instances[named[0] if named else ask.operator.instances[0]]
    if not ask.private:
        return Answer(ask.in_private)
    if typed and not named:
        return ask.not_yours(typed)
    with suppress(StoreAway):
        if offset is not None:
            entries = await ask.store.history(instance.name, None, PAGE + 1, offset)
            return questions.history(entries[:PAGE], instance.name, offset, ask.texts, more=len(entries) > PAGE)
        pinned = await ask.store.pinned(instance.name)
        if not ask.store.away:
            return questions.pins(pinned[:MAX_PINS], instance.name, instance.pins, ask.texts)
    return Answer(ask.texts.say("store_away"))


def _split_instance(ask: Ask, typed: str) -> tuple[str, str, str]:
    """Split off the instance that is named first: its name, the rest, and a name that is not the operator's."""
    for name in sorted(ask.operator.instances, key=len, reverse=True):
        head, rest = typed[: len(name)], typed[len(name) :]
        named = head.casefold() == name.casefold() and re.match(r"[\s,;:]|$", rest)
        # Digits are a chat first, whatever an instance is called.
        if named and (re.search(r"[^\W\d_]", name) or not read_command(typed, ask.texts.region)[0].chat):
            return name, rest.strip(" \n,;:"), ""
    found = re.match(r"([^\W\d_][\w.-]*)(:?[\s,;]+|$)(.*)", typed, re.DOTALL)
    if found is None:
        return "", typed, ""
    word, between, rest = found.groups()
    similar = bool(difflib.get_close_matches(word.casefold(), map(str.casefold, ask.operator.instances), cutoff=0.7))
    unknown = len(ask.operator.instances) > 1 and not between.startswith(":")
    reads = not rest or any(r.problem is not Problem.WORDS for r in read_command(rest, ask.texts.region))
    return "", typed, word if reads and (similar or unknown) else ""


async def is_pinned(ask: Ask, instance: str, chat: Chat | None) -> bool:
    """Whether a chat is pinned as far as the bot knows."""
    return any(chat and chat.number in (entry.chat, entry.jid) for entry in await ask.store.pinned(instance))


def parse_command(text: str | None, username: str = "") -> tuple[str | None, str]:
    """Split a text into a command's name and what follows: None if it is no command, "" if it is another bot's."""
    found = _COMMAND.fullmatch(text or "")
    if not found:
        return None, ""
    if username and found[2] and found[2].lower() != username.lower():
        return "", ""
    return found[1].lower(), found[3].strip()


def read_reply(message: MaybeInaccessibleMessage, region: str | None) -> tuple[Reading, ...]:
    """Read what a message replies to: the quoted part, else what of another chat comes along, else the message."""
    if not isinstance(message, Message):
        return ()
    replied = message.reply_to_message
    source = message.external_reply or replied
    if message.quote:
        return (read_message(message.quote.text, region),)
    if source is None or (replied and replied.forum_topic_created):
        return ()  # a topic's first message is not replied to: every message of the topic has it
    text = text_of(source)
    if isinstance(source, Message) and is_own(source):  # the examples in it are nobody's chats
        for example in source.parse_entities(["code"]).values():
            text = text.replace(example, "")
    return (read_message(text, region),)


def is_own(message: Message) -> bool:
    """Whether the bot itself sent a message."""
    return message.from_user is not None and message.from_user.id == message.get_bot().id


def text_of(message: Message | ExternalReplyInfo) -> str:
    """All that a message says: its contact's number, or its links' addresses and its text, caption or question."""
    if message.contact:
        return message.contact.phone_number
    question = message.poll.question if message.poll else ""
    if not isinstance(message, Message):
        return question
    links = [entity.url for entity in message.entities or message.caption_entities if entity.url]
    return "\n".join([*links, message.text or message.caption or question])


async def read_press(ask: Ask, data: str) -> Wanted | Answer | str:
    """Tell what a press asks for: a request, an answer, or the key of the sentence why it does nothing."""
    names = {instance_hash(name): name for name in ask.operator.instances}
    press, page = unpack(data, names), PAGE_DATA.fullmatch(data)
    if page and page[1] in names:
        return await show(ask, names[page[1]], offset=int(page[2])) if ask.private else "press_in_private"
    if page or (press and not press.instance):
        return "press_other_instance"
    if press is None:
        return "press_unknown"
    if press.action in OWN and (owner := _owner(ask)) != ask.operator.telegram_id:
        return "press_other_operator" if owner else "press_unknown"
    if press.action is Action.REST:
        return await _rest(ask, press)
    on, pin = ask.settings.instances[press.instance], press.action in PINS
    put_back = press.action is Action.SWAP and await is_pinned(ask, press.instance, press.other)
    return Wanted(PinRequest(ask.request_id, ask.operator, on, (press.chat,), pin, press.other, put_back))


async def _rest(ask: Ask, press: Press) -> Wanted | str:
    """Read the command that the button's message replies to once more, from the button's chat on."""
    replied = ask.message.reply_to_message if isinstance(ask.message, Message) else None
    command, typed = parse_command(replied.text if replied else None)
    wanted: Wanted | Answer | None = None
    if replied and command in VERBS:
        wanted = await read(replace(ask, message=replied), typed, pin=VERBS[command])
    if not isinstance(wanted, Wanted) or wanted.request.instance.name != press.instance:
        return "press_unknown"
    rest = tuple(dropwhile(lambda chat: chat != press.chat, wanted.request.chats))
    return Wanted(replace(wanted.request, chats=rest), unread=wanted.unread) if rest else "press_unknown"


def _owner(ask: Ask) -> int:
    """Name the person who sent the command that a button's message answers; 0 if Telegram does not say."""
    if ask.private:
        return ask.message.chat.id
    replied = ask.message.reply_to_message if isinstance(ask.message, Message) else None
    return replied.from_user.id if replied and replied.from_user else 0


def rest_of(message: MaybeInaccessibleMessage) -> Buttons:
    """Find a message's button “Try the rest again”, which must outlive the pressing of another one."""
    markup = message.reply_markup if isinstance(message, Message) else None
    buttons = [button for row in (markup.inline_keyboard if markup else ()) for button in row]
    return tuple(Button(each.text, f"{each.callback_data}") for each in buttons if f"{each.callback_data}"[:2] == "r:")
