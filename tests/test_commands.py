"""What a person sends, and what they get: through the real bot, over HTTP."""

import asyncio
import io
import logging
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bot import logs
from bot.buttons import Action, Press, instance_hash, pack
from bot.chats import Chat
from tests.conftest import ANA, BIA, STRANGER, Stage
from tests.sandbox.entities import utf16
from tests.sandbox.server import Json

NUMBER = "5511999999999"
SHOWN = "+55 11 99999-9999"
TEAM: Json = {"id": -100123, "type": "supergroup", "title": "Team", "is_forum": True}
TOPIC = {"message_thread_id": 77, "is_topic_message": True}
UNKNOWN = "I don't know that. I understand /pin and /unpin with a number, and /help."


async def handled(stage: Stage) -> None:
    """Waits until every update was handled and confirmed, so that what did not happen will not."""
    await stage.telegram.wait_for(lambda: not stage.telegram.pending, what="all updates confirmed")


async def ask(stage: Stage, said: str | None, user: int = ANA, **fields: Any) -> Json:  # noqa: ANN401 - a message's fields
    """Says something and returns the answer, which is the only one."""
    message = stage.telegram.message(user, said, **fields)
    await stage.telegram.answer(message)
    await handled(stage)
    (answer,) = await stage.telegram.answers(message)
    return answer


def sends(stage: Stage) -> list[Json]:
    return [call.params for call in stage.telegram.calls if call.method == "sendMessage"]


def asked(stage: Stage) -> list[tuple[str | None, str, bool]]:
    return [(call.instance, call.number, call.pin) for call in stage.ryze.calls]


def data(*, instance: str = "sales", owner: int | None = None) -> str:
    packed = pack(Press(Action.PIN, instance_hash(instance), Chat(NUMBER), owner=owner))
    assert packed
    return packed


async def alert(stage: Stage, query: str) -> Json:
    answers = stage.telegram.callback_answers
    await stage.telegram.wait_for(lambda: query in answers, what="the press's answer")
    return answers[query]


# The two commands


async def test_one_command_is_one_call_and_one_answer_that_names_instance_and_chat(stage: Stage) -> None:
    async with stage.bot():
        pinned = await ask(stage, f"/pin {NUMBER}")
        unpinned = await ask(stage, "/unpin +55 (11) 99999-9999")
    assert pinned["text"] == f"📌 Pinned {SHOWN} on sales."
    assert unpinned["text"] == f"✅ Unpinned {SHOWN} on sales."
    assert asked(stage) == [("sales", NUMBER, True), ("sales", NUMBER, False)]
    assert len(stage.telegram.sent()) == 2


async def test_each_operator_acts_on_their_own_instance(stage: Stage) -> None:
    async with stage.bot():
        answer = await ask(stage, f"/pin {NUMBER}", BIA)
    assert answer["text"] == f"📌 Pinned {SHOWN} on support."
    assert asked(stage) == [("support", NUMBER, True)]


async def test_an_answer_replies_in_the_same_topic(stage: Stage) -> None:
    async with stage.bot():
        answers = [
            await ask(stage, text, chat=TEAM, **TOPIC)
            for text in (f"/pin {NUMBER}", "/pin", "/pin 51987654321", "/id", "/help")
        ]
    assert {answer["message_thread_id"] for answer in answers} == {77}


async def test_a_thread_of_replies_that_is_no_topic_is_none(stage: Stage) -> None:
    async with stage.bot():
        answer = await ask(stage, f"/pin {NUMBER}", chat=TEAM, message_thread_id=5)
    assert "message_thread_id" not in answer


WAYS = [
    f"/pin@ryze_pin_bot {NUMBER}",
    f"/PIN@RYZE_PIN_BOT {NUMBER}",
    f"/Pin {NUMBER}",
    f"/pin\u00a0{NUMBER}",
    f"/pin\n{NUMBER}",
    f"/pin \u202a{NUMBER}\u202c",
    f"/pin    {NUMBER}   ",
    f"/pin https://wa.me/{NUMBER}",
    f"/pin {NUMBER}@s.whatsapp.net",
]


async def test_a_command_may_be_written_in_many_ways(stage: Stage) -> None:
    async with stage.bot():
        for text in WAYS:
            assert (await ask(stage, text, chat=TEAM))["text"].startswith("📌 Pinned"), text
    assert len(stage.ryze.calls) == len(WAYS)
    assert stage.ryze.instances["sales"].pinned == [f"{NUMBER}@s.whatsapp.net"]


async def test_only_an_operators_successes_are_silent_in_a_group_and_nothing_in_private(stage: Stage) -> None:
    async with stage.bot():
        for chat in (TEAM, {"id": ANA}):
            await ask(stage, f"/pin {NUMBER}", chat=chat)
            await ask(stage, f"/unpin {NUMBER}", chat=chat)
            await ask(stage, "/pin what", chat=chat)
            stage.ryze.instances["sales"].connected = False
            await ask(stage, f"/pin {NUMBER}", chat=chat)
            stage.ryze.instances["sales"].connected = True
    assert [params.get("disable_notification", False) for params in sends(stage)] == [True, True, *[False] * 6]


NO_CHATS = [
    ("/pin", "Which chat shall I pin on sales?", "/pin +55 11 99999-9999"),
    ("/unpin", "Which chat shall I unpin on sales?", "/unpin +55 11 99999-9999"),
    ("/unpin ,", "Which chat shall I unpin on sales?", "/unpin +55 11 99999-9999"),
    ("/pin @maria", "no phone number or chat id", "/pin +55 11 99999-9999"),
    ("/pin the usual one", "no phone number or chat id", "/pin +55 11 99999-9999"),
    ("/pin " + "word " * 600, "no phone number or chat id", "/pin +55 11 99999-9999"),
    ("/pin 12345678", "Which country is 12345678 in?", "/pin +55 11 99999-9999"),
    ("/pin +1234", "1234 is too short", "/pin +55 11 99999-9999"),
    ("/pin 120363025246125486", "A group's id needs its ending, @g.us", "/pin 120363025246125486@g.us"),
    ("/pin 5511@example.com", "end in @example.com", "/pin +55 11 99999-9999"),
    ("/pin maria@lid", "should be digits before the @", "/pin +55 11 99999-9999"),
    ("/pin 1&2<b>@x<y>&z.com", "end in @x<y>&z.com", "/pin +55 11 99999-9999"),
]


async def test_what_is_no_chat_never_reaches_ryze_and_is_told_what_to_send(stage: Stage) -> None:
    async with stage.bot():
        for text, says, example in NO_CHATS:
            answer = (await ask(stage, text))["text"]
            assert says in answer
            assert "sales" in answer
            assert answer.endswith(f"For example: {example}")
    assert not stage.ryze.calls


async def test_a_number_that_reads_two_ways_asks_and_only_the_tap_acts(stage: Stage) -> None:
    async with stage.bot():
        question = await ask(stage, "/pin 51987654321")
        assert question["text"] == "🤔 51987654321 can be read in two ways. Which chat shall I pin on sales?"
        (brazil,), (peru,) = question["reply_markup"]["inline_keyboard"]
        assert (brazil["text"], peru["text"]) == ("Pin 🇧🇷 +55 51 98765-4321", "Pin 🇵🇪 +51 987 654 321")
        await handled(stage)
        assert not stage.ryze.calls
        query = stage.telegram.press(ANA, question, peru["callback_data"])
        await alert(stage, query)
        await handled(stage)
    assert asked(stage) == [("sales", "51987654321", True)]
    (shown,) = stage.telegram.sent()
    assert shown["text"] == "📌 Pinned +51 987 654 321 on sales."


# Help, start, id


async def test_help_and_start_show_the_operators_instance_and_an_example_of_each_command(stage: Stage) -> None:
    async with stage.bot():
        for chat in ({"id": BIA}, TEAM):
            for text in ("/help", "/start", "/start payload", "/Help@ryze_pin_bot"):
                answer = await ask(stage, text, BIA, chat=chat)
                assert "support" in answer["text"]
                assert "/pin +55" in answer["text"]
                assert "/unpin +55" in answer["text"]


async def test_id_is_for_anyone_in_private_and_for_operators_in_groups(stage: Stage) -> None:
    async with stage.bot():
        assert (await ask(stage, "/id"))["text"] == f"Your Telegram id: {ANA}"
        assert (await ask(stage, "/id", STRANGER))["text"] == f"Your Telegram id: {STRANGER}"
        assert (await ask(stage, "/id", chat=TEAM))["text"] == f"Your Telegram id: {ANA}"
        stage.telegram.message(STRANGER, "/id", chat=TEAM)
        await handled(stage)
    assert len(stage.telegram.sent()) == 3


# No silence in private, no noise in groups


NEAR_MISSES = [
    (f"pin {NUMBER}", f"Begin with a slash, like this: /pin {NUMBER}"),
    (f"Unpin: {NUMBER}", f"Begin with a slash, like this: /unpin {NUMBER}"),
    ("pin", f"Begin with a slash, like this: /pin {SHOWN}"),
    (f"/pin{NUMBER}", f"Put a space after the command, like this: /pin {NUMBER}"),
    (f"/unpin+{NUMBER}", f"Put a space after the command, like this: /unpin +{NUMBER}"),
    ("/pin-1 <b>&\n2", "Put a space after the command, like this: /pin -1 <b>& 2"),
    ("pin " + "9" * 3000, "Begin with a slash, like this: /pin " + "9" * 39 + "…"),
    (f"/pinn {NUMBER}", UNKNOWN),
    ("/stop", UNKNOWN),
    ("/", UNKNOWN),
    ("<b>&amp;", UNKNOWN),
    (f"please /pin {NUMBER}", UNKNOWN),
    ("/pin@OtherBot 1", "That is another bot's command. Send it to me like this: /pin +55 11 99999-9999"),
]


async def test_in_private_a_near_miss_gets_a_hint_of_one_line(stage: Stage) -> None:
    async with stage.bot():
        for text, hint in NEAR_MISSES:
            assert (await ask(stage, text))["text"] == hint
    assert not stage.ryze.calls


FILE = {"file_id": "f", "file_unique_id": "u"}
PHOTO = [{**FILE, "width": 9, "height": 9}]
STICKER = {**FILE, "type": "regular", "width": 9, "height": 9, "is_animated": False, "is_video": False}
CONTENT: dict[str, Json] = {
    "sticker": {"sticker": STICKER},
    "photo": {"photo": PHOTO},
    "photo with a command": {"photo": PHOTO, "caption": f"/pin {NUMBER}"},
    "voice": {"voice": {**FILE, "duration": 1}},
    "location": {"location": {"longitude": 1.0, "latitude": 2.0}},
    "dice": {"dice": {"emoji": "🎲", "value": 3}},
    "a kind that the library does not know": {"hologram": {"file_id": "h"}},
}


async def test_in_private_anything_an_operator_sends_gets_a_hint_and_captions_never_act(stage: Stage) -> None:
    async with stage.bot():
        for fields in CONTENT.values():
            assert (await ask(stage, None, **fields))["text"] == UNKNOWN
            stage.telegram.message(ANA, None, chat=TEAM, **fields)
        await handled(stage)
    assert len(stage.telegram.sent()) == len(CONTENT)
    assert not stage.ryze.calls


@pytest.mark.parametrize("user", [ANA, STRANGER])
async def test_telegrams_notes_of_what_somebody_did_are_met_with_silence(stage: Stage, user: int) -> None:
    notes: list[Json] = [
        {"pinned_message": {"message_id": 1, "date": 0, "chat": {"id": user, "type": "private"}}},
        {"message_auto_delete_timer_changed": {"message_auto_delete_time": 86400}},
        {"write_access_allowed": {"from_request": True}},
        {"forum_topic_created": {"name": "Pins", "icon_color": 1}},
    ]
    comings: list[Json] = [
        {"new_chat_members": [{"id": 5, "is_bot": False, "first_name": "New"}]},
        {"left_chat_member": {"id": 5, "is_bot": False, "first_name": "Old"}},
        {"new_chat_title": "Team 2"},
        *notes,
    ]
    async with stage.bot():
        for note in notes:
            stage.telegram.message(user, None, **note)
        for note in comings:
            stage.telegram.message(user, None, chat=TEAM, **note)
        await handled(stage)
    assert not stage.telegram.sent()


async def test_a_group_hears_nothing_but_answers_to_operators_commands(stage: Stage) -> None:
    talk = ["good morning", f"pin {NUMBER}", f"/pin{NUMBER}", "/weather", f"/pin@other_bot {NUMBER}"]
    async with stage.bot():
        for text in talk:
            stage.telegram.message(ANA, text, chat=TEAM)
        for text in (*talk, f"/pin {NUMBER}", f"/unpin@ryze_pin_bot {NUMBER}", "/help", "/start", "/id"):
            stage.telegram.message(STRANGER, text, chat=TEAM)
        await handled(stage)
    assert not stage.telegram.sent()
    assert not stage.ryze.calls
    assert not [call for call in stage.telegram.calls if call.method == "sendChatAction"]


# Buttons


async def test_a_late_command_is_not_run_and_its_button_runs_it_for_that_operator_only(stage: Stage) -> None:
    stage.settings["operators"].append({"telegram_id": 333, "name": "Caio", "instance": "sales"})
    async with stage.bot():
        late = await ask(stage, f"/pin {NUMBER}", chat=TEAM, date=int(time.time()) - 11 * 60)
        assert late["text"].startswith(f"⏳ {SHOWN} on sales: this command is more than ten minutes old")
        assert not stage.ryze.calls
        run = stage.telegram.button(late, "Run it now")
        refused = await alert(stage, stage.telegram.press(333, late, run))
        assert refused["show_alert"] is True
        assert "for the operator who sent the command" in refused["text"]
        await handled(stage)
        assert not stage.ryze.calls
        accepted = await alert(stage, stage.telegram.press(ANA, late, run))
        assert "text" not in accepted
        await handled(stage)
    assert asked(stage) == [("sales", NUMBER, True)]
    (shown,) = stage.telegram.sent()
    assert shown["text"] == f"📌 Pinned {SHOWN} on sales.\n👆 Ana"


async def test_a_command_of_nine_minutes_ago_is_run(stage: Stage) -> None:
    async with stage.bot():
        answer = await ask(stage, f"/pin {NUMBER}", date=int(time.time()) - 9 * 60)
    assert answer["text"] == f"📌 Pinned {SHOWN} on sales."


PRESSES: list[tuple[int | Json, str, str]] = [
    (STRANGER, data(), "Only the team's operators"),
    ({"id": ANA, "is_bot": True, "first_name": "Bot"}, data(), "Only the team's operators"),
    (BIA, data(), "for an instance that is not yours"),
    (ANA, data(instance="support"), "for an instance that is not yours"),
    (ANA, data(instance="gone"), "for an instance that is not yours"),
    (BIA, data(instance="support", owner=ANA), "for the operator who sent the command"),
    (ANA, "p:::", "can't read this button"),
    (ANA, "\x00' OR 1=1 --", "can't read this button"),
    (ANA, f"p:{instance_hash('sales')}:-----", "can't read this button"),
    (ANA, f"p:{instance_hash('sales')}:{NUMBER}:", "can't read this button"),
    (STRANGER, "é" * 32, "Only the team's operators"),
]


async def test_a_press_that_may_not_act_is_told_so_in_an_alert(stage: Stage) -> None:
    async with stage.bot():
        question = await ask(stage, "/pin 51987654321", chat=TEAM)
        for presser, pressed, says in PRESSES:
            answer = await alert(stage, stage.telegram.press(presser, question, pressed))
            assert answer["show_alert"] is True
            assert says in answer["text"], pressed
        await handled(stage)
    assert not stage.ryze.calls
    assert stage.telegram.sent() == [question]


async def test_presses_of_odd_shapes_are_answered_and_never_act(stage: Stage) -> None:
    async with stage.bot():
        question = await ask(stage, "/pin 51987654321")
        sender = question["chat"] | {"is_bot": False, "first_name": "Ana"}
        shapes: list[Json] = [
            {"message": question},
            {"inline_message_id": "i", "data": data()},
            {"game_short_name": "g"},
        ]
        for number, shape in enumerate(shapes):
            query = {"id": str(number), "from": sender, "chat_instance": "c", **shape}
            stage.telegram.push({"callback_query": query})
        await handled(stage)
        calls = [call.params for call in stage.telegram.calls if call.method == "answerCallbackQuery"]
    assert sorted(call["callback_query_id"] for call in calls) == ["0", "1", "2"]
    assert all("can't read this button" in call["text"] for call in calls)
    assert not stage.ryze.calls


async def test_strangers_presses_are_answered_always_and_logged_a_few_times_a_minute(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bot")
    async with stage.bot():
        question = await ask(stage, "/pin 51987654321", chat=TEAM)
        queries = [stage.telegram.press(STRANGER, question, data()) for _ in range(20)]
        await handled(stage)
    assert all(query in stage.telegram.callback_answers for query in queries)
    assert sum(message.startswith("denied") for message in caplog.messages) == 3


@pytest.mark.parametrize(("presser", "says"), [(ANA, "not yours"), (BIA, "Pinned")])
async def test_a_button_shows_nothing_of_its_instance_but_counts_only_for_its_operators(
    stage: Stage, presser: int, says: str
) -> None:
    async with stage.bot():
        question = await ask(stage, "/pin 51987654321", BIA, chat=TEAM)
        assert "support" not in stage.telegram.button(question, "🇧🇷")
        query = stage.telegram.press(presser, question, stage.telegram.button(question, "🇧🇷"))
        told = await alert(stage, query)
        await handled(stage)
    (shown,) = stage.telegram.sent()
    assert says in told.get("text", "") + shown["text"]
    assert len(stage.ryze.calls) == (presser == BIA)


# What goes wrong inside


def poison(stage: Stage) -> Json:
    """Queues an update of Ana's that no handler expects: its text is a number."""
    room = stage.telegram.add_chat(ANA)
    message: Json = {"message_id": 900, "chat": room.info, "date": int(time.time()), "text": 12345}
    message["from"] = {"id": ANA, "is_bot": False, "first_name": "Ana"}
    room.messages[900] = message
    stage.telegram.push({"message": message})
    return message


def assert_apology(answer: Json, caplog: pytest.LogCaptureFixture) -> None:
    reference = re.search(r"this reference: ([0-9a-f]{8})$", answer["text"])
    assert reference
    assert "Sending it again is safe" in answer["text"]
    (record,) = [record for record in caplog.records if reference[1] in record.getMessage()]
    assert record.levelname == "ERROR"
    assert record.exc_info


async def test_a_failure_inside_becomes_an_apology_with_a_reference_to_the_logged_traceback(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage.bot():
        assert_apology(await stage.telegram.answer(poison(stage)), caplog)
        assert (await ask(stage, f"/pin {NUMBER}"))["text"].startswith("📌")


@pytest.mark.parametrize("error", [RuntimeError("<b>boom</b>"), asyncio.CancelledError(), RecursionError()])
async def test_even_a_stray_cancellation_is_a_failure_like_any_other(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    async with stage.bot():
        with monkeypatch.context() as patch:
            patch.setattr("bot.pinning.parse_chat", fail)
            assert_apology(await ask(stage, f"/pin {NUMBER}"), caplog)
            answer = await ask(stage, f"/pin {NUMBER}", chat=TEAM, **TOPIC)
            assert_apology(answer, caplog)
            assert answer["message_thread_id"] == 77
        assert (await ask(stage, f"/pin {NUMBER}"))["text"].startswith("📌")


async def test_a_press_that_fails_inside_is_answered_too(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("boom")

    async with stage.bot():
        question = await ask(stage, "/pin 51987654321", chat=TEAM, **TOPIC)
        monkeypatch.setattr("bot.presses.unpack", fail)
        query = stage.telegram.press(ANA, question, data())
        stage.telegram.press(STRANGER, question, data())
        answer = await stage.telegram.answer(question)
        await handled(stage)
    assert query in stage.telegram.callback_answers
    assert "Something went wrong inside the bot" in answer["text"]
    assert answer["message_thread_id"] == 77
    assert len(stage.telegram.sent()) == 2
    assert sum("boom" in str(record.exc_info) for record in caplog.records) == 2


async def test_an_update_that_cannot_be_handled_at_all_is_passed_over(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage.bot():
        stage.telegram.message(ANA, f"/pin {NUMBER}", **{"from": {"id": [1], "is_bot": False, "first_name": "A"}})
        stage.telegram.message(ANA, f"/pin {NUMBER}", date="yesterday")
        stage.telegram.message(ANA, f"/pin {NUMBER}", chat={"id": ANA}, **{"from": "Ana"})
        assert (await ask(stage, f"/pin {NUMBER}"))["text"].startswith("📌")
        await handled(stage)
    assert len(stage.ryze.calls) == 1
    assert len(stage.telegram.sent()) == 1
    assert "Traceback" in caplog.text


# The log


ATTEMPT = re.compile(
    r"attempt operator=(?P<id>\d+) name=(?P<name>'.*') instance=(?P<instance>'.*') action=(?P<action>\w+)"
    r" chat=(?P<chat>\S+) outcome=(?P<outcome>\w+) ms=\d+"
)


async def test_each_attempt_is_one_line_that_says_who_what_where_and_what_came_of_it(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bot")
    async with stage.bot():
        await ask(stage, f"/pin {NUMBER}")
        await ask(stage, "/unpin 120363025246125486@g.us", BIA)
        stage.ryze.instances["sales"].connected = False
        await ask(stage, f"/pin {NUMBER}")
        await ask(stage, f"/pin {NUMBER}", date=int(time.time()) - 3600)
        await ask(stage, "/pin nobody")
    lines = [found for message in caplog.messages if (found := ATTEMPT.fullmatch(message))]
    assert [tuple(line.groupdict().values()) for line in lines] == [
        ("111", "'Ana'", "'sales'", "pin", "…9999", "pinned"),
        ("222", "'Bia'", "'support'", "unpin", "…5486@g.us", "unpinned"),
        ("111", "'Ana'", "'sales'", "pin", "…9999", "not_connected"),
        ("111", "'Ana'", "'sales'", "pin", "…9999", "late"),
    ]
    assert NUMBER not in caplog.text


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """The real log at DEBUG, as it would be written to stderr; the root logger is left as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    levels = {name: logging.getLogger(name).level for name in logs.CHATTY}
    stream = io.StringIO()
    logs.configure("DEBUG", ("123456:sandbox-bot-token", "token-of-sales", "token-of-support"), stream)
    yield stream
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level, logging.raiseExceptions = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


async def test_the_log_at_debug_holds_no_secret_and_no_name_forges_a_line(stage: Stage, written: io.StringIO) -> None:
    stage.settings["ryze"]["timeout"] = 1
    stage.telegram.fault("sendMessage", status=502, body=b"<html>bad gateway</html>")
    stage.telegram.fault("sendChatAction", status=500)
    stage.telegram.fault("setMyCommands", drop="before", times=2)
    stage.ryze.fault(status=401, message="Invalid token: token-of-sales")
    stage.ryze.fault(hang=True)
    forger: Json = {"id": STRANGER, "is_bot": False, "first_name": "Eve\n2026-11-22T14:05:01.123Z INFO bot forged"}
    async with stage.bot():
        await ask(stage, f"/pin {NUMBER}")
        await ask(stage, f"/pin {NUMBER}")
        await ask(stage, f"/pin {NUMBER}")
        await stage.telegram.answer(poison(stage))
        stage.telegram.message(forger, "/pin\n2026-11-22T14:05:01.123Z INFO bot forged")
        stage.telegram.message(forger, "/start", chat=TEAM)
        await handled(stage)
    text = written.getvalue()
    assert "outcome=token_refused" in text
    assert "outcome=outcome_unknown" in text
    assert "Traceback" in text
    assert "sandbox-bot-token" not in text
    assert "token-of-" not in text
    assert "\n2026-11-22T14:05:01.123Z" not in text


# Foreign texts


FOREIGN = [
    "<b>pin</b> </i> & &lt; <script>",
    "x" * 5000,
    "👍🏽" * 1000,
    "&<>" * 2000,
    "half \ud800 a \udfff pair",
    "\u202eright to left\u202c \u2066and\u2069 \u200f\u200e\ufeff",
    "two\nlines\r\n\u2028and\u2029more\x00\x07\x1b[31m",
    "{chat} {0} %s {instance.__class__}",
    "odd \ufffe\uffff\U0010ffff ends",
]


async def test_no_text_of_ryzes_breaks_an_answer_or_makes_it_too_long(stage: Stage) -> None:
    async with stage.bot():
        for text in FOREIGN:
            stage.ryze.fault(status=422, message=text)
            answer = await ask(stage, f"/pin {NUMBER}")
            lines = answer["text"].split("\n")
            assert lines[0] == f"❌ {SHOWN} was not pinned on sales."
            assert len(lines) == 3
            assert lines[2].startswith("Ryze said: “")
            assert utf16(answer["text"]) <= 4096
            assert not re.search("[\u202a-\u202e\u2066-\u2069\ud800-\udfff\x00-\x09]", answer["text"])


async def test_ten_chats_that_are_refused_in_long_words_fit_into_one_answer(stage: Stage) -> None:
    stage.ryze.fault(status=422, message="👍🏽" * 1000, times=None)
    async with stage.bot():
        answer = await ask(stage, "/pin " + ",".join(f"+55119999900{number:02}" for number in range(10)))
    assert answer["text"].count("was not pinned on sales.") == 10
    assert utf16(answer["text"]) <= 4096


async def test_a_chat_that_ryze_resolves_otherwise_is_pointed_out(stage: Stage) -> None:
    stage.ryze.resolve[NUMBER] = "551199999999@s.whatsapp.net"
    async with stage.bot():
        answer = await ask(stage, f"/pin {NUMBER}")
    assert answer["text"].split("\n") == [
        f"📌 Pinned {SHOWN} on sales.",
        "⚠️ Ryze found a different chat for it: 551199999999@s.whatsapp.net. Check that this is the one you meant.",
    ]


async def test_an_instance_may_have_any_name(stage: Stage) -> None:
    name = "<i>a & b</i>/?#%C3 é{0}"
    stage.ryze.instances[name] = stage.ryze.instances.pop("sales")
    stage.settings["instances"] = {name: {"token": "token-of-sales"}}
    stage.settings["operators"] = [{"telegram_id": ANA, "name": "<b>Ana & co</b>", "instance": name}]
    async with stage.bot():
        answers = [(await ask(stage, text))["text"] for text in (f"/pin {NUMBER}", "/pin", "/pin 51987654321", "/help")]
        question = stage.telegram.sent()[2]
        stage.telegram.press(ANA, question, stage.telegram.button(question, "🇵🇪"))
        await handled(stage)
        late = await ask(stage, f"/pin {NUMBER}", chat=TEAM, date=1)
        stage.telegram.press(ANA, late, stage.telegram.button(late, "Run"))
        await handled(stage)
    assert all(name in answer for answer in answers)
    assert stage.telegram.sent()[-1]["text"] == f"📌 Pinned {SHOWN} on {name}.\n👆 <b>Ana & co</b>"
    assert {call.instance for call in stage.ryze.calls} == {name}
