"""What the bot is told: the configuration file and the environment → one frozen `Config`, or every mistake at once.

The only module that reads the environment.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, timedelta, tzinfo
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from bot import schema, values

DEFAULT_FILE = "config/bot.yaml"
EXAMPLE_FILE = "config/bot.example.yaml"
MASK_SHOWS_FROM = 12  # characters: of a shorter token the last four would be too much
PORT = 8080
METRICS_HOST = "127.0.0.1"

_T = TypeVar("_T")
_PROXY_PASSWORD = re.compile(r"(?:[a-z0-9]+://)?[^:/]*:(?!//)(.+)@.*", re.IGNORECASE)
_DATABASE_PASSWORD = re.compile(r"//[^:/@]*:([^/@]+)@|[?&](?:ssl)?password=([^&]+)")
_ENV_LINE = re.compile(
    r"""\s*(?:(?:export\s+)?(?P<key>[A-Za-z_]\w*)\s*=\s*
    (?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<plain>[^'"\s\#](?:(?!\s+(?:\#|$)).)*)?))?\s*(?:\#.*)?""",
    re.VERBOSE | re.ASCII,
)


class ConfigError(Exception):
    """Everything that is wrong, each as `file:line: key.path: what is wrong and what to write`, without any secret."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Instance:
    """A Ryze connection to one WhatsApp number: its name at Ryze, as written, and its token."""

    name: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class Operator:
    """A person who may give commands: Telegram user id, the name that logs and answers show, names of instances."""

    telegram_id: int
    name: str
    instances: tuple[str, ...]
    language: str | None = None

    @property
    def instance(self) -> str:
        """The instance that a command without a name is for."""
        return self.instances[0]


@dataclass(frozen=True)
class Webhook:
    """Where Telegram pushes updates to, the secret that it then sends, and the port that they arrive at."""

    url: str
    secret: str = field(repr=False)
    port: int = PORT


@dataclass(frozen=True, kw_only=True)
class Config:
    """All that the bot is told: instances by name, operators by Telegram id, `timeout` in seconds for one call.

    The attempts are kept in `database_url` if there is one, else in the file `state`, for `keep` (nothing, if that is
    zero). Without a `webhook` it polls. `metrics` is the host and the port that they are served at.
    """

    telegram_token: str = field(repr=False)
    api_url: str = schema.API_URL
    base_url: str = schema.BASE_URL
    timeout: float = schema.TIMEOUT
    region: str | None = None
    instances: Mapping[str, Instance]
    operators: Mapping[int, Operator]
    admins: tuple[int, ...] = ()
    language: str | None = None
    timezone: tzinfo = UTC
    state: Path
    database_url: str = field(default="", repr=False)
    keep: timedelta = schema.KEEP
    webhook: Webhook | None = None
    metrics: tuple[str, int] | None = None
    log_level: str = "INFO"
    source: str = ""
    passwords: tuple[str, ...] = field(default=(), repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any log."""
        tokens = (self.telegram_token, *(instance.token for instance in self.instances.values()))
        addresses = filter(None, (self.webhook.secret if self.webhook else "", self.database_url))
        return (*tokens, *addresses, *self.passwords)


def load(path: str | None, environ: Mapping[str, str], cwd: Path) -> Config:
    """Read the file `path` (`--config`), else what `BOT_CONFIG` or `BOT_CONFIG_YAML` give, else `config/bot.yaml`.

    Relative paths, and the `.env` whose variables count where `environ` lacks them, are looked for in `cwd`.
    Raises `ConfigError` with all problems at once.
    """
    problems: list[str] = []
    env = {**_dotenv(cwd / ".env", problems), **environ}
    if not env.get("TELEGRAM_BOT_TOKEN", "").strip():
        problems.append("TELEGRAM_BOT_TOKEN: not set: put the token from @BotFather into the environment or into .env")

    def variable(name: str, read: Callable[[str], _T], default: _T) -> _T:
        try:
            return read(value) if (value := env.get(name, "").strip()) else default
        except ValueError as error:
            problems.append(f"{name}: {error}")
            return default

    token = variable("TELEGRAM_BOT_TOKEN", values.bot_token, "")
    log_level = variable("LOG_LEVEL", values.log_level, "INFO")
    webhook_url = variable("WEBHOOK_URL", values.webhook_url, "")
    # Identical processes derive the same secret, and nobody without the token can.
    derived = hmac.new(token.encode(), b"webhook secret token", hashlib.sha256).hexdigest()
    webhook_secret = variable("WEBHOOK_SECRET", values.webhook_secret, derived)
    port, metrics_port = variable("PORT", values.port, PORT), variable("METRICS_PORT", values.port, 0)
    if webhook_url and port == metrics_port:
        problems.append("METRICS_PORT: the same as PORT: write another")
    metrics_host = variable("METRICS_HOST", values.host, METRICS_HOST)
    database_url = variable("DATABASE_URL", values.database_url, "")
    try:
        source, text = _find(path, env, cwd)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    file, mistakes = schema.parse(source, text, env)
    if problems or not file:
        raise ConfigError([*problems, *mistakes])
    operators = [
        Operator(
            entry.telegram_id,
            entry.name or str(entry.telegram_id),
            tuple(entry.instances or filter(None, [entry.instance])),
            entry.language,
        )
        for entry in file.operators
    ]
    return Config(
        telegram_token=token,
        api_url=file.telegram.api_url,
        base_url=file.ryze.base_url,
        timeout=file.ryze.timeout,
        region=file.region,
        instances=MappingProxyType({name: Instance(name, entry.token) for name, entry in file.instances.items()}),
        operators=MappingProxyType({operator.telegram_id: operator for operator in operators}),
        admins=tuple(file.admins),
        language=file.language,
        timezone=file.timezone or UTC,
        state=cwd / file.state,
        database_url=database_url,
        keep=file.keep,
        webhook=Webhook(webhook_url, webhook_secret, port) if webhook_url else None,
        metrics=(metrics_host, metrics_port) if metrics_port else None,
        log_level=log_level,
        source=source,
        passwords=tuple(_passwords(env, database_url)),
    )


def describe(config: Config) -> str:
    """Return the table that `python -m bot check` prints: settings, instances and operators, tokens masked."""
    region = config.region or "none: numbers are sent with their country code"
    updates = "long polling"
    if config.webhook:
        address = urlsplit(config.webhook.url)  # without its path, which may be a secret
        updates = f"pushed to {address.scheme}://{address.netloc}, port {config.webhook.port}"
    state = f"{'PostgreSQL' if config.database_url else config.state}, for {config.keep.days} days"
    settings = [
        ["Configuration", config.source],
        ["Telegram", f"{config.api_url}, token {_masked(config.telegram_token)}"],
        ["Updates", updates],
        ["Ryze", f"{config.base_url}, {config.timeout:g} s at most"],
        ["Region", region],
        ["Language", config.language or "each person's own"],
        ["Time zone", str(config.timezone)],
        ["History", state if config.keep else "none"],
        ["Admins", ", ".join(map(str, config.admins)) or "none"],
        ["Metrics", "{}, port {}".format(*config.metrics) if config.metrics else "none"],
        ["Log level", config.log_level],
    ]
    instances = [[item.name, _masked(item.token)] for item in config.instances.values()]
    operators = [[item.name, str(item.telegram_id), ", ".join(item.instances)] for item in config.operators.values()]
    tables = [_table(settings), _table([["Instance", "Token"], *instances])]
    tables.append(_table([["Operator", "Telegram id", "Instance"], *operators]))
    if not operators:
        tables.append("No operators: nobody is let in.")
    return "\n\n".join(tables)


def _table(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _masked(token: str) -> str:
    return f"…{token[-4:]}" if len(token) >= MASK_SHOWS_FROM else "…"


def _passwords(env: Mapping[str, str], database_url: str) -> Iterator[str]:
    """Every password in an address, as it is written and as it is meant."""
    found = [_PROXY_PASSWORD.match(value) for name, value in env.items() if name.lower().endswith("_proxy")]
    for match in (*found, *_DATABASE_PASSWORD.finditer(database_url)):
        for password in filter(None, match.groups() if match else ()):
            yield from dict.fromkeys((password, unquote(password)))


def _dotenv(path: Path, problems: list[str]) -> dict[str, str]:
    """`KEY=VALUE` lines; `export`, quotes and comments as a shell has them. Without such a file, nothing."""
    try:
        text = "" if path.is_dir() else _read(path, ".env")  # a directory of that name is someone's virtual environment
    except FileNotFoundError:
        return {}
    except ConfigError as error:
        problems.extend(error.problems)
        return {}
    found = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not (match := _ENV_LINE.fullmatch(line)):
            problems.append(f".env:{number}: not a “KEY=VALUE” line: write it so, or begin it with #")
        elif match["key"]:
            double = match["double"] and re.sub(r"\\(.)", lambda e: "\n" if e[1] == "n" else e[1], match["double"])
            found[match["key"]] = match["single"] or double or match["plain"] or ""
    return found


def _read(path: Path, name: str) -> str:
    """Return a file's text, or raise `FileNotFoundError`, or `ConfigError` for all else that may be wrong with it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        raise ConfigError([f"{name}: is a directory: name a file"]) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no such name is possible"
        raise ConfigError([f"{name}: cannot be read ({reason}): let the bot's user read it"]) from None
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{name}:{line}: not UTF-8 text: save the file as UTF-8"]) from None


def _find(path: str | None, env: Mapping[str, str], cwd: Path) -> tuple[str, str]:
    """Return the configuration's name, for people, and its text."""
    if path is not None:
        named = "named by --config"
    elif path := env.get("BOT_CONFIG"):
        named = "named by BOT_CONFIG"
    elif text := env.get("BOT_CONFIG_YAML"):
        return "BOT_CONFIG_YAML", text.removeprefix("\ufeff")
    else:
        path, named = DEFAULT_FILE, "looked for because neither --config nor BOT_CONFIG nor BOT_CONFIG_YAML is given"
    try:
        return path, _read(cwd / path, path)
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file ({named}): copy {EXAMPLE_FILE} to it and fill it in"]) from None
