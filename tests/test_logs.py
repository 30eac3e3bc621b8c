import io
import json
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from bot import logs

BOT_TOKEN = "987654321:AAcanary-bot_TOKEN"
RYZE_TOKEN = "canary'ryze/é+token"
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ [\w.]+ .*")

Configure = Callable[..., io.StringIO]


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Sets the real root logger up, and leaves it afterwards as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    levels = {name: logging.getLogger(name).level for name in logs.CHATTY}

    def set_up(level: str = "DEBUG", secrets: tuple[str, ...] = (BOT_TOKEN, RYZE_TOKEN)) -> io.StringIO:
        stream = io.StringIO()
        logs.configure(level, secrets, stream)
        return stream

    yield set_up
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level, logging.raiseExceptions = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def fail(message: str) -> None:
    raise ValueError(message)


def assert_no_secret(text: str) -> None:
    assert "canary" not in text.lower()


def test_a_line_has_the_time_in_utc_the_level_and_the_logger(configure: Configure) -> None:
    stream = configure()
    record = logging.makeLogRecord(
        {
            "created": 1795356301.1239,
            "levelno": 20,
            "levelname": "INFO",
            "name": "bot.commands",
            "msg": "a %s",
            "args": (1,),
        }
    )
    logging.getLogger().handle(record)
    assert stream.getvalue() == "2026-11-22T14:05:01.123Z INFO bot.commands a 1\n"


@pytest.mark.parametrize(
    "text",
    [
        RYZE_TOKEN,
        quote(RYZE_TOKEN),
        quote(RYZE_TOKEN, safe="").lower(),
        repr(RYZE_TOKEN),
        repr([RYZE_TOKEN + '"']),
        ascii(RYZE_TOKEN),
        json.dumps({"token": RYZE_TOKEN}),
        f"https://api.telegram.org/bot{BOT_TOKEN}/getUpdates",
        quote(BOT_TOKEN, safe=""),
        "bot11:canary",
        "https://example.com/bot111111111:AAcanary_canary_canary_canary_canary/getMe",
        "222222222:AAcanary-canary-canary-canary-canary",
        "222222222%3AAAcanary-canary-canary-canary-canary",
    ],
)
def test_a_secret_is_masked_however_it_is_written(configure: Configure, text: str) -> None:
    stream = configure()
    logging.getLogger("httpx").debug("before %s after", text)
    assert_no_secret(stream.getvalue())
    assert re.search(r"before .*\*\*\*.* after\n$", stream.getvalue())


@pytest.mark.parametrize(
    ("secret", "text"), [("ΠΑΣ", "ΠΑΣx"), ("Σ1canary", "u:Σ1canary@"), ("Straße", "STRASSE Straße")]
)
def test_a_secret_is_masked_in_any_alphabet(configure: Configure, secret: str, text: str) -> None:
    stream = configure(secrets=(secret,))
    logging.getLogger("bot").info("%s", text)
    assert secret not in stream.getvalue()


def test_the_longest_secret_is_masked_first(configure: Configure) -> None:
    stream = configure(secrets=("abc", "abc-canary", ""))
    logging.getLogger("bot").info("<abc-canary>")
    assert stream.getvalue().endswith(" <***>\n")


def test_tracebacks_are_masked_and_cannot_pass_for_a_line_of_their_own(configure: Configure) -> None:
    stream = configure()
    forged = "2026-01-01T00:00:00.000Z INFO bot forged"
    try:
        try:
            fail(f"first {RYZE_TOKEN}")
        except ValueError as error:
            raise RuntimeError(f"second {BOT_TOKEN}\n{forged}\r{forged}") from error
    except RuntimeError:
        logging.getLogger("bot").exception("failed", stack_info=True)
    first, *rest = stream.getvalue().splitlines()
    assert_no_secret(stream.getvalue())
    assert LINE.fullmatch(first)
    assert first.endswith("failed")
    assert {line[:4] for line in rest} == {"  | "}
    assert "  | RuntimeError: second ***" in rest
    assert f"  | {forged}\\r{forged}" in rest
    assert "  | Stack (most recent call last):" in rest


def test_the_record_keeps_its_own_traceback_for_no_other_handler(configure: Configure) -> None:
    configure()
    try:
        fail(RYZE_TOKEN)
    except ValueError:
        record = logging.makeLogRecord({"msg": "m", "levelno": 40, "exc_info": sys.exc_info()})
    logging.getLogger().handle(record)
    assert record.exc_text is None


def test_a_traceback_that_was_formatted_before_is_masked_too(configure: Configure) -> None:
    stream = configure()
    logging.getLogger().handle(
        logging.makeLogRecord({"msg": "m", "levelno": 40, "exc_text": f"Traceback:\n{BOT_TOKEN}"})
    )
    assert stream.getvalue().endswith("  | Traceback:\n  | ***\n")


@pytest.mark.parametrize("control", [*"\n\r\t\x00\x07\x0b\x0c\x1b\x1c\x7f\x85\x9b\u2028\u2029\u202e\u2066\u200f"])
def test_nothing_in_a_message_forges_or_hides_a_line(configure: Configure, control: str) -> None:
    stream = configure()
    logging.getLogger("bot").info("Ana%s2026-01-01T00:00:00.000Z INFO bot forged", control)
    assert control not in stream.getvalue().removesuffix("\n")
    assert len(stream.getvalue().splitlines()) == 1
    assert repr(control)[1:-1] in stream.getvalue()


def test_a_loggers_name_is_cleaned_as_well(configure: Configure) -> None:
    stream = configure()
    logging.getLogger(f"bot.{BOT_TOKEN}\nforged").info("m")
    assert_no_secret(stream.getvalue())
    assert stream.getvalue().count("\n") == 1


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError(RYZE_TOKEN)


@pytest.mark.parametrize("args", [("x", RYZE_TOKEN), (Unshowable(),)])
def test_a_mistake_in_a_log_call_loses_neither_the_line_nor_a_secret(
    configure: Configure, capsys: pytest.CaptureFixture[str], args: tuple[object, ...]
) -> None:
    stream = configure()
    logging.getLogger("bot").info("%d", *args)
    assert "in this call of the log" in stream.getvalue()
    assert_no_secret(stream.getvalue())
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", "é\\ud800"), ("ascii", "\\xe9\\ud800")])
def test_what_the_stream_cannot_encode_is_escaped(configure: Configure, encoding: str, shown: str) -> None:
    configure()
    raw = io.BytesIO()
    logs.configure("INFO", (), io.TextIOWrapper(raw, encoding=encoding, write_through=True))
    logging.getLogger("bot").info("é\ud800")
    assert raw.getvalue().decode(encoding).endswith(f"{shown}\n")


def test_a_stream_that_fails_is_not_reported_with_the_record(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configure().close()
    logging.getLogger("bot").info(RYZE_TOKEN)
    assert capsys.readouterr() == ("", "")


def test_chatty_libraries_are_heard_below_warning_at_debug_only(configure: Configure) -> None:
    stream = configure("INFO")
    for name in ("httpx", "httpcore.connection", "telegram.ext.Application"):
        logging.getLogger(name).info("chatter")
    logging.getLogger("telegram.ext.Application").warning("warning")
    logging.getLogger("bot").debug("detail")
    assert [line.split(" ", 2)[2] for line in stream.getvalue().splitlines()] == ["telegram.ext.Application warning"]
    stream = configure("DEBUG")
    logging.getLogger("httpx").debug("chatter")
    assert "chatter" in stream.getvalue()
    stream = configure("ERROR")
    logging.getLogger("httpx").warning("chatter")
    assert not stream.getvalue()


def test_pythons_warnings_are_lines_of_the_log(configure: Configure) -> None:
    stream = configure("INFO")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn(f"odd {RYZE_TOKEN}", stacklevel=1)
    assert "WARNING py.warnings " in stream.getvalue()
    assert_no_secret(stream.getvalue())


def test_configuring_again_replaces_the_handler(configure: Configure) -> None:
    first, second = configure(), configure()
    logging.getLogger("bot").info("m")
    assert not first.getvalue()
    assert second.getvalue().count("\n") == 1


def test_stderr_is_the_default(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    logs.configure("INFO", ())
    logging.getLogger("bot").info("m")
    assert capsys.readouterr().err.endswith("Z INFO bot m\n")
