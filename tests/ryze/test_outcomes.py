"""What an answer of Ryze means, as tables; no network."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.ryze.outcomes import MAX_TEXT, OUTCOMES, Reply, decode_answer

JID = "5511999999999@s.whatsapp.net"
OWN_RATE_LIMIT = "Rate limit exceeded. Try again later."
NOT_CONNECTED = "Instance is not connected to WhatsApp"
APP_STATE = "failed to pin chat: server returned error updating app state"


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def failure(message: object) -> bytes:
    return body(success=False, error={"message": message})


def decoded(status: int, answer: bytes, *, pin: bool = True) -> str:
    """The outcome's name."""
    reply = decode_answer(status, {}, answer, pin=pin)
    assert reply.status == status
    return reply.outcome.name


def test_these_outcomes_are_what_logs_and_old_rows_know() -> None:
    called = "pinned unpinned rate_limited throttled token_refused token_forbidden instance_not_found not_connected"
    called += " out_of_sync bad_request pin_limit refused not_ryze redirected server_trouble unreadable_answer"
    called += " not_confirmed not_sent outcome_unknown"
    assert {name for name, outcome in OUTCOMES.items() if outcome.ran} == set(called.split())
    assert {name for name, outcome in OUTCOMES.items() if not outcome.ran} == {"late", "busy", "queue_timeout"}
    assert all(outcome.name == name for name, outcome in OUTCOMES.items())


@pytest.mark.parametrize("pin", [True, False])
@pytest.mark.parametrize("status", [200, 201, 299])
def test_a_confirmation_is_a_2xx_with_success_and_the_state_that_was_asked_for(status: int, *, pin: bool) -> None:
    answer = body(success=True, message="Chat pinned successfully", chat_jid=JID, pinned=pin)
    expected = Reply(OUTCOMES["pinned" if pin else "unpinned"], "Chat pinned successfully", status, JID)
    assert decode_answer(status, {}, answer, pin=pin) == expected


@pytest.mark.parametrize("chat_jid", [None, "", 5511999999999, [JID], " \n"])
def test_a_confirmation_may_name_no_chat(chat_jid: object) -> None:
    reply = decode_answer(200, {}, body(success=True, pinned=True, chat_jid=chat_jid), pin=True)
    assert reply == Reply(OUTCOMES["pinned"], status=200)


@pytest.mark.parametrize("pinned", [None, 1, 0, "true", "True", [True], {"pinned": True}])
@pytest.mark.parametrize("pin", [True, False])
def test_a_success_that_does_not_say_what_was_asked_for_is_no_confirmation(pinned: object, *, pin: bool) -> None:
    assert decoded(200, body(success=True, pinned=pinned, chat_jid=JID), pin=pin) == "not_confirmed"
    assert decoded(200, body(success=True, pinned=not pin), pin=pin) == "not_confirmed"
    assert decoded(200, body(success=True), pin=pin) == "not_confirmed"


UNREADABLE = [
    b"", b" ", b"OK", b"<html>welcome</html>", b"null", b"true", b"[]", b'"success"', b"{}", b'{"success": true',
    body(success="true", pinned=True), body(success=1, pinned=True), body(success=None, pinned=True),
    body(pinned=True, chat_jid=JID), b"\xff\xfe\xfd", b"\x1f\x8b\x08\x00", b"[" * 60_000, b'{"success":' * 5_000,
]  # fmt: skip


@pytest.mark.parametrize("answer", UNREADABLE, ids=lambda answer: str(answer[:20]))
def test_a_2xx_that_is_not_the_contracts_is_unreadable(answer: bytes) -> None:
    assert decoded(200, answer) == decoded(204, answer, pin=False) == "unreadable_answer"


@pytest.mark.parametrize("answer", [body(success=True, pinned=True), failure("Invalid token"), b""])
def test_a_redirect_is_one_whatever_its_body_says(answer: bytes) -> None:
    assert {decoded(status, answer) for status in (300, 301, 302, 307, 308, 399)} == {"redirected"}


BY_STATUS = [
    (400, "Instance name is required", "bad_request"), (400, "", "bad_request"),
    (400, "instance disconnected", "not_connected"),
    (401, "Invalid token", "token_refused"), (401, "Session logged out", "token_refused"),
    (403, "Token does not belong to this instance", "token_forbidden"), (403, NOT_CONNECTED, "token_forbidden"),
    (404, "A instância não existe", "instance_not_found"), (404, "", "instance_not_found"),
    (404, "Group not found", "refused"), (404, "Number is not on WhatsApp", "refused"),
    (404, "the session is not connected", "not_connected"),
    (409, "", "out_of_sync"), (409, "Stream Errored (conflict)", "out_of_sync"),
    (429, OWN_RATE_LIMIT.upper(), "rate_limited"), (429, "status 429: rate-overlimit", "throttled"),
    (429, "maximum of 3 pinned chats reached", "throttled"), (429, "", "throttled"),
    (500, "database is locked", "refused"), (500, "", "refused"),
    (503, NOT_CONNECTED, "not_connected"), (503, "", "not_connected"), (503, "database is locked", "refused"),
]  # fmt: skip


@pytest.mark.parametrize("pin", [True, False])
@pytest.mark.parametrize(("status", "text", "expected"), BY_STATUS)
def test_the_status_decides_first_and_then_the_text(status: int, text: str, expected: str, *, pin: bool) -> None:
    assert decoded(status, failure(text), pin=pin) == expected


BY_TEXT = {
    "throttled": ["rate-overlimit", "WhatsApp: too many requests", "failed to pin chat: rate limit exceeded"],
    "not_connected": [
        NOT_CONNECTED, "Instance is disconnected", "instance isn’t connected", "not logged-in", "session logged out",
        "websocket disconnected before info query returned response", "the store doesn't contain a device JID",
        "no session", "no active session", "Scan the QR code first", "instance is offline", "Connection Closed",
        "A instância não está conectada", "instancia desconectada", "Error: Connection was lost", "no saved session",
        "socket is not authenticated", "not connect to services server", "not connected: cannot pin more than 3 chats",
    ],
    "out_of_sync": [
        f'{APP_STATE}: <collection name="regular_low" type="error"><error code="409" text="conflict"/></collection>',
        f"{APP_STATE}: conflict", "failed to verify patch v3: mismatching patch MAC", "app state is out of sync",
        "didn't find app state key 4a", "missing value MAC of previous SET operation", "myAppStateKeyId not present",
        "mismatching LT-Hash", "failed to verify patch v561: mismatching LTHash: maximum of 3 pinned chats",
    ],
    "pin_limit": [
        f"{APP_STATE}: maximum of 3 pinned chats reached", "Cannot pin more than 3 chats", "Pin limit reached",
        "you can only pin three chats", "You can't pin more than this many chats", "pin failed (max 3)",
        "3 chats are already pinned, unpin one first", "Limite de 3 conversas fixadas atingido",
        "Não é possível fixar mais de 3 conversas", "Você pode fixar até três conversas",
        "Número máximo de conversas fixadas", "Has alcanzado el límite de chats fijados",
        "Has alcanzado el li\u0301mite de chats fijados", "Puedes fijar hasta tres chats",
    ],
    "refused": [
        "Daily limit reached", "Maximum of 3 reply buttons allowed", "limit reached", "Limit exceeded", APP_STATE,
        f'{APP_STATE}: <collection name="regular_low" type="error" version="3"><error code="400" text="bad-request"/>',
        f'{APP_STATE}: <error code="419" text="resource-limit"/>', f'{APP_STATE}: <error code="500"/>',
        "failed to pin chat: max retries exceeded", "failed to pin chat after 3 attempts", "retry in 3 seconds to pin",
        "failed to pin 5511999999999:3@s.whatsapp.net", "failed to pin chat: v0.3.1 is too old",
        "unlimited plan required to pin", "invalid delimiter in pin", "opinion limits", "ping failed: maximum 3",
        "linha fixa: máximo 3", "número fijo, límite 3", "chat is already pinned", "too many pinned chats",
        "This chat was pinned by another device", "Number is not on WhatsApp", "Group not found", "No sessions",
        "Stream Errored (conflict)", "Invalid character token", "no route to host",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("expected", "text"), [(name, text) for name, texts in BY_TEXT.items() for text in texts])
def test_in_ryzes_envelope_a_text_means_the_same_whatever_the_status(expected: str, text: str) -> None:
    for status in (200, 422, 500, 502, 503):
        assert decoded(status, failure(text)) == expected
    assert decoded(500, body(success=False, error=text)) == decoded(500, body(success=False, message=text)) == expected
    assert decoded(500, failure(text), pin=False) == {"pin_limit": "refused"}.get(expected, expected), "only a pin's"


WITHOUT_ENVELOPE = {
    **dict.fromkeys([400, 401, 403, 404, 405], "not_ryze"), 429: "throttled",
    **dict.fromkeys([101, 408, 500, 502, 503, 504, 999], "server_trouble"),
}  # fmt: skip


@pytest.mark.parametrize("answer", [b"", b"<h1>Not here</h1>", b"[]", b'{"message": "Instance not found"}', b"\xff"])
def test_without_ryzes_envelope_something_else_answered(answer: bytes) -> None:
    assert {status: decoded(status, answer) for status in WITHOUT_ENVELOPE} == WITHOUT_ENVELOPE


@pytest.mark.parametrize(("left", "expected"), [(" 0 ", "rate_limited"), ("57", "throttled"), ("few", "throttled")])
def test_a_429_with_nothing_left_is_the_tokens_limit(left: str, expected: str) -> None:
    for answer in (b"<html>Too Many Requests</html>", failure("rate-overlimit"), failure("")):
        assert decode_answer(429, {"x-ratelimit-remaining": left}, answer, pin=True).outcome.name == expected


def test_what_may_be_gone_at_once_is_transient() -> None:
    gateways = [(408, b""), (502, b""), (502, failure("upstream is gone")), (504, b""), (503, b"<html>")]
    final = [(503, failure(NOT_CONNECTED)), (500, b""), (429, b""), (404, b""), (200, b"")]
    for status, answer in [*gateways, *final]:
        assert decode_answer(status, {}, answer, pin=True).transient is ((status, answer) in gateways)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (failure("Number is not on WhatsApp"), "Number is not on WhatsApp"),
        (body(success=False, error="plain words"), "plain words"),
        (failure(None), ""),
        (failure("two\r\nlines\x00\x1b[31m \u202eand\u2028more"), "two lines [31m and more"),
        (failure("é" * 9000), "é" * MAX_TEXT),
    ],
)
def test_a_refusal_keeps_ryzes_words_on_one_line_of_bounded_length(answer: bytes, text: str) -> None:
    assert decode_answer(422, {}, answer, pin=True) == Reply(OUTCOMES["refused"], text, 422)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from(BY_TEXT["pin_limit"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("message"), inner, max_size=3),
    max_leaves=5,
)
FIELDS = dict.fromkeys(("success", "error", "message", "pinned", "chat_jid"), JSON)


@given(
    status=st.integers(100, 599) | st.sampled_from([200, 400, 429, 500, 503]),
    answer=st.fixed_dictionaries({}, optional=FIELDS).map(lambda fields: json.dumps(fields).encode()) | st.binary(),
    pin=st.booleans(),
)
def test_whatever_is_answered_only_the_contracts_confirmation_is_a_success(
    status: int, answer: bytes, *, pin: bool
) -> None:
    reply = decode_answer(status, {}, answer, pin=pin)
    reply.text.encode()
    assert len(reply.text) <= MAX_TEXT
    assert pin or reply.outcome.name != "pin_limit"
    if reply.outcome.ok:
        payload = json.loads(answer)
        assert 200 <= status < 300
        assert (payload["success"], payload["pinned"]) == (True, pin)
