"""What Telegram shows of the bot before anybody writes to it."""

import logging

import pytest

from tests.conftest import ANA, BIA, Stage

EVERYBODY = ("default", None, None, "")


def names(stage: Stage, scope: tuple[str, int | None, int | None, str]) -> list[str]:
    return [command["command"] for command in stage.telegram.commands.get(scope, [])]


async def presented(stage: Stage) -> None:
    """Waits for the last of the cosmetic calls, that of the last operator's menu."""
    await stage.telegram.wait_for(
        lambda: [call for call in stage.telegram.calls if call.params.get("scope", {}).get("chat_id") == BIA],
        what="the menus",
    )


async def test_operators_and_everybody_else_see_their_own_menus_and_the_description(stage: Stage) -> None:
    for operator in (ANA, BIA):
        stage.telegram.add_chat(operator)
    async with stage.bot():
        await stage.telegram.wait_for(lambda: names(stage, ("chat", BIA, None, "")), what="the last menu")
    assert names(stage, EVERYBODY) == ["start", "id"]
    own = [names(stage, ("chat", operator, None, "")) for operator in (ANA, BIA)]
    assert own == [["pin", "unpin", "pins", "history", "help"]] * 2
    assert all("WhatsApp" in text for text in stage.telegram.descriptions.values())


async def test_updates_are_asked_for_first(stage: Stage) -> None:
    stage.telegram.message(ANA, "/pin 5511999999999")
    async with stage.bot():
        await presented(stage)
    methods = [call.method.lower() for call in stage.telegram.calls]
    assert methods[:2] == ["getme", "getupdates"]


async def test_a_refusal_is_logged_and_stops_nothing(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bot")
    stage.telegram.add_chat(BIA)
    stage.telegram.fault("setMyShortDescription", status=400, description="Bad Request: no")
    async with stage.bot():
        await presented(stage)
        await stage.telegram.wait_for(lambda: names(stage, ("chat", BIA, None, "")), what="Bia's menu")
        answer = await stage.telegram.answer(stage.telegram.message(ANA, "/pin 5511999999999"))
    assert answer["text"].startswith("📌")
    assert f"Telegram did not take the menu of operator {ANA}: Chat not found" in caplog.messages
    assert "Telegram did not take the description: No" in caplog.messages
    assert names(stage, EVERYBODY) == ["start", "id"]


async def test_a_menu_that_is_never_answered_holds_no_command_up(stage: Stage) -> None:
    stage.telegram.fault("setMyShortDescription", hang=True)
    async with stage.bot():
        answer = await stage.telegram.answer(stage.telegram.message(ANA, "/pin 5511999999999"))
    assert answer["text"].startswith("📌")


async def test_a_passing_refusal_is_tried_again(stage: Stage) -> None:
    stage.telegram.fault("setMyCommands", status=429, retry_after=1)
    stage.telegram.fault("setMyCommands", status=500)
    async with stage.bot():
        await presented(stage)
    assert names(stage, EVERYBODY) == ["start", "id"]
