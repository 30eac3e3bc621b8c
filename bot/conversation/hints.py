"""What a person is told who did not send one of the bot's commands, and the help."""

import difflib
import html
import re

from telegram import Message

from bot.conversation import questions
from bot.conversation.commands import VERBS, Ask
from bot.conversation.texts import Html, Texts
from bot.ryze.chats import read_command
from bot.settings.model import Settings
from bot.telegram.outbox import Answer

ALL = frozenset({"all", "everything", "todos", "todas", "tudo", "todo"})
_MEANT = {
    **dict.fromkeys(("list", "lista", "status", "pinned", "fixadas", "fijados"), "pins"),
    **dict.fromkeys(("log", "logs", "historico", "historial"), "history"),
    **dict.fromkeys(("ajuda", "ayuda", "menu", "commands"), "help"),
}
_THANKS = re.compile(
    r"\W*((muit[oa]s? |muchas )?(obrigad[oa]|brigad[oa]|valeu|gracias|thank(s| you)|thx)\b.{0,20}|👍|🙏)\W*", re.I
)


def is_thanks(text: str) -> bool:
    """Whether a person only says thank you."""
    return bool(_THANKS.fullmatch(text))


def hint(ask: Ask, command: str | None, typed: str) -> Answer:
    """Name the command that was probably meant; with a number, as a button that does it."""
    texts = ask.texts
    known = [*VERBS, "pins", "history", "help", "id"]
    if glued := re.fullmatch(rf"({'|'.join(VERBS)})(\d+)", command or ""):  # /pin5511…
        command, typed = glued[1], f"{glued[2]} {typed}"
    close = difflib.get_close_matches(command or "", known, n=1, cutoff=0.7)
    meant = _MEANT.get(command or "") or (close[0] if close else "")
    if not meant:
        return Answer(texts.say("hint_unknown"))
    text = texts.say("hint_meant", command=meant)
    chat = read_command(typed, texts.region)[0].chat if meant in VERBS else None
    return questions.choose([chat] if chat else [], ask.operator.instance, texts, text, pin=VERBS.get(meant, True))


def question_replied_to(ask: Ask) -> tuple[str, bool] | None:
    """Tell whether a message answers the bot's question which chat to pin: the instance it named, and the verb."""
    message = ask.message
    replied = message.reply_to_message if isinstance(message, Message) else None
    if replied is None or replied.from_user is None or replied.from_user.id != replied.get_bot().id:
        return None
    for instance in ask.operator.instances:
        for verb in ("pin", "unpin"):
            question = html.unescape(re.sub("<[^>]*>", "", ask.texts.say(f"missing_{verb}", on=ask.texts.on(instance))))
            if (replied.text or "").startswith(question):
                return instance, verb == "pin"
    return None


def help_text(ask: Ask) -> Answer:
    """Explain the bot, with examples as this operator has to write them."""
    texts, instances = ask.texts, ask.operator.instances
    named = f"{instances[1]} " if len(instances) > 1 else ""
    mine = texts.say("help_instances", instances=", ".join(instances)) if texts.names_instance else ""
    return Answer(texts.say("help", mine=Html(mine), example=f"{named}{texts.example}", with_code=texts.with_code))


def operators(settings: Settings, texts: Texts) -> Html:
    """List who may do what, for admins."""
    lines = [
        texts.say(
            "operators_line", name=operator.name, telegram_id=operator.telegram_id, on=", ".join(operator.instances)
        )
        for operator in settings.operators.values()
    ]
    return Html("\n".join([texts.say("operators_head" if lines else "operators_none"), *lines]))
