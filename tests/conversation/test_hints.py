"""What somebody reads who did not send one of the bot's commands, and the help."""

import pytest

from bot.conversation import hints
from bot.conversation.commands import Ask
from bot.settings.model import Operator
from tests.conversation.making import ANA, BOTH, labels, settings, texts


def ask(operator: Operator = ANA, region: str | None = "BR") -> Ask:
    return Ask(operator, None, texts(solo=len(operator.instances) == 1, region=region), 1, settings(), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "typed", "meant", "label"),
    [
        ("pinn", "11 98888-7777", "/pin", "Pin +55 11 98888-7777"),
        ("fixa", "11 98888-7777", "/fixar", "Pin +55 11 98888-7777"),
        ("pin5511988887777", "", "/pin", "Pin +55 11 98888-7777"),
        ("pinn", "Maria", "/pin", ""),
        ("status", "", "/pins", ""),
    ],
)
def test_a_near_miss_gets_the_command_that_was_meant_and_a_button_if_it_is_all_there(
    command: str, typed: str, meant: str, label: str
) -> None:
    answer = hints.hint(ask(), command, typed)
    assert answer.text == f"Did you mean {meant}?"
    assert labels(answer) == ([label] if label else [])


@pytest.mark.parametrize(
    "text", ["Obrigada!", "muito obrigado", "valeu 🙏", "Thanks!", "gracias", "👍", "", "obrigatório"]
)
def test_thanks_are_thanks_and_other_words_are_not(text: str) -> None:
    assert bool(hints.THANKS.fullmatch(text)) == (text not in ("", "obrigatório"))


def test_help_shows_what_this_operator_has_to_write() -> None:
    assert "<code>/pin 11 99999-9999</code>" in hints.help_text(ask()).text
    assert "sales" not in hints.help_text(ask()).text
    both = hints.help_text(ask(BOTH)).text
    assert "\nYours: <b>sales, support</b>" in both
    assert "<code>/pin support 11 99999-9999</code>" in both
    abroad = hints.help_text(ask(region=None)).text
    assert "<code>/pin +55 11 99999-9999</code>" in abroad
    assert "with its country code" in abroad
    assert all(f"/{command} " in abroad for command in ("pin", "unpin", "pins", "history"))
