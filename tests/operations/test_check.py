from pathlib import Path

import pytest

from bot.operations.check import describe, warnings
from bot.settings.load import load
from bot.settings.model import Settings

ENV = {"TELEGRAM_BOT_TOKEN": "123456789:AA-canary_bot", "T": "canary-ryze-token-4321"}
TEXT = "instances:\n  sales:\n    token: ${T}\noperators:\n  - telegram_id: 42\n    instance: sales\n"


def settings(folder: Path, text: str = TEXT, **environ: str) -> Settings:
    return load(None, {**ENV, **environ, "BOT_CONFIG_YAML": text}, folder)


def test_describe_shows_operators_and_instances_with_masked_tokens(tmp_path: Path) -> None:
    text = TEXT.replace("  sales:\n", "  b: {token: short-tokn, pins: 20}\n  sales:\n") + "    name: Front desk\n"
    assert describe(settings(tmp_path, text + "region: BR\n")) == (
        "Configuration           BOT_CONFIG_YAML\n"
        "Telegram                https://api.telegram.org, bot 123456789\n"
        "Updates                 long polling\n"
        "Ryze                    https://ryzeapi.cloud, 12 s at most\n"
        "Region                  BR\n"
        f"History                 {tmp_path}/ryze-pin-bot.sqlite3, for 30 days\n"
        "Admins                  none\n"
        "Instance b              token …, 20 pins\n"
        "Instance sales          token …4321, 3 pins\n"
        "Operator Front desk     42 on sales"
    )


VARIABLES = {"WEBHOOK_URL": "https://h:8443/canary", "DATABASE_URL": "postgres://u:canary@h"}


@pytest.mark.parametrize(
    ("text", "environ", "shown"),
    [
        (TEXT, VARIABLES, "Updates|pushed to h:8443, port 8080"),
        (TEXT, VARIABLES, "History|PostgreSQL, for 30 days"),
        (TEXT + "keep: 0", {}, "History|none"),
        (TEXT + "admins: [7, 8]", {}, "Admins|7, 8"),
        (TEXT.replace("sales", "s", 1).replace(": sales", "s: [s]"), {}, "Operator 42|42 on s"),
        (TEXT, {}, "Region|none: numbers are sent with their country code"),
        (TEXT.partition("operators:")[0] + "operators: []", {}, "Operators|none: nobody is let in"),
    ],
)
def test_describe_says_in_words_what_is_set_and_no_secret(
    tmp_path: Path, text: str, environ: dict[str, str], shown: str
) -> None:
    table = describe(settings(tmp_path, text, **environ))
    assert "canary" not in table
    name, value = shown.split("|")
    assert [line.removeprefix(name).strip() for line in table.split("\n") if line.startswith(name)] == [value]


VARIABLE = "instances.sales.token: looks like a variable's name: write it as ${NAME}"
SHARED = "token: another instance has the same: give each its own"
PHONE = "the id looks like a phone number: write what the bot answers to /id"
STATE = "state: /nowhere/x can't be written: make its folder, or write another"


@pytest.mark.parametrize(
    ("text", "environ", "warned"),
    [
        (TEXT, {}, []),
        *((TEXT.replace("${T}", name), {}, [VARIABLE]) for name in ("RYZE_SALES_TOKEN", "TOKEN_2", "$RYZE_TOKEN")),
        (
            TEXT.replace("  sales:", "  a: {token: x}\n  b: {token: x}\n  c: {token: y}\n  sales:"),
            {},
            [f"instances.a.{SHARED}", f"instances.b.{SHARED}"],
        ),
        (
            TEXT.replace("42", "5511987654321") + "admins: [5511987654321, 447400123456, 8500000000]\n",
            {},
            [f"447400123456: {PHONE}", f"5511987654321: {PHONE}"],
        ),
        (TEXT + "state: /nowhere/x\n", {}, [STATE]),
        (TEXT + "state: /nowhere/x\nkeep: 0\n", {}, []),
        (TEXT + "state: /nowhere/x\n", {"DATABASE_URL": "postgres://h"}, []),
    ],
)
def test_what_is_allowed_and_looks_wrong_is_warned_of(
    tmp_path: Path, text: str, environ: dict[str, str], warned: list[str]
) -> None:
    (tmp_path / "ryze-pin-bot.sqlite3").touch()
    found = list(warnings(settings(tmp_path, text, **environ)))
    assert found == warned
    assert "canary" not in str(found)
