"""Which language a person is answered in, and how a time reads in it."""

import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from telegram import User

from bot.config import Operator
from bot.languages import Languages
from bot.replies import Replies
from tests.conftest import ANA, BIA, STRANGER, Stage
from tests.sandbox.server import Json

NUMBER = "5511999999999"
PINNED = {"en": "📌 Pinned", "pt-BR": "📌 Conversa fixada", "es": "📌 Chat fijado"}


def user(code: str | None) -> User:
    return User(ANA, "Ana", is_bot=False, language_code=code)


@pytest.mark.parametrize(
    ("operators", "configs", "telegrams", "chosen"),
    [
        ("es", "pt-BR", "en", "es"),
        (None, "pt-BR", "es", "pt-BR"),
        (None, None, "es", "es"),
        (None, None, "es-419", "es"),
        (None, None, "pt", "pt-BR"),
        (None, None, "pt-br", "pt-BR"),
        (None, None, "pt-PT", "pt-BR"),
        (None, None, "PT_br", "pt-BR"),
        (None, None, "en-GB", "en"),
        (None, None, "de", "en"),
        (None, None, "est", "en"),
        (None, None, "", "en"),
        (None, None, None, "en"),
    ],
)
def test_the_operators_language_comes_first_then_the_configurations_then_telegrams_then_english(
    operators: str | None, configs: str | None, telegrams: str | None, chosen: str
) -> None:
    languages = Languages(configs, UTC)
    operator = Operator(ANA, "Ana", ("sales",), operators)
    assert languages.of(operator, user(telegrams)) is languages.all[chosen]
    if operators is None:
        assert languages.of(None, user(telegrams)) is languages.all[chosen]


def test_somebody_of_whom_nothing_is_known_is_answered_in_the_configurations_language() -> None:
    assert Languages("es", UTC).of(None) is not Languages(None, UTC).of(None)
    languages = Languages("es", UTC)
    assert languages.of(None) is languages.all["es"]


NOW = datetime(2026, 11, 18, 1, 30, tzinfo=UTC)  # a Wednesday; still Tuesday in São Paulo
WHEN: list[tuple[str, str, datetime, str]] = [
    ("en", "UTC", datetime(2026, 11, 18, 0, 5, tzinfo=UTC), "today 00:05"),
    ("en", "UTC", datetime(2026, 11, 17, 14, 5, tzinfo=UTC), "Tuesday 14:05"),
    ("en", "America/Sao_Paulo", datetime(2026, 11, 17, 14, 5, tzinfo=UTC), "today 11:05"),
    ("pt-BR", "America/Sao_Paulo", datetime(2026, 11, 16, 17, 5, tzinfo=UTC), "segunda 14:05"),
    ("pt-BR", "America/Sao_Paulo", datetime(2026, 11, 18, 1, 0, tzinfo=UTC), "hoje 22:00"),
    ("es", "Europe/Madrid", datetime(2026, 11, 14, 13, 5, tzinfo=UTC), "sábado 14:05"),
    ("es", "Europe/Madrid", datetime(2026, 11, 12, 13, 5, tzinfo=UTC), "jueves 14:05"),
    ("en", "UTC", datetime(2026, 11, 11, 14, 5, tzinfo=UTC), "11 Nov 14:05"),
    ("pt-BR", "UTC", datetime(2026, 9, 3, 14, 5, tzinfo=UTC), "3 de set 14:05"),
    ("es", "UTC", datetime(2026, 1, 31, 14, 5, tzinfo=UTC), "31 ene 14:05"),
    ("en", "UTC", datetime(2026, 11, 19, 14, 5, tzinfo=UTC), "19 Nov 14:05"),  # another machine's clock
]


@pytest.mark.parametrize(("language", "zone", "at", "words"), WHEN)
def test_a_time_reads_in_the_languages_words_and_the_configured_time_zone(
    monkeypatch: pytest.MonkeyPatch, language: str, zone: str, at: datetime, words: str
) -> None:
    class Then(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]  # noqa: ANN401 - as datetime has it
            return NOW.astimezone(tz)

    monkeypatch.setattr("bot.replies.datetime", Then)
    assert Replies(language, ZoneInfo(zone)).when(at.timestamp()) == words


async def test_each_operator_is_answered_in_their_own_language(stage: Stage) -> None:
    stage.settings["operators"][0]["language"] = "pt-BR"
    spaniard: Json = {"id": BIA, "is_bot": False, "first_name": "Bia", "language_code": "es-ES"}
    stranger: Json = {"id": STRANGER, "is_bot": False, "first_name": "Eve", "language_code": "pt"}
    async with stage.bot():
        answer = await stage.say(f"/pin {NUMBER}")
        assert answer["text"] == f"{PINNED['pt-BR']}: +55 11 99999-9999 em sales."
        assert (await stage.press(answer, "Desafixar"))["text"].startswith("✅ Conversa desafixada")
        late = await stage.telegram.answer(stage.telegram.message(spaniard, f"/pin {NUMBER}", date=1))
        assert "más de diez minutos" in late["text"]
        query = stage.telegram.press(stranger, late, stage.telegram.button(late, "Ejecutar ahora"))
        await stage.handled()
        assert stage.telegram.callback_answers[query]["text"].startswith("Só os operadores")
        refused = await stage.telegram.answer(stage.telegram.message(stranger, "/start"))
        assert refused["text"].startswith("Eu trabalho para uma equipe")


async def test_menus_and_description_are_there_for_every_language_and_in_an_operators_own(stage: Stage) -> None:
    stage.settings["operators"][1]["language"] = "es"
    for operator in (ANA, BIA):
        stage.telegram.add_chat(operator)
    menus = stage.telegram.commands
    async with stage.bot():
        await stage.telegram.wait_for(lambda: menus.get(("chat", BIA, None, "")), what="the last menu")
    first = {(kind, who, code): menu[0]["description"] for (kind, who, _, code), menu in menus.items()}
    assert first["default", None, ""] == "What this bot is, and how to get access"
    assert first["default", None, "pt"] == "O que é este bot e como ter acesso"
    assert first["default", None, "es"] == "Qué es este bot y cómo tener acceso"
    assert first["chat", ANA, ""].startswith("Pin a WhatsApp chat")
    assert first["chat", ANA, "pt"].startswith("Fixar uma conversa")
    assert first["chat", BIA, ""].startswith("Fijar un chat")
    assert ("chat", BIA, "pt") not in first
    assert {code: text[:3] for (_, code), text in stage.telegram.descriptions.items()} == {
        "": "Pin",
        "pt": "Fix",
        "es": "Fij",
    }


async def test_the_configurations_language_is_everybodys(stage: Stage) -> None:
    stage.settings["language"] = "es"
    stage.telegram.add_chat(BIA)
    async with stage.bot():
        assert (await stage.say(f"/pin {NUMBER}"))["text"].startswith(PINNED["es"])
        menus = stage.telegram.commands
        await stage.telegram.wait_for(lambda: menus.get(("chat", BIA, None, "")), what="the last menu")
    assert menus["default", None, None, ""][0]["description"].startswith("Qué es")
    assert {code for _, _, _, code in menus} == {""}


async def test_times_are_in_the_configured_time_zone(stage: Stage) -> None:
    stage.settings["timezone"] = "Pacific/Kiritimati"
    async with stage.bot():
        before = time.time()
        await stage.say(f"/pin {NUMBER}")
        after = time.time()
        shown = (await stage.say("/history"))["text"]
    zone = ZoneInfo("Pacific/Kiritimati")
    assert any(f"{datetime.fromtimestamp(at, zone):%H:%M}, Ana" in shown for at in (before, after))
