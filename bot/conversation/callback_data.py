"""What a button carries through Telegram and back, in at most 64 bytes: `action:instance:chat[:other]`."""

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from bot.ryze.chats import Chat

_DOMAINS = {domain[0]: domain for domain in ("s.whatsapp.net", "lid", "g.us", "newsletter")}
_CHAT = "([1-9][0-9]{6,14}|[0-9]{5,26}[slgn]|[0-9]{5,15}-[0-9]{1,10}g)"
_PRESS = re.compile(rf"([pusmrPU]):([\w-]{{6}}):{_CHAT}(?::{_CHAT})?", re.ASCII)
PAGE_DATA = re.compile(r"h:([\w-]{6}):([0-9]{1,6})", re.ASCII)  # of a page of an instance's history


class Action(StrEnum):
    """What a button does. The value is the first letter of its callback data."""

    PIN = "p"
    UNPIN = "u"
    PIN_OWN = "P"  # a late command's: only for the operator who sent the command
    UNPIN_OWN = "U"
    SWAP = "s"  # unpin `other`, then pin `chat`; if that is refused, pin `other` again
    MEANT = "m"  # the same, but never pin `other` again: it was a wrong reading
    REST = "r"  # run the replied-to command again, from `chat` on


PIN_OR_UNPIN = {True: Action.PIN, False: Action.UNPIN}
TWO_CHATS = (Action.SWAP, Action.MEANT)


@dataclass(frozen=True, slots=True)
class Press:
    """A button's meaning; `other` is set for a swap. `instance` is a name, "" for one that the bot does not have."""

    action: Action
    instance: str
    chat: Chat
    other: Chat | None = None


def pack(press: Press) -> str:
    """Write a button's meaning as callback data; two of the longest chats just fit."""
    parts = (chat.number.partition("@") for chat in (press.chat, press.other) if chat)
    return ":".join([press.action, instance_hash(press.instance), *(user + domain[:1] for user, _, domain in parts)])


def unpack(data: str, names: Mapping[str, str]) -> Press | None:
    """Read what anybody may have sent, with the instances' names by hash; None for what `pack` would not write."""
    # Before version 1.0, a late command's button ended in its owner's id.
    found = _PRESS.fullmatch(re.sub(r"^([pu])(.*):=[0-9]+$", lambda late: late[1].upper() + late[2], data))
    if not found or bool(found[4]) != (found[1] in TWO_CHATS):
        return None
    other = _expand(found[4]) if found[4] else None
    return Press(Action(found[1]), names.get(found[2], ""), _expand(found[3]), other)


@cache  # as many as there are instances
def instance_hash(instance: str) -> str:
    """Name an instance in six characters that tell a stranger nothing."""
    return urlsafe_b64encode(hashlib.sha256(instance.encode()).digest())[:6].decode()


def _expand(packed: str) -> Chat:
    domain = _DOMAINS.get(packed[-1])
    return Chat(f"{packed[:-1]}@{domain}" if domain else packed)
