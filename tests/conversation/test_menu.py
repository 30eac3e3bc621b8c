"""What Telegram shows of the bot before anybody writes to it."""

import logging
from itertools import pairwise

import pytest

from bot.conversation.menu import PAUSE
from tests.conftest import ANA, BIA, Stage
from tests.sandbox.telegram import Call

COSMETIC = ("setMyCommands", "deleteMyCommands", "setMyShortDescription")
ALL = 3 + 3 + 2 * 3  # descriptions, everybody's menus, the operators': each in three languages


def cosmetic(stage: Stage) -> list[Call]:
    return [call for call in stage.telegram.calls if call.method in COSMETIC]


async def published(stage: Stage, count: int) -> list[Call]:
    """Run the bot until so many cosmetic calls were made, see that there is no further one, and return them."""
    stage.telegram.calls.clear()
    async with stage.bot():
        await stage.telegram.wait_for(lambda: len(cosmetic(stage)) >= count, what=f"{count} cosmetic calls")
        for _ in range(3):
            await stage.say("/id")
    assert len(cosmetic(stage)) == count
    return cosmetic(stage)


async def test_only_what_changed_is_set_and_who_is_no_operator_any_more_loses_the_menu(stage: Stage) -> None:
    stage.telegram.add_chat(ANA)
    stage.telegram.add_chat(BIA)
    menus = stage.telegram.commands
    calls = await published(stage, ALL)
    assert min(later.at - call.at for call, later in pairwise(calls)) >= PAUSE * 0.9
    first = {(kind, who, code): menu[0]["description"] for (kind, who, _, code), menu in menus.items()}
    assert len(first) == 9
    assert first["default", None, ""] == "What this bot is, and how to get access"
    assert first["default", None, "es"] == "Qué es este bot y cómo tener acceso"
    assert first["chat", ANA, ""] == "Pin a WhatsApp chat: /pin 11 99999-9999"
    assert first["chat", ANA, "pt"] == "Fixar uma conversa: /pin 11 99999-9999"
    assert [menu["command"] for menu in menus["chat", BIA, None, ""]] == ["pin", "unpin", "pins", "history", "help"]
    assert [text[:3] for text in stage.telegram.descriptions.values()] == ["Pin", "Fix", "Fij"]
    await published(stage, 0)
    bia = stage.settings["operators"].pop()
    assert {call.method for call in await published(stage, 3)} == {"deleteMyCommands"}
    assert {who for _, who, _, _ in menus} == {None, ANA}
    stage.settings["operators"].append(bia | {"language": "es"})
    (call,) = await published(stage, 1)
    assert call.params["scope"]["chat_id"] == BIA
    assert call.params["commands"][0]["description"].startswith("Fijar un chat")


async def test_a_refusal_is_logged_and_tried_again_later(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bot")
    stage.settings["language"] = "pt-BR"  # then there is no other
    stage.telegram.add_chat(BIA)
    stage.telegram.fault("setMyShortDescription", status=400, description="Bad Request: no")
    stage.telegram.fault("setMyCommands", status=500)
    await published(stage, 5)  # one of them twice
    assert f"Telegram did not take menu:{ANA}:: Chat not found" in caplog.messages
    assert "Telegram did not take menu:description:: No" in caplog.messages
    stage.telegram.add_chat(ANA)
    assert [call.method for call in await published(stage, 2)] == ["setMyShortDescription", "setMyCommands"]


async def test_updates_are_asked_for_first_and_a_menu_that_hangs_holds_no_command_up(stage: Stage) -> None:
    stage.telegram.fault("setMyShortDescription", hang=True)
    async with stage.bot():
        assert (await stage.say("/pin 5511999999999"))["text"].startswith("📌")
    assert [call.method.lower() for call in stage.telegram.calls][:2] == ["getme", "getupdates"]
