"""The shape of the configuration file: its text → a `File`, or every mistake at once, each with its line.

No value is ever quoted in a problem, since any value may be a secret in the wrong place.
"""

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from phonenumbers import SUPPORTED_REGIONS
from pydantic import AfterValidator, AnyHttpUrl, BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo

from bot.yaml_marks import Document, Path, Tree, read

API_URL = "https://api.telegram.org"
BASE_URL = "https://ryzeapi.cloud"
TIMEOUT = 12.0
MAX_TIMEOUT = 60.0
MAX_INSTANCE_NAME = 100
MAX_OPERATOR_NAME = 64
MAX_TELEGRAM_ID = 2**52  # a user's id has "at most 52 significant bits", says the Bot API
RESERVED_IDS = {1087968824: "every anonymous group admin", 136817688: "every channel", 777000: "Telegram itself"}

_VARIABLE = re.compile(r"\$\$\{|\$\{(?P<name>[^}]*)(?P<end>\}?)")
_URL = re.compile(r"https?://[^/?#@\\\s{}]+(?:/[\w.~!$&'()*+,;=:%/-]*)?", re.IGNORECASE | re.ASCII)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")  # would break or hide a line
_ID_HINT = "the bot tells people theirs when they send /id"
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
    "telegram_id": f"write the person's numeric id, such as “telegram_id: 123456789” ({_ID_HINT})",
    "instance": "write the name of an instance, such as “instance: sales”",
}


def _url(value: str) -> str:
    if "@" in value:
        raise ValueError("remove the user name and password (everything up to the @)")
    try:
        host = AnyHttpUrl(value).host if _URL.fullmatch(value) else None
    except ValidationError:
        host = None
    if not host:
        raise ValueError("write http:// or https:// and a host, and no ? or # after it, such as https://ryzeapi.cloud")
    return value.rstrip("/")


def _timeout(value: object) -> float:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value) and 0 < float(value) <= MAX_TIMEOUT:
        return float(value)
    raise ValueError(f"write the seconds as a number, more than 0 and at most {MAX_TIMEOUT:.0f}, such as 12")


def _region(value: str) -> str:
    if value.upper() not in SUPPORTED_REGIONS:
        raise ValueError("no such region: write its two letters of ISO 3166, such as BR or GB, or leave the line out")
    return value.upper()


def _instance_name(value: str) -> str:
    if value in {".", ".."} or not value.strip() or len(value) > MAX_INSTANCE_NAME or _UNSAFE.search(value):
        raise ValueError(
            f"not a possible name of an instance: write Ryze's own (1 to {MAX_INSTANCE_NAME} characters, not . or ..)"
        )
    return value


def _token(value: str) -> str:
    if not (value := value.strip()):
        raise ValueError("the token is empty: copy it from Ryze")
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("the token holds a space, a line break or an odd character: copy it from Ryze again")
    return value


def _telegram_id(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"[1-9][0-9]*", value) or len(value) > len(str(MAX_TELEGRAM_ID)):
        if isinstance(value, str) and re.fullmatch(r"-[0-9]+", value):
            raise ValueError(f"a negative id is a group's or a channel's: write the person's own ({_ID_HINT})")
        raise ValueError(f"write the numeric id in plain digits, such as 123456789 ({_ID_HINT})")
    if (number := int(value)) >= MAX_TELEGRAM_ID:
        raise ValueError(f"too large for a Telegram id: copy it again ({_ID_HINT})")
    if number in RESERVED_IDS:
        raise ValueError(f"reserved: it stands for {RESERVED_IDS[number]}; write a person's own id")
    return number


def _operator_name(value: str) -> str:
    if not value.strip() or len(value) > MAX_OPERATOR_NAME or _UNSAFE.search(value):
        raise ValueError(f"write 1 to {MAX_OPERATOR_NAME} characters in one line, or leave the name out")
    return value


def _known_instance(value: str, info: ValidationInfo) -> str:
    names: Collection[str] | None = info.context
    if names is None or value in names:  # None: what the instances are could not be read, which is a problem of its own
        return value
    raise ValueError(f"no such instance: {_suggest(value, names)}")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Telegram(_Model):
    """Where the Bot API is."""

    api_url: Annotated[str, AfterValidator(_url)] = API_URL


class Ryze(_Model):
    """Where Ryze is, and how many seconds one call to it may take."""

    base_url: Annotated[str, AfterValidator(_url)] = BASE_URL
    timeout: Annotated[float, BeforeValidator(_timeout)] = TIMEOUT


class Instance(_Model):
    """What is said of an instance; its name is the key."""

    token: Annotated[str, AfterValidator(_token)]


class Operator(_Model):
    """Who may give commands, and for which instance."""

    telegram_id: Annotated[int, BeforeValidator(_telegram_id)]
    name: Annotated[str, AfterValidator(_operator_name)] = ""
    instance: Annotated[str, AfterValidator(_known_instance)]


_EMPTY_IS_NOTHING = BeforeValidator(lambda value: value or {})  # a section whose lines are all commented out


class File(_Model):
    """The whole of it."""

    telegram: Annotated[Telegram, _EMPTY_IS_NOTHING] = Telegram()
    ryze: Annotated[Ryze, _EMPTY_IS_NOTHING] = Ryze()
    region: Annotated[str, AfterValidator(_region)] | None = None
    instances: dict[Annotated[str, AfterValidator(_instance_name)], Instance]
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
        _check_repeated(tree.get("operators"), document)
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
        f"{source}:{line}: {f'{_dotted(path)}: ' if path else ''}{problem}" for (line, path), problem in in_order
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
    if path[-1] == "telegram_id" and path in document.quoted and "${" not in value:
        refuse("write the id without quotes")
    return _VARIABLE.sub(fill, value)


def _check_repeated(operators: object, document: Document) -> None:
    lines: dict[str, int] = {}
    for index, operator in enumerate(operators if isinstance(operators, list) else ()):
        number = operator.get("telegram_id") if isinstance(operator, dict) else None
        if isinstance(number, str) and number:
            path = ("operators", index, "telegram_id")
            line = document.line(path)
            if number in lines:
                document.problems.setdefault((line, path), f"the same id as in line {lines[number]}: keep one of them")
            lines.setdefault(number, line)


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
        return path, f"unknown key: {_suggest(key, known)}"
    if kind == "missing":
        return path, f"missing: {_EXAMPLES[key]}"
    if detail["input"] == "":
        return path, f"empty: {_EXAMPLES.get(key, _WANTED[kind])}"
    return path, _WANTED[kind]


def _suggest(wrong: str, known: Collection[str]) -> str:
    by_folded = {name.casefold(): name for name in known}
    if close := difflib.get_close_matches(wrong.casefold(), by_folded, n=1):
        return f"did you mean {_dotted((by_folded[close[0]],))}?"
    return f"write one of {', '.join(_dotted((name,)) for name in known)}" if known else "there is none yet"


def _dotted(path: Path) -> str:
    """`operators[1].name`. Of a key with a colon in it only the beginning: in `{token:abc}` all of it is the key."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            word = re.sub(r"(?s):.*|(?<=.{40}).*", "…", part)
            shown += "." + (word if re.fullmatch(r"[\w…-]+", word) else repr(word))
    return shown.removeprefix(".")
