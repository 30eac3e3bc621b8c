"""YAML as written: every scalar a `str`, with the line of each key, so that a mistake can be shown where it stands.

Built on PyYAML's events: nothing is resolved or constructed, so `NO` stays Norway, no tag acts and no alias multiplies.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import yaml

Path: TypeAlias = tuple[str | int, ...]
Tree: TypeAlias = str | list["Tree"] | dict[str, "Tree"]
Problems: TypeAlias = dict[tuple[int, Path], str]  # by line and path: of several about one place the first counts

MAX_DEPTH = 20
_QUOTE_IT = "put the value in quotes"
_HINTS = {  # PyYAML's words → what to do, for the mistakes that people make
    r"'\t'": "a tab stands here: indent with spaces",
    "mapping values are not allowed": f"a second colon, or a line indented differently: align the keys, or {_QUOTE_IT}",
    "cannot start any token": f"a character that no plain value begins with: {_QUOTE_IT}",
}


class Document(NamedTuple):
    """What was read: `tree` (None if nothing could be), each path's line, the paths of scalars not written plain."""

    tree: Tree | None
    marks: dict[Path, int]
    quoted: set[Path]
    problems: Problems

    def line(self, path: Path) -> int:
        """Return the line of `path`, or of the nearest thing around it."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path, 1)


def dotted(path: Path) -> str:
    """`operators[1].name`. Of a key with a colon in it only the beginning: in `{token:abc}` all of it is the key."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            word = re.sub(r"(?s):.*|(?<=.{40}).*", "…", part)
            shown += "." + (word if re.fullmatch(r"[\w…-]+", word) else repr(word))
    return shown.removeprefix(".")


def read(text: str) -> Document:
    """Read the one YAML document in `text`; what is wrong with it is in the answer's `problems`, never raised."""
    document = Document(None, {}, set(), {})
    try:
        events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
        next(events)  # the stream's start
        if isinstance(next(events), yaml.StreamEndEvent):
            document.problems[1, ()] = "the configuration is empty: copy config/bot.example.yaml and fill it in"
            return document
        tree = _value(document, events, next(events), ())
        next(events)  # the document's end
        after = next(events)
        if not isinstance(after, yaml.StreamEndEvent):
            document.problems[after.start_mark.line + 1, ()] = "a second document begins here: leave only one"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.problems[mark.line + 1 if mark else 1, ()] = _in_words(error)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.problems[line, ()] = "a character that YAML does not allow: remove it, or type the line again"
    else:
        return document._replace(tree=tree)
    return document


def _value(document: Document, events: Iterator[Any], event: Any, path: Path) -> Tree:  # noqa: ANN401 - as PyYAML's stubs
    if len(path) > MAX_DEPTH:
        raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=event.start_mark)
    line = document.marks.setdefault(path, event.start_mark.line + 1)
    if isinstance(event, yaml.AliasEvent):
        document.problems.setdefault((line, path), "aliases (*) are not supported: write the value out, or quote it")
        return ""
    if event.anchor or event.tag:
        document.problems.setdefault((line, path), "anchors (&) and tags (!) are not supported: remove it, or quote it")
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Tree] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_value(document, events, event, (*path, len(items))))
        return items
    if isinstance(event, yaml.MappingStartEvent):
        return _mapping(document, events, path)
    if event.style:
        document.quoted.add(path)
    return str(event.value)


def _mapping(document: Document, events: Iterator[Any], path: Path) -> dict[str, Tree]:
    mapping: dict[str, Tree] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        line = event.start_mark.line + 1
        if not isinstance(event, yaml.ScalarEvent):
            raise yaml.MarkedYAMLError(problem="only a plain word can be a key", problem_mark=event.start_mark)
        here = (*path, event.value)
        first = document.marks.setdefault(here, line)
        value = _value(document, events, next(events), here)
        if event.value in mapping:
            document.problems[line, here] = f"given twice (first in line {first}): keep one of them"
        mapping.setdefault(event.value, value)
    return mapping


def _in_words(error: yaml.MarkedYAMLError) -> str:
    """One line, without the names that PyYAML quotes from the file: a token that begins with `*` would be one."""
    problem = re.sub(r"'[\w!-]{2,}'", "'…'", error.problem or "cannot be read")
    hint = next((hint for words, hint in _HINTS.items() if words in problem), problem)
    return f"not valid YAML: {hint}"
