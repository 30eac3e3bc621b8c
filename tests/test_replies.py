"""Every sentence a person reads: there is one for each case, in each language, it formats, and none is left over."""

import ast
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from string import Formatter

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import bot
from bot import profile
from bot.access import Reason
from bot.chats import Chat, ChatError, ChatProblem
from bot.outcomes import Result, RyzeError
from bot.replies import Replies, clean, escape, shorten
from bot.values import LANGUAGES
from tests.sandbox.entities import parse_html, utf16

SOURCES = sorted(Path(bot.__file__).parent.glob("*.py"))
LOCALES = {
    language: yaml.safe_load((SOURCES[0].parent / "locales" / f"{language}.yaml").read_text("utf-8"))
    for language in LANGUAGES
}
ENGLISH: dict[str, str] = LOCALES["en"]
OUTCOMES = sorted(RyzeError.__subclasses__(), key=lambda kind: kind.outcome)
NOT_RUN = ("late", "busy", "queue_timeout")
PLAIN = ("button_", "press_", "menu_", "short_", "verb_")  # labels, alerts and menus, which know no HTML
HOSTILE = "<b>&</i> {x} \u202e\n\ud800 &lt; 👍"


def fields(sentence: str) -> list[str]:
    return sorted(name for _, name, _, _ in Formatter().parse(sentence) if name is not None)


def made_up(key: str) -> dict[str, str]:
    return dict.fromkeys(fields(ENGLISH[key]), HOSTILE)


def named() -> Iterator[str]:
    """Every key that the product names: as it stands in the source, or put together from parts."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
    yield from (kind.outcome for kind in OUTCOMES)
    yield from (f"short_{outcome}" for outcome in (*NOT_RUN, *(kind.outcome for kind in OUTCOMES)))
    yield from (f"chat_{problem}" for problem in ChatProblem if problem is not ChatProblem.AMBIGUOUS)
    yield from (f"menu_{name}" for name in (*profile.FOR_OPERATORS, *profile.FOR_EVERYBODY))
    for verb in ("pin", "unpin"):
        yield from (f"{part}_{verb}" for part in ("failed", "unsure", "verb", "button", "history"))
        yield from (f"{verb}ned", f"button_{verb}_chat")
    yield from (key for key in ENGLISH if key.startswith("admin_") and key.removeprefix("admin_") in ENGLISH)


def test_every_outcome_problem_and_denial_has_its_sentence() -> None:
    wanted = [kind.outcome for kind in OUTCOMES] + list(NOT_RUN)
    wanted += [f"chat_{problem}" for problem in ChatProblem if problem is not ChatProblem.AMBIGUOUS] + ["which_reading"]
    wanted += [reason.value for reason in Reason]
    assert [key for key in wanted if key not in ENGLISH] == []


def test_no_sentence_is_left_over() -> None:
    assert set(ENGLISH) - set(named()) == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_sentences_with_the_same_fields(language: str) -> None:
    sentences = LOCALES[language]
    assert sentences.keys() == ENGLISH.keys()
    different = {key: fields(text) for key, text in sentences.items() if set(fields(text)) != set(fields(ENGLISH[key]))}
    assert different == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_formats_into_what_telegram_takes_whatever_is_filled_in(language: str) -> None:
    replies = Replies(language, UTC)
    for key in ENGLISH:
        if key.startswith(PLAIN):
            text = replies.plain(key, **made_up(key))
            assert "<b>&</i>" in text or not made_up(key), key
        else:
            text, _ = parse_html(replies.say(key, **made_up(key)))
            assert utf16(text) <= 4096
        assert text.strip()
        assert "\u202e" not in text
        assert "\ud800" not in text
        if key.startswith("press_"):
            assert utf16(text) <= 200, key
        if key.startswith("menu_"):
            assert len(text) <= 256, key
    assert len(replies.plain("short_description")) <= 120


@pytest.mark.parametrize("kind", OUTCOMES, ids=lambda kind: kind.outcome)
@pytest.mark.parametrize("pin", [True, False])
def test_what_went_wrong_is_told_with_chat_instance_and_what_to_do(kind: type[RyzeError], *, pin: bool) -> None:
    result = Result(Chat("5511999999999"), pin, kind("server <b>said</b> & so", status=418))
    text, _ = parse_html(Replies("en", UTC).result(result, "<i>sales</i>").text)
    head, explained, *quoted = text.split("\n")
    assert "+55 11 99999-9999" in head
    assert "<i>sales</i>" in head
    assert ("pinned" if pin else "unpinned") in head
    assert len(explained) > 40
    assert quoted in ([], ["Ryze said: “server <b>said</b> & so”"])


@pytest.mark.parametrize("problem", [each for each in ChatProblem if each is not ChatProblem.AMBIGUOUS])
def test_what_is_no_chat_is_answered_with_an_example(problem: ChatProblem) -> None:
    answer = Replies("en", UTC).no_chat(ChatError(problem, "<b>" * 100), "sales", pin=False)
    text, _ = parse_html(answer.text)
    assert "sales" in text
    assert "For example: /unpin " in text
    assert utf16(text) < 500


@given(st.text(st.characters(exclude_categories=())))
def test_no_foreign_text_survives_as_markup_line_or_direction(text: str) -> None:
    shown, entities = parse_html(f"<i>{escape(text)}</i>.")
    assert shown == clean(text) + "."
    assert [entity["type"] for entity in entities] in ([], ["italic"])
    assert len(f"{clean(text)}.".splitlines()) == 1
    assert not {"\u202e", "\u2066", "\ufeff"} & set(clean(text))
    clean(text).encode()


@given(st.text(), st.integers(1, 50))
def test_a_shortened_text_says_so(text: str, most: int) -> None:
    short = shorten(text, most)
    assert len(short) <= most
    assert short == text or short == text[: most - 1] + "…"
