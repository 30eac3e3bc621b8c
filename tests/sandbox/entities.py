"""Text as Telegram has it: plain, with entities whose offsets and lengths are in UTF-16 units."""

import html
import re

from tests.sandbox.server import Json

_TYPES = {"b": "bold", "i": "italic", "code": "code", "pre": "pre", "blockquote": "blockquote"}
_COMMAND = re.compile(r"(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/<>])")
_TOKEN = re.compile(
    r"<(?P<end>/?)(?P<name>[a-zA-Z-]+)(?P<attributes>(?:\s[^<>]*)?)>|(?P<unclosed><)"
    r"|(?P<escape>&(?:#\d+|lt|gt|amp|quot);)|(?P<plain>[^<&]+|&)"
)


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
    """Parse the Bot API's HTML style, of which the stand-in knows the tags that the bot uses.

    Raises:
        ValueError: bad markup, in the real server's words (td/telegram/MessageEntity.cpp, `parse_html`).
    """
    text = ""
    entities: list[Json] = []
    open_tags: list[tuple[str, int, str]] = []
    for token in _TOKEN.finditer(source):
        at = f"at byte offset {len(source[: token.start()].encode())}"
        if token["unclosed"]:
            raise ValueError(f"Unclosed start tag {at}")
        if token["name"] is None:
            text += html.unescape(token[0]) if token["escape"] else token[0]
        elif not token["end"]:
            name = token["name"].lower()
            if name not in _TYPES:
                raise ValueError(f'Unsupported start tag "{name}" {at}')
            expandable = "expandable_" if token["attributes"].strip() == "expandable" else ""
            open_tags.append((name, len(text), expandable + _TYPES[name]))
        elif not open_tags or open_tags[-1][0] != token["name"].lower():
            raise ValueError(f"Unexpected end tag {at}")
        else:
            _, begin, kind = open_tags.pop()
            if length := utf16(text[begin:]):
                entities.append({"type": kind, "offset": utf16(text[:begin]), "length": length})
    if open_tags:
        raise ValueError(f'Can\'t find end tag corresponding to start tag "{open_tags[-1][0]}"')
    return text, sorted(entities, key=lambda entity: (entity["offset"], -entity["length"]))
