"""What a button carries through Telegram and back: 64 bytes that anybody may have written."""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass

from bot.chats import Chat

MOST_BYTES = 64  # Telegram's limit of callback_data
_DOMAINS = {"s": "@s.whatsapp.net", "l": "@lid", "g": "@g.us", "n": "@newsletter", "": ""}
_SHAPE = re.compile(
    r"(?P<action>[pu]):(?P<instance>[\w-]{6}):"
    r"(?P<user>[1-9]\d{6,14}(?=:|$)|\d{5,31}(?=[sln])|\d{5,31}(-\d{1,31})?(?=g))(?P<kind>[slgn]?)"
    r"(:(?P<owner>[1-9]\d{0,15}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Press:
    """A button's meaning. Only `owner`, a Telegram id, may press it; None lets every operator of the instance."""

    pin: bool
    instance_hash: str
    chat: Chat
    owner: int | None = None


def instance_hash(instance: str) -> str:
    """Name an instance in six characters that tell a stranger nothing."""
    return urlsafe_b64encode(hashlib.sha256(instance.encode()).digest())[:6].decode()


def pack(press: Press) -> str | None:
    """Write a press as callback_data, or None if the chat's id is too long for it."""
    user, at, domain = press.chat.number.partition("@")
    kind = next(letter for letter, ending in _DOMAINS.items() if ending == at + domain)
    owner = "" if press.owner is None else f":{press.owner}"
    data = f"{'p' if press.pin else 'u'}:{press.instance_hash}:{user}{kind}{owner}"
    return data if len(data) <= MOST_BYTES else None


def unpack(data: str) -> Press | None:
    """Read callback_data back; None for anything that `pack` would not have written."""
    found = _SHAPE.fullmatch(data)
    if not found or len(data) > MOST_BYTES:
        return None
    chat = Chat(found["user"] + _DOMAINS[found["kind"]])
    owner = int(found["owner"]) if found["owner"] else None
    return Press(found["action"] == "p", found["instance"], chat, owner)
