"""The settings as one frozen model: what is allowed. What to write instead is said by `load`."""

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
RESERVED_IDS = {1087968824, 136817688, 777000}  # every anonymous group admin, every channel, Telegram itself
ID_HINT = "to get it, start the bot with “operators: []” and let the person send it /id"

_BAD = r"\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069"  # what would break a line or hide a part of it
_ONE_LINE = rf"^[^{_BAD}]*[^.{_BAD}][^{_BAD}]*$"  # not dots alone: it may be a segment of a URL
_URL = r"^(?i:https?)://[^/?#@\s]+(/[^?#\s]*)?$"  # without a user, a password or a query
_BOT = "^[0-9]+:[A-Za-z0-9_-]+$"  # its token
_HTTPS_URL = r"^(https:|http://(localhost|127\.0\.0\.1|\[::1\])[:/])"
_DATABASE_URL = r"^postgres(ql)?://(([^/@%\s]|%[0-9A-Fa-f]{2})*@)?([^@%\s]|%[0-9A-Fa-f]{2})*$"  # libpq quotes any other
_DATABASE_PASSWORD = re.compile(r"//[^:/@]*:([^/@]+)@|[?&](?:ssl)?password=([^&]+)")


def _telegram_id(value: object) -> int:
    text = str(value)
    if not re.fullmatch("[1-9][0-9]{0,15}", text) or int(text) in RESERVED_IDS:
        raise ValueError(f"write a person's own numeric id, of up to 10 digits ({ID_HINT})")
    return int(text)


def _known_instance(name: str, info: pydantic.ValidationInfo) -> str:
    known = info.context  # the `instances` of the file that is read
    if isinstance(known, dict) and name not in known:
        raise ValueError("no such instance: write a name that stands under instances:")
    return name


_Url = Annotated[str, Field(pattern=_URL), AfterValidator(lambda url: str(pydantic.AnyHttpUrl(url)))]
_BaseUrl = Annotated[_Url, AfterValidator(lambda url: url.rstrip("/"))]
_Port = Annotated[int, Field(ge=1, le=65535)]
_Line = Annotated[str, Field(pattern=_ONE_LINE, max_length=100)]
_TelegramId = Annotated[int, PlainValidator(_telegram_id)]
_Language = Literal["en", "pt-BR", "es"]
_Region = Annotated[str, StringConstraints(pattern=f"^(?i:{'|'.join(sorted(SUPPORTED_REGIONS))})$", to_upper=True)]
_LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(str.upper)]
_Keep = Annotated[timedelta, BeforeValidator(lambda value: "0d" if value == "0" else value)]
_Listed = BeforeValidator(lambda value: [value] if isinstance(value, str) else value or [""])  # none is refused
_Instances = Annotated[tuple[Annotated[str, AfterValidator(_known_instance)], ...], _Listed]


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
    """A WhatsApp number at Ryze: its name and token there, and how many chats it may pin."""

    name: str = Field(default="", validation_alias="NAME")  # the key in the file
    token: str = Field(pattern=r"^[\x21-\x7e]+$", repr=False)
    pins: int = Field(default=3, ge=1, le=100)


class Operator(_Model):
    """A person who may give commands, the name to show for them, and their instances by name."""

    telegram_id: _TelegramId
    name: _Line = Field(default_factory=lambda data: str(data.get("telegram_id")))
    # The first is that of a command without a name.
    instances: _Instances = Field(validation_alias=pydantic.AliasChoices("instance", "instances"))
    language: _Language | None = None


class Webhook(_Model, extra="ignore"):
    """Where Telegram pushes updates to, the secret that it sends, and the bot's port."""

    url: Annotated[_Url, Field(pattern=_HTTPS_URL)] = Field(validation_alias="WEBHOOK_URL")
    secret: str = Field(pattern="^[A-Za-z0-9_-]{1,256}$", repr=False, validation_alias="WEBHOOK_SECRET")
    port: _Port = Field(default=8080, validation_alias="PORT")


_Named = AfterValidator(lambda items: {name: item.model_copy(update={"name": name}) for name, item in items.items()})
_FromList = GetPydanticSchema(lambda _, handler: handler(tuple[Operator, ...]))
_ById = AfterValidator(lambda people: {person.telegram_id: person for person in people})


class Settings(_Model):
    """All that the bot is set to do; what has an alias in capitals by the environment."""

    telegram: Telegram = Telegram()
    ryze: Ryze = Ryze()
    region: _Region | None = None
    language: _Language | None = None
    timezone: Annotated[tzinfo, GetPydanticSchema(lambda _, handler: handler(ZoneInfo))] = UTC
    state: Path = Path("ryze-pin-bot.sqlite3")
    keep: _Keep = Field(default=timedelta(days=30), ge=timedelta(0), le=timedelta(days=9999))
    admins: tuple[_TelegramId, ...] = ()
    instances: Annotated[Mapping[_Line, Instance], _Named]
    operators: Annotated[Mapping[int, Operator], _FromList, _ById]
    telegram_token: str = Field(default="", pattern=_BOT, repr=False, validation_alias="TELEGRAM_BOT_TOKEN")
    database_url: str = Field(default="", pattern=_DATABASE_URL, repr=False, validation_alias="DATABASE_URL")
    webhook: Webhook | None = Field(default=None, validation_alias="WEBHOOK_URL")
    metrics: tuple[str, _Port] | None = Field(default=None, validation_alias="METRICS_PORT")  # host, port
    log_level: _LogLevel = Field(default="INFO", validation_alias="LOG_LEVEL")
    source: str = Field(default="", validation_alias="BOT_CONFIG")  # for people

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any log; the database's passwords as written and as meant."""
        passwords = [text for groups in _DATABASE_PASSWORD.findall(self.database_url) for text in groups]
        webhook = [self.webhook.secret] if self.webhook else []
        tokens = [self.telegram_token, *(instance.token for instance in self.instances.values())]
        return tuple(filter(None, [*tokens, *webhook, self.database_url, *passwords, *map(unquote, passwords)]))
