"""What Telegram takes as a message's content: formatted text and an inline keyboard, within its bounds."""

from tests.sandbox.entities import parse_html, utf16
from tests.sandbox.server import ApiError, Json


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
