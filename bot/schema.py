"""The shape of the configuration file: its text → a `File`, or every mistake at once, each with its line.

No value is ever quoted in a problem, since any value may be a secret in the wrong place.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)

from bot import values
from bot.values import suggest
from bot.yaml_marks import Document, Path, Tree, dotted, read

API_URL = "https://api.telegram.org"
BASE_URL = "https://ryzeapi.cloud"
TIMEOUT = 12.0
STATE = "ryze-pin-bot.sqlite3"
KEEP = timedelta(days=30)

_VARIABLE = re.compile(r"\$\$\{|\$\{(?P<name>[^}]*)(?P<end>\}?)")
_MAPPING = "write “key: value” lines, with a space after each colon"
_WANTED = {  # pydantic's type of error → what to write
    "string_type": "write a single value",
    "list_type": "write a list, each entry beginning with “- ”",
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
}
_EXAMPLES = {  # for what is missing or empty
    "instances": "write each instance of Ryze by name, as in config/bot.example.yaml",
    "operators": "write who may give commands, as in config/bot.example.yaml, or “operators: []” to let nobody in",
    "token": "write the instance's token, such as “token: ${RYZE_SALES_TOKEN}”",
    "telegram_id": f"write the person's numeric id, such as “telegram_id: 123456789” ({values.ID_HINT})",
    "instance": "write the name of an instance, such as “instance: sales”",
}
_SEVERAL = "“instances: [sales, support]”"


def _known_instance(value: str, info: ValidationInfo) -> str:
    names: Collection[str] | None = info.context
    if names is None or value in names:  # None: what the instances are could not be read, which is a problem of its own
        return value
    raise ValueError(f"no such instance: {suggest(value, names)}")


def _some_instances(value: object) -> object:
    if not value:
        raise ValueError(f"empty: write the names of instances, such as {_SEVERAL}")
    return value


def _one_of_both(value: str | None, info: ValidationInfo) -> str | None:
    if "instances" in info.data:  # else they are wrong, which is a problem of its own
        if value is None and info.data["instances"] is None:
            raise ValueError(f"missing: {_EXAMPLES['instance']}")
        if value is not None and info.data["instances"] is not None:
            raise ValueError(f"write either “instance: sales” or {_SEVERAL}, not both")
    return value


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Telegram(_Model):
    """Where the Bot API is."""

    api_url: Annotated[str, AfterValidator(values.url)] = API_URL


class Ryze(_Model):
    """Where Ryze is, and how many seconds one call to it may take."""

    base_url: Annotated[str, AfterValidator(values.url)] = BASE_URL
    timeout: Annotated[float, BeforeValidator(values.timeout)] = TIMEOUT


class Instance(_Model):
    """What is said of an instance; its name is the key."""

    token: Annotated[str, AfterValidator(values.token)]


_TelegramId = Annotated[int, BeforeValidator(values.telegram_id)]
_InstanceName = Annotated[str, AfterValidator(_known_instance)]


class Operator(_Model):
    """Who may give commands, and for which instance."""

    telegram_id: _TelegramId
    name: Annotated[str, AfterValidator(values.operator_name)] = ""
    # Before `instance`, whose check looks at it.
    instances: Annotated[list[_InstanceName], BeforeValidator(_some_instances)] | None = None
    instance: Annotated[_InstanceName | None, AfterValidator(_one_of_both)] = Field(default=None, validate_default=True)
    language: Annotated[str, AfterValidator(values.language)] | None = None


_EMPTY_IS_NOTHING = BeforeValidator(lambda value: value or {})  # a section whose lines are all commented out


class File(_Model):
    """The whole of it."""

    telegram: Annotated[Telegram, _EMPTY_IS_NOTHING] = Telegram()
    ryze: Annotated[Ryze, _EMPTY_IS_NOTHING] = Ryze()
    region: Annotated[str, AfterValidator(values.region)] | None = None
    language: Annotated[str, AfterValidator(values.language)] | None = None
    timezone: Annotated[ZoneInfo, BeforeValidator(values.timezone)] | None = None
    state: Annotated[str, AfterValidator(values.state)] = STATE
    keep: Annotated[timedelta, BeforeValidator(values.keep)] = KEEP
    admins: Annotated[list[_TelegramId], BeforeValidator(lambda value: value or [])] = Field(default_factory=list)
    instances: dict[Annotated[str, AfterValidator(values.instance_name)], Instance]
    operators: list[Operator]


_SECTIONS: dict[str | int, type[_Model]] = {
    "telegram": Telegram,
    "ryze": Ryze,
    "instances": Instance,
    "operators": Operator,
}


def parse(source: str, text: str, env: Mapping[str, str]) -> tuple[File | None, list[str]]:
    """Return the file that `text` holds, and what is wrong with it: `source:line: key.path: …`, in the order of lines.

    Each `${NAME}` in a value is taken from `env`. There is a file exactly if there are no problems.
    """
    document = read(text)
    problems = document.problems
    file = None
    if isinstance(document.tree, dict):
        tree: Any = _fill(document.tree, (), document, env)
        _check_repeated(tree, document)
        instances = tree.get("instances")
        try:
            file = File.model_validate(tree, context=list(instances) if isinstance(instances, dict) else None)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                path, problem = _in_words(detail)
                problems.setdefault((document.line(path), path), problem)
    elif document.tree is not None:
        problems.setdefault((1, ()), _MAPPING)
    in_order = sorted(problems.items(), key=lambda item: item[0][0])
    return file if not problems else None, [
        f"{source}:{line}: {f'{dotted(path)}: ' if path else ''}{problem}" for (line, path), problem in in_order
    ]


def _fill(value: Tree, path: Path, document: Document, env: Mapping[str, str]) -> Tree:
    """Put in the variables' values: after parsing, so that no value becomes structure."""
    if isinstance(value, dict):
        return {key: _fill(item, (*path, key), document, env) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, (*path, index), document, env) for index, item in enumerate(value)]

    def refuse(problem: str) -> None:
        document.problems.setdefault((document.line(path), path), problem)

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return "${"
        if not match["end"] or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            refuse("not the name of a variable: write ${NAME}, or $${ for these characters themselves")
        elif name not in env:
            refuse(f"the variable {name} is not set: set it in the environment or in .env")
        return env.get(name, "")

    if path[-1] == "token" and re.fullmatch(r"\$\w+", value):
        refuse("a variable needs braces: write ${NAME}")
    if (path[-1] == "telegram_id" or path[:-1] == ("admins",)) and path in document.quoted and "${" not in value:
        refuse("write the id without quotes")
    return _VARIABLE.sub(fill, value)


def _check_repeated(tree: dict[str, Tree], document: Document) -> None:
    def check(entries: Iterable[tuple[Path, Tree]], what: str) -> None:
        lines: dict[str, int] = {}
        for path, value in entries:
            if isinstance(value, str) and value:
                line = document.line(path)
                if value in lines:
                    problem = f"the same {what} as in line {lines[value]}: keep one of them"
                    document.problems.setdefault((line, path), problem)
                lines.setdefault(value, line)

    operators = [(path, entry) for path, entry in _entries(tree, "operators") if isinstance(entry, dict)]
    check((((*path, "telegram_id"), entry.get("telegram_id", "")) for path, entry in operators), "id")
    for path, entry in operators:
        check(_entries(entry, "instances", path), "instance")
    check(_entries(tree, "admins"), "id")


def _entries(tree: dict[str, Tree], key: str, path: Path = ()) -> list[tuple[Path, Tree]]:
    entries = tree.get(key)
    return [((*path, key, index), entry) for index, entry in enumerate(entries if isinstance(entries, list) else ())]


def _in_words(detail: Any) -> tuple[Path, str]:  # noqa: ANN401 - pydantic's own type of it is of no use to mypy
    """Where one of pydantic's errors belongs, and what to do about it."""
    path: Path = detail["loc"]
    kind, key = detail["type"], str(path[-1])
    if kind == "value_error":  # one of the functions above
        return path[:2] if path[2:] == ("[key]",) else path, str(detail["ctx"]["error"])
    if kind == "extra_forbidden":
        known = (File if len(path) == 1 else _SECTIONS[path[0]]).model_fields
        if path[0] == "instances" and not re.fullmatch(r"[A-Za-z_]{1,24}", key):
            path = path[:-1]  # what stands there may be the token
        return path, f"unknown key: {suggest(key, known)}"
    if kind == "missing":
        return path, f"missing: {_EXAMPLES[key]}"
    if detail["input"] == "":
        return path, f"empty: {_EXAMPLES.get(key, _WANTED[kind])}"
    return path, _WANTED[kind]
