"""What a person reads where nothing was done: questions, explanations and lists, each with its buttons."""

from collections.abc import Sequence
from itertools import product

from bot.conversation.callback_data import PIN_OR_UNPIN, Page, Press, pack
from bot.conversation.texts import Html, Texts, shorten
from bot.memory.store import Entry
from bot.ryze.chats import Chat, Problem, Reading
from bot.telegram.outbox import Answer, Button


def button(label: str, press: Press | Page | None) -> tuple[Button, ...]:
    """Make a button; none without a press, or if its data would be too long."""
    data = press and pack(press)
    return (Button(label, data),) if data else ()


def which_chat(chats: Sequence[Chat], instance: str, texts: Texts, *, pin: bool) -> Answer:
    """Ask for the chat that a command lacks, with those to choose from that may be meant."""
    verb = "pin" if pin else "unpin"
    text = f"{texts.say(f'missing_{verb}', on=texts.on(instance))} {texts.say('missing_how')}"
    last = texts.say("or_choose") if chats else texts.say("usage", command=verb, example=texts.example)
    return choose(chats, instance, texts, f"{text}\n{last}", pin=pin)


def choose(chats: Sequence[Chat], instance: str, texts: Texts, text: str, *, pin: bool) -> Answer:
    """Say something, with a button for each chat; only the tap acts."""
    key = "button_pin_chat" if pin else "button_unpin_chat"
    buttons: list[Button] = []
    for chat in chats:
        buttons += button(texts.label(key, chat.display), Press(PIN_OR_UNPIN[pin], instance, chat))
    return Answer(text, tuple(buttons))


def problem(reading: Reading, instance: str, texts: Texts, *, pin: bool) -> Answer:
    """Say why a text names no chat and what to send instead."""
    text = explain(reading, texts, pin=pin)
    if reading.anyway is None:
        return Answer(text)
    label = texts.label("button_pin_anyway" if pin else "button_unpin_anyway", reading.anyway.display)
    return Answer(text, button(label, Press(PIN_OR_UNPIN[pin], instance, reading.anyway)))


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
        buttons += button(label, Press(PIN_OR_UNPIN[verb == "pin"], instance, chat))
    return Answer(text, tuple(buttons))


def pins(pinned: Sequence[Entry], instance: str, places: int, texts: Texts) -> Answer:
    """List what is pinned as far as the bot knows, with buttons to unpin."""
    lines = [texts.say("pins_head" if pinned else "pins_none", on=texts.on(instance))]
    for number, entry in enumerate(pinned):
        key = "pins_line" if number < places else "pins_line_dropped"
        lines.append(texts.say(key, chat=Chat(entry.chat).display, name=entry.operator, when=texts.when(entry.at)))
    if len(pinned) > places:
        lines.append(texts.say("pins_dropped", places=places))
    chats = [Chat(entry.chat) for entry in pinned]
    return choose(chats, instance, texts, "\n".join([*lines, texts.say("pins_unseen")]), pin=False)


def history(entries: Sequence[Entry], instance: str, offset: int, texts: Texts, *, more: bool) -> Answer:
    """List a page of attempts, newest first, with buttons for the pages beside it."""
    lines = [texts.say("history_head" if entries else "history_none", on=texts.on(instance))]
    for entry in entries:
        done = entry.outcome in ("pinned", "unpinned")
        outcome = "" if done else texts.plain("history_failed", outcome=texts.plain(f"short.{entry.outcome}"))
        chat, when = Chat(entry.chat).display, texts.when(entry.at)
        lines.append(texts.say(f"history_{entry.action}", chat=chat, name=entry.operator, when=when, outcome=outcome))
    older = button(texts.plain("button_older"), Page(instance, offset + len(entries)) if more else None)
    newest = button(texts.plain("button_newest"), Page(instance, 0) if offset else None)
    return Answer("\n".join(lines), older + newest)
