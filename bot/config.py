"""What the bot is told: the configuration file and the environment → one frozen `Config`, or every mistake at once.

The only module that reads the environment.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote

from bot import schema

DEFAULT_FILE = "config/bot.yaml"
EXAMPLE_FILE = "config/bot.example.yaml"
MASK_SHOWS_FROM = 12  # characters: of a shorter token the last four would be too much
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

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

    @property
    def instance(self) -> str:
        """The instance that a command without a name is for."""
        return self.instances[0]


@dataclass(frozen=True, kw_only=True)
class Config:
    """All that the bot is told: instances by name, operators by Telegram id, `timeout` in seconds for one call."""

    telegram_token: str = field(repr=False)
    api_url: str = schema.API_URL
    base_url: str = schema.BASE_URL
    timeout: float = schema.TIMEOUT
    region: str | None = None
    instances: Mapping[str, Instance]
    operators: Mapping[int, Operator]
    log_level: str = "INFO"
    source: str = ""
    proxy_passwords: tuple[str, ...] = field(default=(), repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any log."""
        return (self.telegram_token, *(instance.token for instance in self.instances.values()), *self.proxy_passwords)


def load(path: str | None, environ: Mapping[str, str], cwd: Path) -> Config:
    """Read the file `path` (`--config`), else what `BOT_CONFIG` or `BOT_CONFIG_YAML` give, else `config/bot.yaml`.

    Relative paths, and the `.env` whose variables count where `environ` lacks them, are looked for in `cwd`.
    Raises `ConfigError` with all problems at once.
    """
    problems: list[str] = []
    env = {**_dotenv(cwd / ".env", problems), **environ}
    token = env.get("TELEGRAM_BOT_TOKEN", "").strip()
    if not token:
        problems.append("TELEGRAM_BOT_TOKEN: not set: put the token from @BotFather into the environment or into .env")
    elif not re.fullmatch(r"[0-9]+:[A-Za-z0-9_-]+", token):
        problems.append(
            "TELEGRAM_BOT_TOKEN: not a bot token (digits, a colon, letters): copy it from @BotFather, without quotes"
        )
    log_level = env.get("LOG_LEVEL", "").strip().upper() or "INFO"
    if log_level not in LOG_LEVELS:
        problems.append(f"LOG_LEVEL: no such level: write one of {', '.join(LOG_LEVELS)}")
    try:
        source, text = _find(path, env, cwd)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    file, mistakes = schema.parse(source, text, env)
    if problems or not file:
        raise ConfigError([*problems, *mistakes])
    operators = [
        Operator(entry.telegram_id, entry.name or str(entry.telegram_id), (entry.instance,)) for entry in file.operators
    ]
    return Config(
        telegram_token=token,
        api_url=file.telegram.api_url,
        base_url=file.ryze.base_url,
        timeout=file.ryze.timeout,
        region=file.region,
        instances=MappingProxyType({name: Instance(name, entry.token) for name, entry in file.instances.items()}),
        operators=MappingProxyType({operator.telegram_id: operator for operator in operators}),
        log_level=log_level,
        source=source,
        proxy_passwords=tuple(_proxy_passwords(env)),
    )


def describe(config: Config) -> str:
    """Return the table that `python -m bot check` prints: settings, instances and operators, tokens masked."""
    region = config.region or "none: numbers are sent with their country code"
    settings = [
        ["Configuration", config.source],
        ["Telegram", f"{config.api_url}, token {_masked(config.telegram_token)}"],
        ["Ryze", f"{config.base_url}, {config.timeout:g} s at most"],
        ["Region", region],
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


def _proxy_passwords(env: Mapping[str, str]) -> Iterator[str]:
    for name, value in env.items():
        if name.lower().endswith("_proxy") and (
            match := re.match(r"(?:[a-z0-9]+://)?[^:/]*:(?!//)(.+)@", value, re.IGNORECASE)
        ):
            yield from dict.fromkeys((match[1], unquote(match[1])))


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
