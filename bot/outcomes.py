"""What an answer of Ryze means: a pure function from status, headers and body to a result or a typed error.

Source: the vendor's page "Pin chat" for the envelope, the statuses and the texts; its page on errors for the rest.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TEXT = 500  # characters of an upstream text that are kept


@dataclass(frozen=True, slots=True)
class PinnedChat:
    """Ryze's confirmation: the JID it resolved the chat to (None if it named none) and the state it is in now."""

    chat_jid: str | None
    pinned: bool


class RyzeError(Exception):
    """A call that was not confirmed. `outcome` names the kind in logs and locales; `text` is Ryze's own, "" if none."""

    outcome: ClassVar[str]

    def __init__(self, text: str = "", *, status: int = 0) -> None:
        super().__init__(f"{self.outcome} (HTTP {status}): {text}" if status else f"{self.outcome}: {text}")
        self.text = text
        self.status = status


class RateLimited(RyzeError):
    """The token's own budget of requests a minute is used up."""

    outcome = "rate_limited"


class Throttled(RyzeError):
    """WhatsApp itself asks for fewer changes; Ryze passes its 429 on."""

    outcome = "throttled"


class TokenRefused(RyzeError):
    """The token is missing, wrong or revoked."""

    outcome = "token_refused"


class TokenForbidden(RyzeError):
    """The token is good, but for another instance."""

    outcome = "token_forbidden"


class InstanceNotFound(RyzeError):
    """Ryze knows no instance of this name."""

    outcome = "instance_not_found"


class NotConnected(RyzeError):
    """The instance is not connected to WhatsApp."""

    outcome = "not_connected"


class OutOfSync(RyzeError):
    """WhatsApp's app state conflicts with, or has diverged from, what the instance knows."""

    outcome = "out_of_sync"


class PinLimit(RyzeError):
    """A refused pin that reads like WhatsApp's limit of three; the contract gives no literal text."""

    outcome = "pin_limit"


class BadRequest(RyzeError):
    """Ryze found the request itself wrong."""

    outcome = "bad_request"


class Refused(RyzeError):
    """A refusal of a kind that is not recognised; `text` is all there is to tell."""

    outcome = "refused"


class ServerTrouble(RyzeError):
    """An error status without Ryze's envelope, as a gateway in front of it gives."""

    outcome = "server_trouble"


class UnreadableAnswer(RyzeError):
    """A 2xx whose body is empty, no JSON, no envelope, too long, or in an encoding that was not asked for."""

    outcome = "unreadable_answer"


class NotConfirmed(RyzeError):
    """A success whose `pinned` is not what was asked."""

    outcome = "not_confirmed"


class Redirected(RyzeError):
    """A redirect; following it could hand the token to another host."""

    outcome = "redirected"


class NotSent(RyzeError):
    """No connection came about; Ryze has seen nothing."""

    outcome = "not_sent"


class OutcomeUnknown(RyzeError):
    """The request went out and no whole answer came back; the call is idempotent, so repeating it is safe."""

    outcome = "outcome_unknown"


_OWN_RATE_LIMIT = re.compile(r"rate limit exceeded", re.I)
_RATE_LIMIT = re.compile(r"\brate[- _]?(over)?limit|too many requests|throttl", re.I)
_TOKEN = re.compile(
    r"^\s*((missing|invalid|expired|revoked)( \w+)? token|token (is )?(missing|invalid|expired|revoked)"
    r"|unauthenticated|unauthorized)\b",
    re.I,
)
_NO_INSTANCE = re.compile(r"instance( \S+)? (was |is )?(not found|unknown)|(unknown|no such) instance", re.I)
_NOT_CONNECTED = re.compile(
    r"\b(not|isn't|never|no longer) (yet )?(connected|logged[- ]in|paired|open|ready|online)"
    r"|disconnect|logged out|no (active )?(session|connection)|\bqr\b|offline",
    re.I,
)
_OUT_OF_SYNC = re.compile(r"conflict|lt-?hash|out[- ]of[- ]sync|diverge|mismatching .*\bmac|app state key", re.I)
_PINS = re.compile(r"\b(un)?pin|\bfix|\bfij|\banclad", re.I)
_MANY = re.compile(  # "max retries" and Go's "deadline exceeded" are no limit of chats
    r"limit|l[ií]mite|\bmax(imum)?\b(?! (retr|attempt|time|wait))|m[áa]xim|more than|mais (de|do)|m[áa]s de|at most"
    r"|no more|too many|quota|\bfull\b|fourth|4th|(up to|only|only pin|already|have) (3|three)\b"
    r"|\b(3|three|tr[êe]s)\b.*\b(chat|pin|conversa|already)",
    re.I,
)
_LIMIT_REACHED = re.compile(r"(limit|quota|maximum).{0,40}(reach|exceed|hit|of (3|three)\b|is (3|three)\b)", re.I)
_WHATSMEOW_REFUSAL = re.compile(r"error updating app state", re.I)
_OWN_BAD_REQUEST = re.compile(r"^(Instance name is required|Invalid request body|Number is required)", re.I)


def has_envelope(body: bytes) -> bool:
    """Whether a body is Ryze's own words, and not those of a gateway in front of it."""
    return isinstance(_payload(body).get("success"), bool)


def decode_answer(status: int, headers: Mapping[str, str], body: bytes, *, pin: bool) -> PinnedChat:
    """Decide what Ryze answered. It is a success only if `success` is true and `pinned` is what was asked.

    Args:
        status: the HTTP status.
        headers: the HTTP headers, with names looked up in lower case.
        body: the decoded body, whole.
        pin: what was asked for.

    Raises:
        RyzeError: the one kind that fits; see the classes above.

    """
    payload = _payload(body)
    text = _text(payload)
    if 300 <= status < 400:
        raise Redirected(status=status)
    if 200 <= status < 300 and payload.get("success") is True:
        if payload.get("pinned") is not pin:
            raise NotConfirmed(text, status=status)
        jid = payload.get("chat_jid")
        return PinnedChat(jid[:MAX_TEXT] if isinstance(jid, str) and jid else None, pin)
    if 200 <= status < 300 and payload.get("success") is not False:
        raise UnreadableAnswer(status=status)
    raise _refusal(status, headers, text, envelope=has_envelope(body), pin=pin)


def _refusal(status: int, headers: Mapping[str, str], text: str, *, envelope: bool, pin: bool) -> RyzeError:
    kind: type[RyzeError]
    if status == 429 or _RATE_LIMIT.search(text):
        used_up = status == 429 and headers.get("x-ratelimit-remaining", "").strip() == "0"
        kind = RateLimited if used_up or _OWN_RATE_LIMIT.search(text) else Throttled
    elif status == 403:
        kind = TokenForbidden
    elif status == 401 or _TOKEN.search(text):
        kind = TokenRefused
    elif status == 404 or _NO_INSTANCE.search(text):
        kind = InstanceNotFound
    elif _NOT_CONNECTED.search(text) or (status == 503 and envelope and not text):
        kind = NotConnected
    elif status == 409 or _OUT_OF_SYNC.search(text):
        kind = OutOfSync
    elif pin and not _OWN_BAD_REQUEST.search(text) and _reads_like_the_limit(text):
        kind = PinLimit
    elif status == 400:
        kind = BadRequest
    else:
        kind = Refused if envelope else ServerTrouble
    return kind(text, status=status)


def _reads_like_the_limit(text: str) -> bool:
    return bool(
        (_PINS.search(text) and _MANY.search(text)) or _LIMIT_REACHED.search(text) or _WHATSMEOW_REFUSAL.search(text)
    )


def _payload(body: bytes) -> dict[str, Any]:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):  # a deeply nested body exhausts the parser's stack
        return {}
    return payload if isinstance(payload, dict) else {}


def _text(payload: dict[str, Any]) -> str:
    error = payload.get("error")
    found = error.get("message") if isinstance(error, dict) else error
    if not isinstance(found, str):
        found = payload.get("message")
    return " ".join(found.split())[:MAX_TEXT] if isinstance(found, str) else ""
