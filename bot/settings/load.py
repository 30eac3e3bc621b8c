"""The configuration file and the environment → `Settings`, or every mistake at once."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from dotenv import dotenv_values
from pydantic import ValidationError

from bot.settings.model import ID_HINT, Settings

DEFAULT_FILE = "config/bot.yaml"
Where: TypeAlias = tuple[str | int, ...]  # the keys and the indexes that lead to a value

_ENVIRONMENT = ("TELEGRAM_BOT_TOKEN", "DATABASE_URL", "LOG_LEVEL", "WEBHOOK_URL", "METRICS_PORT")
_VARIABLE = re.compile(r"(?<!\$)\$\{(?:([A-Za-z_]\w*)\})?", re.ASCII)  # $${ stands for ${
_EXAMPLE = "write it as in the example (the command init writes one)"
_WORDS = {  # what to write, by pydantic's type of error or by key; for the rest pydantic's own words
    "missing": f"missing: {_EXAMPLE}",
    "extra_forbidden": f"unknown key: {_EXAMPLE}",
    "tuple_type": "write a list, each entry beginning with “- ”, or [] for none",
    "model_type": "write “key: value” lines, with a space after each colon",
    "TELEGRAM_BOT_TOKEN": "not a bot token: copy it from @BotFather (digits, a colon, letters)",
    "DATABASE_URL": "write postgresql://user:password@host/name, in the password %40 for @ and %2F for /",
    "WEBHOOK_URL": "write https://, a host and perhaps a path, and no more",
    "[key]": "write the exact name at Ryze, one line of 1 to 100 characters, not all of them dots",
    "name": "write one line of 1 to 100 characters, or leave the line out",
    "token": "write the token from Ryze in one piece, such as “token: ${RYZE_SALES_TOKEN}”",
    "api_url": "write http:// or https://, a host and perhaps a path, and no more",
    "base_url": "write http:// or https://, a host and perhaps a path, and no more",
    "keep": "write days with a d, such as 30d (9999d at most), or 0 to keep nothing",
    "region": "write the two letters of ISO 3166, such as BR or GB, or leave the line out",
    "timezone": "write an IANA name, such as America/Sao_Paulo, or leave the line out",
}
_HINTS = {  # PyYAML's words → what to do, for the mistakes that people make
    r"'\t'": "a tab stands here: indent with spaces",
    "mapping values are not allowed": "a second colon, or wrongly indented: align the keys, or put the value in quotes",
    "'@'": f"a username is no id: write the numeric id ({ID_HINT})",
    "expected <block end>": "wrongly indented: align it; if the line above ends with [] or {}, remove these",
}


class ConfigError(Exception):
    """All that is wrong, each as `file:line: key.path: what to write`, without any secret."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def load(path: str | None, environ: Mapping[str, str], cwd: Path, *, tokens_needed: bool = True) -> Settings:
    """Read the file `path`, else what BOT_CONFIG or BOT_CONFIG_YAML give, else the default; raises `ConfigError`."""
    here = _dotenv(cwd)
    env = {**here, **environ}
    source = path or env.get("BOT_CONFIG") or ("BOT_CONFIG_YAML" if env.get("BOT_CONFIG_YAML") else DEFAULT_FILE)
    text = env.get(source, "") if source == "BOT_CONFIG_YAML" else _read(cwd / source)
    folder = (cwd / source).parent
    env = {**here, **_dotenv(folder), **environ}  # the later counts
    looked_in = f"in the environment or in {' or '.join(dict.fromkeys(f'{at}/.env' for at in (folder, cwd)))}"
    document = _Document(env, looked_in, tokens_needed=tokens_needed)
    try:
        tree = document.value(_compose(text), ())
    except (yaml.YAMLError, RecursionError) as error:
        words = getattr(error, "problem", None) or "a character that YAML does not allow, or too many brackets"
        mark, start = getattr(error, "problem_mark", None), getattr(error, "position", 0)
        line = mark.line if mark else text.count("\n", 0, start)
        hint = next((hint for known, hint in _HINTS.items() if known in words), words)
        raise ConfigError([f"{source}:{line + 1}: {hint}"]) from None
    values = {key: value for key, value in tree.items() if value != ""} | _environment(env)
    if tokens_needed and "TELEGRAM_BOT_TOKEN" not in values:
        document.refuse(("TELEGRAM_BOT_TOKEN",), f"not set: put the token from @BotFather {looked_in}")
    try:
        settings = Settings.model_validate(values, by_alias=True, by_name=False, context=tree.get("instances"))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if detail["type"] != "default_factory_not_called":
                words = _WORDS.get(detail["type"]) or _WORDS.get(str(detail["loc"][-1])) or detail["msg"]
                document.refuse(detail["loc"], words.removeprefix("Value error, "))
    if problems := sorted(document.problems.values()):
        raise ConfigError(f"{source}:{line}: {words}" if line else words for line, words in problems)
    return settings.model_copy(update={"state": cwd / settings.state, "source": source})


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", "save it as UTF-8 text")
        raise ConfigError([f"{path}: {why} (init writes an example, --config names another file)"]) from error


def _dotenv(folder: Path) -> dict[str, str]:
    text = _read(folder / ".env") if (folder / ".env").is_file() else ""
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(text), interpolate=False).items()}


def _environment(env: Mapping[str, str]) -> dict[str, object]:
    given = {name: value.strip() for name, value in env.items() if value.strip()}
    # Identical processes derive the same secret, and nobody without the token can.
    token = f"webhook of {given.get('TELEGRAM_BOT_TOKEN')}".encode(errors="replace")
    full = {"WEBHOOK_SECRET": hashlib.sha256(token).hexdigest(), "METRICS_HOST": "127.0.0.1", **given}
    groups = {"WEBHOOK_URL": full, "METRICS_PORT": (full["METRICS_HOST"], full.get("METRICS_PORT"))}
    return {name: groups.get(name, given[name]) for name in _ENVIRONMENT if name in given}


def _compose(text: str) -> yaml.Node:
    """Read the text; refuse what YAML would share (an alias, even with itself) or ignore (a tag)."""
    for token in yaml.scan(text, Loader=yaml.BaseLoader):
        if isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken):
            problem = "anchors (&), aliases (*) and tags (!) are not supported: put the value in quotes"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=token.start_mark)
    node = yaml.compose(text, Loader=yaml.BaseLoader)
    if not isinstance(node, yaml.MappingNode):
        raise yaml.MarkedYAMLError(problem=f"write “key: value” lines: {_EXAMPLE}")
    return node


class _Document:
    """The values of a YAML text as written (`NO` stays Norway), and what is wrong with them."""

    def __init__(self, env: Mapping[str, str], looked_in: str, *, tokens_needed: bool) -> None:
        self.env = env
        self.looked_in = looked_in  # where a variable can be set, for people
        self.tokens_needed = tokens_needed  # else tokens are left as they are written
        self.lines: dict[Where, int] = {(): 1} | {(name,): 0 for name in _ENVIRONMENT}
        self.problems: dict[Where, tuple[int, str]] = {}
        self.ids: dict[str, Where] = {}

    def refuse(self, path: Where, problem: str) -> None:
        """Note what is wrong at `path`, in the line that has it, or has what should hold it."""
        known = next(path[:end] for end in range(len(path), -1, -1) if path[:end] in self.lines)
        path = known if isinstance(path[-1], int) else path  # `instance: sales` is taken for a list of one
        # All of `{token:abc}`, where a space is missing, is a key. "[key]" is pydantic's own.
        keys = [re.sub(r"(?s):.*|(?<=.{40}).+|[^\w !-~]", "…", str(key)) for key in path if key != "[key]"]
        shown = ".".join(keys).removeprefix("WEBHOOK_URL.")
        self.problems.setdefault(path, (self.lines[known], f"{shown}: {problem}"))

    def value(self, node: Any, path: Where) -> Any:  # noqa: ANN401 - as PyYAML's stubs
        """Return the value of a node, and note where each value in it stands."""
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._text(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        mapping = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="only plain text can be a key", problem_mark=key.start_mark)
            here = (*path, name := str(key.value))
            first, self.lines[here] = self.lines.get(here), key.start_mark.line + 1
            if first is None:
                mapping[name] = self.value(value, here)
            else:
                twice = f"given twice (first in line {first}): keep one of them"
                self.refuse(here, twice if first else "belongs in the environment or in .env, not here")
        return mapping

    def _text(self, node: yaml.ScalarNode, path: Where) -> str:
        if path[-1] == "token" and not self.tokens_needed:
            return str(node.value)
        if node.style and {"telegram_id", "admins"} & set(path) and re.fullmatch("[0-9]+", node.value):
            self.refuse(path, "write the id without quotes")
        for name in _VARIABLE.findall(node.value):
            if name not in self.env:
                problem = f"the variable {name} is not set: set it {self.looked_in}"
                own = "no such variable: write ${NAME}, or the token itself without ${}; $${ stands for ${"
                self.refuse(path, problem if name.isupper() else own)  # else it may be the token itself
        parts = [_VARIABLE.sub(lambda match: self.env.get(match[1], ""), part) for part in node.value.split("$${")]
        value = "${".join(parts).encode(errors="replace").decode()  # it may hold any bytes
        if path[::2] == ("operators", "telegram_id") and (first := self.ids.setdefault(value, path)) != path:
            self.refuse(path, f"the same id as in line {self.lines[first]}: keep one of them")
        return value
