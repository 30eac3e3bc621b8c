"""What a pressed button asks for. A button is untrusted input: who pressed it and what it carries is checked afresh."""

from dataclasses import replace
from itertools import dropwhile

from telegram import MaybeInaccessibleMessage, Message

from bot.conversation.callback_data import Action, Page, Press, instance_hash, unpack
from bot.conversation.commands import VERBS, Ask, Wanted, is_pinned, parse_command, read, show
from bot.telegram.outbox import Answer, Button, Buttons

PINS = frozenset({Action.PIN, Action.PIN_OWN, Action.SWAP, Action.MEANT})
OWN = frozenset({Action.PIN_OWN, Action.UNPIN_OWN, Action.REST})  # for who sent the command that the button is about


async def read_press(ask: Ask, data: str) -> Wanted | Answer | str:
    """Tell what a press asks for: a request, an answer, or the key of the sentence why it does nothing."""
    press = unpack(data, {instance_hash(name): name for name in ask.operator.instances})
    if press is None:
        return "press_unknown"
    if not press.instance:
        return "press_other_instance"
    if isinstance(press, Page):
        shown = await show(ask, press.instance, offset=press.offset)
        return shown if ask.private else "press_in_private"
    if press.action in OWN and (owner := _owner(ask)) != ask.operator.telegram_id:
        return "press_other_operator" if owner else "press_unknown"
    if press.action is Action.REST:
        return await _rest(ask, press)
    request = ask.request(press.instance, (press.chat,), pin=press.action in PINS)
    if press.other:
        put_back = press.action is Action.SWAP and await is_pinned(ask, press.instance, press.other)
        request = replace(request, unpin_first=press.other, put_back=put_back)
    return Wanted(request)


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
    replied = ask.message.reply_to_message if isinstance(ask.message, Message) else None
    if ask.private:
        return ask.message.chat.id
    return replied.from_user.id if replied and replied.from_user else 0


def rest_of(message: MaybeInaccessibleMessage) -> Buttons:
    """Find a message's button “Try the rest again”, which must outlive the pressing of another one."""
    markup = message.reply_markup if isinstance(message, Message) else None
    buttons = [button for row in (markup.inline_keyboard if markup else ()) for button in row]
    data = [(button.text, str(button.callback_data)) for button in buttons]
    return tuple(Button(label, pressed) for label, pressed in data if pressed.startswith("r:"))
