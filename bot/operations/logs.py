"""Logging: one line a record that nothing can forge; no secret, in tracebacks neither."""

import json
import logging
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from urllib.parse import quote

_BOT_TOKEN = re.compile(r"bot\d+(?::|%3A)[\w-]+|\d+(?::|%3A)[\w-]{30,}", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def configure(level: str, secrets: Iterable[str]) -> None:
    """Send all from `level` on to stderr as `2026-11-22T14:05:01.123Z INFO bot.app message`, in UTC."""
    root, handler, formatter = logging.getLogger(), logging.StreamHandler(), _Formatter()
    formatter.mask = masker(secrets)
    handler.setFormatter(formatter)
    root.handlers[:] = [handler]
    root.setLevel("WARNING" if level == "INFO" else level)  # libraries log every request
    logging.getLogger("bot").setLevel(level)
    # It logs a traceback for an outage's HTML page; its caller says what is wrong.
    logging.getLogger("telegram.request.BaseRequest").setLevel("CRITICAL")
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # its report would hold the record unmasked


def masker(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return what masks secrets, as they are, quoted or escaped, and escapes control characters."""
    written = {form for secret in secrets for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])}
    longest_first = sorted(written - {""}, key=len, reverse=True)

    def mask(text: str) -> str:
        for form in longest_first:
            text = text.replace(form, "***")
        return _CONTROLS.sub(lambda control: repr(control[0])[1:-1], _BOT_TOKEN.sub("***", text))

    return mask


class _Formatter(logging.Formatter):
    mask: Callable[[str], str]

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        lines = [f"{time}Z {self.mask(f'{record.levelname} {record.name} {record.getMessage()}')}"]
        for detail in (record.exc_info and self.formatException(record.exc_info), record.stack_info):
            lines += ["  | " + self.mask(line) for line in detail.split("\n")] if detail else []
        return "\n".join(lines)
