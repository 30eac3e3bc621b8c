"""What a single value may be: its text as written → the value, or a `ValueError` that says what to write.

No value is ever quoted in an error, since any value may be a secret in the wrong place.
"""

import difflib
import ipaddress
import re
from collections.abc import Collection
from datetime import timedelta
from zoneinfo import ZoneInfo, available_timezones

from phonenumbers import SUPPORTED_REGIONS
from pydantic import AnyHttpUrl, ValidationError

from bot.yaml_marks import dotted

LANGUAGES = ("en", "pt-BR", "es")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
MAX_TIMEOUT = 60.0
MAX_INSTANCE_NAME = 100
MAX_OPERATOR_NAME = 64
MAX_TELEGRAM_ID = 2**52  # a user's id has "at most 52 significant bits", says the Bot API
RESERVED_IDS = {1087968824: "every anonymous group admin", 136817688: "every channel", 777000: "Telegram itself"}
ID_HINT = "the bot tells people theirs when they send /id"

_URL = re.compile(r"https?://[^/?#@\\\s{}]+(?:/[\w.~!$&'()*+,;=:%/-]*)?", re.IGNORECASE | re.ASCII)
_DATABASE_URL = re.compile(r"postgres(?:ql)?://(?:[^/@\s]*@)?[^/?@\s]*(?:/[^/?@\s]*)?(?:\?\S*)?")
_HOST_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.){0,8}[A-Za-z][A-Za-z0-9-]{0,62}")  # so 127.0.0.256 is none
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")  # would break or hide a line


def url(value: str) -> str:
    """An address of a server, without a slash at its end."""
    if "@" in value:
        raise ValueError("remove the user name and password (everything up to the @)")
    try:
        host = AnyHttpUrl(value).host if _URL.fullmatch(value) else None
    except ValidationError:
        host = None
    if not host:
        raise ValueError(
            "write http:// or https:// and a host, and no ? or # after it, such as https://api.example.com"
        )
    return value.rstrip("/")


def webhook_url(value: str) -> str:
    """Where Telegram can push to: https, or http to this machine; as written, since its path is compared."""
    if not value.isascii():
        raise ValueError("an odd character: write the host in its ASCII form (xn--…)")
    url(value)
    parts = AnyHttpUrl(value)
    if parts.scheme != "https" and not re.fullmatch(r"localhost|127\.[0-9.]+|\[::1\]", str(parts.host)):
        raise ValueError("Telegram pushes only to https:// (and http:// reaches only this machine): write https://")
    if parts.path == "/healthz":
        raise ValueError("/healthz is the path of the health check: write another, or none")
    return value


def webhook_secret(value: str) -> str:
    """What the Bot API takes as `secret_token`."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", value):
        raise ValueError("write 1 to 256 letters, digits, _ or -, or leave it unset to have one derived")
    return value


def port(value: str) -> int:
    """A TCP port."""
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 0 < int(value) < 2**16:
        raise ValueError("not a port: write a number from 1 to 65535")
    return int(value)


def host(value: str) -> str:
    """What a server can listen at: an IP address, or a name that stands for one."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not _HOST_NAME.fullmatch(value):
            problem = "not an address to listen at: write an IP address, such as 127.0.0.1, or 0.0.0.0 for all, no port"
            raise ValueError(problem) from None
    return value


def database_url(value: str) -> str:
    """An address that libpq takes, of one that can only be read in one way."""
    if not _DATABASE_URL.fullmatch(value) or re.search(r"%(?![0-9A-Fa-f]{2})", value):
        raise ValueError(
            "not an address of a PostgreSQL database: write postgresql://user:password@host/name, with any @, / and % "
            "of the password as %40, %2F and %25"
        )
    return value


def log_level(value: str) -> str:
    """One of logging's own, in any case."""
    if value.upper() not in LOG_LEVELS:
        raise ValueError(f"no such level: write one of {', '.join(LOG_LEVELS)}")
    return value.upper()


def bot_token(value: str) -> str:
    """The bot's own token, as @BotFather gives it."""
    if not re.fullmatch(r"[0-9]+:[A-Za-z0-9_-]+", value):
        raise ValueError("not a bot token (digits, a colon, letters): copy it from @BotFather, without quotes")
    return value


def timeout(value: object) -> float:
    """Seconds."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value) and 0 < float(value) <= MAX_TIMEOUT:
        return float(value)
    raise ValueError(f"write the seconds as a number, more than 0 and at most {MAX_TIMEOUT:.0f}, such as 12")


def region(value: str) -> str:
    """A region of ISO 3166 that has phone numbers."""
    if value.upper() not in SUPPORTED_REGIONS:
        raise ValueError("no such region: write its two letters of ISO 3166, such as BR or GB, or leave the line out")
    return value.upper()


def language(value: str) -> str:
    """One of `LANGUAGES`, which may be written in any case and without its region."""
    for known in LANGUAGES:
        if value.replace("_", "-").lower() in (known.lower(), known[:2]):
            return known
    raise ValueError(f"no such language: write one of {', '.join(LANGUAGES)}, or leave the line out")


def timezone(value: object) -> ZoneInfo:
    """A time zone by its IANA name."""
    name = str(value)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there; no name of a file within the zones' folder; no such file
        otherwise = "write its IANA name, such as America/Sao_Paulo"
        raise ValueError(f"no such time zone: {suggest(name, available_timezones(), otherwise)}") from None


def keep(value: object) -> timedelta:
    """Whole days; none means that nothing is kept."""
    if isinstance(value, str) and re.fullmatch(r"0d?|[1-9][0-9]{0,3}d", value):
        return timedelta(days=int(value.removesuffix("d")))
    raise ValueError("write the number of days with a d, such as 30d (9999d at most), or 0 to keep nothing")


def state(value: str) -> str:
    """The path of a file."""
    if not value.strip() or value.endswith(("/", "/.", "/..")) or value in {".", ".."} or _UNSAFE.search(value):
        raise ValueError("write the name of a file, or leave the line out")
    return value


def instance_name(value: str) -> str:
    """A name that is one part of a path, and one line."""
    if value in {".", ".."} or not value.strip() or len(value) > MAX_INSTANCE_NAME or _UNSAFE.search(value):
        raise ValueError(
            f"not a possible name of an instance: write Ryze's own (1 to {MAX_INSTANCE_NAME} characters, not . or ..)"
        )
    return value


def token(value: str) -> str:
    """What a header can hold."""
    if not (value := value.strip()):
        raise ValueError("the token is empty: copy it from Ryze")
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("the token holds a space, a line break or an odd character: copy it from Ryze again")
    return value


def telegram_id(value: object) -> int:
    """The id of a person, written as plain digits."""
    if not isinstance(value, str) or not re.fullmatch(r"[1-9][0-9]*", value) or len(value) > len(str(MAX_TELEGRAM_ID)):
        if isinstance(value, str) and re.fullmatch(r"-[0-9]+", value):
            raise ValueError(f"a negative id is a group's or a channel's: write the person's own ({ID_HINT})")
        raise ValueError(f"write the numeric id in plain digits, such as 123456789 ({ID_HINT})")
    if (number := int(value)) >= MAX_TELEGRAM_ID:
        raise ValueError(f"too large for a Telegram id: copy it again ({ID_HINT})")
    if number in RESERVED_IDS:
        raise ValueError(f"reserved: it stands for {RESERVED_IDS[number]}; write a person's own id")
    return number


def operator_name(value: str) -> str:
    """A name for a log's line and an answer."""
    if not value.strip() or len(value) > MAX_OPERATOR_NAME or _UNSAFE.search(value):
        raise ValueError(f"write 1 to {MAX_OPERATOR_NAME} characters in one line, or leave the name out")
    return value


def suggest(wrong: str, known: Collection[str], otherwise: str = "") -> str:
    """The known name that is meant, it seems; else `otherwise`, or all that are known."""
    by_folded = {name.casefold(): name for name in known}
    if close := difflib.get_close_matches(wrong.casefold()[:MAX_INSTANCE_NAME], by_folded, n=1):
        return f"did you mean {dotted((by_folded[close[0]],))}?"
    every = ", ".join(dotted((name,)) for name in known)
    return otherwise or (f"write one of {every}" if known else "there is none yet")
