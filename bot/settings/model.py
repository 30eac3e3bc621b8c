"""The settings as one frozen model: what is allowed. What to write instead is said by `load`."""

import difflib
import re
from collections.abc import Mapping
from datetime import UTC, timedelta, tzinfo
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import pydantic
from phonenumbers import SUPPORTED_REGIONS
from pydantic import AfterValidator, BeforeValidator, Field, GetPydanticSchema, PlainValidator, StringConstraints

LANGUAGES = ("en", "pt-BR", "es")
RESERVED_IDS = {1087968824: "every anonymous group admin", 136817688: "every channel", 777000: "Telegram itself"}
ID_HINT = "to get it, start the bot with “operators: []” and let the person send it /id"

_BAD = r"\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069"  # what would break a line or hide a part of it
_ONE_LINE = rf"^[^{_BAD}]*[^.{_BAD}][^{_BAD}]*$"  # not dots alone: an instance's name is a segment of a URL's path
_URL = r"^(?i:https?)://[^/?#@\s]+(/[^?#\s]*)?$"  # without a user, a password or a query
_HTTPS_URL = r"^(https:|http://(localhost|127\.0\.0\.1|\[::1\])[:/])"
_DATABASE_URL = r"^postgres(ql)?://(([^/@%\s]|%[0-9A-Fa-f]{2})*@)?([^@%\s]|%[0-9A-Fa-f]{2})*$"  # libpq quotes any other
_DATABASE_PASSWORD = re.compile(r"//[^:/@]*:([^/@]+)@|[?&](?:ssl)?password=([^&]+)")


def shown_key(key: object) -> str:
    """Return what a message may show of a key: in `{token:abc}`, where a space is missing, all of it is the key."""
    return re.sub(r"(?s):.*|(?<=.{40}).+|[^\w !-~]", "…", str(key))


def _telegram_id(value: object) -> int:
    text = str(value)
    if not re.fullmatch(r"[1-9][0-9]*", text):
        raise ValueError(f"write the person's numeric id, such as 123456789, no username and no group's id ({ID_HINT})")
    if len(text) > 16:  # of its 52 significant bits, as the Bot API says
        raise ValueError(f"too large: today's Telegram ids have up to 10 digits ({ID_HINT})")
    if int(text) in RESERVED_IDS:
        raise ValueError(f"reserved: it stands for {RESERVED_IDS[int(text)]}; write a person's own id")
    return int(text)


def _known_instance(name: str, info: pydantic.ValidationInfo) -> str:
    known = info.context  # the `instances` of the file that is read
    if isinstance(known, dict) and name not in known:
        close = difflib.get_close_matches(name[:100], known, n=1)
        hint = f"did you mean {shown_key(close[0])}?" if close else f"write one of {', '.join(map(shown_key, known))}"
        raise ValueError(f"no such instance: {hint}")
    return name


_BotToken = Annotated[str, Field(pattern="^[0-9]+:[A-Za-z0-9_-]+$")]
_Url = Annotated[str, Field(pattern=_URL), AfterValidator(lambda url: str(pydantic.AnyHttpUrl(url)))]
_BaseUrl = Annotated[_Url, AfterValidator(lambda url: url.rstrip("/"))]
_Port = Annotated[int, Field(ge=1, le=65535)]
_Line = Annotated[str, Field(pattern=_ONE_LINE, max_length=100)]
_TelegramId = Annotated[int, PlainValidator(_telegram_id)]
_Language = Literal["en", "pt-BR", "es"]
_Region = Annotated[str, StringConstraints(pattern=f"^(?i:{'|'.join(sorted(SUPPORTED_REGIONS))})$", to_upper=True)]
_LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(str.upper)]
_Zone = Annotated[tzinfo, GetPydanticSchema(lambda _, handler: handler(ZoneInfo))]
_Keep = Annotated[timedelta, BeforeValidator(lambda value: "0d" if value == "0" else value)]
_Unique = AfterValidator(lambda values: tuple(dict.fromkeys(values)))
# One name is a list of one, and an empty list is refused as an unknown name is.
_Listed = BeforeValidator(lambda value: [value] if isinstance(value, str) else value or [""])


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, validate_by_name=True)


class Telegram(_Model):
    """Where the Bot API is."""

    api_url: _BaseUrl = "https://api.telegram.org"


class Ryze(_Model):
    """Where Ryze is, and how many seconds one call to it may take."""

    base_url: _BaseUrl = "https://ryzeapi.cloud"
    timeout: float = Field(default=12.0, gt=0, le=60)


class Instance(_Model):
    """A Ryze connection to one WhatsApp number: its name and token at Ryze, and how many chats WhatsApp lets it pin."""

    name: str = Field(default="", validation_alias="NAME")  # the key in the file
    token: str = Field(pattern=r"^[\x21-\x7e]+$", repr=False)
    pins: int = Field(default=3, ge=1, le=100)


class Operator(_Model):
    """A person who may give commands: Telegram user id, the name that logs and answers show, names of instances."""

    telegram_id: _TelegramId
    name: _Line = Field(default_factory=lambda data: str(data.get("telegram_id")))
    instances: Annotated[tuple[Annotated[str, AfterValidator(_known_instance)], ...], _Listed, _Unique] = Field(
        validation_alias=pydantic.AliasChoices("instance", "instances")
    )
    language: _Language | None = None

    @property
    def instance(self) -> str:
        """The instance that a command without a name is for."""
        return self.instances[0]


class Webhook(_Model, extra="ignore"):
    """Where Telegram pushes updates to, the secret that it then sends, and the port that they arrive at."""

    url: Annotated[_Url, Field(pattern=_HTTPS_URL)] = Field(validation_alias="WEBHOOK_URL")
    secret: str = Field(pattern="^[A-Za-z0-9_-]{1,256}$", repr=False, validation_alias="WEBHOOK_SECRET")
    port: _Port = Field(default=8080, validation_alias="PORT")


_Named = AfterValidator(lambda items: {name: item.model_copy(update={"name": name}) for name, item in items.items()})
_FromList = GetPydanticSchema(lambda _, handler: handler(tuple[Operator, ...]))
_ById = AfterValidator(lambda operators: {operator.telegram_id: operator for operator in operators})


class Settings(_Model):
    """All that the bot is set to do. A field with an alias in capitals is set by the environment, not by the file.

    What was done is kept for `keep` (zero: not at all). Without a `webhook` the bot polls. `metrics` is the host and
    the port that they are served at. `source` names the configuration for people.
    """

    telegram: Telegram = Telegram()
    ryze: Ryze = Ryze()
    region: _Region | None = None
    language: _Language | None = None
    timezone: _Zone = UTC
    state: Path = Path("ryze-pin-bot.sqlite3")
    keep: _Keep = Field(default=timedelta(days=30), ge=timedelta(0), le=timedelta(days=9999))
    admins: Annotated[tuple[_TelegramId, ...], _Unique] = ()
    instances: Annotated[Mapping[_Line, Instance], _Named]
    operators: Annotated[Mapping[int, Operator], _FromList, _ById]
    telegram_token: _BotToken = Field(default="", repr=False, validation_alias="TELEGRAM_BOT_TOKEN")
    database_url: str = Field(default="", pattern=_DATABASE_URL, repr=False, validation_alias="DATABASE_URL")
    webhook: Webhook | None = Field(default=None, validation_alias="WEBHOOK_URL")
    metrics: tuple[str, _Port] | None = Field(default=None, validation_alias="METRICS_PORT")
    log_level: _LogLevel = Field(default="INFO", validation_alias="LOG_LEVEL")
    source: str = Field(default="", validation_alias="BOT_CONFIG")

    @property
    def history_target(self) -> str | Path:
        """Where the history is kept: the address of a PostgreSQL database, or the path of a SQLite file."""
        return self.database_url or self.state

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any log; the database's passwords as they are written and as they are meant."""
        passwords = [text for groups in _DATABASE_PASSWORD.findall(self.database_url) for text in groups]
        tokens = [instance.token for instance in self.instances.values()]
        found = (self.telegram_token, *tokens, self.webhook and self.webhook.secret, self.database_url, *passwords)
        return tuple(filter(None, (*found, *map(unquote, passwords))))
