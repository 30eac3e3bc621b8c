"""What a person reads where nothing was done: questions, explanations and lists, each with its buttons."""

from collections.abc import Iterable, Sequence
from itertools import product

from bot.conversation.callback_data import PIN_OR_UNPIN, Action, Press, instance_hash, pack
from bot.conversation.texts import Html, Texts, shorten
from bot.memory.store import Entry
from bot.ryze.chats import Chat, Problem, Reading
from bot.telegram.outbox import Answer, Button, Buttons


def which_chat(chats: Sequence[Chat], instance: str, texts: Texts, *, pin: bool) -> Answer:
    """Ask for the chat that a command lacks, with those to choose from that may be meant."""
    verb = "pin" if pin else "unpin"
    text = f"{texts.say(f'missing_{verb}', on=texts.on(instance))} {texts.say('missing_how')}"
    last = texts.say("or_choose") if chats else texts.say("usage", command=verb, example=texts.example)
    return Answer(f"{text}\n{last}", choices(chats, instance, texts, pin=pin))


def choices(chats: Iterable[Chat], instance: str, texts: Texts, *, pin: bool, replacing: Chat | None = None) -> Buttons:
    """Make a button for each chat, which pins or unpins it, or pins the one that is `replacing` it instead."""
    key = "button_pin_chat" if pin else "button_replace" if replacing else "button_unpin_chat"
    buttons: list[Button] = []
    for chat in chats:
        swap = replacing and Press(Action.SWAP, instance, replacing, chat)
        press = swap or Press(PIN_OR_UNPIN[pin], instance, chat)
        buttons.append(Button(texts.label(key, chat.display), pack(press)))
    return tuple(buttons)


def problem(reading: Reading, instance: str, texts: Texts, *, pin: bool) -> Answer:
    """Say why a text names no chat and what to send instead."""
    text = explain(reading, texts, pin=pin)
    if reading.anyway is None:
        return Answer(text)
    label = texts.label("button_pin_anyway" if pin else "button_unpin_anyway", reading.anyway.display)
    return Answer(text, (Button(label, pack(Press(PIN_OR_UNPIN[pin], instance, reading.anyway))),))


def explain(reading: Reading, texts: Texts, *, pin: bool, one_of_several: bool = False) -> Html:
    """Say why a text, or one of several, names no chat."""
    key, typed = f"chat_{reading.problem}", shorten(reading.typed, 40)
    if one_of_several and reading.problem in (None, Problem.WORDS):
        key = "unread" if reading.problem else "unread_unsure"
    command, fields = "pin" if pin else "unpin", {"example": texts.example, "with_code": texts.with_code}
    return texts.say(key, typed=typed, command=command, **fields)


def offer(chats: Sequence[Chat], name: str, instances: Sequence[str], texts: Texts) -> Answer:
    """Ask what to do with chats that were sent without a command; only the tap acts."""
    shown, on = " / ".join(chat.display for chat in chats), texts.on(instances[0]) if len(instances) == 1 else ""
    text = texts.say("offer_named" if name else "offer", chat=shown, name=shorten(name, 64), on=on)
    buttons: list[Button] = []
    for chat, instance, verb in product(chats, instances if len(chats) == 1 else instances[:1], ("pin", "unpin")):
        label = texts.plain(f"button_{verb}")
        if len(chats) > 1:
            label = texts.label(f"button_{verb}_chat", chat.display)
        elif len(instances) > 1:
            label = shorten(f"{label} · {instance}", 28)
        buttons.append(Button(label, pack(Press(PIN_OR_UNPIN[verb == "pin"], instance, chat))))
    return Answer(text, tuple(buttons))


def pins(pinned: Sequence[Entry], instance: str, places: int, texts: Texts) -> Answer:
    """List what is pinned as far as the bot knows, with buttons to unpin."""
    lines = [texts.say("pins_head" if pinned else "pins_none", on=texts.on(instance))]
    for number, entry in enumerate(pinned):
        key = "pins_line" if number < places else "pins_line_dropped"
        lines.append(texts.say(key, chat=Chat(entry.chat).display, name=entry.operator, when=texts.when(entry.at)))
    if len(pinned) > places:
        lines.append(texts.say("pins_dropped", places=places))
    lines.append(texts.say("pins_unseen"))
    return Answer("\n".join(lines), choices([Chat(entry.chat) for entry in pinned], instance, texts, pin=False))


def history(entries: Sequence[Entry], instance: str, offset: int, texts: Texts, *, more: bool) -> Answer:
    """List a page of attempts, newest first, with buttons for the pages beside it."""
    lines = [texts.say("history_head" if entries else "history_none", on=texts.on(instance))]
    for entry in entries:
        done = entry.outcome in ("pinned", "unpinned")
        outcome = "" if done else texts.plain("history_failed", outcome=texts.plain(f"short.{entry.outcome}"))
        chat, when = Chat(entry.chat).display, texts.when(entry.at)
        lines.append(texts.say(f"history_{entry.action}", chat=chat, name=entry.operator, when=when, outcome=outcome))
    buttons, page = [], f"h:{instance_hash(instance)}:"
    if more:
        buttons.append(Button(texts.plain("button_older"), f"{page}{offset + len(entries)}"))
    if offset:
        buttons.append(Button(texts.plain("button_newest"), f"{page}0"))
    return Answer("\n".join(lines), tuple(buttons))
