"""One line a record, which nothing in it can break, hide or forge, and no secret in it."""

import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from urllib.parse import quote

import pytest

from bot.operations import logs

BOT_TOKEN = "987654321:AAcanary-bot_TOKEN"
RYZE_TOKEN = 'canary"ryze/+token'


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    yield
    configure("DEBUG")  # which silences no library
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level, logging.raiseExceptions = before


def configure(level: str = "DEBUG") -> Callable[[], str]:
    """Configure the log, and return what it holds when called."""
    with redirect_stderr(io.StringIO()) as stream:
        logs.configure(level, (BOT_TOKEN, RYZE_TOKEN, "abc", "abc-canary", ""))
    return stream.getvalue


def test_a_line_has_the_time_in_utc_the_level_and_the_logger() -> None:
    output = configure()
    record = logging.LogRecord("bot.app", logging.INFO, "", 0, "a %s", (1,), None)
    record.created = 1795356301.1239
    logging.getLogger().handle(record)
    assert output() == "2026-11-22T14:05:01.123Z INFO bot.app a 1\n"


@pytest.mark.parametrize(
    "text",
    [
        RYZE_TOKEN,
        quote(RYZE_TOKEN, safe=""),
        json.dumps({"token": RYZE_TOKEN}),
        f"https://api.telegram.org/bot{BOT_TOKEN}/getUpdates",
        "https://example.com/bot11:canary/getMe",
        "222222222%3AAAcanary-canary-canary-canary-canary",
        "abc-canary",
    ],
)
def test_a_secret_is_masked_also_quoted_and_escaped_and_so_is_what_looks_like_a_bots_token(text: str) -> None:
    output = configure()
    logging.getLogger("httpx").debug("before %s after", text)
    shown = output()
    assert "canary" not in shown
    assert re.search(r"before .*\*\*\*.* after\n$", shown)


def test_tracebacks_are_masked_and_cannot_pass_for_a_line_of_their_own() -> None:
    output = configure()
    forged = "2026-01-01T00:00:00.000Z INFO bot forged"
    error = RuntimeError(f"second {BOT_TOKEN}\n{forged}\r{forged}")
    error.__cause__ = ValueError(f"first {RYZE_TOKEN}")
    logging.getLogger("bot").error("failed", exc_info=error, stack_info=True)
    first, *rest = output().splitlines()
    assert "canary" not in str(rest)
    assert first.endswith("Z ERROR bot failed")
    assert {line[:4] for line in rest} == {"  | "}
    assert {"  | RuntimeError: second ***", f"  | {forged}\\r{forged}", "  | Stack (most recent call last):"} < {*rest}


@pytest.mark.parametrize("control", [*"\n\r\t\x00\x07\x0b\x0c\x1b\x1c\x7f\x85\x9b\u2028\u2029\u202e\u2066\u200f"])
def test_nothing_in_a_message_or_a_loggers_name_forges_or_hides_a_line(control: str) -> None:
    output = configure()
    logging.getLogger(f"bot{control}x").info("Ana%s2026-01-01T00:00:00.000Z INFO bot forged", control)
    (line,) = output().splitlines()
    assert line.count(repr(control)[1:-1]) == 2


def test_libraries_that_say_much_are_heard_at_debug_only_and_pythons_warnings_too() -> None:
    output = configure("INFO")
    logging.getLogger("httpx").info("chatter")
    logging.getLogger("telegram.request.BaseRequest").error("an outage's page")
    logging.getLogger("telegram.ext").warning("warning")
    assert re.fullmatch(".*Z WARNING telegram.ext warning\n", output())
    output = configure("DEBUG")
    logging.getLogger("httpx").debug("chatter")
    assert "chatter" in output()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        output = configure("INFO")
        warnings.warn("odd", stacklevel=1)
    assert "Z WARNING py.warnings " in output()
