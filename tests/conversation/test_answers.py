"""What a person reads of a request's results: pure functions, tried as tables."""

import re

import pytest

from bot.conversation import answers
from bot.conversation.answers import Context
from bot.conversation.callback_data import Action, Press, instance_hash, unpack
from bot.ryze.chats import Chat
from bot.ryze.outcomes import OUTCOMES
from bot.telegram.outbox import Answer
from tests.conversation.making import BOTH, FOURTH, OTHER, PHONE, THIRD, attempts, entry, labels, request, said, texts

LANGUAGES = ("en", "pt-BR", "es")
FAILURES = sorted(name for name, outcome in OUTCOMES.items() if not outcome.ok and outcome.ran)
PERU = Chat("51987654321")
BRAZIL = Chat("5551987654321")


def press(answer: Answer, label: str) -> Press:
    button = next(button for button in answer.buttons if label in button.label)
    meaning = unpack(button.data or "", {instance_hash("sales"): "sales"})
    assert isinstance(meaning, Press)
    return meaning


@pytest.mark.parametrize(
    ("pin", "solo", "text", "button"),
    [
        (True, False, "📌 Pinned +55 11 99999-9999 on sales.", "Unpin"),
        (False, True, "✅ Unpinned +55 11 99999-9999.", "Pin again"),
    ],
)
def test_a_success_names_the_chat_and_offers_to_undo_it(*, pin: bool, solo: bool, text: str, button: str) -> None:
    done = attempts(request(pin=pin), "pinned" if pin else "unpinned")
    answer = answers.of(done, texts(solo=solo), Context())
    assert said(answer) == text
    assert labels(answer) == [button]
    assert press(answer, button).action is (Action.UNPIN if pin else Action.PIN)
    assert answer.silent


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", FAILURES)
def test_every_failure_has_a_head_a_reason_and_the_admin_s_part_folded(name: str, language: str) -> None:
    words = texts(language, solo=True)
    outcome = OUTCOMES[name]
    answer = answers.of(attempts(request(), name, text="upstream <b>words", status=500), words, Context())
    head, *lines = answer.text.split("\n")
    assert "+55 11 99999-9999" in head
    if name != "pin_limit":
        assert ("⚠️" if outcome.unsure else "❌") in head
        assert lines
    before, _, folded = answer.text.partition("<blockquote expandable>")
    assert "upstream" not in before, "an operator reads no English in the middle of a sentence"
    assert "base_url" not in before
    assert bool(folded) == bool(words.say(f"admin.{name}", instance="sales"))
    assert ("Try again" in labels(answer)) == (outcome.retry and language == "en")
    assert not answer.silent
    if outcome.admin and bool(words.say(f"admin.{name}", instance="sales")):
        assert words.say("tell_admin") in answer.text
        told = answers.of(attempts(request(), name), words, Context(admin_told=True))
        assert words.say("admin_told") in told.text
        assert words.say("tell_admin") not in told.text


def test_ryze_s_own_words_are_shown_to_the_admin_escaped() -> None:
    answer = answers.of(attempts(request(), "refused", text="no <way>", status=500), texts(), Context())
    assert "Ryze said (500): “no &lt;way&gt;”</blockquote>" in answer.text


def test_another_jid_than_the_one_asked_for_is_shown() -> None:
    answer = answers.of(attempts(request(), "pinned", jid="551188887777@s.whatsapp.net"), texts(), Context())
    assert "⚠️ Ryze has it as <code>551188887777@s.whatsapp.net</code>." in answer.text


@pytest.mark.parametrize(
    ("pin", "outcome", "was_pinned", "action", "other"),
    [
        (True, "pinned", False, Action.MEANT, BRAZIL),
        (True, "pinned", True, Action.PIN, None),
        (True, "refused", False, Action.PIN, None),
        (False, "unpinned", False, Action.UNPIN, None),
        (False, "unpinned", True, Action.MEANT, PERU),
    ],
)
def test_the_other_reading_undoes_what_was_done_with_the_first(
    *, pin: bool, outcome: str, was_pinned: bool, action: Action, other: Chat | None
) -> None:
    done = attempts(request(BRAZIL, pin=pin), outcome)
    answer = answers.of(done, texts(), Context(other=PERU, was_pinned=was_pinned))
    meaning = press(answer, "Meant 🇵🇪 +51 987 654 321")
    assert (meaning.action, meaning.other) == (action, other)
    assert meaning.chat == (BRAZIL if other == PERU else PERU)


class TestPlaces:
    PINNED = (entry(OTHER), entry(THIRD), entry(FOURTH))

    def test_a_refusal_for_the_limit_asks_which_one_goes(self) -> None:
        answer = answers.of(attempts(request(), "pin_limit"), texts(), Context(pinned=self.PINNED))
        assert said(answer) == "❌ +55 11 99999-9999 was not pinned on sales: 3 are already pinned. Which one goes?"
        assert labels(answer) == [f"Replace {entry.display}" for entry in (OTHER, THIRD, FOURTH)]
        assert press(answer, THIRD.display) == Press(Action.SWAP, "sales", PHONE, THIRD)

    def test_with_nothing_known_it_says_how_to_make_room(self) -> None:
        answer = answers.of(attempts(request(), "pin_limit"), texts(), Context())
        assert said(answer).endswith("Unpin one on the phone or with /unpin, then Try again.")
        assert labels(answer) == ["Try again"]

    @pytest.mark.parametrize(("known", "says"), [(3, False), (4, True), (5, True)])
    def test_one_pin_more_than_there_are_places_is_a_success_that_says_so(self, *, known: int, says: bool) -> None:
        older = (OTHER, THIRD, FOURTH, Chat("5511955555555"))[: known - 1]
        pinned = [entry(PHONE), *map(entry, older)]
        answer = answers.of(attempts(request(), "pinned"), texts(), Context(pinned=pinned))
        assert said(answer).startswith("📌 Pinned")
        assert ("keeps only 3 on top" in answer.text) == says
        assert (older[-1].display in answer.text) == says
        assert labels(answer)[1:] == ([f"Unpin {chat.display}" for chat in older] if says else [])

    @pytest.mark.parametrize(("outcome", "buttons"), [("pinned", ["Unpin"]), ("pin_limit", [])])
    def test_in_a_group_it_names_no_other_chat_and_points_to_private(self, outcome: str, buttons: list[str]) -> None:
        context = Context(pinned=[entry(PHONE), *self.PINNED], group_hint="pin_bot")
        answer = answers.of(attempts(request(), outcome), texts(), context)
        assert said(answer).endswith("write to me in private: @pin_bot")
        assert FOURTH.display not in answer.text
        assert labels(answer) == buttons


FAILED = ("❌ {chat} was not pinned.", "{why}")
UNSURE = "⚠️ I can't tell whether {other} was pinned."
SWAPS = [
    ("unpinned pinned", ["✅ Unpinned {other}.", "📌 Pinned {chat}."], "Unpin"),
    ("not_sent", ["❌ {other} was not unpinned.", "{why}", "⏭ Skipped: {chat}."], "Replace {other}"),
    ("unpinned not_sent", ["✅ Unpinned {other}.", *FAILED, "⚠️ {other} stays unpinned."], "Try again"),
    ("unpinned not_sent pinned", [*FAILED, "So I pinned {other} again, as it was."], "Try again"),
    ("unpinned not_sent refused", ["✅ Unpinned {other}.", *FAILED, "⚠️ {other} stays unpinned."], "Try again"),
    ("unpinned not_sent outcome_unknown", ["✅ Unpinned {other}.", *FAILED, UNSURE], "Try again"),
]


@pytest.mark.parametrize(("outcomes", "lines", "button"), SWAPS)
def test_a_swap_says_where_both_chats_are(outcomes: str, lines: list[str], button: str) -> None:
    words = texts(solo=True)
    answer = answers.of(attempts(request(unpin_first=OTHER), *outcomes.split()), words, Context())
    fields = {"chat": PHONE.display, "other": OTHER.display, "why": words.say("why.not_sent")}
    assert said(answer).split("\n") == [line.format(**fields) for line in lines]
    assert labels(answer) == [button.format(**fields)]


class TestSeveral:
    ASKED = request(PHONE, OTHER, THIRD, operator=BOTH)

    def test_each_has_a_short_line_below_the_instance_s_name(self) -> None:
        unread = Context(unread=(texts().say("unread", typed="Maria"),))
        answer = answers.of(attempts(self.ASKED, "pinned", "not_sent", "pinned"), texts(), unread)
        head, first, second, third, *rest = said(answer).split("\n")
        assert (head, first, third) == ("On sales:", f"📌 {PHONE.display}", f"📌 {THIRD.display}")
        assert second == f"❌ {OTHER.display}: Ryze not reached"
        assert rest == ["❓ Skipped “Maria”: I see no number in it.", texts().say("why.not_sent")]
        assert press(answer, "Try again") == Press(Action.REST, "sales", OTHER)

    def test_what_was_skipped_shares_a_line(self) -> None:
        answer = answers.of(attempts(self.ASKED, "token_refused"), texts(solo=True), Context())
        assert f"⏭ Skipped: {OTHER.display}, {THIRD.display}." in said(answer).split("\n")
        assert "Put a valid one" in answer.text
        assert labels(answer) == ["Try the rest again"]

    def test_the_limit_offers_to_replace_for_the_first_that_failed_and_to_try_the_rest(self) -> None:
        context = Context(pinned=[entry(PHONE), entry(FOURTH)])
        answer = answers.of(attempts(self.ASKED, "pinned", "pin_limit"), texts(), context)
        assert "3 are already pinned.\nWhich one goes?" in said(answer)
        assert labels(answer) == [f"Replace {FOURTH.display}", "Try the rest again"]
        assert press(answer, "Replace").chat == OTHER

    def test_all_well_is_silent_and_short(self) -> None:
        answer = answers.of(attempts(self.ASKED, *["pinned"] * 3), texts(), Context())
        assert len(answer.text.split("\n")) == 4
        assert answer.silent
        assert not answer.buttons


@pytest.mark.parametrize(
    ("name", "action", "label"),
    [("late", Action.PIN_OWN, "Pin"), ("busy", Action.PIN, "Try again"), ("queue_timeout", Action.PIN, "Try again")],
)
def test_what_was_not_run_can_be_run_with_one_tap(name: str, action: Action, label: str) -> None:
    answer = answers.of(attempts(request(), name), texts(), Context())
    assert "did nothing" in answer.text
    assert PHONE.display in answer.text
    assert labels(answer) == [label]
    assert press(answer, label).action is action
    several = answers.of(attempts(request(PHONE, OTHER), name), texts(), Context())
    assert press(several, label).action is Action.REST


@pytest.mark.parametrize("language", LANGUAGES)
def test_labels_have_at_most_28_characters_and_keep_the_last_eight_digits(language: str) -> None:
    words = texts(language)
    for key in ("button_pin_chat", "button_unpin_chat", "button_replace", "button_meant", "button_pin_anyway"):
        for chat in (PHONE.display, "+44 20 7946 0958", "120363025246125486@g.us", "5511999999999-1400000000@g.us"):
            label = words.label(key, chat)
            assert len(label) <= 28 or "g.us" in chat, label
            last = re.sub(r"[^0-9]", "", chat)[-8:]
            assert re.sub(r"[^0-9]", "", label).endswith(last), label
