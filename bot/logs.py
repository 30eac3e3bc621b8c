"""Logging: one line a record, which nothing in it can break, hide or forge; no secret anywhere, tracebacks included."""

import json
import logging
import re
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TextIO
from urllib.parse import quote, quote_plus

MASK = "***"
CHATTY = ("httpx", "httpcore", "telegram", "tornado")  # libraries that tell, below WARNING, of every request or poll
# It shows every answer that is no JSON, as an outage's HTML page, with a traceback; its caller says what went wrong.
BROKEN = "telegram.request.BaseRequest"
_SHAPE = r"bot\d+(?::|%3A)[\w-]+|\d+(?::|%3A)[\w-]{30,}"  # of a bot's token, also one that is not in `secrets`
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def configure(level: str, secrets: Iterable[str], stream: TextIO | None = None) -> None:
    """Send every record of `level` and above to `stream` (stderr), and Python's warnings too; nothing else gets any.

    A line is `2026-11-22T14:05:01.123Z INFO bot.commands message`, in UTC. A traceback follows in lines that begin
    with `  | `, which no record's own line does.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter(masker(secrets), getattr(stream, "encoding", None) or "utf-8"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "DEBUG" else max(root.level, logging.WARNING))
    logging.getLogger(BROKEN).setLevel(logging.NOTSET if level == "DEBUG" else logging.CRITICAL)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # logging's own report of a failed write would hold the record unmasked


def masker(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return a function that masks each secret, however it is escaped, and all that looks like a bot's token."""
    forms: set[str] = set()
    for secret in filter(None, secrets):
        forms |= {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
        # A repr escapes a quote only if the whole text holds both kinds.
        forms |= {repr(secret)[1:-1], repr(f'"{secret}')[2:-1], ascii(secret)[1:-1], ascii(f'"{secret}')[2:-1]}
    longest_first = sorted(map(re.escape, forms), key=len, reverse=True)
    pattern = re.compile("|".join([*longest_first, _SHAPE]), re.IGNORECASE)
    shape = re.compile(_SHAPE, re.IGNORECASE)
    folded = tuple({form.casefold() for form in forms})  # `lower` depends on what follows: a capital sigma at the end

    def mask(text: str) -> str:
        # With many secrets this search takes a fifth of the pattern's time, and it hardly ever finds one.
        fold = text.casefold()
        return (pattern if any(form in fold for form in folded) else shape).sub(MASK, text)

    return mask


class _Formatter(logging.Formatter):
    def __init__(self, mask: Callable[[str], str], encoding: str) -> None:
        super().__init__()
        self._mask = mask
        self._encoding = encoding

    def format(self, record: logging.LogRecord) -> str:
        """Leave `record` as it is: what `Formatter.format` would keep in it, for other handlers, is not masked."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        lines = [f"{time}Z {self._clean(f'{record.levelname} {record.name} {_message(record)}')}"]
        details = [self.formatException(record.exc_info) if record.exc_info else record.exc_text, record.stack_info]
        for detail in filter(None, details):
            lines += ["  | " + self._clean(line) for line in self._mask(detail).split("\n")]
        return "\n".join(lines).encode(self._encoding, "backslashreplace").decode(self._encoding)

    def _clean(self, text: str) -> str:
        return _CONTROLS.sub(lambda control: repr(control[0])[1:-1], self._mask(text))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - a mistake in a call of the log costs neither the line nor the program
        try:
            return f"{record.msg!r} {record.args!r} ({type(error).__name__} in this call of the log)"
        except Exception:  # noqa: BLE001 - nor does an argument that cannot even be shown
            return f"{record.pathname}:{record.lineno} ({type(error).__name__} in this call of the log)"
