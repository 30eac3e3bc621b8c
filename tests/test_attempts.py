"""An attempt's turn in the lane and its slot in the budget: what waits, what is not run, and what is said of it."""

import pytest

from bot import attempts
from tests.conftest import ANA, BIA, Stage

NUMBER = "5511999999999"
SHOWN = "+55 11 99999-9999"
COMMAND = f"/pin {NUMBER}"
OWN_LIMIT = "Rate limit exceeded. Try again later."


async def handled(stage: Stage) -> None:
    await stage.telegram.wait_for(lambda: not stage.telegram.pending, what="all updates confirmed")


def texts(stage: Stage, chat: int = ANA) -> list[str]:
    return [message["text"] for message in stage.telegram.sent(chat)]


def started(texts: list[str], sign: str) -> int:
    return sum(text.startswith(sign) for text in texts)


async def test_an_instances_commands_run_one_after_another_in_their_order(stage: Stage) -> None:
    stage.ryze.delay = 0.05
    numbers = [f"55119999900{number:02}" for number in range(12)]
    async with stage.bot():
        for number in numbers:
            stage.telegram.message(ANA, f"/unpin {number}")
        await handled(stage)
    assert [call.number for call in stage.ryze.calls] == numbers
    assert stage.ryze.instances["sales"].most_at_once == 1
    assert len(texts(stage)) == len(numbers)


async def test_different_instances_run_in_parallel(stage: Stage) -> None:
    hold = stage.ryze.fault(when=lambda call: call.instance == "sales", delay=10)
    async with stage.bot():
        waiting = stage.telegram.message(ANA, COMMAND)
        await stage.ryze.wait_for(lambda: hold.hits, what="the first call")
        await stage.telegram.answer(stage.telegram.message(BIA, COMMAND))
        assert not stage.telegram.sent(ANA)
        hold.stop()
        await stage.telegram.answer(waiting)


async def test_a_crowded_bot_answers_busy_at_once_for_a_full_lane_and_serves_the_others(stage: Stage) -> None:
    hold = stage.ryze.fault(when=lambda call: call.instance == "sales", delay=11)
    async with stage.bot():
        for _ in range(95):
            stage.telegram.message(ANA, COMMAND)
        await stage.telegram.wait_for(lambda: started(texts(stage), "🚦"), what="an answer that the bot is busy")
        answer = await stage.telegram.answer(stage.telegram.message(BIA, COMMAND))
        assert answer["text"].startswith("📌")
        hold.stop()
        await handled(stage)
        said = texts(stage)
        assert len(said) == 95
        assert started(said, "📌") >= attempts.FULL_LANE
        assert started(said, "📌") + started(said, "🚦") == 95
        busy = next(message for message in stage.telegram.sent(ANA) if message["text"].startswith("🚦"))
        assert busy["text"].startswith(f"🚦 {SHOWN} on sales: too many commands are waiting")
        stage.telegram.press(ANA, busy, stage.telegram.button(busy, "Try again"))
        await handled(stage)
    shown = stage.telegram.current(busy)
    assert shown
    assert shown["text"] == f"📌 Pinned {SHOWN} on sales."
    assert len([call for call in stage.ryze.calls if call.instance == "sales"]) == started(said, "📌") + 1


async def test_a_few_commands_wait_however_full_their_lane_is(stage: Stage) -> None:
    async with stage.bot():
        for _ in range(40):
            stage.telegram.message(ANA, COMMAND)
        await handled(stage)
    assert texts(stage) == [f"📌 Pinned {SHOWN} on sales."] * 40


async def test_a_command_whose_turn_in_the_budget_does_not_come_is_not_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "LONGEST_QUEUE", 0.5)  # in earnest longer than the window of a minute
    monkeypatch.setattr("bot.budget.LIMIT", 1)
    stage.ryze.limit = 1
    async with stage.bot():
        await stage.telegram.answer(stage.telegram.message(ANA, COMMAND))
        answer = await stage.telegram.answer(stage.telegram.message(ANA, COMMAND))
    assert answer["text"].startswith(f"🚦 {SHOWN} on sales: sorry, its turn did not come in time")
    assert stage.telegram.button(answer, "Try again")
    assert len(stage.ryze.calls) == 1


async def test_a_refusal_by_ryzes_own_rate_limit_waits_and_is_then_told_with_instance_and_chat(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "LONGEST_QUEUE", 0.5)
    stage.ryze.fault(status=429, message=OWN_LIMIT, times=None)
    async with stage.bot():
        answer = await stage.telegram.answer(stage.telegram.message(ANA, COMMAND))
    assert answer["text"].startswith(f"❌ {SHOWN} was not pinned on sales.\nToo many requests a minute")
    assert len(stage.ryze.calls) == 1


async def test_a_refusal_by_ryzes_own_rate_limit_passes_by_itself_if_the_wait_is_short(stage: Stage) -> None:
    reset = str(int(stage.ryze.clock()) + 2)
    stage.ryze.fault(status=429, message=OWN_LIMIT, headers={"X-RateLimit-Reset": reset})
    async with stage.bot():
        answer = await stage.telegram.answer(stage.telegram.message(ANA, COMMAND))
    assert answer["text"] == f"📌 Pinned {SHOWN} on sales."
    assert len(stage.ryze.calls) == 2
