"""What a button carries through Telegram and back: at most 64 bytes, `action:instance:chat[:other]`.

Anybody can send any callback data, so `unpack` accepts only what `pack` would write.
"""

import hashlib
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from bot.ryze.chats import Chat

MAX_BYTES = 64  # the Bot API's limit for callback_data; two group JIDs just fit
_DOMAINS = {"": "", "s": "@s.whatsapp.net", "l": "@lid", "g": "@g.us", "n": "@newsletter"}
_DATA = re.compile(r"([pusmrPU]):([\w-]{6}):([\w-]+)(?::([\w-]+))?", re.ASCII)
_PAGE = re.compile(r"h:([\w-]{6}):([0-9]{1,6})", re.ASCII)
_CHAT = re.compile(r"([1-9][0-9]{6,14})()|([0-9]{5,31})([slgn])|([0-9]{5,31}-[0-9]{1,31})(g)")


class Action(StrEnum):
    """What a button does. The value is the first letter of its callback data."""

    PIN = "p"
    UNPIN = "u"
    PIN_OWN = "P"  # a late command's: only for the operator who sent the command
    UNPIN_OWN = "U"
    SWAP = "s"  # unpin `other`, then pin `chat`; if that is refused, pin `other` again
    MEANT = "m"  # the same, but never pin `other` again: it was a wrong reading
    REST = "r"  # run the replied-to command again, from `chat` on


TWO_CHATS = (Action.SWAP, Action.MEANT)


@dataclass(frozen=True, slots=True)
class Press:
    """A button's meaning; `other` is set for a swap."""

    action: Action
    instance_hash: str
    chat: Chat
    other: Chat | None = None


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
    """Write a button's meaning as callback data, or None if the chats' ids are too long for it."""
    if isinstance(press, Page):
        return f"h:{press.instance_hash}:{press.offset}"
    chats = [_shorten(chat) for chat in (press.chat, press.other) if chat]
    data = ":".join([press.action, press.instance_hash, *chats])
    return data if len(data) <= MAX_BYTES else None


def unpack(data: str) -> Press | Page | None:
    """Read callback data; None for anything that `pack` would not have written."""
    if page := _PAGE.fullmatch(data):
        return Page(page[1], int(page[2]))
    # Before version 1.0, a late command's button ended in its owner's id.
    found = _DATA.fullmatch(re.sub(r"^([pu])(.*):=[0-9]+$", lambda late: late[1].upper() + late[2], data))
    chat, other = (_expand(found[3]), _expand(found[4] or "")) if found else (None, None)
    if not found or not chat or len(data) > MAX_BYTES or bool(other) != bool(found[4]):
        return None
    action = Action(found[1])
    return Press(action, found[2], chat, other) if bool(other) == (action in TWO_CHATS) else None


def _shorten(chat: Chat) -> str:
    user, at, domain = chat.number.partition("@")
    return user + next(letter for letter, ending in _DOMAINS.items() if ending == at + domain)


def _expand(packed: str) -> Chat | None:
    found = _CHAT.fullmatch(packed)
    user, letter = (part for part in found.groups() if part is not None) if found else ("", "")
    return Chat(user + _DOMAINS[letter]) if user else None
