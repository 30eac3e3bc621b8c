"""What Ryze's answer means: one table of outcomes, and a pure function from status, headers and body to one of them.

Source: the vendor's page "Pin chat" for the envelope, the statuses and the texts; its page on errors for the rest.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

MAX_TEXT = 500  # characters of Ryze's text that are kept

_OBJECT = TypeAdapter(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt. The name stands for it in logs, metrics, the history and the locales."""

    name: str
    ok: bool = False  # what was asked is done
    retry: bool = False  # trying again may do better
    stops: bool = False  # the message's other chats would meet the same
    unsure: bool = False  # nobody knows whether it was done
    admin: bool = False  # only an admin can mend it
    ran: bool = True  # a call was made
    pattern: str = ""  # found in a refusal's text, in lower case without accents, it tells the outcome


_RATE_LIMIT = r"^rate limit exceeded"
_THROTTLED = r"\brate[- ]?(over)?limit|\btoo many requests|\bthrottl"
_TOKEN = r"^((missing|invalid|expired|revoked)( instance| account)? token|unauthenticated|unauthorized)\b"  # noqa: S105
_INSTANCE = r"\binstance( \S+)? (was |is )?(not found|unknown|does(n't| not) exist)|\b(unknown|no such) instance\b"
_NOT_CONNECTED = (
    r"\b(not|isn't|never|no longer) (yet )?(connected|logged[- ]in|paired|authenticated|ready|open|online|connect to)\b"
    r"|\bdisconnected\b|\bdesconectad|\b(nao|no) (esta )?conectad|\blogged out\b|\boffline\b|\bqr code\b"
    r"|\bconnection (was )?(closed|lost|terminated)\b|\bno (active|saved) session\b|^no session$|contain a device\b"
)
# whatsmeow's "error updating app state" is a conflict only with the code that says so, else a refusal like any other.
_OUT_OF_SYNC = (
    r"\berror updating app state\b.*\b(409|conflict)\b|\blt-?hash\b|\bmismatching .*\bmac\b|\bapp state key"
    r"|\bmissing .*\bprevious set operation|\bout[- ]of[- ]sync\b"
)
_PIN = r"\b(un)?pin(s|ned|ning)?\b|\b(des)?a?fix(ar|ad[oa]s?|e|em|ou)\b|\b(des)?fij(ar|ad[oa]s?|e|en)\b"
# Neither a part of a JID, a version or an XML attribute, nor a number of attempts or seconds.
_LIMIT = (
    r'(?<![\w.:="-])(limit(es?|s)?|maxim(um|[oa]s?)|more than|ate|hasta'
    r"|(three|tres|3)(?! (attempts|tries|retries|times|s|sec\w*|min\w*)\b))(?![\w@-]|\.\d)"
)

# Of several patterns that are found, the first one's outcome counts.
_TABLE = (
    Outcome("pinned", ok=True),
    Outcome("unpinned", ok=True),
    Outcome("rate_limited", retry=True, stops=True, pattern=_RATE_LIMIT),  # by Ryze
    Outcome("throttled", retry=True, stops=True, pattern=_THROTTLED),  # by WhatsApp
    Outcome("token_refused", stops=True, admin=True, pattern=_TOKEN),
    Outcome("token_forbidden", stops=True, admin=True),  # good, but for another instance
    Outcome("instance_not_found", stops=True, admin=True, pattern=_INSTANCE),
    Outcome("not_connected", retry=True, stops=True, admin=True, pattern=_NOT_CONNECTED),
    Outcome("out_of_sync", retry=True, pattern=_OUT_OF_SYNC),
    Outcome("bad_request", pattern=r"^(instance name is required|invalid request body|number is required)"),
    Outcome("pin_limit", retry=True, stops=True, pattern=rf"^(?=.*({_PIN}))(?=.*{_LIMIT})"),
    Outcome("refused"),
    Outcome("not_ryze", stops=True, admin=True),  # something else answered: the address is wrong
    Outcome("redirected", stops=True, admin=True),  # not followed: another host would get the token
    Outcome("server_trouble", retry=True, unsure=True),
    Outcome("unreadable_answer", retry=True, unsure=True),
    Outcome("not_confirmed", retry=True, unsure=True),  # a success whose `pinned` is not what was asked
    Outcome("not_sent", retry=True),
    Outcome("outcome_unknown", retry=True, unsure=True),  # sent, but no whole answer came
    Outcome("late", retry=True, stops=True, ran=False),
    Outcome("busy", retry=True, stops=True, ran=False),
    Outcome("queue_timeout", retry=True, stops=True, ran=False),
)
OUTCOMES: Mapping[str, Outcome] = {outcome.name: outcome for outcome in _TABLE}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one call."""

    outcome: Outcome
    text: str = ""  # Ryze's own words
    status: int = 0  # of HTTP; 0 if no answer came
    jid: str | None = None  # the chat that Ryze found, if it named one
    transient: bool = False  # it may be gone at once


def decode_answer(status: int, headers: Mapping[str, str], body: bytes, *, pin: bool) -> Reply:
    """Decide what Ryze answered. It is a success only if `success` is true and `pinned` is what was asked.

    The headers are looked up in lower case. A body that is compressed or cut off is as good as none.
    """
    try:
        payload = _OBJECT.validate_json(body)
    except ValueError:
        payload = {}
    success, error = payload.get("success"), payload.get("error")
    envelope = isinstance(success, bool)  # Ryze's own, not that of something in front of it
    message = error.get("message") if isinstance(error, dict) else error
    text = _one_line(message if isinstance(message, str) else payload.get("message"))
    if 300 <= status < 400:
        name = "redirected"
    elif 200 <= status < 300 and success is True:
        done = "pinned" if pin else "unpinned"
        name = done if payload.get("pinned") is pin else "not_confirmed"
    elif 200 <= status < 300 and not envelope:
        name = "unreadable_answer"
    elif status == 429:
        used_up = headers.get("x-ratelimit-remaining", "").strip() == "0" or re.match(_RATE_LIMIT, text.lower())
        name = "rate_limited" if used_up else "throttled"
    elif envelope:
        name = _refusal(status, text, pin=pin)
    else:
        name = "not_ryze" if 400 <= status < 500 and status != 408 else "server_trouble"
    transient = status in (408, 502, 504) or (status == 503 and not envelope)
    return Reply(OUTCOMES[name], text, status, _one_line(payload.get("chat_jid")) or None, transient)


def _one_line(value: object) -> str:
    """A text without line breaks, control characters and halves of surrogate pairs, shortened; "" for no text."""
    text = value if isinstance(value, str) else ""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_TEXT]


def _refusal(status: int, text: str, *, pin: bool) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", text.replace("’", "'"))  # camelCase, snake_case
    plain = "".join(c for c in unicodedata.normalize("NFKD", words) if not unicodedata.combining(c)).lower()
    by_text = (outcome.name for outcome in _TABLE if outcome.pattern and re.search(outcome.pattern, plain))
    by_status = {401: "token_refused", 403: "token_forbidden"}.get(status)
    if name := by_status or next((name for name in by_text if pin or name != "pin_limit"), None):
        return name
    if status == 404 and (not text or "instanc" in plain):
        return "instance_not_found"
    if status == 503 and not text:
        return "not_connected"
    return {400: "bad_request", 409: "out_of_sync"}.get(status, "refused")
