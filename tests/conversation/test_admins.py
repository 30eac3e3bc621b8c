"""What the admins are told, and what others are told of it: through the real bot, over HTTP."""

import pytest
from telegram import User

from bot.conversation.admins import REQUESTS, Admins
from bot.telegram import build_bot
from bot.telegram.outbox import Outbox
from tests.conftest import ANA, BIA, STRANGER, Stage
from tests.conversation.making import TEAM, shown_labels
from tests.sandbox.server import Json

NUMBER = "5511999999999"
ADMIN, SECOND = 500, 501
TOLD = "Your admin has been told."
NO_INSTANCE = "Ryze has no instance sales. Correct its name in the bot's configuration, or create it in Ryze."


@pytest.fixture
def stage(stage: Stage) -> Stage:
    """The stage with an admin who has started the bot; both operators work on `sales`."""
    stage.settings["admins"] = [ADMIN]
    stage.settings["operators"][1]["instance"] = "sales"
    stage.telegram.add_chat(ADMIN)
    return stage


def heard(stage: Stage, admin: int = ADMIN) -> list[str]:
    return [message["text"].split("\n")[0].strip() for message in stage.telegram.sent(admin)]


async def test_an_incident_is_told_once_with_who_ran_into_it_and_so_is_its_end(stage: Stage) -> None:
    async with stage.bot():
        stage.ryze.instances["sales"].connected = False
        answer = await stage.say(f"/pin {NUMBER}")
        assert TOLD in answer["text"].split("\n")
        assert heard(stage)[0].startswith("🔧 sales: This WhatsApp is disconnected.")
        assert stage.telegram.sent(ADMIN)[0]["text"].split("\n")[1].startswith("Ana ran into it, today ")
        assert TOLD in (await stage.press(answer, "Try again"))["text"]
        assert TOLD in (await stage.say(f"/pin {NUMBER}", BIA))["text"]
        stage.ryze.fault(status=500, message="database is locked")  # neither works nor is it the same trouble
        assert TOLD not in (await stage.say(f"/pin {NUMBER}"))["text"]
        assert len(heard(stage)) == 1
        stage.ryze.instances["sales"].connected = True
        await stage.say(f"/pin {NUMBER}", BIA)
        await stage.telegram.wait_for(lambda: heard(stage)[1:] == ["✅ sales is working again."])


async def test_what_only_an_admin_can_mend_is_told_instead_of_asking_the_operator_to(stage: Stage) -> None:
    stage.ryze.fault(status=404, message="Instance not found", times=None)
    async with stage.bot():
        for message in [stage.telegram.message(user, f"/pin {NUMBER}") for user in (ANA, BIA)]:  # two at once are one
            lines = (await stage.telegram.answer(message))["text"].split("\n")
            assert lines[2:] == [TOLD, f"For the admin: {NO_INSTANCE} Ryze said (404): “Instance not found”"]
    assert len(heard(stage)) == 1
    assert NO_INSTANCE in heard(stage)[0]


async def test_an_admin_who_cannot_be_told_is_told_when_possible_and_each_in_their_language(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.settings["admins"] = [SECOND, ADMIN, BIA]
    stage.settings["operators"][1]["language"] = "pt-BR"
    stage.ryze.instances["sales"].connected = False
    stage.telegram.blocked.add(ADMIN)
    async with stage.bot():
        assert "Your admin has" not in (await stage.say(f"/pin {NUMBER}"))["text"]
        assert f"admin {ADMIN} could not be told" in caplog.text
        stage.telegram.blocked.clear()
        assert "O admin já foi avisado." in (await stage.say(f"/pin {NUMBER}", BIA))["text"]
        await stage.telegram.wait_for(lambda: "desconectado" in str(heard(stage, BIA)), what="the other's message")
    assert len(heard(stage)) == 1


async def test_the_answer_does_not_wait_long_for_a_slow_admin_and_does_not_claim(stage: Stage) -> None:
    stage.ryze.instances["sales"].connected = False
    slow = stage.telegram.fault("sendMessage", delay=60, when=lambda params: params["chat_id"] == ADMIN)
    async with stage.bot():
        assert TOLD not in (await stage.say(f"/pin {NUMBER}"))["text"]
        slow.stop()
        assert TOLD in (await stage.say(f"/pin {NUMBER}"))["text"]
        assert heard(stage)


async def test_a_strangers_request_is_passed_on_once_and_not_said_to_be_if_nobody_could_be_told(stage: Stage) -> None:
    eve: Json = {"id": STRANGER, "is_bot": False, "first_name": 'Eve "<b>"', "last_name": "${HOME}"}
    told = "I have told the admin that you ask for access."
    stage.telegram.blocked.add(ADMIN)
    async with stage.bot():
        for _ in range(2):
            answer = await stage.say("/start", 997)
            assert "forward this message" in answer["text"]
            assert shown_labels(answer) == ["Copy"]
        stage.telegram.blocked.clear()
        for text in ("/start", f"/pin {NUMBER}", "hello"):
            message = stage.telegram.message(eve, text)
            assert (await stage.telegram.answer(message))["text"].endswith(told)
        stage.telegram.message(eve, "/pin", chat=TEAM)
        await stage.say("/id", 998)
        (message,) = stage.telegram.sent(ADMIN)
        assert message["text"].startswith('🙋 Eve "<b>" ${HOME} asks for access.')
        entry = message["text"].split("\n")[-1].strip()
        assert entry == f'- {{telegram_id: {STRANGER}, name: "Eve \\"<b>\\" $${{HOME}}", instance: INSTANCE}}'
        assert shown_labels(message) == ["Copy"]


@pytest.mark.parametrize("operators", [True, False])
async def test_nobody_who_asks_is_dropped_in_silence(stage: Stage, *, operators: bool) -> None:
    if not operators:
        stage.settings["operators"] = []
    settings = stage.load()
    bot = build_bot(settings.telegram_token, stage.telegram.url)
    admin = Admins(settings, Outbox(bot), digest_after=1.0)
    people = [User(900 + number, f"P{number}", is_bot=False) for number in range(40)]
    failing = stage.telegram.fault("sendMessage", status=403, when=lambda params: "More people" in params["text"])
    told = [await admin.request(person, "entry") for person in people[: REQUESTS + 2]]
    assert told == [not operators or number < REQUESTS for number in range(REQUESTS + 2)]
    for person in people:
        admin.gather(person)
    await stage.telegram.wait_for(lambda: not any(admin._strangers.values()), what="the digest")
    assert failing.hits == 1
    assert "P4 (904)" not in heard(stage)[-1]
    assert ("P5 (905)" in heard(stage)[-1]) == operators
    assert f"Others: {5 if operators else 3}." in heard(stage)[-1]
    assert [await admin.request(person, "entry") for person in people] == [True] * 40
    await bot.request.shutdown()
