from collections.abc import Mapping
from pathlib import Path

import pytest

from bot.operations.check import describe, warnings
from bot.settings.load import load
from bot.settings.model import Settings

ENV = {"TELEGRAM_BOT_TOKEN": "123456789:AA-canary_bot", "T": "canary-ryze-token-4321"}
TEXT = "instances:\n  sales:\n    token: ${T}\noperators:\n  - telegram_id: 42\n    instance: sales\n"


def settings(folder: Path, text: str = TEXT, environ: Mapping[str, str] = ENV) -> Settings:
    return load(None, {**environ, "BOT_CONFIG_YAML": text}, folder)


def test_describe_shows_operators_and_instances_with_masked_tokens(tmp_path: Path) -> None:
    text = TEXT.replace("  sales:\n", "  b: {token: short-tokn, pins: 20}\n  sales:\n") + "    name: Front desk\n"
    assert describe(settings(tmp_path, text + "region: BR\n")) == (
        "Configuration  BOT_CONFIG_YAML\n"
        "Telegram       https://api.telegram.org, token …_bot\n"
        "Updates        long polling\n"
        "Ryze           https://ryzeapi.cloud, 12 s at most\n"
        "Region         BR\n"
        "Language       each person's own\n"
        "Time zone      UTC\n"
        f"History        {tmp_path}/ryze-pin-bot.sqlite3, for 30 days\n"
        "Admins         none\n"
        "Metrics        none\n"
        "Log level      INFO\n"
        "\n"
        "Instance  Token  Pins\n"
        "b         …      20\n"
        "sales     …4321  3\n"
        "\n"
        "Operator    Telegram id  Instance\n"
        "Front desk  42           sales"
    )


def test_describe_shows_where_updates_come_from_and_history_goes_to_without_a_secret(tmp_path: Path) -> None:
    environ = {"WEBHOOK_URL": "https://h:8443/canary", "METRICS_PORT": "9090", "DATABASE_URL": "postgres://u:canary@h"}
    text = TEXT.replace("instance: sales", "instances: [sales, a]").replace("  sales:", "  a: {token: x}\n  sales:")
    text += "language: pt-BR\ntimezone: America/Sao_Paulo\nadmins: [7, 8]\n"
    shown = describe(settings(tmp_path, text, {**ENV, **environ}))
    for line in (
        "Updates        pushed to https://h:8443, port 8080",
        "Language       pt-BR",
        "Time zone      America/Sao_Paulo",
        "History        PostgreSQL, for 30 days",
        "Admins         7, 8",
        "Metrics        127.0.0.1, port 9090",
        "42        42           sales, a",
    ):
        assert line in shown.split("\n")
    assert "canary" not in shown


def test_describe_says_what_there_is_none_of(tmp_path: Path) -> None:
    shown = describe(settings(tmp_path, TEXT.partition("operators:")[0] + "operators: []\nkeep: 0\n"))
    assert shown.endswith("No operators: nobody is let in.")
    assert "none: numbers are sent with their country code" in shown
    assert "History        none\n" in shown


VARIABLE = "instances.sales.token: looks like a variable's name: write it as ${NAME}"
PHONE = "the id looks like a phone number: write what the bot answers to the person's /id"
STATE = "can't be written, so nothing would be kept: make its folder, or write another"


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        (TEXT, []),
        *((TEXT.replace("${T}", name), [VARIABLE]) for name in ("RYZE_SALES_TOKEN", "TOKEN_2", "$RYZE_TOKEN")),
        (
            TEXT.replace("  sales:", "  a: {token: x}\n  b: {token: x}\n  c: {token: y}\n  sales:"),
            ["instances a, b: the same token: give each its own, which reaches no other instance"],
        ),
        (
            TEXT.replace("42", "5511987654321\n    name: Ana") + "admins: [5511987654321, 447400123456, 8500000000]\n",
            [f"operator Ana: {PHONE}", f"admin 447400123456: {PHONE}"],
        ),
        *((TEXT + f"state: {state}\n", [f"state: {state} {STATE}"]) for state in ("/nowhere/x", "/")),
        (TEXT + "state: /nowhere/x\nkeep: 0\n", []),
    ],
)
def test_what_is_allowed_and_looks_wrong_is_warned_of(tmp_path: Path, text: str, warned: list[str]) -> None:
    found = list(warnings(settings(tmp_path, text)))
    assert found == warned
    assert "canary" not in str(found)


def test_a_state_that_exists_is_fine_and_with_a_database_none_is_needed(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    assert not [*warnings(settings(tmp_path, TEXT + "state: there\n"))]
    environ = {**ENV, "DATABASE_URL": "postgres://h"}
    assert not [*warnings(settings(tmp_path, TEXT + "state: /nowhere/x\n", environ))]


def test_the_webhook_and_the_metrics_need_ports_of_their_own(tmp_path: Path) -> None:
    environ = {**ENV, "METRICS_PORT": "8080"}
    assert not [*warnings(settings(tmp_path, TEXT, environ))]
    environ["WEBHOOK_URL"] = "https://h"
    assert [*warnings(settings(tmp_path, TEXT, environ))] == ["METRICS_PORT: the same as PORT: write another"]
