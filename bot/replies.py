"""Every sentence a person reads: keys and fields in, Telegram's HTML out."""

from __future__ import annotations

import html
import unicodedata
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.resources import files
from typing import TYPE_CHECKING

import yaml

from bot.buttons import Action, Page, Press, instance_hash, pack
from bot.chats import Chat
from bot.outcomes import NotConfirmed, OutcomeUnknown, Result, RyzeError, ServerTrouble, UnreadableAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo

    from bot.chats import AmbiguousChat, ChatError
    from bot.store import Entry

MOST_QUOTED = 300  # characters of an upstream text that are shown
MOST_BYTES_OF_RESULTS = 7000  # as UTF-16, of Telegram's 8192: what was not tried or read needs room as well
UNSURE = (OutcomeUnknown, ServerTrouble, UnreadableAnswer, NotConfirmed)
_SELF_EXPLAINING = frozenset({"rate_limited", "token_refused", "instance_not_found", "not_connected"})
_FOR_THE_LOG = frozenset({"not_sent", "outcome_unknown"})
_AGAIN_HELPS = frozenset(
    {"not_connected", "rate_limited", "throttled", "not_sent", "outcome_unknown", "server_trouble", "unreadable_answer"}
    | {"not_confirmed", "out_of_sync", "pin_limit"}
)


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
    """The sentences of one language, with times of day in one time zone."""

    def __init__(self, language: str, timezone: tzinfo) -> None:
        source = files("bot.locales").joinpath(f"{language}.yaml").read_text(encoding="utf-8")
        # In C where PyYAML was built with it: a tenth of a second of the start.
        loader: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._sentences: Mapping[str, str] = yaml.load(source, loader)  # noqa: S506 - both are safe
        self._timezone = timezone

    def say(self, key: str, **fields: object) -> str:
        """Fill a sentence's fields in as Telegram's HTML, each cleaned and escaped."""
        return self._sentences[key].format(**{name: escape(str(value)) for name, value in fields.items()})

    def plain(self, key: str, **fields: object) -> str:
        """Fill a sentence's fields in as plain text, for labels and alerts, which know no HTML."""
        return self._sentences[key].format(**{name: clean(str(value)) for name, value in fields.items()})

    def when(self, at: float) -> str:
        """A time (Unix seconds) in words: "today 14:05", "Tuesday 14:05", "12 Nov 14:05"."""
        moment, now = datetime.fromtimestamp(at, self._timezone), datetime.now(self._timezone)
        days = (now.date() - moment.date()).days
        if days == 0:
            day = self.plain("today")
        elif 0 < days < 7:
            day = self.plain("weekdays").split()[moment.weekday()]
        else:
            day = self.plain("date", day=moment.day, month=self.plain("months").split()[moment.month - 1])
        return f"{day} {moment:%H:%M}"

    def result(self, result: Result, instance: str, may_go: Sequence[Entry] = ()) -> Answer:
        """What came of one call, with the next sensible step below it; at the limit, which pins `may_go` for it."""
        text, here = self._head(result, instance), instance_hash(instance)
        if result.error is None:
            if result.chat.jid_differs(result.jid):
                text += "\n" + self.say("other_chat", jid=shorten(result.jid or ""))
            label = "button_unpin" if result.pin else "button_pin_again"
            return Answer(text, self.button(label, Press(_action(pin=not result.pin), here, result.chat)), good=True)
        lines = [text, self.why(result.error, instance)]
        buttons: list[Button] = []
        if may_go:
            lines.append(self.say("may_go"))
        for entry in may_go:
            chat = entry_chat(entry)
            lines.append(self.say("pins_line", chat=chat.display, name=entry.operator, when=self.when(entry.at)))
            press = Press(Action.SWAP, here, result.chat, chat)
            buttons += self.button("button_swap", press, chat=chat.display)
        if result.outcome in _AGAIN_HELPS:
            buttons += self.button("button_again", Press(_action(pin=result.pin), here, result.chat))
        return Answer("\n".join(lines), tuple(buttons))

    def _head(self, result: Result, instance: str) -> str:
        verb = "pin" if result.pin else "unpin"
        if result.error is None:
            key = f"{verb}ned"
        else:
            key = ("unsure_" if isinstance(result.error, UNSURE) else "failed_") + verb
        return self.say(key, chat=result.chat.display, instance=instance)

    def why(self, error: RyzeError, instance: str, quoted: int = MOST_QUOTED) -> str:
        """What happened, who can mend it, what to do next, and so much of Ryze's own words where they tell more."""
        sentence = self.say(error.outcome, instance=instance, status=error.status)
        if error.text and quoted and error.outcome not in _SELF_EXPLAINING | _FOR_THE_LOG:
            sentence += "\n" + self.say("ryze_said", text=shorten(error.text, quoted))
        return sentence

    def swapped(self, results: Sequence[Result], chat: Chat, instance: str) -> Answer:
        """What came of unpinning one chat to pin another: the results so far, the third of putting the first back."""
        answer, here = self.result(results[-1], instance), instance_hash(instance)
        not_tried = self.say("not_tried", chat=chat.display, instance=instance)
        if results[0].error:
            swap = Press(Action.SWAP, here, chat, results[0].chat)
            again = self.button("button_swap", swap, chat=results[0].chat.display)
            return Answer(f"{answer.text}\n{not_tried}", again)
        head = self._head(results[0], instance)
        if len(results) == 1:
            again = self.button("button_pin_chat", Press(Action.PIN, here, chat), chat=chat.display)
            return Answer(f"{head}\n{not_tried}", again)
        if len(results) == 2:
            lasting = (
                "" if results[1].error is None else "\n" + self.say("stays_unpinned", chat=results[0].chat.display)
            )
            return replace(answer, text=f"{head}\n{answer.text}{lasting}")
        refused, back = self.result(results[1], instance), results[2]
        key = "put_back" if back.error is None else "not_put_back"
        last = self._head(back, instance) if isinstance(back.error, UNSURE) else self.say(key, chat=back.chat.display)
        return Answer(f"{refused.text}\n{last}", refused.buttons)

    def several(
        self, results: Sequence[Result], untried: Sequence[str], unread: Sequence[str], instance: str
    ) -> Answer:
        """One line a chat, and which were not tried since an earlier one showed that they could not succeed."""
        for quoted in (MOST_QUOTED, 60, 0):
            lines = []
            for result in results:
                line = self._head(result, instance)
                if result.error is not None:
                    line += " " + self.why(result.error, instance, quoted).replace("\n", " ")
                elif result.chat.jid_differs(result.jid):
                    line += " " + self.say("other_chat", jid=shorten(result.jid or "", 60))
                lines.append(line)
            if len("".join(lines).encode("utf-16-le")) < MOST_BYTES_OF_RESULTS:
                break
        lines += [self.say("not_tried", chat=chat, instance=instance) for chat in untried]
        lines += [self.say("unread", typed=shorten(text, 40), instance=instance) for text in unread]
        good = not untried and not unread and all(result.error is None for result in results)
        return Answer("\n".join(lines), good=good)

    def not_run(self, outcome: str, chats: str, instance: str, press: Press | None) -> Answer:
        """Why a command was not run, with a button that runs it; a late one's is for its own operator only."""
        text = self.say(outcome, chat=chats, instance=instance)
        if press is None:
            return Answer(f"{text} {self.say('send_again')}")
        if outcome != "late":
            press = replace(press, owner=None)
        return Answer(text, self.button("button_run" if outcome == "late" else "button_again", press))

    def which_reading(self, two: AmbiguousChat, instance: str, *, pin: bool) -> Answer:
        """Ask which of two chats was meant; only the tap acts."""
        verb = "pin" if pin else "unpin"
        typed = two.choices[-1][1].number
        text = self.say("which_reading", typed=typed, verb=self.plain(f"verb_{verb}"), instance=instance)
        buttons: list[Button] = []
        for region, chat in two.choices:
            shown = f"{_flag(region)} {chat.display}".strip()
            buttons += self.button(
                f"button_{verb}_chat", Press(_action(pin=pin), instance_hash(instance), chat), chat=shown
            )
        return Answer(text, tuple(buttons))

    def which_chat(self, chats: Sequence[Chat], instance: str, *, pin: bool) -> Answer:
        """Ask for the chat that a command lacks, with those to choose from that may be meant."""
        verb = "pin" if pin else "unpin"
        text = self.say("chat_missing", verb=self.plain(f"verb_{verb}"), instance=instance)
        if not chats:
            return Answer(f"{text}\n{self.usage(verb)}")
        buttons: list[Button] = []
        for chat in chats:
            press = Press(_action(pin=pin), instance_hash(instance), chat)
            buttons += self.button(f"button_{verb}_chat", press, chat=chat.display)
        return Answer(f"{text}\n{self.say('or_choose')}", tuple(buttons))

    def offer(self, chats: Sequence[Chat], name: str, instance: str) -> Answer:
        """What to do with a chat that was sent without a command; only the tap acts."""
        shown = " / ".join(chat.display for chat in chats)
        text = self.say("offer_named" if name else "offer", chat=shown, name=shorten(name, 64), instance=instance)
        buttons: list[Button] = []
        for chat in chats:
            for action in (Action.PIN, Action.UNPIN):
                label = f"button_{action}_chat" if len(chats) > 1 else f"button_{action}"
                buttons += self.button(label, Press(action, instance_hash(instance), chat), chat=chat.display)
        return Answer(text, tuple(buttons))

    def no_chat(self, problem: ChatError, instance: str, *, pin: bool) -> Answer:
        """Why a text names no chat, and what to send instead."""
        verb = "pin" if pin else "unpin"
        sentence = self.say(
            f"chat_{problem.kind}", verb=self.plain(f"verb_{verb}"), instance=instance, typed=shorten(problem.typed, 40)
        )
        return Answer(f"{sentence}\n{self.usage(verb, group=problem.kind == 'too_long_number')}")

    def usage(self, verb: str, *, group: bool = False) -> str:
        """Show what a command looks like."""
        return self.say("usage", command=verb, example=self.plain("example_group" if group else "example"))

    def pins(self, pinned: Sequence[Entry], instance: str) -> Answer:
        """What is pinned as far as the bot knows, with buttons to unpin."""
        if not pinned:
            return Answer(f"{self.say('pins_none', instance=instance)}\n{self.say('pins_unseen')}")
        lines = [self.say("pins_head", instance=instance)]
        buttons: list[Button] = []
        for entry in pinned:
            chat = entry_chat(entry)
            lines.append(self.say("pins_line", chat=chat.display, name=entry.operator, when=self.when(entry.at)))
            press = Press(Action.UNPIN, instance_hash(instance), chat)
            buttons += self.button("button_unpin_chat", press, chat=chat.display)
        return Answer("\n".join([*lines, self.say("pins_unseen")]), tuple(buttons))

    def history(self, entries: Sequence[Entry], instance: str, offset: int, *, more: bool) -> Answer:
        """A page of attempts, newest first, with buttons for the pages beside it."""
        lines = [self.say("history_head" if entries else "history_none", instance=instance)]
        for entry in entries:
            done = entry.outcome in ("pinned", "unpinned")
            outcome = "" if done else self.plain("history_failed", outcome=self.plain(f"short_{entry.outcome}"))
            key = f"history_{entry.action}"
            lines.append(
                self.say(
                    key, chat=entry_chat(entry).display, name=entry.operator, when=self.when(entry.at), outcome=outcome
                )
            )
        buttons: list[Button] = []
        if more:
            buttons += self.button("button_older", Page(instance_hash(instance), offset + len(entries)))
        if offset:
            buttons += self.button("button_newest", Page(instance_hash(instance), 0))
        return Answer("\n".join(lines), tuple(buttons))

    def not_yours(self, name: str, instances: Sequence[str]) -> str:
        """An instance was named that is not the operator's, whether it exists or not."""
        return self.say("not_your_instance", name=shorten(name, 40), instances=", ".join(instances))

    def with_admin(self, answer: Answer) -> Answer:
        """Add that the admins know."""
        return replace(answer, text=f"{answer.text}\n{self.say('admin_told')}")

    def button(self, label: str, press: Press | Page, **fields: object) -> tuple[Button, ...]:
        """Make a button; none if its data would be too long."""
        data = pack(press)
        return (Button(self.plain(label, **fields), data),) if data else ()


def entry_chat(entry: Entry) -> Chat:
    """Give the chat of a kept attempt."""
    return Chat(entry.chat)


def _action(*, pin: bool) -> Action:
    return Action.PIN if pin else Action.UNPIN


def _flag(region: str) -> str:
    """Give a country's flag; "" for a region that is none."""
    return "".join(chr(ord("🇦") + ord(letter) - ord("A")) for letter in region) if region.isalpha() else ""


def clean(text: str) -> str:
    """Drop what would break a message or reorder it: line breaks, control and format characters, lone surrogates."""
    if text.isascii() and text.isprintable():
        return text
    spaced = (" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cf", "Cs") and c not in "\ufffe\uffff")


def escape(text: str) -> str:
    """Make a foreign text safe inside Telegram's HTML."""
    return html.escape(clean(text), quote=False)


def shorten(text: str, most: int = MOST_QUOTED) -> str:
    """Cut a text to at most so many characters, with an ellipsis for what is gone."""
    return text if len(text) <= most else text[: most - 1] + "…"
