"""What a pressed button asks for. A button is untrusted input: who pressed it and what it carries is checked afresh."""

from contextlib import suppress
from dataclasses import replace

from telegram import MaybeInaccessibleMessage, Message

from bot.conversation.callback_data import TWO_CHATS, Action, Page, Press, instance_hash, unpack
from bot.conversation.commands import VERBS, Ask, Commands, Wanted, parse_command
from bot.memory.store import Store, StoreAway
from bot.ryze.chats import Chat
from bot.ryze.queue import PinRequest
from bot.settings.model import Settings
from bot.telegram.outbox import Answer, Button

PINS = frozenset({Action.PIN, Action.PIN_OWN, Action.SWAP, Action.MEANT})
OWN = frozenset({Action.PIN_OWN, Action.UNPIN_OWN, Action.REST})  # for who sent the command that the button is about


class Buttons:
    """Reads presses as `Commands` reads commands."""

    def __init__(self, settings: Settings, commands: Commands, store: Store) -> None:
        self._settings, self._commands, self._store = settings, commands, store
        self._names = {instance_hash(name): name for name in settings.instances}

    async def read(self, ask: Ask, data: str) -> Wanted | Answer | str:
        """Tell what a press asks for: a request, an answer, or the key of the sentence why it does nothing."""
        press = unpack(data, self._names)
        if press is None:
            return "press_unknown"
        if press.instance not in ask.operator.instances:
            return "press_other_instance"
        if isinstance(press, Page):
            shown = await self._commands.show(ask, press.instance, offset=press.offset)
            return shown if ask.private else "press_in_private"
        if press.action in OWN and (owner := _owner(ask)) != ask.operator.telegram_id:
            return "press_other_operator" if owner else "press_unknown"
        if press.action is Action.REST:
            return await self._rest(ask, press)
        instance, pin = self._settings.instances[press.instance], press.action in PINS
        first = press.other if press.action in TWO_CHATS else None
        put_back = press.action is Action.SWAP and await self.is_pinned(press.instance, first)
        return Wanted(PinRequest(ask.request_id, ask.operator, instance, (press.chat,), pin, first, put_back))

    async def is_pinned(self, instance: str, chat: Chat | None) -> bool:
        """Whether a chat is pinned as far as the bot knows."""
        with suppress(StoreAway):
            return any(chat and chat.number in (e.chat, e.jid) for e in await self._store.pinned(instance))
        return False

    async def _rest(self, ask: Ask, press: Press) -> Wanted | str:
        """Read the command that the button's message replies to once more, from the button's chat on."""
        replied = ask.message.reply_to_message if isinstance(ask.message, Message) else None
        command, typed = parse_command(replied.text if replied else None)
        wanted: Wanted | Answer | None = None
        if replied and command in VERBS:
            wanted = await self._commands.read(replace(ask, message=replied), typed, pin=VERBS[command])
        if not isinstance(wanted, Wanted) or wanted.request.instance.name != press.instance:
            return "press_unknown"
        chats = wanted.request.chats
        if press.chat not in chats:
            return "press_unknown"
        rest = replace(wanted.request, chats=chats[chats.index(press.chat) :])
        return Wanted(rest, unread=wanted.unread)


def _owner(ask: Ask) -> int:
    """Name the person who sent the command that a button's message answers; 0 if Telegram does not say."""
    replied = ask.message.reply_to_message if isinstance(ask.message, Message) else None
    if ask.private:
        return ask.message.chat.id
    return replied.from_user.id if replied and replied.from_user else 0


def rest_of(message: MaybeInaccessibleMessage) -> tuple[Button, ...]:
    """Find a message's button “Try the rest again”, which must outlive the pressing of another one."""
    markup = message.reply_markup if isinstance(message, Message) else None
    buttons = [button for row in (markup.inline_keyboard if markup else ()) for button in row]
    data = [(button.text, str(button.callback_data)) for button in buttons]
    return tuple(Button(label, pressed) for label, pressed in data if pressed.startswith("r:"))
