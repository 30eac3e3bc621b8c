"""What a pressed button asks for. A button is untrusted input: who pressed it and what it carries is checked afresh."""

from contextlib import suppress
from dataclasses import dataclass

from telegram import CallbackQuery, MaybeInaccessibleMessage, Message

from bot.conversation.callback_data import TWO_CHATS, Action, Page, Press, instance_hash, unpack
from bot.conversation.commands import VERBS, Ask, Commands, Wanted, parse_command
from bot.conversation.texts import Languages
from bot.memory.store import Store, StoreAway
from bot.ryze.chats import Chat
from bot.ryze.queue import PinRequest
from bot.settings.model import Operator, Settings
from bot.telegram.outbox import Answer, Button

PINS = frozenset({Action.PIN, Action.PIN_OWN, Action.SWAP, Action.MEANT})


@dataclass(frozen=True, slots=True)
class Refused:
    """A press that does nothing; `key` is the sentence that says why."""

    key: str
    by_operator: bool


class Buttons:
    """Reads presses as `Commands` reads commands."""

    def __init__(self, settings: Settings, languages: Languages, commands: Commands, store: Store) -> None:
        self._settings, self._languages, self._commands, self._store = settings, languages, commands, store
        self._instances = {instance_hash(name): name for name in settings.instances}

    async def read(self, query: CallbackQuery, request_id: int) -> tuple[Ask, Wanted | Answer] | Refused:
        """Tell what a press asks for: a request, or an answer that can be given at once."""
        press, message = unpack(query.data or ""), query.message
        operator = None if query.from_user.is_bot else self._settings.operators.get(query.from_user.id)
        if operator is None:
            return Refused("press_stranger", by_operator=False)
        if press is None or message is None:
            return Refused("press_unknown", by_operator=True)
        instance = self._instances.get(press.instance_hash, "")
        if refusal := _refusal(press, operator, instance, message):
            return Refused(refusal, by_operator=True)
        texts = self._languages.of(operator, query.from_user, private=message.chat.type == "private")
        ask = Ask(operator, message, texts, request_id)
        if isinstance(press, Page):
            return ask, await self._commands.show(ask, instance, offset=press.offset)
        if press.action is Action.REST:
            rest = await self._rest(ask, press, instance)
            return (ask, rest) if rest else Refused("press_unknown", by_operator=True)
        request = PinRequest(
            request_id,
            operator,
            self._settings.instances[instance],
            (press.chat,),
            press.action in PINS,
            unpin_first=press.other if press.action in TWO_CHATS else None,
            put_back=press.action is Action.SWAP and await self.is_pinned(instance, press.other),
        )
        return ask, Wanted(request)

    async def is_pinned(self, instance: str, chat: Chat | None) -> bool:
        """Whether a chat is pinned as far as the bot knows."""
        with suppress(StoreAway):
            return any(chat and chat.number in (e.chat, e.jid) for e in await self._store.pinned(instance))
        return False

    async def _rest(self, ask: Ask, press: Press, instance: str) -> Wanted | None:
        """Read the command that the button's message replies to once more, from the button's chat on."""
        replied = ask.message.reply_to_message if isinstance(ask.message, Message) else None
        command, typed = parse_command(replied.text if replied else None)
        if replied is None or command not in VERBS:
            return None
        again = Ask(ask.operator, replied, ask.texts, ask.request_id)
        wanted = await self._commands.read(again, typed, pin=VERBS[command])
        if isinstance(wanted, Answer) or wanted.request.instance.name != instance:
            return None
        chats = wanted.request.chats
        if press.chat not in chats:
            return None
        rest = chats[chats.index(press.chat) :]
        request = PinRequest(ask.request_id, ask.operator, wanted.request.instance, rest, wanted.request.pin)
        return Wanted(request, unread=wanted.unread)


def _refusal(press: Press | Page, operator: Operator, instance: str, message: MaybeInaccessibleMessage) -> str:
    """Name the sentence that says why this operator's press of this button does nothing; "" if it acts."""
    private = message.chat.type == "private"
    if instance not in operator.instances:
        return "press_other_instance"
    if isinstance(press, Page):
        return "" if private else "press_in_private"
    if press.action not in (Action.PIN_OWN, Action.UNPIN_OWN, Action.REST):
        return ""
    owner = message.chat.id if private else _replied_to(message)
    return "" if owner == operator.telegram_id else "press_other_operator" if owner else "press_unknown"


def _replied_to(message: MaybeInaccessibleMessage) -> int:
    """Name the person whose message this one replies to; 0 if Telegram does not say."""
    replied = message.reply_to_message if isinstance(message, Message) else None
    return replied.from_user.id if replied and replied.from_user else 0


def rest_of(message: MaybeInaccessibleMessage | None) -> tuple[Button, ...]:
    """Find a message's button “Try the rest again”, which must outlive the pressing of another one."""
    markup = message.reply_markup if isinstance(message, Message) else None
    buttons = (button for row in (markup.inline_keyboard if markup else ()) for button in row)
    return tuple(
        Button(button.text, str(button.callback_data))
        for button in buttons
        if str(button.callback_data).startswith("r:")
    )
