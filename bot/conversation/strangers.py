"""What somebody who is on nobody's list is told, and the entry that would let them in."""

import json
import re

from telegram import User

from bot.conversation import hints
from bot.conversation.admins import Admins
from bot.conversation.texts import Texts, clean, shorten
from bot.conversation.throttle import Throttle
from bot.settings.model import Settings
from bot.telegram.outbox import Answer, Button


class Strangers:
    """Answers strangers in private: their id, and how to get access. They learn nothing else about the team."""

    def __init__(self, settings: Settings, admins: Admins) -> None:
        self._settings, self._admins = settings, admins
        self._answers = Throttle(per_key=3, overall=10 if settings.operators else 200)  # a minute

    async def answer(self, texts: Texts, stranger: User, command: str | None) -> Answer | None:
        """Answer one message, if this person has not had several answers in this minute."""
        if command == "operators" and stranger.id in self._settings.admins:
            return hints.operators(self._settings, texts)
        if not self._answers.allow((stranger.id, command == "id")):
            self._admins.gather(stranger)
            return None
        if command == "id":
            return Answer(texts.say("id", telegram_id=stranger.id))
        line = entry(stranger, self._settings)
        told = await self._admins.request(stranger, line)
        text = texts.say("stranger_told" if told else "stranger", telegram_id=stranger.id, entry=line)
        return Answer(text, () if told else (Button(texts.plain("button_copy"), None, copy=line),))


def entry(stranger: User, settings: Settings) -> str:
    """Write the line for `operators:` that would let somebody in, indented as in the example's file."""
    name = clean(shorten(stranger.full_name, 64)).strip() or str(stranger.id)
    name = json.dumps(name.replace("${", "$${"), ensure_ascii=False)  # nobody's name becomes a variable's value
    only = next(iter(settings.instances)) if len(settings.instances) == 1 else "INSTANCE"
    instance = only if re.fullmatch(r"[A-Za-z][\w -]*\w", only, re.ASCII) else json.dumps(only, ensure_ascii=False)
    instance = instance if len(instance) <= 64 else "INSTANCE"  # a button copies 256 characters at most
    return f"  - {{telegram_id: {stranger.id}, name: {name}, instance: {instance}}}"
