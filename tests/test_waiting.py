"""What a person sees while a command waits.

The times are made shorter than they are in earnest, so that the suite does not spend its own on waiting.
"""

import re
import time

import pytest

from bot import waiting
from tests.conftest import ANA, BIA, Stage
from tests.sandbox.server import Json
from tests.sandbox.telegram import Call

COMMAND = "/pin 5511999999999"
TEAM: Json = {"id": -100123, "type": "supergroup", "title": "Team", "is_forum": True}
TOPIC = {"message_thread_id": 77, "is_topic_message": True}


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "TYPING_AFTER", 0.05)
    monkeypatch.setattr(waiting, "TYPING_LASTS", 0.2)
    monkeypatch.setattr(waiting, "WORDS_AFTER", 0.5)
    monkeypatch.setattr(waiting, "CLEARING", 1.0)


def calls(stage: Stage, method: str) -> list[Call]:
    return [call for call in stage.telegram.calls if call.method == method]


def said(stage: Stage, start: str) -> list[Call]:
    return [call for call in calls(stage, "sendMessage") if call.params["text"].startswith(start)]


async def handled(stage: Stage) -> None:
    await stage.telegram.wait_for(lambda: not stage.telegram.pending, what="all updates confirmed")


def test_words_come_after_about_ten_seconds_and_typing_much_sooner_and_without_a_gap() -> None:
    assert waiting.WORDS_AFTER == 10
    assert waiting.TYPING_AFTER <= 1
    assert waiting.TYPING_LASTS < 5  # for which Telegram shows it


async def test_a_quick_command_shows_nothing_but_its_answer(stage: Stage) -> None:
    async with stage.bot():
        await stage.telegram.answer(stage.telegram.message(ANA, COMMAND))
        await handled(stage)
    assert not calls(stage, "sendChatAction")
    assert len(calls(stage, "sendMessage")) == 1


async def test_a_slow_one_shows_typing_in_its_topic_until_it_is_answered(stage: Stage) -> None:
    stage.ryze.delay = 1.5
    async with stage.bot():
        await stage.telegram.answer(stage.telegram.message(ANA, COMMAND, chat=TEAM, **TOPIC))
        await handled(stage)
    (typing,) = calls(stage, "sendChatAction")
    assert typing.params == {"chat_id": TEAM["id"], "action": "typing", "message_thread_id": 77}
    assert typing.status == 200


@pytest.mark.usefixtures("_soon")
async def test_typing_is_shown_again_as_long_as_it_lasts(stage: Stage) -> None:
    hold = stage.ryze.fault(delay=10)
    async with stage.bot():
        message = stage.telegram.message(ANA, COMMAND)
        await stage.telegram.wait_for(lambda: len(calls(stage, "sendChatAction")) >= 5, what="typing, five times")
        hold.stop()
        await stage.telegram.answer(message)
        await handled(stage)
        number = len(calls(stage, "sendChatAction"))
        await stage.telegram.answer(stage.telegram.message(BIA, COMMAND))
    assert len(calls(stage, "sendChatAction")) == number


@pytest.mark.usefixtures("_soon")
async def test_a_long_wait_is_explained_without_a_sound_and_the_words_go_after_the_answer(stage: Stage) -> None:
    hold = stage.ryze.fault(delay=10)
    async with stage.bot():
        message = stage.telegram.message(ANA, COMMAND, chat=TEAM, **TOPIC)
        (words,) = await stage.telegram.wait_for(lambda: stage.telegram.sent(TEAM["id"]), what="words")
        assert words["text"] == "⏳ Waiting for Ryze's answer about +55 11 99999-9999 on sales."
        assert words["message_thread_id"] == 77
        hold.stop()
        answer = await stage.telegram.answer(message)
        await handled(stage)
    assert stage.telegram.sent() == [answer]
    assert answer["text"].startswith("📌")
    explained, told = calls(stage, "sendMessage")
    assert explained.params["disable_notification"] is True
    assert told.at < calls(stage, "deleteMessage")[0].at
    assert len(stage.ryze.calls) == 1


@pytest.mark.usefixtures("_soon")
async def test_who_waits_for_the_lane_is_told_so(stage: Stage) -> None:
    hold = stage.ryze.fault(delay=10)
    async with stage.bot():
        stage.telegram.message(ANA, COMMAND)
        second = stage.telegram.message(ANA, "/pin +1 415 555 2671")
        words = "⏳ Waiting: other commands for sales come before this one for +1 415-555-2671."
        await stage.telegram.wait_for(
            lambda: [message for message in stage.telegram.sent() if message["text"] == words], what=words
        )
        hold.stop()
        await stage.telegram.answer(second)
        await handled(stage)
    assert [message["text"][0] for message in stage.telegram.sent()] == ["📌", "📌"]


@pytest.mark.usefixtures("_soon")
async def test_who_waits_for_the_budget_is_told_for_how_long(stage: Stage) -> None:
    stage.ryze.limit, stage.ryze.window = 1, 4.0
    async with stage.bot():
        stage.ryze.phase = time.time() % stage.ryze.window  # a window begins now
        await stage.telegram.answer(stage.telegram.message(ANA, COMMAND))
        second = stage.telegram.message(ANA, "/unpin 5511999999999")
        answer = await stage.telegram.answer(second)
        await handled(stage)
    assert answer["text"].startswith("✅")
    (words,) = said(stage, "⏳")
    assert re.search(r"limit of requests a minute: about [1-9] s .*\+55 11 99999-9999", words.params["text"])
    assert [call.status for call in stage.ryze.calls] == [200, 200]


@pytest.mark.usefixtures("_soon")
@pytest.mark.parametrize(
    "fault", [{"status": 403}, {"status": 429, "retry_after": 60}, {"drop": "before"}, {"hang": True}]
)
async def test_words_that_telegram_does_not_take_cost_nobody_an_answer(stage: Stage, fault: Json) -> None:
    words = stage.telegram.fault(
        "sendMessage", when=lambda params: params["text"].startswith("⏳"), times=None, **fault
    )
    hold = stage.ryze.fault(delay=10)
    async with stage.bot():
        message = stage.telegram.message(ANA, COMMAND)
        await stage.telegram.wait_for(lambda: words.hits, what="words")
        hold.stop()
        answer = await stage.telegram.answer(message)
        await handled(stage)
    assert stage.telegram.sent() == [answer]
    assert len(stage.ryze.calls) == 1


@pytest.mark.usefixtures("_soon")
@pytest.mark.parametrize("method", ["sendChatAction", "deleteMessage"])
async def test_neither_does_a_refusal_of_the_rest(stage: Stage, method: str) -> None:
    stage.telegram.fault(method, status=400, times=None)
    hold = stage.ryze.fault(delay=10)
    async with stage.bot():
        message = stage.telegram.message(ANA, COMMAND)
        await stage.telegram.wait_for(lambda: said(stage, "⏳"), what="words")
        hold.stop()
        answer = await stage.telegram.answer(message)
        await handled(stage)
    assert answer["text"].startswith("📌")
    assert len(stage.ryze.calls) == 1


@pytest.mark.usefixtures("_soon")
async def test_a_pressed_buttons_wait_is_shown_too(stage: Stage) -> None:
    async with stage.bot():
        question = await stage.telegram.answer(stage.telegram.message(ANA, "/pin 51987654321"))
        hold = stage.ryze.fault(delay=10)
        stage.telegram.press(ANA, question, stage.telegram.button(question, "🇧🇷"))
        await stage.telegram.wait_for(lambda: said(stage, "⏳"), what="words")
        hold.stop()
        await handled(stage)
    (shown,) = stage.telegram.sent()
    assert shown["text"] == "📌 Pinned +55 51 98765-4321 on sales."
