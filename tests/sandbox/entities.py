"""Text as Telegram has it: plain, with entities whose offsets and lengths are in UTF-16 units."""

import re
from collections.abc import Iterator

from tests.sandbox.server import Json

_TYPES = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "code": "code",
    "pre": "pre",
    "a": "text_link",
    "blockquote": "blockquote",
    "tg-spoiler": "spoiler",
}
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_COMMAND = re.compile(r"(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/<>])")
_TOKEN = re.compile(r"&(?:#(?P<decimal>\d+)|#[xX](?P<hex>[0-9a-fA-F]+)|(?P<name>[a-z]+));|<|[^<&]+|&", re.DOTALL)
_TAG = re.compile(r"<(?P<end>/?)(?P<name>[^\s>/]*)(?P<attributes>(?:[^>\"']|\"[^\"]*\"|'[^']*')*)>", re.DOTALL)
_ATTRIBUTE = re.compile(r"([a-zA-Z-]+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+)))?")


def utf16(text: str) -> int:
    """Its length in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def bot_commands(text: str) -> list[Json]:
    """The bot_command entities that Telegram finds in a text."""
    return [
        {"type": "bot_command", "offset": utf16(text[: found.start()]), "length": utf16(found[0])}
        for found in _COMMAND.finditer(text)
    ]


def parse_html(source: str) -> tuple[str, list[Json]]:
    """Parses the Bot API's HTML style (td/telegram/MessageEntity.cpp, `parse_html`).

    Raises:
        ValueError: bad markup, in the real server's words.
    """
    text = ""
    entities: list[Json] = []
    open_tags: list[tuple[str, int, Json]] = []
    for token, start in _tokens(source):
        if isinstance(token, str):
            text += token
            continue
        at = f"at byte offset {len(source[:start].encode())}"
        name = token["name"].lower()
        if not token["end"]:
            open_tags.append((name, len(text), _entity(name, token["attributes"], at)))
            continue
        if not open_tags:
            raise ValueError(f"Unexpected end tag {at}")
        opened, begin, entity = open_tags.pop()
        if name not in ("", opened):
            raise ValueError(f'Unmatched end tag {at}, expected "</{opened}>", found "</{name}>"')
        if length := utf16(text[begin:]):
            entities.append({**entity, "offset": utf16(text[:begin]), "length": length})
    if open_tags:
        raise ValueError(f'Can\'t find end tag corresponding to start tag "{open_tags[-1][0]}"')
    return text, sorted(entities, key=lambda entity: (entity["offset"], -entity["length"]))


def _tokens(source: str) -> Iterator[tuple[str | re.Match[str], int]]:
    """Runs of plain text, and tags as matches, each with where it begins."""
    position = 0
    while position < len(source):
        token = _TOKEN.match(source, position)
        if token is None:
            raise ValueError("Text can't be parsed")
        start, position = position, token.end()
        if token[0] != "<":
            yield _plain(token), start
            continue
        tag = _TAG.match(source, start)
        if tag is None:
            kind = "end" if source.startswith("</", start) else "start"
            raise ValueError(f"Unclosed {kind} tag at byte offset {len(source[:start].encode())}")
        position = tag.end()
        yield tag, start


def _plain(token: re.Match[str]) -> str:
    if token["decimal"] or token["hex"]:
        code = int(token["decimal"] or token["hex"], 10 if token["decimal"] else 16)
        return chr(code) if 0 < code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else token[0]
    return _NAMED.get(token["name"] or "", token[0])


def _entity(name: str, source: str, at: str) -> Json:
    attributes = {found[1].lower(): found[2] or found[3] or found[4] or "" for found in _ATTRIBUTE.finditer(source)}
    if name == "span" and attributes.get("class") == "tg-spoiler":
        return {"type": "spoiler"}
    if name not in _TYPES:
        raise ValueError(f'Unsupported start tag "{name}" {at}')
    if name == "a" and "href" in attributes:
        return {"type": "text_link", "url": parse_html(attributes["href"])[0]}
    if name == "blockquote" and "expandable" in attributes:
        return {"type": "expandable_blockquote"}
    return {"type": _TYPES[name]}
