"""What a person is told who did not send one of the bot's commands, or is on nobody's list; and the help."""

import difflib
import html
import json
import re
from itertools import product

from telegram import Message, User

from bot.conversation import questions
from bot.conversation.admins import Admins
from bot.conversation.commands import VERBS, Ask, is_own, offer, text_of
from bot.conversation.texts import Html, Texts, clean, shorten
from bot.ryze.chats import read_command
from bot.settings.model import Settings
from bot.telegram.outbox import Answer, Button

ALL = frozenset({"all", "everything", "todos", "todas", "tudo", "todo"})
_MEANT = {
    **dict.fromkeys(("list", "lista", "status", "pinned", "fixadas", "fijados"), "pins"),
    **dict.fromkeys(("log", "logs", "historico", "historial"), "history"),
    **dict.fromkeys(("ajuda", "ayuda", "menu", "commands"), "help"),
}
THANKS = re.compile(
    r"[^\w/]*((muit[oa]s? |muchas )?(obrigad[oa]|brigad[oa]|valeu|gracias|thank(s| you)|thx)\b.{0,20}|👍|🙏)\W*", re.I
)


def hint(ask: Ask, command: str | None, typed: str) -> Answer:
    """Offer what a message in private may mean, or name the command that was probably meant; only a tap acts."""
    texts, offered = ask.texts, offer(ask) if command is None else None
    if offered:
        return offered
    known = [*VERBS, "pins", "history", "help", "id"]
    if glued := re.fullmatch(rf"({'|'.join(VERBS)})(\d+)", command or ""):  # /pin5511…
        command, typed = glued[1], f"{glued[2]} {typed}"
    close = difflib.get_close_matches(command or "", known, n=1, cutoff=0.7)
    meant = _MEANT.get(command or "") or (close[0] if close else "")
    if not meant:
        return Answer(texts.say("hint_unknown"))
    chat = read_command(typed, texts.region)[0].chat if meant in VERBS else None
    buttons = questions.choices([chat], ask.operator.instances[0], texts, pin=VERBS[meant]) if chat else ()
    return Answer(texts.say("hint_meant", command=meant), buttons)


def question_replied_to(ask: Ask, message: Message) -> tuple[str, bool] | None:
    """Tell whether a message answers the bot's question which chat to pin: the instance it named, and the verb."""
    replied = message.reply_to_message
    if replied is None or not is_own(replied) or not text_of(message).strip():
        return None
    for instance, verb in product(ask.operator.instances, ("pin", "unpin")):
        question = ask.texts.say(f"missing_{verb}", on=ask.texts.on(instance))
        if (replied.text or "").startswith(html.unescape(re.sub("<[^>]*>", "", question))):
            return instance, verb == "pin"
    return None


def help_text(ask: Ask) -> Answer:
    """Explain the bot, with examples as this operator has to write them."""
    texts, instances = ask.texts, ask.operator.instances
    named = f"{instances[1]} " if len(instances) > 1 else ""
    mine = texts.say("help_instances", instances=", ".join(instances)) if texts.names_instance else ""
    return Answer(texts.say("help", mine=Html(mine), example=f"{named}{texts.example}", with_code=texts.with_code))


def operators(settings: Settings, texts: Texts) -> Answer:
    """List who may do what, for admins."""
    lines = [texts.say("operators_head" if settings.operators else "operators_none")]
    for operator in settings.operators.values():
        on = ", ".join(operator.instances)
        lines.append(texts.say("operators_line", name=operator.name, telegram_id=operator.telegram_id, on=on))
    return Answer("\n".join(lines))


async def welcome(texts: Texts, stranger: User, command: str | None, settings: Settings, admins: Admins) -> Answer:
    """Tell somebody their id, or how to get access. They learn nothing else about the team."""
    if command == "id":
        return Answer(texts.say("id", telegram_id=stranger.id))
    line = entry(stranger, settings)
    told = await admins.request(stranger, line)
    text = texts.say("stranger_told" if told else "stranger", telegram_id=stranger.id, entry=line)
    return Answer(text, () if told else (Button(texts.plain("button_copy"), None, copy=line),))


def entry(stranger: User, settings: Settings) -> str:
    """Write the line for `operators:` that would let somebody in, indented as in the example's file."""
    name = clean(shorten(stranger.full_name, 64)).strip() or str(stranger.id)
    name = json.dumps(name.replace("${", "$${"), ensure_ascii=False)  # nobody's name becomes a variable's value
    only = json.dumps(next(iter(settings.instances)), ensure_ascii=False)
    # A button copies 256 characters at most.
    instance = only if len(settings.instances) == 1 and len(only) <= 64 else "INSTANCE"
    return f"  - {{telegram_id: {stranger.id}, name: {name}, instance: {instance}}}"
