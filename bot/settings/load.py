"""The configuration file and the environment → `Settings`, or every mistake at once. Nothing else reads them."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError

from bot.settings.model import Settings
from bot.settings.yaml_text import Document

DEFAULT_FILE = "config/bot.yaml"

_ENVIRONMENT = ("TELEGRAM_BOT_TOKEN", "DATABASE_URL", "LOG_LEVEL", "WEBHOOK_URL", "METRICS_PORT")
_EXAMPLE = "write it as in the example (“python -m bot init” writes one)"
_URL = "write http:// or https://, a host and perhaps a path, without a user name, a password, ? or #"
_WORDS = {  # what to write, by pydantic's type of error or by key; for the rest pydantic's own words
    "missing": f"missing: {_EXAMPLE}",
    "extra_forbidden": f"unknown key: {_EXAMPLE}",
    "tuple_type": "write a list, each entry beginning with “- ”, or [] for none",
    "model_type": "write “key: value” lines, with a space after each colon",
    "TELEGRAM_BOT_TOKEN": "not a bot token (digits, a colon, letters): copy it from @BotFather, without quotes",
    "DATABASE_URL": "write postgresql://user:password@host/name, with an @ or a / in the password as %40 or %2F",
    "WEBHOOK_URL": "write an https:// address without a user name, ? or # (http:// reaches only this machine)",
    "[key]": "write the instance's exact name at Ryze, in one line of 1 to 100 characters, not all of them dots",
    "token": "write the token from Ryze in one piece, such as “token: ${RYZE_SALES_TOKEN}”",
    "name": "write one line of 1 to 100 characters, or leave the line out",
    "api_url": _URL,
    "base_url": _URL,
    "keep": "write the number of days with a d, such as 30d (9999d at most), or 0 to keep nothing",
    "region": "write the two letters of ISO 3166, such as BR or GB, or leave the line out",
    "timezone": "write the IANA name of a time zone, such as America/Sao_Paulo, or leave the line out",
}


class ConfigError(Exception):
    """Everything that is wrong, each as `file:line: key.path: what is wrong and what to write`, without any secret."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def load(path: str | None, environ: Mapping[str, str], cwd: Path, *, tokens_needed: bool = True) -> Settings:
    """Read the file `path` (`--config`), else what `BOT_CONFIG` or `BOT_CONFIG_YAML` give, else `config/bot.yaml`.

    A variable that `environ` lacks is taken from `.env` beside the file, then from `.env` in `cwd`, where relative
    paths begin. Without `tokens_needed` no token has to be set. Raises `ConfigError` with all problems at once.
    """
    here = _dotenv(cwd)
    env = {**here, **environ}
    source = path or env.get("BOT_CONFIG") or ("BOT_CONFIG_YAML" if env.get("BOT_CONFIG_YAML") else DEFAULT_FILE)
    text = env.get(source, "") if source == "BOT_CONFIG_YAML" else _read(cwd / source)
    folder = (cwd / source).parent
    env = {**here, **(_dotenv(folder) if folder != cwd else {}), **environ}
    looked_in = f"in the environment or in {' or '.join(dict.fromkeys(f'{at}/.env' for at in (folder, cwd)))}"
    document = Document(env, looked_in, tokens_needed, {(name,): 0 for name in _ENVIRONMENT})
    tree = document.read(text)
    values = {key: value for key, value in tree.items() if value != ""} | _environment(env)
    if tokens_needed and "TELEGRAM_BOT_TOKEN" not in values:
        document.refuse(("TELEGRAM_BOT_TOKEN",), f"not set: put the token from @BotFather {looked_in}")
    try:
        settings = Settings.model_validate(values, by_alias=True, by_name=False, context=tree.get("instances"))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            where, own = detail["loc"], detail.get("ctx", {}).get("error", detail["msg"])
            if () not in document.problems and detail["type"] != "default_factory_not_called":
                words = _WORDS.get(detail["type"]) or _WORDS.get(str(where[-1])) or str(own)
                document.refuse(tuple(part for part in where if part != "[key]"), words)
    if document.problems:
        problems = sorted(document.problems.values())
        raise ConfigError(f"{source}:{line}: {words}" if line else words for line, words in problems)
    return settings.model_copy(update={"state": cwd / settings.state, "source": source})


def _environment(env: Mapping[str, str]) -> dict[str, object]:
    """What the environment sets, under the aliases of the model's fields."""
    given: dict[str, Any] = {name: value.strip() for name, value in env.items() if value.strip()}
    if "WEBHOOK_URL" in given:
        # Identical processes derive the same secret, and nobody without the token can.
        token = given.get("TELEGRAM_BOT_TOKEN", "").encode(errors="replace")
        secret = hmac.new(token, b"webhook secret token", hashlib.sha256).hexdigest()
        given["WEBHOOK_URL"] = {"WEBHOOK_SECRET": secret, **given}
    if "METRICS_PORT" in given:
        given["METRICS_PORT"] = (given.get("METRICS_HOST", "127.0.0.1"), given["METRICS_PORT"])
    return {name: given[name] for name in _ENVIRONMENT if name in given}


def _dotenv(folder: Path) -> dict[str, str]:
    text = _read(folder / ".env") if (folder / ".env").is_file() else ""
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(text), interpolate=False).items()}


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        problem = f"{error.strerror}: write it with “python -m bot init”, or name another with --config"
    except ValueError:
        problem = "not UTF-8 text: save it as UTF-8"
    raise ConfigError([f"{path}: {problem}"])
