"""A YAML text as written: every value a string (`NO` stays Norway), every key with its line, no tag, no alias."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from bot.settings.model import ID_HINT, shown_key

Path: TypeAlias = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)\})?")
_HINTS = {  # PyYAML's words → what to do, for the mistakes that people make
    "RecursionError": "nested too deeply",
    r"'\t'": "a tab stands here: indent with spaces",
    "'@'": f"no value begins with @, and a username is no id: write the numeric id ({ID_HINT})",
    "mapping values are not allowed": "a second colon, or wrongly indented: align the keys, or put the value in quotes",
    "expected <block end>": "wrongly indented: align it; if the line above ends with [] or {}, remove the [] or {}",
    "ReaderError": "a character that YAML does not allow: remove it, or type the line again",
}


class _Loader(yaml.BaseLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse what `yaml.compose` would share between places (an alias even with itself) or ignore (a tag)."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call] # PyYAML's stubs lack it
        if isinstance(event, yaml.AliasEvent) or event.anchor or event.tag:
            problem = "anchors (&), aliases (*) and tags (!) are not supported: put the value in quotes"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        return super().compose_node(parent, index)


@dataclass
class Document:
    """What a text holds, each `${NAME}` taken from `env`, and what is wrong with it: by path, line and words."""

    env: Mapping[str, str]
    looked_in: str  # where a variable can be set, for people
    tokens_needed: bool  # else tokens are left as they are written
    lines: dict[Path, int]  # 0 for what belongs in the environment
    problems: dict[Path, tuple[int, str]] = field(default_factory=dict)
    ids: dict[str, Path] = field(default_factory=dict)

    def read(self, text: str) -> dict[str, Any]:
        """Return the mapping that `text` is; where it is none, a problem tells."""
        try:
            node = yaml.compose(text, Loader=_Loader)
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, ())
            line, problem = 1, "write “key: value” lines, as in the example that “python -m bot init” writes"
        except (yaml.YAMLError, RecursionError) as error:  # the second for thousands of nested brackets
            # Without the names that PyYAML quotes from the text: a token that begins with ! would be one.
            words = re.sub(r"'[\w!-]{2,}'", "'…'", getattr(error, "problem", None) or type(error).__name__)
            problem = next((hint for known, hint in _HINTS.items() if known in words), words)
            mark = getattr(error, "problem_mark", None)
            line = 1 + (mark.line if mark else text.count("\n", 0, getattr(error, "position", 0)))
        self.problems = {(): (line, problem)}
        return {}

    def refuse(self, path: Path, problem: str) -> None:
        """Note what is wrong at `path`, in the line where the file has it, or has what should hold it."""
        known = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self.lines), ())
        path = known if isinstance(path[-1], int) else path  # `instance: sales` is taken for a list of one
        shown = ".".join(map(shown_key, path)).removeprefix("WEBHOOK_URL.")
        self.problems.setdefault(path, (self.lines.get(known, 1), f"{shown}: {problem}"))

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="only plain text can be a key", problem_mark=key.start_mark)
            here = (*path, key.value)
            first, self.lines[here] = self.lines.get(here), key.start_mark.line + 1
            if first is None:
                mapping[key.value] = self._value(value, here)
            else:
                twice = f"given twice (first in line {first}): keep one of them"
                self.refuse(here, twice if first else "belongs in the environment or in .env, not here")
        return mapping

    def _value(self, node: Any, path: Path) -> object:  # noqa: ANN401 - as PyYAML's stubs
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        if path[-1] == "token" and not self.tokens_needed:
            return node.value
        if node.style and {"telegram_id", "admins"} & set(path) and re.fullmatch("[0-9]+", node.value):
            self.refuse(path, "write the id without quotes")
        value = _VARIABLE.sub(lambda match: self._variable(match, path), node.value)
        if path[::2] == ("operators", "telegram_id") and (first := self.ids.setdefault(value, path)) != path:
            self.refuse(path, f"the same id as in line {self.lines[first]}: keep one of them")
        return value

    def _variable(self, match: re.Match[str], path: Path) -> str:
        name = match[1] or ""
        if match[0] != "$${" and name not in self.env:
            problem = f"the variable {name} is not set: set it {self.looked_in}"
            if not name.isupper():  # it may be the token itself
                problem = "no such variable: write ${NAME}, or the token itself without ${}; $${ stands for ${"
            self.refuse(path, problem)
        return "${" if match[0] == "$${" else self.env.get(name, "")
