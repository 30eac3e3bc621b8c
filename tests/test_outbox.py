"""Delivery: what Telegram refuses for the moment is sent again, what it refuses for good goes the next best way.

Each time Ryze is called once, the update counts as handled, and nobody else waits.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.conftest import ANA, BIA, STRANGER, Stage
from tests.sandbox.server import Json

NUMBER = "5511999999999"
COMMAND = f"/pin {NUMBER}"
PINNED = "📌 Pinned +55 11 99999-9999 on sales."
TEAM: Json = {"id": -100123, "type": "supergroup", "title": "Team", "is_forum": True}
SMALL: Json = {"id": -4001, "type": "group", "title": "Small"}
TOPIC = {"message_thread_id": 77, "is_topic_message": True}
LOST = "could not be delivered"


async def handled(stage: Stage) -> None:
    await stage.telegram.wait_for(lambda: not stage.telegram.pending, what="all updates confirmed")


def lost(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if LOST in message]


def to(chat: int) -> Callable[[Json], bool]:
    return lambda params: params.get("chat_id") == chat


@asynccontextmanager
async def held(stage: Stage, **fields: Any) -> AsyncIterator[Json]:  # noqa: ANN401 - a message's fields
    """Sends a command of Ana's, and lets Ryze answer it once the block is done."""
    hold = stage.ryze.fault(delay=10)
    message = stage.telegram.message(ANA, COMMAND, **fields)
    await stage.ryze.wait_for(lambda: stage.ryze.calls, what="the call")
    yield message
    hold.stop()


PASSING: dict[str, Json] = {
    "asked to wait": {"status": 429, "retry_after": 1},
    "asked to wait, not told how long": {"status": 429},
    "an error of the server's": {"status": 500},
    "a gateway's error": {"status": 502, "body": b"<html><h1>502 Bad Gateway</h1></html>"},
    "a gateway's error in JSON": {"status": 503, "body": b"[]"},
    "a success that is none": {"status": 200, "body": b"<html>Welcome to our hotel</html>"},
    "dropped before it was sent": {"drop": "before", "times": 2},
    "dropped in its mid": {"drop": "mid"},
    "dropped after it was sent": {"drop": "after"},
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
async def test_an_answer_refused_for_the_moment_is_sent_again_while_others_get_theirs(
    stage: Stage, fault: Json
) -> None:
    spoilt = stage.telegram.fault("sendMessage", when=to(ANA), **fault)
    async with stage.bot():
        message = stage.telegram.message(ANA, COMMAND)
        await stage.telegram.wait_for(lambda: spoilt.hits, what="the first try")
        await stage.telegram.answer(stage.telegram.message(BIA, COMMAND))
        answers = await stage.telegram.answers(message, 2 if fault.get("drop") in ("mid", "after") else 1)
        await handled(stage)
    assert {answer["text"] for answer in answers} == {PINNED}
    assert len(stage.ryze.calls) == 2


async def test_answers_keep_their_order_in_a_chat_even_if_the_first_must_wait(stage: Stage) -> None:
    stage.telegram.fault("sendMessage", when=to(ANA), status=429, retry_after=1)
    async with stage.bot():
        first = stage.telegram.message(ANA, COMMAND)
        second = stage.telegram.message(ANA, f"/unpin {NUMBER}")
        third = stage.telegram.message(ANA, "/pin nobody")
        for message in (first, second):
            await stage.telegram.answer(message)
        await stage.telegram.answer(third)
        await handled(stage)
    one, two = (answer["text"][0] for answer in stage.telegram.sent(ANA) if answer["text"][0] in "📌✅")
    assert (one, two) == ("📌", "✅")
    assert [call.pin for call in stage.ryze.calls] == [True, False]


async def test_a_lane_goes_on_while_the_last_answer_is_on_its_way(stage: Stage) -> None:
    hang = stage.telegram.fault("sendMessage", when=to(ANA), hang=True, times=None)
    async with stage.bot():
        first = stage.telegram.message(ANA, COMMAND)
        await stage.telegram.answer(stage.telegram.message(ANA, f"/unpin {NUMBER}", chat=TEAM))
        assert not stage.telegram.sent(ANA)
        hang.stop()
        await stage.telegram.answer(first)


async def test_an_answer_that_would_have_to_wait_too_long_is_one_line_in_the_log(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.telegram.fault("sendMessage", status=429, retry_after=400)
    async with stage.bot():
        stage.telegram.message(ANA, COMMAND)
        await handled(stage)
        second = stage.telegram.message(ANA, f"/unpin {NUMBER}")
        await stage.telegram.answer(second)
    assert len(lost(caplog)) == 1
    assert len(stage.telegram.sent()) == 1
    assert len(stage.ryze.calls) == 2


async def test_a_deleted_command_is_answered_unquoted_in_its_topic(stage: Stage) -> None:
    async with stage.bot():
        async with held(stage, chat=TEAM, **TOPIC) as message:
            stage.telegram.delete(message)
        await handled(stage)
    (answer,) = stage.telegram.sent()
    assert (answer["text"], answer["message_thread_id"]) == (PINNED, 77)
    assert "reply_to_message" not in answer
    assert len(stage.ryze.calls) == 1


async def test_a_group_that_became_a_supergroup_is_answered_there(stage: Stage) -> None:
    async with stage.bot():
        async with held(stage, chat=SMALL):
            moved = stage.telegram.migrate(SMALL["id"])
        await handled(stage)
    (answer,) = stage.telegram.sent()
    assert (answer["chat"]["id"], answer["text"]) == (moved, PINNED)
    assert len(stage.ryze.calls) == 1


REFUSALS: dict[str, Json] = {
    "may not write": {"status": 400, "description": "Bad Request: not enough rights to send text messages to the chat"},
    "was restricted": {"status": 400, "description": "Bad Request: CHAT_WRITE_FORBIDDEN"},
    "was kicked": {"status": 403, "description": "Forbidden: bot was kicked from the supergroup chat"},
    "lost the topic": {"status": 400, "description": "Bad Request: message thread not found"},
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
async def test_where_the_bot_can_write_no_more_the_answer_comes_in_private(stage: Stage, refusal: Json) -> None:
    stage.telegram.add_chat(ANA)
    stage.telegram.fault("sendMessage", when=to(TEAM["id"]), times=None, **refusal)
    async with stage.bot():
        stage.telegram.message(ANA, COMMAND, chat=TEAM, **TOPIC)
        await handled(stage)
    (answer,) = stage.telegram.sent()
    assert (answer["chat"]["id"], answer["text"]) == (ANA, PINNED)
    assert len(stage.ryze.calls) == 1


@pytest.mark.parametrize("deleted", [False, True])
async def test_an_answer_to_a_closed_topic_comes_in_private(stage: Stage, *, deleted: bool) -> None:
    stage.telegram.add_chat(ANA)
    async with stage.bot():
        async with held(stage, chat=TEAM, **TOPIC) as message:
            stage.telegram.closed_topics.add((TEAM["id"], 77))
            if deleted:
                stage.telegram.delete(message)
        await handled(stage)
    (answer,) = stage.telegram.sent()
    assert (answer["chat"]["id"], answer["text"]) == (ANA, PINNED)
    assert len(stage.ryze.calls) == 1


async def test_who_never_pressed_start_and_cannot_be_answered_in_the_group_costs_one_line(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.telegram.closed_topics.add((TEAM["id"], 77))
    async with stage.bot():
        stage.telegram.message(ANA, COMMAND, chat=TEAM, **TOPIC)
        await handled(stage)
    assert len(lost(caplog)) == 1
    assert not stage.telegram.sent()
    assert len(stage.ryze.calls) == 1


async def test_a_person_who_blocked_the_bot_costs_one_line(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async with stage.bot():
        async with held(stage):
            stage.telegram.blocked.add(ANA)
        await handled(stage)
        stage.telegram.message(STRANGER, "/start")
        stage.telegram.blocked.add(STRANGER)
        await handled(stage)
        stage.telegram.blocked.clear()
        await stage.telegram.answer(stage.telegram.message(ANA, f"/unpin {NUMBER}"))
    assert len([line for line in lost(caplog) if str(ANA) in line]) == 1
    assert not [record for record in caplog.records if record.exc_info]
    assert len(stage.ryze.calls) == 2


# What a pressed button edits


@asynccontextmanager
async def pressed(stage: Stage, chat: Json, **fields: Any) -> AsyncIterator[Json]:  # noqa: ANN401 - as in `held`
    """Asks Ana which chat she means, and presses the first button once the block is done."""
    message = stage.telegram.message(ANA, "/pin 51987654321", chat=chat, **fields)
    question = await stage.telegram.answer(message)
    button = stage.telegram.button(question, "🇧🇷")
    yield question
    query = stage.telegram.press(ANA, question, button)
    await handled(stage)
    assert query in stage.telegram.callback_answers
    assert [call.number for call in stage.ryze.calls] == ["5551987654321"]


TAPPED = "📌 Pinned +55 51 98765-4321 on sales.\n👆 Ana"


async def test_a_press_changes_its_own_message_and_sends_none(stage: Stage) -> None:
    async with stage.bot(), pressed(stage, TEAM, **TOPIC):
        pass
    (shown,) = stage.telegram.sent()
    assert shown["text"] == TAPPED


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
async def test_an_edit_refused_for_the_moment_is_made_again(stage: Stage, fault: Json) -> None:
    stage.telegram.fault("editMessageText", **fault)
    async with stage.bot(), pressed(stage, TEAM):
        pass
    (shown,) = stage.telegram.sent()
    assert shown["text"] == TAPPED


@pytest.mark.parametrize("description", ["Bad Request: message can't be edited", "Bad Request: MESSAGE_ID_INVALID"])
async def test_an_edit_refused_for_good_is_sent_as_a_message_in_the_same_topic(stage: Stage, description: str) -> None:
    stage.telegram.fault("editMessageText", status=400, description=description)
    async with stage.bot(), pressed(stage, TEAM, **TOPIC):
        pass
    question, answer = stage.telegram.sent()
    assert (answer["text"], answer["message_thread_id"]) == (TAPPED, 77)
    assert answer["reply_to_message"]["message_id"] == question["message_id"]


async def test_the_press_of_a_message_that_is_gone_is_answered_with_a_new_one(stage: Stage) -> None:
    async with stage.bot(), pressed(stage, TEAM) as question:
        stage.telegram.delete(question)
    (answer,) = stage.telegram.sent()
    assert answer["text"] == TAPPED


async def test_a_press_in_a_group_that_moved_is_answered_where_it_is_now(stage: Stage) -> None:
    moved = 0
    async with stage.bot(), pressed(stage, SMALL):
        moved = stage.telegram.migrate(SMALL["id"])
    (answer,) = stage.telegram.sent(moved)
    assert answer["text"] == TAPPED


async def test_a_press_in_a_group_that_threw_the_bot_out_is_answered_to_its_presser_in_private(stage: Stage) -> None:
    stage.telegram.add_chat(ANA)
    async with stage.bot(), pressed(stage, TEAM):
        stage.telegram.blocked.add(TEAM["id"])
    (answer,) = stage.telegram.sent(ANA)
    assert answer["text"] == TAPPED


async def test_an_edit_that_would_have_to_wait_too_long_is_one_line_in_the_log(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.telegram.fault("editMessageText", status=429, retry_after=400)
    async with stage.bot(), pressed(stage, TEAM):
        pass
    assert len(lost(caplog)) == 1


async def test_a_press_that_telegram_has_forgotten_still_does_what_its_label_says(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bot")
    async with stage.bot():
        question = await stage.telegram.answer(stage.telegram.message(ANA, "/pin 51987654321"))
        stage.telegram.expire(stage.telegram.press(ANA, question, stage.telegram.button(question, "🇵🇪")))
        await handled(stage)
    assert [call.number for call in stage.ryze.calls] == ["51987654321"]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
