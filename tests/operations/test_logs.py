"""One line a record, which nothing in it can break, hide or forge, and no secret in it."""

import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from bot.operations import logs

BOT_TOKEN = "987654321:AAcanary-bot_TOKEN"
RYZE_TOKEN = 'canary"ryze/+token'

Configure = Callable[..., io.StringIO]


@pytest.fixture
def configure() -> Iterator[Configure]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions

    def set_up(level: str = "DEBUG") -> io.StringIO:
        stream = io.StringIO()
        logs.configure(level, (BOT_TOKEN, RYZE_TOKEN, "abc", "abc-canary", ""), stream)
        return stream

    yield set_up
    set_up("DEBUG")  # which silences no library
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level, logging.raiseExceptions = before


def test_a_line_has_the_time_in_utc_the_level_and_the_logger(configure: Configure) -> None:
    stream = configure()
    record = logging.LogRecord("bot.app", logging.INFO, "", 0, "a %s", (1,), None)
    record.created = 1795356301.1239
    logging.getLogger().handle(record)
    assert stream.getvalue() == "2026-11-22T14:05:01.123Z INFO bot.app a 1\n"


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
def test_a_secret_is_masked_also_quoted_and_escaped_and_so_is_what_looks_like_a_bots_token(
    configure: Configure, text: str
) -> None:
    stream = configure()
    logging.getLogger("httpx").debug("before %s after", text)
    assert "canary" not in stream.getvalue()
    assert re.search(r"before .*\*\*\*.* after\n$", stream.getvalue())


def test_tracebacks_are_masked_and_cannot_pass_for_a_line_of_their_own(configure: Configure) -> None:
    stream = configure()
    forged = "2026-01-01T00:00:00.000Z INFO bot forged"
    error = RuntimeError(f"second {BOT_TOKEN}\n{forged}\r{forged}")
    error.__cause__ = ValueError(f"first {RYZE_TOKEN}")
    logging.getLogger("bot").error("failed", exc_info=error, stack_info=True)
    first, *rest = stream.getvalue().splitlines()
    assert "canary" not in stream.getvalue()
    assert first.endswith("Z ERROR bot failed")
    assert {line[:4] for line in rest} == {"  | "}
    assert {"  | RuntimeError: second ***", f"  | {forged}\\r{forged}", "  | Stack (most recent call last):"} < {*rest}


@pytest.mark.parametrize("control", [*"\n\r\t\x00\x07\x0b\x0c\x1b\x1c\x7f\x85\x9b\u2028\u2029\u202e\u2066\u200f"])
def test_nothing_in_a_message_or_a_loggers_name_forges_or_hides_a_line(configure: Configure, control: str) -> None:
    stream = configure()
    logging.getLogger(f"bot{control}x").info("Ana%s2026-01-01T00:00:00.000Z INFO bot forged", control)
    assert len(stream.getvalue().splitlines()) == 1
    assert stream.getvalue().count(repr(control)[1:-1]) == 2


def test_libraries_that_say_much_are_heard_below_warning_at_debug_only(configure: Configure) -> None:
    stream = configure("INFO")
    logging.getLogger("httpx").info("chatter")
    logging.getLogger("telegram.request.BaseRequest").error("an outage's page")
    logging.getLogger("telegram.ext").warning("warning")
    assert stream.getvalue().endswith("Z WARNING telegram.ext warning\n")
    assert stream.getvalue().count("\n") == 1
    stream = configure("DEBUG")
    logging.getLogger("telegram.request.BaseRequest").debug("chatter")
    assert "chatter" in stream.getvalue()


def test_configured_again_it_writes_to_stderr_alone_and_pythons_warnings_too(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logs.configure("INFO", ())
        warnings.warn("odd", stacklevel=1)
    assert not stream.getvalue()
    assert "Z WARNING py.warnings " in capsys.readouterr().err
