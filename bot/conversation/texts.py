"""The sentences of every language, and which of them a person reads."""

import html
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cache
from importlib.resources import files
from typing import Any

import phonenumbers
import yaml
from telegram import User

from bot.settings.model import LANGUAGES, Operator, Settings

MAX_LABEL = 28  # characters that a phone shows of a button


class Html(str):
    """A text that is Telegram's HTML already, so that `Texts.say` does not escape it."""


@dataclass(frozen=True, slots=True)
class Texts:
    """One person's language. With `names_instance`, sentences say which instance they are about."""

    language: str
    timezone: tzinfo
    region: str | None
    names_instance: bool = True

    def say(self, key: str, **fields: object) -> Html:
        """Fill in a sentence as Telegram's HTML; every field that is not `Html` is cleaned and escaped."""
        for name, value in fields.items():
            if not isinstance(value, Html):
                fields[name] = html.escape(clean(str(value)), quote=False)
        return Html(_sentences(self.language)[key].format(**fields))

    def plain(self, key: str, **fields: object) -> str:
        """Fill in a sentence as plain text, for labels and alerts, which know no HTML."""
        return _sentences(self.language)[key].format(**{name: clean(str(value)) for name, value in fields.items()})

    def on(self, instance: str) -> Html:
        """Say “ on sales”, or nothing where there is only one instance it can be."""
        return self.say("on_instance", instance=instance) if self.names_instance else Html()

    def label(self, key: str, chat: str) -> str:
        """Fill a chat into a button's label; a chat that is too long is cut in the middle, its last 8 digits stay."""
        room = MAX_LABEL - len(self.plain(key, chat=""))
        if len(chat) > room:
            tail = re.search(r"(?:\d\D*){8}$", chat)
            kept = tail[0] if tail else chat[-room + 1 :]
            chat = chat[: max(room - len(kept) - 1, 0)] + "…" + kept
        return self.plain(key, chat=chat)

    def when(self, at: float) -> str:
        """Say a time (Unix seconds) in words: “today 14:05”, “Tuesday 14:05”, “12 Nov 14:05”."""
        moment, now = datetime.fromtimestamp(at, self.timezone), datetime.now(self.timezone)
        days = (now.date() - moment.date()).days
        if days == 0:
            day = self.plain("today")
        elif 0 < days < 7:
            day = self.plain("weekdays").split()[moment.weekday()]
        else:
            day = self.plain("date", day=moment.day, month=self.plain("months").split()[moment.month - 1])
        return f"{day} {moment:%H:%M}"

    @property
    def example(self) -> str:
        """A number as people of the region write it."""
        if self.region == "BR":
            return "11 99999-9999"
        number = phonenumbers.example_number_for_type(self.region, phonenumbers.PhoneNumberType.MOBILE)
        shown = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL) if number else ""
        return shown if self.region else "+55 11 99999-9999"

    @property
    def with_code(self) -> str:
        """What a number has to be written with: “with DDD”, “with its area code”, “with its country code”."""
        return self.plain({None: "with_country_code", "BR": "with_ddd"}.get(self.region, "with_area_code"))


class Languages:
    """Chooses the language in which a person is answered."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admins: dict[int, User] = {}  # as they were when they wrote last

    def of(self, operator: Operator | None, user: User | None = None, *, private: bool = False) -> Texts:
        """Choose the operator's language, else the configuration's, else that of the user's Telegram, else English."""
        settings = self._settings
        if user and user.id in settings.admins:
            self._admins[user.id] = user
        code = (operator and operator.language) or settings.language or (user and user.language_code) or ""
        family = re.split("[-_]", code.lower())[0]  # not the first letters: "est" is Estonian
        language = next((language for language in LANGUAGES if language[:2] == family), LANGUAGES[0])
        names_instance = not (private and operator and len(operator.instances) == 1)
        return Texts(language, settings.timezone, settings.region, names_instance)

    def of_admin(self, telegram_id: int) -> Texts:
        """Choose the language for a message that an admin has not asked for."""
        return self.of(self._settings.operators.get(telegram_id), self._admins.get(telegram_id))


@cache
def _sentences(language: str) -> dict[str, str]:
    """Load a language's sentences by their keys; `why.late` is the sentence `why` of the outcome `late`."""
    source = files("bot.conversation").joinpath("locales", f"{language}.yaml").read_text(encoding="utf-8")
    # In C where PyYAML was built with it: a tenth of a second of the start.
    loader: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    sentences: dict[str, Any] = yaml.load(source, loader)  # noqa: S506 - both are safe
    for outcome, kinds in sentences.pop("outcomes").items():
        sentences |= {f"{kind}.{outcome}": text for kind, text in {"admin": "", **kinds}.items()}
    return sentences


def clean(text: str) -> str:
    """Drop what would break a message or reorder it: line breaks, control and format characters, lone surrogates."""
    if text.isascii() and text.isprintable():
        return text
    spaced = (" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cf", "Cs") and c not in "\ufffe\uffff")


def shorten(text: str, max_length: int) -> str:
    """Cut a text to at most so many characters, with an ellipsis for what is gone."""
    return text if len(text) <= max_length else text[: max_length - 1] + "…"
