"""Which language a person is answered in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bot.replies import Replies
from bot.values import LANGUAGES

if TYPE_CHECKING:
    from datetime import tzinfo

    from telegram import User

    from bot.config import Operator


class Languages:
    """The sentences of every language; `default` is the configuration's own, if it has one."""

    def __init__(self, default: str | None, timezone: tzinfo) -> None:
        self._default = default
        self.all = {language: Replies(language, timezone) for language in LANGUAGES}

    @property
    def by_code(self) -> dict[str, Replies]:
        """The languages besides English, by the two letters that Telegram has for them."""
        return {language[:2]: replies for language, replies in self.all.items() if language != LANGUAGES[0]}

    def of(self, operator: Operator | None, user: User | None = None) -> Replies:
        """Choose the operator's language, else the configuration's, else that of the user's Telegram, else English."""
        wanted = (operator and operator.language) or self._default or (user and user.language_code) or ""
        return self.all.get(wanted) or self.all[_nearest(wanted)]


def _nearest(code: str) -> str:
    """Take a code such as "pt" or "es-419" for the language of that family."""
    family = re.split("[-_]", code.lower())[0]  # not its first letters: "est" is no Spanish
    return next((language for language in LANGUAGES if language[:2] == family), LANGUAGES[0])
