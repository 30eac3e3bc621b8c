"""What a person reads of a request's results: pure functions from attempts and texts to an `Answer`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.conversation.callback_data import PIN_OR_UNPIN, Action, Press, pack
from bot.conversation.questions import choices
from bot.conversation.texts import Html, Texts, shorten
from bot.memory.store import Entry
from bot.ryze.chats import Chat
from bot.ryze.queue import Attempt
from bot.telegram.outbox import Answer, Button, Buttons

MAX_QUOTED = 300  # characters of Ryze's own words
MAX_CHOICES = 10  # buttons, one a chat


@dataclass(frozen=True, slots=True)
class Context:
    """What an answer has to know besides the attempts."""

    pinned: Sequence[Entry] = ()  # what is pinned now as far as the bot knows, newest first
    was_pinned: bool = False  # whether the chat was pinned before the command
    other: Chat | None = None  # how the number could be read too
    unread: Sequence[Html] = ()  # a sentence for each piece that names no chat
    admin_told: bool = False
    group_hint: str = ""  # the bot's username in a group, where lists of chats are not shown


def of(attempts: Sequence[Attempt], texts: Texts, context: Context) -> Answer:
    """Say what came of a request."""
    request = attempts[0].request
    if not attempts[0].reply.outcome.ran:
        return _not_run(attempts[0], texts)
    if request.unpin_first:
        return _swapped(attempts, texts, context)
    if len(request.chats) > 1 or context.unread:
        return _several(attempts, texts, context)
    return _single(attempts[0], texts, context)


def _single(attempt: Attempt, texts: Texts, context: Context) -> Answer:
    outcome, instance = attempt.reply.outcome, attempt.request.instance
    if not outcome.ran:
        return _not_run(attempt, texts)
    lines, places = [_head(attempt, texts)], _places([attempt], texts, context)
    if outcome.name == "pin_limit":
        text = texts.say("limit", chat=attempt.chat.display, on=texts.on(instance.name), places=instance.pins)
        return Answer(f"{text} {places.text}", places.buttons)
    if outcome.ok:
        lines += [*_other_jid(attempt, texts), Html(places.text)]
        label = texts.plain("button_unpin" if attempt.pin else "button_pin_again")
    else:
        lines += _why(attempt, texts, context)
        label = texts.plain("button_again")
    press = Press(PIN_OR_UNPIN[attempt.pin != outcome.ok], instance.name, attempt.chat)
    own = (Button(label, pack(press)),) if outcome.ok or outcome.retry else ()
    buttons = (*own, *_meant(attempt, texts, context), *places.buttons)
    return Answer("\n".join(filter(None, lines)), buttons, silent=outcome.ok)


def _head(attempt: Attempt, texts: Texts) -> Html:
    verb = "pin" if attempt.pin else "unpin"
    outcome = attempt.reply.outcome
    key = f"{verb}ned" if outcome.ok else ("unsure_" if outcome.unsure else "failed_") + verb
    return texts.say(key, chat=attempt.chat.display, on=texts.on(attempt.request.instance.name))


def _why(attempt: Attempt, texts: Texts, context: Context) -> list[Html]:
    """Say what happened and the one thing to do; then what an admin needs to know, folded."""
    outcome, instance = attempt.reply.outcome, attempt.request.instance
    fields = {"instance": instance.name, "places": instance.pins, "chat": attempt.chat.display}
    lines, details = [texts.say(f"why.{outcome.name}", on=texts.on(instance.name), **fields)], for_admin(attempt, texts)
    if context.admin_told:
        lines.append(texts.say("admin_told"))
    elif outcome.admin and details:
        lines.append(texts.say("tell_admin"))
    return [*lines, texts.say("for_admin", details=details)] if details else lines


def for_admin(attempt: Attempt, texts: Texts) -> Html:
    """Say what an admin has to do, with Ryze's own words; "" where no admin is needed."""
    reply = attempt.reply
    details = texts.say(f"admin.{reply.outcome.name}", instance=attempt.request.instance.name)
    said = "ryze_said" if reply.text else "ryze_status"
    more = texts.say(said, status=reply.status, text=shorten(reply.text, MAX_QUOTED))
    return Html(f"{details} {more}") if details else details


def _other_jid(attempt: Attempt, texts: Texts) -> list[Html]:
    differs = attempt.chat.jid_differs(attempt.reply.jid)
    return [texts.say("other_chat", jid=shorten(attempt.reply.jid or "", 60))] if differs else []


def _meant(attempt: Attempt, texts: Texts, context: Context) -> Buttons:
    """Offer the other reading of the number, which undoes what was done with the first one."""
    chat, other, instance = attempt.chat, context.other, attempt.request.instance.name
    if other is None:
        return ()
    press = Press(PIN_OR_UNPIN[attempt.pin], instance, other)
    if attempt.reply.outcome.ok and attempt.pin and not context.was_pinned:
        press = Press(Action.MEANT, instance, other, chat)
    if attempt.reply.outcome.ok and not attempt.pin and context.was_pinned:
        press = Press(Action.MEANT, instance, chat, other)
    flag = "".join(chr(ord("🇦") + ord(letter) - ord("A")) for letter in other.region if letter.isalpha())
    return (Button(texts.label("button_meant", f"{flag} {other.display}".strip()), pack(press)),)


def _places(attempts: Sequence[Attempt], texts: Texts, context: Context) -> Answer:
    """More pins than places: offer to replace one if Ryze refused this one, else to unpin what may be dropped."""
    request, last, places = attempts[0].request, attempts[-1], attempts[0].request.instance.pins
    asked = {chat.number for chat in request.chats}
    others = [Chat(entry.chat) for entry in context.pinned if entry.chat not in asked][-MAX_CHOICES:]
    refused = last.reply.outcome.name == "pin_limit"
    done = request.pin and all(attempt.reply.outcome.ok for attempt in attempts)
    if refused and not others:
        again = Press(Action.PIN, request.instance.name, last.chat)
        return Answer(texts.say("limit_unknown"), (Button(texts.plain("button_again"), pack(again)),))
    if not (refused or (done and others and len(context.pinned) > places)):
        return Answer("")
    if context.group_hint:
        key = "limit_in_private" if refused else "dropped_in_private"
        return Answer(texts.say(key, places=places, username=context.group_hint))
    text = texts.say("limit_which") if refused else texts.say("dropped", places=places, chat=others[-1].display)
    replacing = last.chat if refused else None
    return Answer(text, choices(others, request.instance.name, texts, pin=False, replacing=replacing))


def _swapped(attempts: Sequence[Attempt], texts: Texts, context: Context) -> Answer:
    """Say what came of unpinning one chat for another: the unpinning, the pinning, pinning the first again."""
    request, first, last = attempts[0].request, attempts[0], attempts[-1]
    if not first.reply.outcome.ok:
        again = Press(Action.SWAP, request.instance.name, request.chats[0], first.chat)
        skipped = texts.say("skipped", chats=request.chats[0].display)
        text = "\n".join([_head(first, texts), *_why(first, texts, context), skipped])
        return Answer(text, (Button(texts.label("button_replace", first.chat.display), pack(again)),))
    pinning = _single(attempts[1], texts, context)
    lines = [_head(first, texts), pinning.text]
    if last.reply.outcome.unsure and len(attempts) == 3:
        lines.append(_head(last, texts))
    elif not last.reply.outcome.ok:
        lines.append(texts.say("stays_unpinned", chat=first.chat.display))
    elif len(attempts) == 3:
        lines = [pinning.text, texts.say("put_back", chat=first.chat.display)]
    return replace(pinning, text="\n".join(lines))


def _several(attempts: Sequence[Attempt], texts: Texts, context: Context) -> Answer:
    """Give each chat a short line; then say what stopped the rest, once."""
    request, last = attempts[0].request, attempts[-1]
    lines = [texts.say("several", instance=request.instance.name)] if texts.names_instance else []
    for attempt in attempts:
        outcome = attempt.reply.outcome
        key = "line_ok" if outcome.ok else "line_unsure" if outcome.unsure else "line_failed"
        fields = {"sign": texts.plain("sign_pin" if attempt.pin else "sign_unpin"), "chat": attempt.chat.display}
        short = "" if outcome.ok else texts.plain(f"short.{outcome.name}")
        lines += [texts.say(key, short=short, **fields), *_other_jid(attempt, texts)]
    skipped = ", ".join(chat.display for chat in request.chats[len(attempts) :])
    if skipped:
        lines.append(texts.say("skipped", chats=skipped))
    lines += context.unread
    failed = next((attempt for attempt in attempts if not attempt.reply.outcome.ok), None)
    places = _places(attempts, texts, context)
    buttons = places.buttons
    if last.reply.outcome.name == "pin_limit":
        lines.append(texts.say("limit_several", places=request.instance.pins))
    elif failed:
        lines += _why(last if last.reply.outcome.stops else failed, texts, context)
    if failed and (failed.reply.outcome.retry or skipped):
        rest = Press(Action.REST, request.instance.name, failed.chat)
        buttons += (Button(texts.plain("button_rest" if skipped else "button_again"), pack(rest)),)
    text = "\n".join(filter(None, [*lines, places.text]))
    return Answer(text, buttons, silent=not (failed or skipped or context.unread))


def _not_run(attempt: Attempt, texts: Texts) -> Answer:
    """Say why nothing was done, with a button that does it now; a late command's is for its own operator only."""
    request, name = attempt.request, attempt.reply.outcome.name
    chats = ", ".join(chat.display for chat in request.chats)
    text = texts.say(f"why.{name}", chat=chats, on=texts.on(request.instance.name))
    label, action = texts.plain("button_again"), PIN_OR_UNPIN[attempt.pin]
    if name == "late":
        label = texts.plain("button_pin" if attempt.pin else "button_unpin")
        action = Action.PIN_OWN if attempt.pin else Action.UNPIN_OWN
    if len(request.chats) > 1:
        action = Action.REST
    elif request.unpin_first:
        action = Action.SWAP
    press = Press(action, request.instance.name, request.chats[0], request.unpin_first)
    return Answer(text, (Button(label, pack(press)),))
