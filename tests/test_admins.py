"""What the admins hear, and what others are told of it: through the real bot, over HTTP."""

import pytest

from tests.conftest import ANA, BIA, STRANGER, Stage
from tests.sandbox.server import Json

NUMBER = "5511999999999"
ADMIN, SECOND = 500, 501
TEAM: Json = {"id": -100123, "type": "supergroup", "title": "Team"}
TOLD = "Your admin has been told."


@pytest.fixture
def admins(stage: Stage) -> Stage:
    """The stage with an admin who has started the bot; both operators work on `sales`."""
    stage.settings["admins"] = [ADMIN]
    stage.settings["operators"][1]["instance"] = "sales"
    stage.telegram.add_chat(ADMIN)
    return stage


def heard(stage: Stage, admin: int = ADMIN) -> list[str]:
    """What the admin was told, without the times."""
    return [message["text"].split(", today")[0] for message in stage.telegram.sent(admin)]


async def test_an_incident_is_told_once_with_who_ran_into_it_and_so_is_its_end(admins: Stage) -> None:
    stage = admins
    async with stage.bot():
        stage.ryze.instances["sales"].connected = False
        answer = await stage.say(f"/pin {NUMBER}")
        assert TOLD in answer["text"].split("\n")
        assert heard(stage) == ["🔌 sales is not connected to WhatsApp: Ana ran into it"]
        assert TOLD in (await stage.press(answer, "Try again"))["text"]
        assert TOLD in (await stage.say(f"/pin {NUMBER}", BIA))["text"]
        assert len(heard(stage)) == 1
        stage.ryze.fault(status=500, message="database is locked")  # neither works nor is it the same trouble
        assert TOLD not in (await stage.say(f"/pin {NUMBER}"))["text"]
        stage.ryze.instances["sales"].connected = True
        assert TOLD not in (await stage.say(f"/pin {NUMBER}", BIA))["text"]
        await stage.say(f"/pin {NUMBER}")
        assert heard(stage)[1:] == ["✅ sales worked again"]
        stage.ryze.instances["sales"].token = "another"
        answer = await stage.say(f"/pin {NUMBER}", BIA)
        assert answer["text"].endswith(TOLD)
        assert heard(stage)[2:] == ["🔑 Ryze did not accept the token of sales: Bia ran into it"]
        assert all(call.number == NUMBER for call in stage.ryze.calls)  # nothing probes


async def test_what_became_of_several_instances_is_told_apart(admins: Stage) -> None:
    stage = admins
    stage.settings["operators"][1]["instance"] = "support"
    async with stage.bot():
        stage.ryze.instances["sales"].connected = False
        await stage.say(f"/pin {NUMBER},{NUMBER[:-1]}8")
        assert TOLD not in (await stage.say(f"/pin {NUMBER}", BIA))["text"]
        stage.ryze.instances["support"].token = stage.ryze.instances["sales"].token
        stage.ryze.instances["sales"].token = "token-of-support"
        await stage.say(f"/pin {NUMBER}", BIA)
    assert heard(stage) == [
        "🔌 sales is not connected to WhatsApp: Ana ran into it",
        "🔑 The Ryze token set for support belongs to another instance: Bia ran into it",
    ]


async def test_two_commands_at_once_are_one_incident(admins: Stage) -> None:
    stage = admins
    stage.ryze.instances["sales"].connected = False
    async with stage.bot():
        messages = [stage.telegram.message(user, f"/pin {NUMBER}") for user in (ANA, BIA, ANA, BIA)]
        for message in messages:
            await stage.telegram.answer(message)
    assert len(heard(stage)) == 1


async def test_without_an_admin_nobody_is_said_to_have_been_told(stage: Stage) -> None:
    stage.ryze.instances["sales"].connected = False
    async with stage.bot():
        for _ in range(2):
            assert "admin" not in (await stage.say(f"/pin {NUMBER}"))["text"]


async def test_an_admin_who_cannot_be_told_is_not_said_to_have_been_and_is_told_when_possible(
    admins: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage = admins
    stage.ryze.instances["sales"].connected = False
    stage.telegram.blocked.add(ADMIN)
    async with stage.bot():
        assert TOLD not in (await stage.say(f"/pin {NUMBER}"))["text"]
        assert f"admin {ADMIN} could not be told" in caplog.text
        stage.telegram.blocked.clear()
        assert TOLD in (await stage.say(f"/pin {NUMBER}", BIA))["text"]
        assert heard(stage) == ["🔌 sales is not connected to WhatsApp: Bia ran into it"]


async def test_one_admin_of_two_is_enough_to_say_so_and_each_is_told_in_their_language(admins: Stage) -> None:
    stage = admins
    stage.settings["admins"] = [SECOND, ADMIN, BIA]
    stage.settings["operators"][1]["language"] = "pt-BR"
    stage.telegram.add_chat(BIA)
    stage.ryze.instances["sales"].connected = False
    async with stage.bot():
        assert TOLD in (await stage.say(f"/pin {NUMBER}"))["text"]
        await stage.telegram.wait_for(lambda: heard(stage, BIA), what="the other admin's message")
    assert len(heard(stage)) == 1
    assert heard(stage, BIA)[0].startswith("🔌 sales não está conectada ao WhatsApp: aconteceu com Ana")


async def test_the_answer_does_not_wait_long_for_a_slow_admin_and_does_not_claim(
    admins: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = admins
    monkeypatch.setattr("bot.admins.TELLING", 0.2)
    stage.ryze.instances["sales"].connected = False
    slow = stage.telegram.fault("sendMessage", delay=60, when=lambda params: params["chat_id"] == ADMIN)
    async with stage.bot():
        for user in (ANA, BIA):
            assert TOLD not in (await stage.say(f"/pin {NUMBER}", user))["text"]
        slow.stop()
        await stage.telegram.wait_for(lambda: heard(stage), what="the admin's message")
        assert TOLD in (await stage.say(f"/pin {NUMBER}"))["text"]
        assert len(heard(stage)) == 1


async def test_a_strangers_request_is_passed_on_once_with_the_entry_even_after_a_restart(admins: Stage) -> None:
    stage = admins
    eve: Json = {"id": STRANGER, "is_bot": False, "first_name": 'Eve "<b>"', "last_name": "${HOME}"}
    async with stage.bot():
        for text in ("/start", f"/pin {NUMBER}", "hello"):
            stage.telegram.message(eve, text)
        stage.telegram.message(eve, "/pin", chat=TEAM)
        stage.telegram.message(998, "/id")
        await stage.handled()
        (message,) = heard(stage)
        assert message.startswith('🙋 Eve "<b>" ${HOME} asks to be let in.')
        assert message.endswith(f'- {{telegram_id: {STRANGER}, name: "Eve \\"<b>\\" $${{HOME}}", instance: INSTANCE}}')
    async with stage.bot():
        await stage.say("/start", STRANGER)
        await stage.say("/start", 998)
        await stage.handled()
    assert len(heard(stage)) == 2


async def test_only_a_few_strangers_a_day_are_passed_on(admins: Stage) -> None:
    stage = admins
    async with stage.bot():
        for stranger in range(900, 908):
            await stage.say("/start", stranger)
        await stage.handled()
    assert len(heard(stage)) == 5


async def test_requests_are_passed_on_once_while_the_store_is_away(admins: Stage) -> None:
    stage = admins
    stage.settings["state"] = str(stage.folder / "nowhere" / "state.sqlite3")
    async with stage.bot():
        for _ in range(3):
            await stage.say("/start", STRANGER)
        await stage.handled()
    assert len(heard(stage)) == 1
