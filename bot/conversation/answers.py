"""What a person reads of a request's results: pure functions from attempts and texts to an `Answer`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.conversation.callback_data import Action, Press, instance_hash
from bot.conversation.questions import button, choose, pin_or_unpin
from bot.conversation.texts import Html, Texts, shorten
from bot.memory.store import Entry
from bot.ryze.chats import Chat
from bot.ryze.queue import Attempt
from bot.telegram.outbox import Answer, Button

MAX_QUOTED = 300  # characters of Ryze's own words
MAX_CHOICES = 10  # buttons, one a chat


@dataclass(frozen=True, slots=True)
class Context:
    """What an answer has to know besides the attempts.

    `pinned` is what is pinned now, newest first, as far as the bot knows; `was_pinned` whether the chat was so before
    the command; `other` how the number could be read too; `unread` a sentence for each piece that names no chat;
    `group_hint` the bot's username in a group, where lists of chats are not shown.
    """

    pinned: Sequence[Entry] = ()
    was_pinned: bool = False
    other: Chat | None = None
    unread: Sequence[Html] = ()
    admin_told: bool = False
    group_hint: str = ""


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
    here = instance_hash(attempt.request.instance.name)
    if not attempt.reply.outcome.ran:
        return _not_run(attempt, texts)
    if attempt.reply.outcome.name == "pin_limit":
        return _limit(attempt, texts, context)
    lines = [_head(attempt, texts)]
    if not attempt.reply.outcome.ok:
        lines += _why(attempt, texts, context)
        again = Press(pin_or_unpin(pin=attempt.pin), here, attempt.chat) if attempt.reply.outcome.retry else None
        buttons = button(texts.plain("button_again"), again)
        return Answer("\n".join(lines), (*buttons, *_meant(attempt, texts, context)))
    lines += _other_jid(attempt, texts)
    label = texts.plain("button_unpin" if attempt.pin else "button_pin_again")
    buttons = button(label, Press(pin_or_unpin(pin=not attempt.pin), here, attempt.chat))
    dropped = _maybe_dropped([attempt], texts, context)
    meant = _meant(attempt, texts, context)
    return Answer("\n".join([*lines, dropped.text]).strip(), (*buttons, *meant, *dropped.buttons), silent=True)


def _head(attempt: Attempt, texts: Texts) -> Html:
    verb = "pin" if attempt.pin else "unpin"
    outcome = attempt.reply.outcome
    key = f"{verb}ned" if outcome.ok else ("unsure_" if outcome.unsure else "failed_") + verb
    return texts.say(key, chat=attempt.chat.display, on=texts.on(attempt.request.instance.name))


def _why(attempt: Attempt, texts: Texts, context: Context) -> list[Html]:
    """Say what happened and the one thing to do; then what an admin needs to know, folded."""
    reply, instance = attempt.reply, attempt.request.instance
    name = reply.outcome.name
    fields = {"instance": instance.name, "places": instance.pins, "chat": attempt.chat.display}
    lines = [texts.say(f"why.{name}", on=texts.on(instance.name), **fields)]
    if context.admin_told:
        lines.append(texts.say("admin_told"))
    elif reply.outcome.admin and texts.has(f"admin.{name}"):
        lines.append(texts.say("tell_admin"))
    if texts.has(f"admin.{name}"):
        lines.append(texts.say("for_admin", details=for_admin(attempt, texts)))
    return lines


def for_admin(attempt: Attempt, texts: Texts) -> Html:
    """Say what an admin has to do, with Ryze's own words."""
    reply = attempt.reply
    details = texts.say(f"admin.{reply.outcome.name}", instance=attempt.request.instance.name)
    said = "ryze_said" if reply.text else "ryze_status"
    return Html(f"{details} {texts.say(said, status=reply.status, text=shorten(reply.text, MAX_QUOTED))}".strip())


def _other_jid(attempt: Attempt, texts: Texts) -> list[Html]:
    differs = attempt.chat.jid_differs(attempt.reply.jid)
    return [texts.say("other_chat", jid=shorten(attempt.reply.jid or "", 60))] if differs else []


def _meant(attempt: Attempt, texts: Texts, context: Context) -> tuple[Button, ...]:
    """Offer the other reading of the number, which undoes what was done with the first one."""
    chat, other, here = attempt.chat, context.other, instance_hash(attempt.request.instance.name)
    if other is None:
        return ()
    press = Press(pin_or_unpin(pin=attempt.pin), here, other)
    if attempt.reply.outcome.ok and attempt.pin and not context.was_pinned:
        press = Press(Action.MEANT, here, other, chat)
    if attempt.reply.outcome.ok and not attempt.pin and context.was_pinned:
        press = Press(Action.MEANT, here, chat, other)
    return button(texts.label("button_meant", f"{_flag(other.region)} {other.display}".strip()), press)


def _limit(attempt: Attempt, texts: Texts, context: Context) -> Answer:
    """Ryze refused one pin too many: offer to replace one of those that are known."""
    instance = attempt.request.instance
    text = texts.say("limit", chat=attempt.chat.display, on=texts.on(instance.name), places=instance.pins)
    which = _replace(attempt, texts, context)
    return Answer(f"{text} {which.text}", which.buttons)


def _replace(attempt: Attempt, texts: Texts, context: Context) -> Answer:
    here = instance_hash(attempt.request.instance.name)
    asked = {chat.number for chat in attempt.request.chats}
    chats = [Chat(entry.chat) for entry in context.pinned if entry.chat not in asked][-MAX_CHOICES:]
    if not chats:
        again = button(texts.plain("button_again"), Press(Action.PIN, here, attempt.chat))
        return Answer(texts.say("limit_unknown"), again)
    if context.group_hint:
        return Answer(texts.say("limit_in_private", username=context.group_hint))
    buttons: list[Button] = []
    for chat in chats:
        press = Press(Action.SWAP, here, attempt.chat, chat)
        buttons += button(texts.label("button_replace", chat.display), press)
    return Answer(texts.say("limit_which"), tuple(buttons))


def _maybe_dropped(attempts: Sequence[Attempt], texts: Texts, context: Context) -> Answer:
    """Say that WhatsApp may have dropped the oldest pin, if more are pinned than there are places."""
    instance = attempts[0].request.instance
    now = {attempt.chat.number for attempt in attempts}
    others = [Chat(entry.chat) for entry in context.pinned if entry.chat not in now]
    if not (attempts[0].pin and others and len(context.pinned) > instance.pins):
        return Answer("")
    if context.group_hint:
        return Answer(texts.say("dropped_in_private", places=instance.pins, username=context.group_hint))
    text = texts.say("dropped", places=instance.pins, chat=others[-1].display)
    return choose(others[-MAX_CHOICES:], instance.name, texts, text, pin=False)


def _swapped(attempts: Sequence[Attempt], texts: Texts, context: Context) -> Answer:
    """Say what came of unpinning one chat for another: the unpinning, the pinning, pinning the first again."""
    request, first, last = attempts[0].request, attempts[0], attempts[-1]
    here, chat = instance_hash(request.instance.name), request.chats[0]
    skipped = texts.say("skipped", chats=chat.display)
    if not first.reply.outcome.ok:
        again = button(texts.label("button_replace", first.chat.display), Press(Action.SWAP, here, chat, first.chat))
        return Answer("\n".join([_head(first, texts), *_why(first, texts, context), skipped]), again)
    if len(attempts) == 1:
        pin_it = button(texts.label("button_pin_chat", chat.display), Press(Action.PIN, here, chat))
        return Answer(f"{_head(first, texts)}\n{skipped}", pin_it)
    pinning = _single(attempts[1], texts, context)
    if len(attempts) == 2:
        stays = "" if last.reply.outcome.ok else "\n" + texts.say("stays_unpinned", chat=first.chat.display)
        return replace(pinning, text=f"{_head(first, texts)}\n{pinning.text}{stays}")
    key = "put_back" if last.reply.outcome.ok else "not_put_back"
    back = _head(last, texts) if last.reply.outcome.unsure else texts.say(key, chat=first.chat.display)
    return Answer(f"{pinning.text}\n{back}", pinning.buttons)


def _several(attempts: Sequence[Attempt], texts: Texts, context: Context) -> Answer:
    """Give each chat a short line; then say what stopped the rest, once."""
    request, last = attempts[0].request, attempts[-1]
    lines = [texts.say("several", instance=request.instance.name)] if texts.names_instance else []
    for attempt in attempts:
        outcome = attempt.reply.outcome
        short = texts.plain(f"short.{outcome.name}")
        key = "line_ok" if outcome.ok else "line_unsure" if outcome.unsure else "line_failed"
        sign = texts.plain("sign_pin" if attempt.pin else "sign_unpin")
        lines += [texts.say(key, sign=sign, chat=attempt.chat.display, short=short), *_other_jid(attempt, texts)]
    skipped = request.chats[len(attempts) :]
    if skipped:
        lines.append(texts.say("skipped", chats=", ".join(chat.display for chat in skipped)))
    lines += context.unread
    buttons: tuple[Button, ...] = ()
    failed = next((attempt for attempt in attempts if not attempt.reply.outcome.ok), None)
    if last.reply.outcome.name == "pin_limit":
        which = _replace(last, texts, context)
        lines.append(Html(f"{texts.say('limit_several', places=request.instance.pins)} {which.text}"))
        buttons = which.buttons
    elif failed:
        lines += _why(last if last.reply.outcome.stops else failed, texts, context)
    else:
        dropped = _maybe_dropped(attempts, texts, context)
        lines.append(Html(dropped.text))
        buttons = dropped.buttons
    if failed and (failed.reply.outcome.retry or skipped):
        rest = Press(Action.REST, instance_hash(request.instance.name), failed.chat)
        buttons = (*buttons, *button(texts.plain("button_rest" if skipped else "button_again"), rest))
    return Answer("\n".join(filter(None, lines)), buttons, silent=not (failed or skipped or context.unread))


def _not_run(attempt: Attempt, texts: Texts) -> Answer:
    """Say why nothing was done, with a button that does it now; a late command's is for its own operator only."""
    request, name = attempt.request, attempt.reply.outcome.name
    chats = ", ".join(chat.display for chat in request.chats)
    text = texts.say(f"why.{name}", chat=chats, on=texts.on(request.instance.name))
    label, action = texts.plain("button_again"), pin_or_unpin(pin=attempt.pin)
    if name == "late":
        label = texts.plain("button_pin" if attempt.pin else "button_unpin")
        action = Action.PIN_OWN if attempt.pin else Action.UNPIN_OWN
    here = instance_hash(request.instance.name)
    if len(request.chats) > 1:
        action = Action.REST
    if request.unpin_first:
        return Answer(text, button(label, Press(Action.SWAP, here, request.chats[0], request.unpin_first)))
    return Answer(text, button(label, Press(action, here, request.chats[0])))


def _flag(region: str) -> str:
    """Give a country's flag; nothing for a number of no country."""
    return "".join(chr(ord("🇦") + ord(letter) - ord("A")) for letter in region) if region.isalpha() else ""
