"""Every sentence a person reads: keys and fields in, Telegram's HTML out."""

from __future__ import annotations

import html
import unicodedata
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING

import yaml

from bot.buttons import Press, instance_hash, pack
from bot.outcomes import NotConfirmed, OutcomeUnknown, PinnedChat, RyzeError, ServerTrouble, UnreadableAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bot.chats import AmbiguousChat, ChatError

MOST_QUOTED = 300  # characters of an upstream text that are shown
_UNSURE = (OutcomeUnknown, ServerTrouble, UnreadableAnswer, NotConfirmed)
_SELF_EXPLAINING = frozenset({"rate_limited", "token_refused", "instance_not_found", "not_connected"})
_SILENT = frozenset({"not_sent", "outcome_unknown"})  # their texts are for the log


@dataclass(frozen=True, slots=True)
class Button:
    """An inline button: its label, and what comes back when it is pressed (64 bytes at most)."""

    label: str
    data: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said in Telegram's HTML, with one button a row below it. `good` may be sent without a sound."""

    text: str
    buttons: tuple[Button, ...] = ()
    good: bool = False


class Replies:
    """The sentences of one language."""

    def __init__(self, language: str = "en") -> None:
        source = files("bot.locales").joinpath(f"{language}.yaml").read_text(encoding="utf-8")
        self._sentences: Mapping[str, str] = yaml.safe_load(source)

    def say(self, key: str, **fields: object) -> str:
        """Fill a sentence's fields in as Telegram's HTML, each cleaned and escaped."""
        return self._sentences[key].format(**{name: escape(str(value)) for name, value in fields.items()})

    def plain(self, key: str, **fields: object) -> str:
        """Fill a sentence's fields in as plain text, for labels and alerts, which know no HTML."""
        return self._sentences[key].format(**{name: clean(str(value)) for name, value in fields.items()})

    def done(self, done: PinnedChat, press: Press, instance: str) -> Answer:
        """What Ryze confirmed, and whether the chat it found is another than the one typed."""
        text = self.say("pinned" if press.pin else "unpinned", chat=press.chat.display, instance=instance)
        if press.chat.jid_differs(done.chat_jid):
            text += "\n" + self.say("other_chat", jid=shorten(done.chat_jid or ""))
        return Answer(text, good=True)

    def failed(self, error: RyzeError, press: Press, instance: str) -> Answer:
        """What happened, who can mend it, what to do next, and Ryze's own words where they tell more."""
        head = ("unsure" if isinstance(error, _UNSURE) else "failed") + ("_pin" if press.pin else "_unpin")
        lines = [
            self.say(head, chat=press.chat.display, instance=instance),
            self.say(error.outcome, instance=instance, status=error.status),
        ]
        if error.text and error.outcome not in _SELF_EXPLAINING | _SILENT:
            lines.append(self.say("ryze_said", text=shorten(error.text)))
        return Answer("\n".join(lines))

    def not_run(self, outcome: str, press: Press, instance: str) -> Answer:
        """Why a command was not run, with a button that runs it; a late one's is for its own operator only."""
        text = self.say(outcome, chat=press.chat.display, instance=instance)
        if outcome == "late":
            return Answer(text, self._buttons(self.plain("button_run"), press))
        return Answer(text, self._buttons(self.plain("button_again"), replace(press, owner=None)))

    def which_reading(self, two: AmbiguousChat, instance: str, *, pin: bool) -> Answer:
        """Ask which of two chats was meant; only the tap acts."""
        verb = "pin" if pin else "unpin"
        typed = two.choices[-1][1].number
        text = self.say("which_reading", typed=typed, verb=self.plain(f"verb_{verb}"), instance=instance)
        buttons: list[Button] = []
        for region, chat in two.choices:
            label = self.plain(f"button_{verb}", chat=f"{_flag(region)} {chat.display}".strip())
            buttons += self._buttons(label, Press(pin, instance_hash(instance), chat))
        return Answer(text, tuple(buttons))

    def no_chat(self, problem: ChatError, instance: str, *, pin: bool) -> Answer:
        """Why a text names no chat, and what to send instead."""
        verb = "pin" if pin else "unpin"
        sentence = self.say(
            f"chat_{problem.kind}", verb=self.plain(f"verb_{verb}"), instance=instance, typed=shorten(problem.typed, 40)
        )
        example = self.plain("example_group" if problem.kind == "too_long_number" else "example")
        return Answer(f"{sentence}\n{self.say('usage', command=verb, example=example)}")

    @staticmethod
    def _buttons(label: str, press: Press) -> tuple[Button, ...]:
        data = pack(press)
        return (Button(label, data),) if data else ()


def _flag(region: str) -> str:
    """Give a country's flag; "" for a region that is none."""
    return "".join(chr(ord("🇦") + ord(letter) - ord("A")) for letter in region) if region.isalpha() else ""


def clean(text: str) -> str:
    """Drop what would break a message or reorder it: line breaks, control and format characters, lone surrogates."""
    spaced = (" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cf", "Cs") and c not in "\ufffe\uffff")


def escape(text: str) -> str:
    """Make a foreign text safe inside Telegram's HTML."""
    return html.escape(clean(text), quote=False)


def shorten(text: str, most: int = MOST_QUOTED) -> str:
    """Cut a text to at most so many characters, with an ellipsis for what is gone."""
    return text if len(text) <= most else text[: most - 1] + "…"
