"""What Ryze's answer means: a table of outcomes, and a pure function from an answer to one of them."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import TypeAdapter

MAX_TEXT = 500  # characters of Ryze's text that are kept
_OBJECT = TypeAdapter(dict[str, Any])


class Outcome(NamedTuple):
    """What came of an attempt; the name stands for it in logs, metrics, history and locales."""

    name: str
    ok: bool = False  # what was asked is done
    retry: bool = False  # trying again may do better
    stops: bool = False  # the message's other chats would meet the same
    unsure: bool = False  # nobody knows whether it was done
    admin: bool = False  # only an admin can mend it
    ran: bool = True  # a call was made


def _outcomes(*names: str, **qualities: bool) -> dict[str, Outcome]:
    return {name: Outcome(name, **qualities) for name in names}


OUTCOMES: Mapping[str, Outcome] = {
    **_outcomes("pinned", "unpinned", ok=True),
    **_outcomes("rate_limited", "throttled", "pin_limit", retry=True, stops=True),  # by Ryze, by WhatsApp
    **_outcomes("token_refused", "token_forbidden", "instance_not_found", stops=True, admin=True),
    **_outcomes("not_ryze", "redirected", stops=True, admin=True),  # something else is at the address
    **_outcomes("not_connected", retry=True, stops=True, admin=True),
    **_outcomes("out_of_sync", "not_sent", retry=True),
    **_outcomes("bad_request", "refused"),
    **_outcomes("server_trouble", "unreadable_answer", "not_confirmed", "outcome_unknown", retry=True, unsure=True),
    **_outcomes("late", "busy", "queue_timeout", retry=True, stops=True, ran=False),
}

# What a refusal says, in lower case without accents; of several that are found, the first counts.
_SAID = {
    "token_refused": r"^((missing|invalid|expired|revoked)( instance| account)? token|unauthenticated|unauthorized)\b",
    "instance_not_found": r"\binstance( \S+)? (was |is )?(not found|unknown|does(n.t| not) exist)|\bunknown instance\b",
    "throttled": r"\brate[- ]?(over)?limit|\btoo many requests|\bthrottl",
    "not_connected": r"\b(not|isn.t|never|no longer) (yet )?(connected|logged[- ]in|paired|authenticated|ready|open)\b"
    r"|\bdisconnected\b|\b(nao|no) (esta )?conectad|\bdesconectad|\blogged out\b|\b(offline|qr code)\b"
    r"|\bnot (online|connect to)\b|\bconnection (was )?(closed|lost|terminated)\b"
    r"|\b(no (active|saved) session|contain a device)\b|^no session$",
    "out_of_sync": r"\berror updating app state\b.*\b(409|conflict)\b|\blt-?hash\b|\bmismatching .*\bmac\b"
    r"|app ?state ?key|\bprevious set operation|\bout[- ]of[- ]sync\b",
    # A word for pinning and one for a limit, but no part of a JID or a version, nor a number of attempts.
    "pin_limit": r"(?=.*\b((un)?pin(s|ned|ning)?|(des)?a?fix(ar|ad[oa]s?|e|em|ou)|(des)?fij(ar|ad[oa]s?|e|en))\b)"
    r'.*(?<![\w.:="-])(limite?s?|maxim(um|[oa]s?)|more than|ate|hasta|three|tres|3)(?![\w@-]|\.\d)'
    r"(?! (attempts|tries|retries|times|s\b|sec|min))",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one call."""

    outcome: Outcome
    text: str = ""  # Ryze's own words
    status: int = 0  # of HTTP; 0 if no answer came
    jid: str | None = None  # the chat that Ryze found, if it named one
    transient: bool = False  # it may be gone at once


def decode_answer(status: int, headers: Mapping[str, str], body: bytes, *, pin: bool) -> Reply:
    """Decide what Ryze answered; the headers are looked up in lower case."""
    try:
        payload = _OBJECT.validate_json(body)
    except ValueError:
        payload = {}
    success, error = payload.get("success"), payload.get("error")
    envelope = isinstance(success, bool)  # Ryze's own, not that of something in front of it
    message = error.get("message") if isinstance(error, dict) else error or payload.get("message")
    text = _one_line(message)
    if 300 <= status < 400:
        name = "redirected"
    elif 200 <= status < 300 and success is True and payload.get("pinned") is pin:
        name = "pinned" if pin else "unpinned"
    elif 200 <= status < 300 and success is not False:
        name = "not_confirmed" if success is True else "unreadable_answer"
    elif status == 429:
        none_left = headers.get("x-ratelimit-remaining", "").strip() == "0"
        name = "rate_limited" if none_left or re.match("(?i)rate limit exceeded", text) else "throttled"
    elif envelope:
        name = {401: "token_refused", 403: "token_forbidden"}.get(status) or _refusal(status, text, pin=pin)
    else:
        name = "not_ryze" if 400 <= status < 500 and status != 408 else "server_trouble"
    transient = status in (408, 502, 504) or (status == 503 and not envelope)
    return Reply(OUTCOMES[name], text, status, _one_line(payload.get("chat_jid")) or None, transient)


def _one_line(value: object) -> str:
    """A text without line breaks and what can't be printed, shortened; "" for no text."""
    text = value if isinstance(value, str) else ""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_TEXT]


def _refusal(status: int, text: str, *, pin: bool) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", text)  # camelCase, snake_case
    plain = "".join(c for c in unicodedata.normalize("NFKD", words) if not unicodedata.combining(c)).lower()
    for name, pattern in _SAID.items():
        if re.search(pattern, plain) and (pin or name != "pin_limit"):
            return name
    if status in (404, 503) and text and "instanc" not in plain:
        return "refused"
    by_status = {400: "bad_request", 404: "instance_not_found", 409: "out_of_sync", 503: "not_connected"}
    return by_status.get(status, "refused")
