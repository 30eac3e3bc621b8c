"""What Telegram takes as a message's content, within its bounds: formatted text and an inline keyboard.

Offsets and lengths are in UTF-16 units.
"""

import html
import re

from tests.sandbox.server import ApiError, Json

_TYPES = {"b": "bold", "i": "italic", "code": "code", "pre": "pre", "blockquote": "blockquote"}
_COMMAND = re.compile(r"(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/<>])")
_TOKEN = re.compile(r"<(?P<end>/?)(?P<name>[a-z]+)(?P<expandable> expandable)?>|(?P<plain>[^<]+)|<")


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
    """The text and the entities of the Bot API's HTML style, of which this knows the tags that the bot uses.

    Raises:
        ValueError: bad markup.
    """
    text, entities, open_tags = "", list[Json](), list[Json]()
    for token in _TOKEN.finditer(source):
        if token["plain"]:
            text += html.unescape(token["plain"])
        elif token["name"] not in _TYPES:
            raise ValueError(f"Unsupported start tag at byte offset {len(source[: token.start()].encode())}")
        elif not token["end"]:
            kind = f"expandable_{_TYPES[token['name']]}" if token["expandable"] else _TYPES[token["name"]]
            open_tags.append({"type": kind, "offset": utf16(text), "name": token["name"]})
        elif not open_tags or open_tags[-1].pop("name") != token["name"]:
            raise ValueError(f"Unexpected end tag at byte offset {len(source[: token.start()].encode())}")
        else:
            entity = open_tags.pop()
            entities.append({**entity, "length": utf16(text) - entity["offset"]})
    if open_tags:
        raise ValueError("Can't find end tag")
    return text, sorted(entities, key=lambda entity: (entity["offset"], -entity["length"]))


def content(params: Json) -> Json:
    """The text, entities and keyboard of a message to be sent, as the message then has them.

    Raises:
        ApiError: Telegram would refuse it, whatever the chat.
    """
    text, entities = str(params["text"]).strip(), list[Json]()
    try:
        if params.get("parse_mode"):
            text, entities = parse_html(text)
    except ValueError as error:
        raise ApiError(400, f"Bad Request: can't parse entities: {error}") from error
    if not text.strip():
        raise ApiError(400, "Bad Request: message text is empty")
    if utf16(text) > 4096:
        raise ApiError(400, "Bad Request: message is too long")
    keyboard = _keyboard(params.get("reply_markup") or {})
    optional: Json = {"entities": entities, "reply_markup": keyboard and {"inline_keyboard": keyboard}}
    return {"text": text, **{name: value for name, value in optional.items() if value}}


def _keyboard(markup: Json) -> list[list[Json]]:
    """The rows of an inline keyboard."""
    rows = [row for row in markup.get("inline_keyboard", []) if row]
    for button in (button for row in rows for button in row):
        if not button["text"].strip():
            raise ApiError(400, "Bad Request: BUTTON_TEXT_INVALID")
        if len(button.keys() - {"text"}) != 1:
            raise ApiError(400, "Bad Request: can't parse inline keyboard button: Text buttons are unallowed")
        if "callback_data" in button and not 1 <= len(button["callback_data"].encode()) <= 64:
            raise ApiError(400, "Bad Request: BUTTON_DATA_INVALID")
        if "copy_text" in button and not 1 <= utf16(button["copy_text"]["text"]) <= 256:
            raise ApiError(400, "Bad Request: BUTTON_COPY_TEXT_INVALID")
    return rows
