"""Every sentence a person reads: there is one for each case, in each language, and it formats; and who reads which."""

import ast
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from telegram import User

import bot
from bot.conversation.access import Denial
from bot.conversation.menu import FOR_EVERYBODY, FOR_OPERATORS
from bot.conversation.texts import Languages, Texts, clean
from bot.ryze.chats import Problem
from bot.ryze.outcomes import OUTCOMES
from bot.settings.model import LANGUAGES, Operator
from tests.conversation.making import ANA, settings, texts
from tests.sandbox.content import parse_html, utf16

PLAIN = ("button_", "press_", "menu_", "sign_", "short", "history_failed")  # labels, alerts and menus know no HTML
HOSTILE = "<b>&</i> {x} \u202e\n\ud800 &lt; 👍"


def sentences(language: str) -> dict[str, str]:
    """All of a language; an outcome's are named as `Texts` names them: why.late."""
    source = files("bot.conversation").joinpath("locales", f"{language}.yaml").read_text("utf-8")
    found: dict[str, Any] = yaml.safe_load(source)
    outcomes = found.pop("outcomes").items()
    return found | {f"{kind}.{name}": text for name, kinds in outcomes for kind, text in kinds.items()}


LOCALES = {language: sentences(language) for language in LANGUAGES}
ENGLISH = LOCALES["en"]


def fields(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_sentences_with_the_same_fields(language: str) -> None:
    assert LOCALES[language].keys() == ENGLISH.keys()
    different = [key for key, text in LOCALES[language].items() if fields(text) != fields(ENGLISH[key])]
    assert different == []


def test_every_outcome_problem_denial_and_command_has_its_sentences() -> None:
    failures = [name for name, outcome in OUTCOMES.items() if not outcome.ok]
    wanted = [f"{kind}.{name}" for name in failures for kind in ("why", "short")]
    wanted += [f"admin.{name}" for name in failures if OUTCOMES[name].admin and name != "not_connected"]
    wanted += [f"chat_{problem}" for problem in Problem]
    wanted += [reason for reason in get_args(Denial) if reason != "stranger"]
    wanted += [f"menu_{name}" for name in (*FOR_OPERATORS, *FOR_EVERYBODY)]
    assert [key for key in wanted if not ENGLISH.get(key)] == []
    assert [key for key in ENGLISH if "." in key and key.partition(".")[2] not in failures] == []


def named() -> Iterator[str]:
    """Every key that the product names, as a pattern: as it stands in the source, or put together from parts."""
    for source in Path(bot.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.escape(node.value) + ("[a-z_]+" if node.value.endswith("_") else "")
            elif isinstance(node, ast.JoinedStr) and sum(isinstance(part, ast.Constant) for part in node.values) == 1:
                parts = [re.escape(str(p.value)) if isinstance(p, ast.Constant) else "[a-z_]+" for p in node.values]
                yield "".join(parts)


def test_no_sentence_is_left_over() -> None:
    patterns = [*named(), *get_args(Denial)]
    left = [key for key in ENGLISH if "." not in key and not any(re.fullmatch(each, key) for each in patterns)]
    assert left == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_formats_into_what_telegram_takes_whatever_is_filled_in(language: str) -> None:
    words = texts(language)
    for key, sentence in LOCALES[language].items():
        filled = dict.fromkeys(fields(sentence), HOSTILE)
        if key.startswith(PLAIN):
            text = words.plain(key, **filled)
            assert "<b>&</i>" in text or not filled, key
        else:
            text, _ = parse_html(words.say(key, **filled))
        assert text.strip(), key
        assert utf16(text) <= (200 if key.startswith("press_") else 4096), key
        assert "\u202e" not in text, key
        assert "\ud800" not in text, key
        assert len(text) <= 256 or not key.startswith("menu_"), key
        assert len(sentence) <= 28 or not key.startswith("button_"), key
    assert len(words.plain("short_description")) <= 120
    assert (len(words.plain("weekdays").split()), len(words.plain("months").split())) == (7, 12)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_names_how_many_places_there_are(language: str) -> None:
    counting = {"en": "three|3", "pt-BR": "três|3", "es": "tres|3"}[language]
    assert [key for key, text in LOCALES[language].items() if re.search(rf"\b({counting})\b", text)] == []


@given(st.text(st.characters(exclude_categories=())))
def test_no_foreign_text_survives_as_markup_line_or_direction(text: str) -> None:
    shown, entities = parse_html(f"<i>{texts().say('press_stranger')}</i>{texts().say('pressed_by', name=text)}.")
    assert shown.endswith(f"👆 {clean(text)}.")
    assert [entity["type"] for entity in entities] == ["italic"]
    assert len(f"{clean(text)}.".splitlines()) == 1
    assert not {"\u202e", "\u2066", "\ufeff"} & set(clean(text))
    clean(text).encode()


@pytest.mark.parametrize(
    ("language", "days_ago", "says"),
    [
        ("pt-BR", 0, "hoje"),
        ("en", 1, "{0:%A}"),
        ("en", 6, "{0:%A}"),
        ("en", 7, "{0.day} {0:%b}"),
        ("en", -1, "{0.day} {0:%b}"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/Sao_Paulo", "Pacific/Kiritimati"])
def test_a_time_reads_in_words_and_in_the_configured_time_zone(
    language: str, days_ago: int, says: str, zone: str
) -> None:
    words = Texts(language, ZoneInfo(zone), None)
    then = datetime.now(ZoneInfo(zone)).replace(hour=12, minute=5) - timedelta(days=days_ago)
    assert words.when(then.timestamp()) == f"{says.format(then)} 12:05"


@pytest.mark.parametrize(
    ("region", "example", "with_code"),
    [
        ("BR", "11 99999-9999", "with its DDD"),
        (None, "+55 11 99999-9999", "with its country code"),
        ("US", "(201) 555-0123", "with its area code"),
    ],
)
def test_examples_are_written_as_in_the_region(region: str | None, example: str, with_code: str) -> None:
    words = texts(region=region)
    assert (words.example, words.with_code) == (example, with_code)


def user(code: str | None, telegram_id: int = 111) -> User:
    return User(telegram_id, "Ana", is_bot=False, language_code=code)


@pytest.mark.parametrize(
    ("operators", "configured", "telegrams", "chosen"),
    [
        ("es", "pt-BR", "en", "es"),
        (None, "pt-BR", "es", "pt-BR"),
        (None, None, "pt-PT", "pt-BR"),
        (None, None, "en-GB", "en"),
        (None, None, "est", "en"),
        (None, None, None, "en"),
    ],
)
def test_the_operators_language_comes_first_then_the_configurations_then_telegrams_then_english(
    operators: str | None, configured: str | None, telegrams: str | None, chosen: str
) -> None:
    languages = Languages(settings(language=configured))
    operator = Operator.model_validate(ANA.model_dump() | {"language": operators})
    assert languages.of(operator, user(telegrams)).language == chosen
    if operators is None:
        assert languages.of(None, user(telegrams)).language == chosen


def test_an_admins_language_is_the_configurations_or_that_of_their_telegram_when_they_wrote_last() -> None:
    languages = Languages(settings(admins=[500, 111]))
    assert languages.of_admin(500).language == "en"
    languages.of(None, user("es", 500))
    languages.of(None, user("pt", 501))
    assert [languages.of_admin(admin).language for admin in (500, 111)] == ["es", "en"]
    languages = Languages(settings(admins=[500], language="pt-BR"))
    languages.of(None, user("es", 500))
    assert languages.of_admin(500).language == "pt-BR"
