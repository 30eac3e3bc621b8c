"""What a person reads where nothing was done: questions, explanations and lists, each with its buttons."""

from collections.abc import Sequence

from bot.conversation.callback_data import Action, Page, Press, instance_hash, pack
from bot.conversation.texts import Html, Texts, shorten
from bot.memory.store import Entry
from bot.ryze.chats import Chat, Problem, Reading
from bot.telegram.outbox import Answer, Button


def button(label: str, press: Press | Page | None) -> tuple[Button, ...]:
    """Make a button; none without a press, or if its data would be too long."""
    data = press and pack(press)
    return (Button(label, data),) if data else ()


def pin_or_unpin(*, pin: bool) -> Action:
    """Name the action of a command's verb."""
    return Action.PIN if pin else Action.UNPIN


def which_chat(chats: Sequence[Chat], instance: str, texts: Texts, *, pin: bool) -> Answer:
    """Ask for the chat that a command lacks, with those to choose from that may be meant."""
    verb = "pin" if pin else "unpin"
    text = f"{texts.say(f'missing_{verb}', on=texts.on(instance))} {texts.say('missing_how')}"
    if not chats:
        return Answer(f"{text}\n{texts.say('usage', command=verb, example=texts.example)}")
    return choose(chats, instance, texts, Html(f"{text}\n{texts.say('or_choose')}"), pin=pin)


def choose(chats: Sequence[Chat], instance: str, texts: Texts, text: Html, *, pin: bool) -> Answer:
    """Say something, with a button for each chat; only the tap acts."""
    key = "button_pin_chat" if pin else "button_unpin_chat"
    buttons: list[Button] = []
    for chat in chats:
        buttons += button(texts.label(key, chat.display), Press(pin_or_unpin(pin=pin), instance_hash(instance), chat))
    return Answer(text, tuple(buttons))


def problem(reading: Reading, instance: str, texts: Texts, *, pin: bool) -> Answer:
    """Say why a text names no chat and what to send instead."""
    text = _why(reading, texts, pin=pin)
    if reading.anyway is None:
        return Answer(text)
    key = "button_pin_anyway" if pin else "button_unpin_anyway"
    press = Press(pin_or_unpin(pin=pin), instance_hash(instance), reading.anyway)
    return Answer(text, button(texts.label(key, reading.anyway.display), press))


def unread(reading: Reading, texts: Texts, *, pin: bool) -> Html:
    """Say why one text of several names no chat."""
    if reading.problem in (None, Problem.WORDS):
        return texts.say("unread" if reading.problem else "unread_unsure", typed=shorten(reading.typed, 40))
    return _why(reading, texts, pin=pin)


def _why(reading: Reading, texts: Texts, *, pin: bool) -> Html:
    return texts.say(
        f"chat_{reading.problem}",
        typed=shorten(reading.typed, 40),
        example=texts.example,
        with_code=texts.with_code,
        command="pin" if pin else "unpin",
    )


def offer(chats: Sequence[Chat], name: str, instances: Sequence[str], texts: Texts) -> Answer:
    """Ask what to do with chats that were sent without a command; only the tap acts."""
    shown = " / ".join(chat.display for chat in chats)
    key = "offer_named" if name else "offer"
    text = texts.say(key, chat=shown, name=shorten(name, 64), on=texts.on(instances[0]) if len(instances) == 1 else "")
    buttons: list[Button] = []
    for chat in chats:
        for instance in instances if len(chats) == 1 else instances[:1]:
            for action, verb in ((Action.PIN, "pin"), (Action.UNPIN, "unpin")):
                label = texts.plain(f"button_{verb}")
                if len(chats) > 1:
                    label = texts.label(f"button_{verb}_chat", chat.display)
                elif len(instances) > 1:
                    label = shorten(f"{label} · {instance}", 28)
                buttons += button(label, Press(action, instance_hash(instance), chat))
    return Answer(text, tuple(buttons))


def pins(pinned: Sequence[Entry], instance: str, places: int, texts: Texts) -> Answer:
    """List what is pinned as far as the bot knows, with buttons to unpin."""
    if not pinned:
        return Answer(f"{texts.say('pins_none', on=texts.on(instance))}\n{texts.say('pins_unseen')}")
    lines = [texts.say("pins_head", on=texts.on(instance))]
    for number, entry in enumerate(pinned):
        key = "pins_line" if number < places else "pins_line_dropped"
        lines.append(texts.say(key, chat=Chat(entry.chat).display, name=entry.operator, when=texts.when(entry.at)))
    if len(pinned) > places:
        lines.append(texts.say("pins_dropped", places=places))
    chats = [Chat(entry.chat) for entry in pinned]
    return choose(chats, instance, texts, Html("\n".join([*lines, texts.say("pins_unseen")])), pin=False)


def history(entries: Sequence[Entry], instance: str, offset: int, texts: Texts, *, more: bool) -> Answer:
    """List a page of attempts, newest first, with buttons for the pages beside it."""
    lines = [texts.say("history_head" if entries else "history_none", on=texts.on(instance))]
    for entry in entries:
        done = entry.outcome in ("pinned", "unpinned")
        outcome = "" if done else texts.plain("history_failed", outcome=texts.plain(f"short.{entry.outcome}"))
        chat, when = Chat(entry.chat).display, texts.when(entry.at)
        lines.append(texts.say(f"history_{entry.action}", chat=chat, name=entry.operator, when=when, outcome=outcome))
    older = Page(instance_hash(instance), offset + len(entries)) if more else None
    newest = Page(instance_hash(instance), 0) if offset else None
    buttons = button(texts.plain("button_older"), older) + button(texts.plain("button_newest"), newest)
    return Answer("\n".join(lines), buttons)
