"""What an answer of Ryze means: a pure function from status, headers and body to a result or a typed error.

Source: the vendor's page "Pin chat" for the envelope, the statuses and the texts; its page on errors for the rest.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bot.chats import Chat

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


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one call: `error` is None exactly if Ryze confirmed it, and `jid` is then the chat it found."""

    chat: Chat
    pin: bool
    error: RyzeError | None = None
    jid: str | None = None

    @property
    def outcome(self) -> str:
        """Its name in logs, metrics and the history."""
        return self.error.outcome if self.error else f"{'pin' if self.pin else 'unpin'}ned"


# All of these are looked for in a text that `_plain` has simplified.
_OWN_RATE_LIMIT = re.compile(r"^rate limit exceeded")
_RATE_LIMIT = re.compile(r"\brate[- ]?(over)?limit|too many requests|throttl")
_TOKEN = re.compile(
    r"^((missing|invalid|expired|revoked)( (account|instance|access|api|auth\w*|bearer))? token"
    r"|(account |instance )?token (is )?(missing|invalid|expired|revoked)|unauthenticated|unauthorized)\b"
)
_NO_INSTANCE = re.compile(
    r"\binstance( \S+)? (was |is )?(not found|unknown|does(n't| not) exist)|(unknown|no such) instance"
    r"|instancia( \S+)? (nao|no) (foi )?(encontrad|existe)"
)
_NOT_CONNECTED = re.compile(
    r"\b(not|isn't|never|no longer) (yet )?(connected|logged[- ]in|paired|open|ready|online)"
    r"|\b(nao|no) (esta )?conectad|disconnect|desconectad|logged out|no (active )?(session|connection)"
    r"|sem conexao|sin conexion|doesn't contain a device|\bqr\b|offline"
)
_OUT_OF_SYNC = re.compile(
    r"conflic?t|lt-?hash|out[- ]of[- ]sync|not in sync|de-?sync|\bdess?incroni|fora de sinc|fuera de sinc|diverge"
    r"|mismatching .*\bmac\b|missing .*previous|app state key"
)
_WHATSMEOW_REFUSAL = re.compile(r"error updating app state")
_OWN_BAD_REQUEST = re.compile(r"^(instance name is required|invalid request body|number is required)")

# The limit of three: a text is judged clause by clause ("failed to pin chat: max retries exceeded" has none that
# speaks of both pins and a limit), once the limits of anything else are struck out.
_CLAUSE = re.compile(r"[.:;,!?()\[\]{}<>|\"]+| [-–—] ")
_ELSE = (
    r"(retr(y|ies)|attempts?|tries|time\w*|deadline|wait\w*|seconds?|minutes?|open|files?|connections?|requests?|bytes?"
    r"|size|length|digits?|characters?|memory|messages?|devices?|sessions?|instances?|redirects?|storage|disk|body"
    r"|payload|latency|plan|api|usage|concurren\w*|workers?|tentativas?|intentos?)"
)
_OTHER_LIMIT = re.compile(
    r"\b(limit\w*|max\w*|exceed\w*|quota|too many|demasiad\w+|muit[ao]s|more than|at most|up to|only)"
    rf"( (the|max\w*|number|amount|of))*( \w+)? {_ELSE}\b(( \w+)? exceed\w*)?"
    rf"|\b{_ELSE}( (count|rate|pool|out))?( (limit\w*|max\w*|quota|exceed\w*))+"
    rf"|\b{_ELSE} \d+( ?(of|de|/) ?\d+)?|\b\d+ {_ELSE}\b"
)
_PINS = re.compile(r"\b(un)?pin(s|n\w*)?\b|\b(des)?a?fix(a|e\b|em\b|o\b|ou\b)|\b(des)?fij|\b(des)?ancl")
_MANY = re.compile(
    r"\blimit|\bmax(im\w+)?\b|more than|mais (de|do|que)|mas (de|que)|at most|(no|any) ?more|too many|demasiad"
    r"|muit[ao]s|exceed|exced|quota|\bcota|\bcap\b|\bfull\b|\bchei[ao]|\bllen[ao]|fourth|\b4th\b|\bquart[ao]"
    r"|\bcuart[ao]|\bslots?\b|another (chat|one)|unpin .*(first|before)|\bdes(a?fix|fij|ancl).*(antes|prime[ir]+o)"
)
_REACHED = re.compile(
    r"\b(limit\w*|quota|cota|max(im\w+)?)\b.{0,40}(reach|exceed|hit|ating|alcan|exced|super|ultrapass)"
    r"|(reach|exceed|hit|ating|alcan|exced|super|ultrapass)\w*.{0,20} (limit|quota|cota|max)"
)
_THREE = re.compile(
    r"\b(3|three|tres)( \w+){0,2} (chat|conversa|pin|fix|fij|ancl)|\b3 ?(of|out of|de|/) ?3\b"
    r"|\b(limit\w*|max\w*|only|just|up to|at most|already|have|so|solo|apenas|ate|hasta|ja|ya)"
    r"( \w+){0,2} (3|three|tres)\b"
)


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
        return PinnedChat(_one_line(payload.get("chat_jid")) or None, pin)
    if 200 <= status < 300 and payload.get("success") is not False:
        raise UnreadableAnswer(status=status)
    raise _refusal(status, headers, text, envelope=has_envelope(body), pin=pin)


def _refusal(status: int, headers: Mapping[str, str], text: str, *, envelope: bool, pin: bool) -> RyzeError:
    kind: type[RyzeError]
    plain = _plain(text)
    if status == 429 or _RATE_LIMIT.search(plain):
        used_up = status == 429 and headers.get("x-ratelimit-remaining", "").strip() == "0"
        kind = RateLimited if used_up or _OWN_RATE_LIMIT.search(plain) else Throttled
    elif status == 403:
        kind = TokenForbidden
    elif status == 401 or _TOKEN.search(plain):
        kind = TokenRefused
    elif status == 404 or _NO_INSTANCE.search(plain):
        kind = InstanceNotFound
    elif _NOT_CONNECTED.search(plain) or (status == 503 and envelope and not text):
        kind = NotConnected
    elif _OUT_OF_SYNC.search(plain) or (status == 409 and not _names_the_limit(plain)):
        kind = OutOfSync
    elif _OWN_BAD_REQUEST.search(plain):
        kind = BadRequest
    elif pin and (_names_the_limit(plain) or _WHATSMEOW_REFUSAL.search(plain)):
        kind = PinLimit
    elif status == 400:
        kind = BadRequest
    else:
        kind = Refused if envelope else ServerTrouble
    return kind(text, status=status)


def _names_the_limit(plain: str) -> bool:
    clauses = (_OTHER_LIMIT.sub(" ", clause) for clause in _CLAUSE.split(plain))
    return any(
        (_PINS.search(clause) and _MANY.search(clause)) or _REACHED.search(clause) or _THREE.search(clause)
        for clause in clauses
    )


def _plain(text: str) -> str:
    """Lower case, no accents, `camelCase` and `snake_case` as words apart."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", text.replace("’", "'"))
    return "".join(c for c in unicodedata.normalize("NFKD", words) if not unicodedata.combining(c)).lower()


def _payload(body: bytes) -> dict[str, Any]:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):  # a deeply nested body exhausts the parser's stack
        return {}
    return payload if isinstance(payload, dict) else {}


def _text(payload: dict[str, Any]) -> str:
    error = payload.get("error")
    found = error.get("message") if isinstance(error, dict) else error
    return _one_line(found if isinstance(found, str) else payload.get("message"))


def _one_line(value: object) -> str:
    """A text without line breaks, control characters and halves of surrogate pairs, shortened; "" for no text."""
    if not isinstance(value, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())[:MAX_TEXT]
