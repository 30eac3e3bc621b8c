"""What a button carries through Telegram and back: 64 bytes that anybody may have written."""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from bot.chats import Chat

MOST_BYTES = 64  # Telegram's limit of callback_data; two group JIDs just fit
_DOMAINS = {"": "", "s": "@s.whatsapp.net", "l": "@lid", "g": "@g.us", "n": "@newsletter"}
_CHAT = r"[0-9]{5,31}(?:-[0-9]{1,31})?[slgn]?"
_SHAPE = re.compile(
    rf"(?P<action>[pus]):(?P<instance>[\w-]{{6}}):(?P<chat>{_CHAT})(?::(?P<other>{_CHAT}))?(?::=(?P<owner>[1-9][0-9]{{0,15}}))?",
    re.ASCII,
)
_PAGE = re.compile(r"h:(?P<instance>[\w-]{6}):(?P<offset>[0-9]{1,6})", re.ASCII)


class Action(StrEnum):
    """What a button does."""

    PIN = "pin"
    UNPIN = "unpin"
    SWAP = "swap"  # unpin `other`, then pin `chat`


@dataclass(frozen=True, slots=True)
class Press:
    """A button's meaning. Only `owner`, a Telegram id, may press it; None lets every operator of the instance."""

    action: Action
    instance_hash: str
    chat: Chat
    other: Chat | None = None
    owner: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A button that shows an instance's history from `offset` on."""

    instance_hash: str
    offset: int


@cache  # as many as there are instances
def instance_hash(instance: str) -> str:
    """Name an instance in six characters that tell a stranger nothing."""
    return urlsafe_b64encode(hashlib.sha256(instance.encode()).digest())[:6].decode()


def pack(press: Press | Page) -> str | None:
    """Write a button's meaning as callback_data, or None if the chats' ids are too long for it."""
    if isinstance(press, Page):
        return f"h:{press.instance_hash}:{press.offset}"
    parts = [press.action[0], press.instance_hash, _shortened(press.chat)]
    if press.other:
        parts.append(_shortened(press.other))
    if press.owner is not None:
        parts.append(f"={press.owner}")
    data = ":".join(parts)
    return data if len(data) <= MOST_BYTES else None


def unpack(data: str) -> Press | Page | None:
    """Read callback_data back; None for anything that `pack` would not have written."""
    if page := _PAGE.fullmatch(data):
        return Page(page["instance"], int(page["offset"]))
    found = _SHAPE.fullmatch(data)
    if not found or len(data) > MOST_BYTES:
        return None
    action = next(action for action in Action if action[0] == found["action"])
    chat, other = _chat(found["chat"]), found["other"] and _chat(found["other"])
    if chat is None or (found["other"] and other is None) or (action is Action.SWAP) != bool(other):
        return None
    return Press(action, found["instance"], chat, other or None, int(found["owner"]) if found["owner"] else None)


def _shortened(chat: Chat) -> str:
    user, at, domain = chat.number.partition("@")
    return user + next(letter for letter, ending in _DOMAINS.items() if ending == at + domain)


def _chat(packed: str) -> Chat | None:
    kind = packed[-1] if packed[-1] in _DOMAINS else ""
    user = packed.removesuffix(kind)
    if "-" in user and kind != "g":
        return None
    if not kind and not re.fullmatch(r"[1-9][0-9]{6,14}", user):
        return None
    return Chat(user + _DOMAINS[kind])
