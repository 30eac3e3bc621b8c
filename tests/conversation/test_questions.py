"""What a person reads where nothing was done: questions, explanations and lists."""

import re
import time

import pytest

from bot.conversation import questions
from bot.conversation.callback_data import Action, Press, instance_hash, unpack
from bot.ryze.chats import Chat, Problem, Reading, read_command
from bot.telegram.outbox import Answer
from tests.conversation.making import FOURTH, OTHER, PHONE, THIRD, entry, labels, said, texts

GROUP = Chat("5511999999999-1534567890@g.us")


def pressed(answer: Answer) -> dict[str, Press | None]:
    return {button.label: unpack(button.data or "", {instance_hash("sales"): "sales"}) for button in answer.buttons}


def test_a_missing_chat_is_asked_for_with_an_example_or_with_those_that_may_be_meant() -> None:
    answer = questions.which_chat((), "sales", texts(), pin=False)
    assert said(answer).startswith("Which chat shall I unpin on sales? Send its number, or reply")
    assert said(answer).endswith("\nFor example: /unpin 11 99999-9999")
    answer = questions.which_chat((PHONE, OTHER), "sales", texts(), pin=True)
    assert said(answer).endswith("\nOr tap one of these:")
    assert pressed(answer) == {f"Pin {chat.display}": Press(Action.PIN, "sales", chat) for chat in (PHONE, OTHER)}


@pytest.mark.parametrize(
    ("typed", "region", "says", "label"),
    [
        ("98888-7777", "BR", "98888-7777 lacks its area code. Send it with its DDD: /pin 11 99999-9999", ""),
        ("98888-7777", None, "98888-7777 lacks its country code", "Pin +98 8887777 anyway"),
        ("119999999990", "BR", "119999999990 has a digit too many.", ""),
        ("+55 11 9999999990", "BR", "+55 11 9999999990 has a digit too many.", "Pin +55 119999999990 anyway"),
        ("Maria", "BR", "I found no phone number in that. Send just the number, with its DDD:", ""),
        ("a@b.com", "BR", "a@b.com is not a WhatsApp chat.", ""),
        ("https://chat.whatsapp.com/AbC", "BR", "That is an invitation to a group.", ""),
        ("120363025246125486", "BR", "A group's id ends in @g.us", ""),
    ],
)
def test_what_is_no_chat_is_said_with_what_to_send_and_anyway_only_with_a_country_code(
    typed: str, region: str | None, says: str, label: str
) -> None:
    (reading,) = read_command(typed, region)
    answer = questions.problem(reading, "sales", texts(region=region), pin=True)
    assert says in said(answer)
    assert "\n" not in said(answer)
    assert labels(answer) == ([label] if label else [])


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        (Problem.WORDS, "❓ Skipped “&lt;x&gt;”: I see no number in it."),
        (
            Problem.AREA_CODE,
            "❓ <b>&lt;x&gt;</b> lacks its area code. Send it with its DDD: <code>/pin 11 99999-9999</code>",
        ),
        (None, "❓ Skipped “&lt;x&gt;”: to be sure, send just the number."),
    ],
)
def test_a_piece_of_several_that_is_no_chat_gets_its_own_reason(problem: Problem | None, says: str) -> None:
    assert questions.explain(Reading("<x>", problem=problem), texts(), pin=True, one_of_several=True) == says


def test_a_number_without_a_command_is_offered_for_each_instance() -> None:
    both = questions.offer((PHONE,), "Jo <b>", ("sales", "a very long instance's name"), texts())
    assert both.text == f"<b>{PHONE.display}</b> (Jo &lt;b&gt;): pin or unpin?"
    assert labels(both)[:2] == ["Pin · sales", "Unpin · sales"]
    assert pressed(both)["Unpin · sales"] == Press(Action.UNPIN, "sales", PHONE)
    assert all(len(label) <= 28 for label in labels(both))
    several = questions.offer((PHONE, OTHER), "", ("sales",), texts(solo=True))
    assert labels(several) == [f"{verb} {chat.display}" for chat in (PHONE, OTHER) for verb in ("Pin", "Unpin")]


def test_pins_marks_what_the_phone_may_have_dropped() -> None:
    none = questions.pins((), "sales", 3, texts(solo=True))
    unseen = "I only see what is pinned and unpinned through me, not on the phone."
    assert said(none) == f"Nothing pinned.\n{unseen}"
    shown = questions.pins([entry(chat, time.time()) for chat in (PHONE, OTHER, THIRD)], "sales", 2, texts())
    lines = [re.sub(r" \d\d:\d\d", "", line) for line in said(shown).split("\n")]
    assert lines[0] == "Pinned on sales:"
    assert lines[2:4] == [f"• {OTHER.display}, by Ana, today", f"• ❔ {THIRD.display}, by Ana, today"]
    assert lines[4:] == ["❔ WhatsApp keeps only 2 on top and may have dropped these.", unseen]
    assert labels(shown) == [f"Unpin {chat.display}" for chat in (PHONE, OTHER, THIRD)]
    assert "❔" not in questions.pins([entry(PHONE), entry(OTHER)], "sales", 2, texts()).text


def test_history_says_what_came_of_each_attempt_and_pages() -> None:
    page = questions.history(
        [entry(FOURTH, outcome="late"), entry(GROUP, outcome="unpinned")], "sales", 10, texts(), more=True
    )
    assert said(page).startswith("Latest commands on sales:\n")
    assert re.findall(r"Ana: .*", said(page)) == [
        f"Ana: pin {FOURTH.display} – too late, not run",
        f"Ana: unpin {GROUP.display}",
    ]
    here = instance_hash("sales")
    assert [button.data for button in page.buttons] == [f"h:{here}:12", f"h:{here}:0"]
    assert said(questions.history([], "sales", 0, texts(), more=False)).startswith("Nothing has been done on sales")
