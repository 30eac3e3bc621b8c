"""What an answer of Ryze means, as tables; no network."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.outcomes import (
    MAX_TEXT,
    BadRequest,
    InstanceNotFound,
    NotConfirmed,
    NotConnected,
    OutOfSync,
    PinLimit,
    PinnedChat,
    RateLimited,
    Redirected,
    Refused,
    RyzeError,
    ServerTrouble,
    Throttled,
    TokenForbidden,
    TokenRefused,
    UnreadableAnswer,
    decode_answer,
    has_envelope,
)

JID = "5511999999999@s.whatsapp.net"
OWN_RATE_LIMIT = "Rate limit exceeded. Try again later."
NOT_CONNECTED = "Instance is not connected to WhatsApp"
WHATSMEOW = "server returned error updating app state: "


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def failure(message: object) -> bytes:
    return body(success=False, error={"message": message})


def kind(status: int, answer: bytes, headers: dict[str, str] | None = None, *, pin: bool = True) -> type[RyzeError]:
    """The error's kind, whose text and status are what was answered."""
    with pytest.raises(RyzeError) as caught:
        decode_answer(status, headers or {}, answer, pin=pin)
    assert caught.value.status == status
    assert len(caught.value.text) <= MAX_TEXT
    return caught.type


@pytest.mark.parametrize("pin", [True, False])
@pytest.mark.parametrize("status", [200, 201, 299])
def test_a_confirmation_is_a_2xx_with_success_and_the_state_that_was_asked_for(status: int, *, pin: bool) -> None:
    answer = body(success=True, message="Chat pinned successfully", chat_jid=JID, pinned=pin)
    assert decode_answer(status, {}, answer, pin=pin) == PinnedChat(JID, pin)


@pytest.mark.parametrize("chat_jid", [None, "", 5511999999999, [JID], {}, " \n"])
def test_a_confirmation_may_name_no_chat(chat_jid: object) -> None:
    assert decode_answer(200, {}, body(success=True, pinned=True, chat_jid=chat_jid), pin=True).chat_jid is None
    assert decode_answer(200, {}, body(success=True, pinned=True), pin=True).chat_jid is None


def test_a_confirmation_names_its_chat_on_one_line_of_bounded_length() -> None:
    answer = b'{"success": true, "pinned": true, "chat_jid": "a\\nb\\ud800\\u202ec' + b"d" * 9000 + b'"}'
    jid = decode_answer(200, {}, answer, pin=True).chat_jid
    assert jid
    assert jid.startswith("a b cdd")
    assert len(jid) == MAX_TEXT


@pytest.mark.parametrize("pinned", [None, 1, 0, "true", "True", [True], {"pinned": True}])
@pytest.mark.parametrize("pin", [True, False])
def test_a_success_that_does_not_say_what_was_asked_for_is_no_confirmation(pinned: object, *, pin: bool) -> None:
    assert kind(200, body(success=True, pinned=pinned, chat_jid=JID), pin=pin) is NotConfirmed
    assert kind(200, body(success=True, pinned=not pin, chat_jid=JID), pin=pin) is NotConfirmed
    assert kind(200, body(success=True), pin=pin) is NotConfirmed


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b" ",
        b"OK",
        b"<html>welcome</html>",
        b"null",
        b"true",
        b"[]",
        b'"success"',
        b"{}",
        b'{"success": true',
        body(success="true", pinned=True),
        body(success=1, pinned=True),
        body(success=None, pinned=True),
        body(pinned=True, chat_jid=JID),
        b"\xff\xfe\xfd",
        b"\x00",
        b"[" * 60_000,
        b'{"success":' * 5_000,
        b'{"success": true, "pinned": true, "n": ' + b"9" * 60_000 + b"}",
        b"9" * 65_000,
    ],
    ids=lambda answer: str(answer[:20]),
)
def test_a_2xx_that_is_not_the_contracts_is_unreadable(answer: bytes) -> None:
    assert kind(200, answer) is UnreadableAnswer
    assert kind(204, answer, pin=False) is UnreadableAnswer


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 399])
def test_a_redirect_is_one_whatever_its_body_says(status: int) -> None:
    assert kind(status, body(success=True, pinned=True)) is Redirected
    assert kind(status, failure("Invalid token")) is Redirected
    assert kind(status, b"") is Redirected


CONTRACT: list[tuple[int, str, type[RyzeError]]] = [
    (400, "Instance name is required", BadRequest),
    (400, "Invalid request body: unexpected token", BadRequest),
    (400, "Invalid request body: json: cannot unmarshal number into Go struct field .pin of type bool", BadRequest),
    (400, "Invalid request body: maximum of 3 pinned chats reached", BadRequest),
    (400, "Number is required", BadRequest),
    (401, "Missing token in header", TokenRefused),
    (401, "Missing token", TokenRefused),
    (401, "Invalid token", TokenRefused),
    (401, "Invalid instance token", TokenRefused),
    (401, "Invalid account token", TokenRefused),
    (401, "Unauthenticated", TokenRefused),
    (403, "Token does not belong to this instance", TokenForbidden),
    (404, "Instance not found", InstanceNotFound),
    (429, OWN_RATE_LIMIT, RateLimited),
    (503, NOT_CONNECTED, NotConnected),
]


@pytest.mark.parametrize(("status", "text", "expected"), CONTRACT)
@pytest.mark.parametrize("pin", [True, False])
def test_each_row_of_the_contract_is_told_apart(
    status: int, text: str, expected: type[RyzeError], *, pin: bool
) -> None:
    assert kind(status, failure(text), pin=pin) is expected


@pytest.mark.parametrize(("status", "text", "expected"), [row for row in CONTRACT if row[0] != 403])
@pytest.mark.parametrize("envelope_status", [200, 500])
def test_the_same_texts_are_recognised_under_another_status(
    status: int, text: str, expected: type[RyzeError], envelope_status: int
) -> None:
    assert status != envelope_status
    assert kind(envelope_status, failure(text)) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, BadRequest),
        (401, TokenRefused),
        (403, TokenForbidden),
        (404, InstanceNotFound),
        (409, OutOfSync),
        (429, Throttled),
        (502, ServerTrouble),
        (503, ServerTrouble),
        (504, ServerTrouble),
        (500, ServerTrouble),
        (413, ServerTrouble),
        (101, ServerTrouble),
        (999, ServerTrouble),
    ],
)
def test_without_ryzes_envelope_the_status_alone_decides(status: int, expected: type[RyzeError]) -> None:
    for answer in (b"", b"<html><h1>Bad Gateway</h1></html>", b"[]", b'{"message": ["x"]}', b"\xff"):
        assert kind(status, answer) is expected


def test_503_in_ryzes_envelope_without_a_text_is_not_connected_by_the_contract() -> None:
    assert kind(503, body(success=False)) is NotConnected
    assert kind(503, failure("")) is NotConnected
    assert kind(503, failure("database is locked")) is Refused


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (failure("Number is not on WhatsApp"), "Number is not on WhatsApp"),
        (body(success=False, error="plain words"), "plain words"),
        (body(success=False, message="at the top"), "at the top"),
        (body(success=False, error={"code": 7}, message="at the top"), "at the top"),
        (failure(["a", "list"]), ""),
        (failure(None), ""),
        (body(success=False), ""),
        (failure("two\r\nlines\x00\x1b[31m \u202eand\u2028more"), "two lines [31m and more"),
        (b'{"success": false, "error": {"message": "half \\ud83d a pair"}}', "half a pair"),
        (failure("é" * 9000), "é" * MAX_TEXT),
    ],
)
def test_an_unknown_refusal_keeps_ryzes_words_on_one_line_of_bounded_length(answer: bytes, text: str) -> None:
    for status in (200, 422, 500, 501):
        with pytest.raises(Refused) as caught:
            decode_answer(status, {}, answer, pin=True)
        assert caught.value.text == text
        caught.value.text.encode()


@pytest.mark.parametrize(
    ("headers", "text", "expected"),
    [
        ({}, OWN_RATE_LIMIT, RateLimited),
        ({}, OWN_RATE_LIMIT.upper(), RateLimited),
        ({"x-ratelimit-remaining": "57"}, OWN_RATE_LIMIT, RateLimited),
        ({"x-ratelimit-remaining": "0"}, "", RateLimited),
        ({"x-ratelimit-remaining": " 0 "}, "anything", RateLimited),
        ({"x-ratelimit-remaining": "57"}, "rate-overlimit", Throttled),
        ({"x-ratelimit-remaining": "few"}, "", Throttled),
        ({}, "info query returned status 429: rate-overlimit", Throttled),
        ({}, "WhatsApp: too many requests", Throttled),
        ({}, "maximum of 3 pinned chats reached", Throttled),
        ({}, "", Throttled),
    ],
)
def test_a_429_is_the_budgets_by_ryzes_own_text_or_by_the_header_else_whatsapps(
    headers: dict[str, str], text: str, expected: type[RyzeError]
) -> None:
    assert kind(429, failure(text), headers) is expected


def test_a_429_of_something_in_front_of_ryze_is_judged_by_the_header() -> None:
    assert kind(429, b"<html>Too Many Requests</html>", {"x-ratelimit-remaining": "0"}) is RateLimited
    assert kind(429, b"<html>Too Many Requests</html>") is Throttled


LIMIT_OF_THREE = [
    "Maximum of 3 pinned chats reached",
    "maximum number of pinned chats reached",
    "failed to pin chat: maximum of 3 pinned chats reached",
    "Cannot pin more than 3 chats",
    "You can only pin 3 chats",
    "you can only pin up to three chats",
    "You can pin up to 3 chats; unpin one first",
    "WhatsApp allows only 3 pinned chats",
    "Pin limit reached",
    "Pin limit exceeded for instance sales",
    "pinned chats limit exceeded",
    "The limit of 3 has been reached",
    "limit reached",
    "Limit exceeded",
    "failed to pin: limit reached",
    "You have reached the limit of pinned chats",
    "You've reached the maximum number of pinned conversations",
    "too many pinned chats",
    "Too many pins",
    "cannot pin a fourth chat",
    "4th pin not allowed",
    "no more chats can be pinned",
    "can't pin any more chats",
    "Can’t pin another chat",
    "3 chats are already pinned",
    "There are already three pinned chats",
    "already have 3",
    "pin failed (max 3)",
    "chat not pinned, max. 3 chats",
    "All 3 pin slots are used",
    "no free pin slots",
    "pin list is full",
    "Pinned chats quota exceeded",
    "Please unpin a chat first",
    "PIN_LIMIT_REACHED",
    "ERR_MAX_PINNED_CHATS",
    "MaxPinsReached",
    "pinLimitExceeded",
    "TooManyPinnedChats",
    "at most 3 chats may be pinned",
    "Pinned chats: 3 of 3",
    "failed to pin chat after 2 attempts: maximum of 3 pinned chats reached",
    WHATSMEOW + "maximum of 3 pinned chats reached",
    "failed to pin chat: server returned error updating app state",
    WHATSMEOW + '<collection name="regular_low" type="error"><error code="400" text="bad-request"/></collection>',
    "failed to send app state: SERVER RETURNED ERROR UPDATING APP STATE: pin",
    "Limite de 3 conversas fixadas atingido",
    "Limite máximo de chats fixados excedido",
    "Você só pode fixar 3 conversas",
    "Você pode fixar até três conversas",
    "Não é possível fixar mais de 3 conversas",
    "Não é possível fixar mais do que três conversas",
    "Número máximo de conversas fixadas",
    "Já existem 3 conversas fixadas",
    "Desafixe uma conversa antes de fixar outra",
    "limite atingido",
    "Has alcanzado el límite de chats fijados",
    "Has alcanzado el li\u0301mite de chats anclados",
    "Solo puedes fijar 3 chats",
    "No se pueden fijar más de tres chats",
    "Máximo de 3 chats anclados",
    "Ya hay 3 chats fijados",
    "Puedes fijar hasta tres chats",
    "límite superado",
]


@pytest.mark.parametrize("text", LIMIT_OF_THREE)
def test_the_limit_of_three_is_recognised_by_sense_under_any_error_status(text: str) -> None:
    for status in (200, 400, 405, 406, 409, 412, 418, 422, 423, 500, 501, 502, 503, 504, 507):
        assert kind(status, failure(text)) is (OutOfSync if status == 409 and text in JUST_WHATSMEOW else PinLimit), (
            status
        )
    assert kind(500, body(success=False, error=text)) is PinLimit
    assert kind(500, body(success=False, message=text)) is PinLimit


JUST_WHATSMEOW = [text for text in LIMIT_OF_THREE if "pp state" in text.lower() and "3" not in text] + [
    text for text in LIMIT_OF_THREE if "SERVER RETURNED" in text
]


@pytest.mark.parametrize("text", LIMIT_OF_THREE)
def test_an_unpin_never_meets_the_limit(text: str) -> None:
    for status in (200, 400, 409, 422, 500, 503):
        assert kind(status, failure(text), pin=False) is not PinLimit


@pytest.mark.parametrize(
    "text",
    [
        "context deadline exceeded while pinning",
        "failed to pin chat: context deadline exceeded",
        "max retries exceeded",
        "failed to pin chat: max retries exceeded",
        "failed to pin chat because max retries were exceeded",
        "maximum number of retries exceeded while pinning",
        "maximum retries reached",
        "pin failed: attempt 3 of 3",
        "could not pin the chat after 3 attempts",
        "too many open files while pinning",
        "failed to pin: too many connections",
        "connection limit reached while pinning the chat",
        "pin failed: request size limit exceeded",
        "Request body size limit exceeded",
        "storage quota exceeded",
        "disk quota exceeded",
        "memory limit exceeded",
        "time limit exceeded while pinning",
        "timeout exceeded",
        "timed out waiting for the pin",
        "demasiados intentos de fijar",
        "muitas tentativas de fixar",
        "chat is already pinned",
        "failed to pin chat: unexpected token",
        "failed to pin chat",
        "failed to pin chat: internal server error",
        "ping failed: maximum latency 3 s",
        "unlimited plan required to pin",
        "invalid delimiter in pin",
        "retry in 3 seconds to pin",
        "pin failed with code 3",
        "database is full",
        "the number is not on WhatsApp",
        "Invalid PIN: maximum attempts reached",
        "opinion limits",
        "plan limit of 5 instances",
        "This chat was pinned by another device",
        "no route to host",
    ],
)
def test_what_only_sounds_like_the_limit_is_a_refusal_with_its_text(text: str) -> None:
    assert kind(500, failure(text)) is Refused
    assert kind(400, failure(text)) is BadRequest


@pytest.mark.parametrize(
    "text",
    [
        WHATSMEOW + "conflict",
        WHATSMEOW + '<collection name="regular_low" type="error"><error code="409" text="conflict"/></collection>',
        "failed to pin chat: " + WHATSMEOW + "Conflict",
        "failed to verify patch v12: mismatching LTHash",
        "mismatching LT-Hash",
        "failed to verify patch v3: mismatching patch MAC",
        "app state is out of sync",
        "out-of-sync",
        "local state has diverged",
        "didn't find app state key abcd",
        "missing value MAC of previous SET operation",
        "conflict: maximum of 3 pinned chats reached",
        "conflito de versão",
        "conflicto de versión",
        "estado dessincronizado",
        "estado desincronizado",
    ],
)
def test_a_conflict_or_a_diverged_state_is_out_of_sync_not_the_limit(text: str) -> None:
    for status in (200, 400, 409, 422, 500, 503):
        for pin in (True, False):
            assert kind(status, failure(text), pin=pin) is OutOfSync


@pytest.mark.parametrize(
    "text",
    [
        NOT_CONNECTED,
        NOT_CONNECTED.upper(),
        "instance disconnected",
        "Instance is disconnected",
        "instance isn’t connected",
        "client is not logged in",
        "not logged-in",
        "session logged out",
        "websocket not connected",
        "websocket disconnected before info query returned response",
        "the store doesn't contain a device JID",
        "no active session",
        "Scan the QR code first",
        "instance is offline",
        "instance_not_connected",
        "A instância não está conectada ao WhatsApp",
        "instância desconectada",
        "La instancia no está conectada a WhatsApp",
        "sin conexión",
        "not connected: cannot pin more than 3 chats",
    ],
)
def test_not_connected_is_recognised_by_sense(text: str) -> None:
    for status in (200, 400, 409, 500, 503):
        assert kind(status, failure(text)) is NotConnected


@pytest.mark.parametrize(
    "text",
    [
        "Instance not found",
        "instance sales not found",
        'Instance "sales" was not found',
        "instance does not exist",
        "unknown instance",
        "no such instance: sales",
        "Instância não encontrada",
        "Instancia no encontrada",
    ],
)
def test_an_instance_that_ryze_does_not_know_is_recognised_by_sense(text: str) -> None:
    for status in (200, 400, 404, 500):
        assert kind(status, failure(text)) is InstanceNotFound


@pytest.mark.parametrize("text", ["Invalid character token", "Invalid JSON: unexpected token", "bad token stream"])
def test_a_parsers_token_is_not_ryzes(text: str) -> None:
    assert kind(400, failure(text)) is BadRequest
    assert kind(500, failure(text)) is Refused


ORDER: list[tuple[type[RyzeError], str]] = [
    (RateLimited, OWN_RATE_LIMIT),
    (TokenRefused, "Invalid token"),
    (InstanceNotFound, "Instance not found"),
    (NotConnected, NOT_CONNECTED),
    (OutOfSync, WHATSMEOW + "conflict"),
    (PinLimit, "maximum of 3 pinned chats reached"),
]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_of_several_senses_the_earlier_one_counts(first: int) -> None:
    expected, text = ORDER[first]
    for _, other in ORDER[first:]:
        for status in (200, 422, 500, 503):
            assert kind(status, failure(f"{text}: {other}")) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [(429, Throttled), (403, TokenForbidden), (401, TokenRefused), (404, InstanceNotFound)],
)
def test_these_statuses_count_before_every_text_of_a_later_sense(status: int, expected: type[RyzeError]) -> None:
    later = {Throttled: 1, TokenForbidden: 2, TokenRefused: 2, InstanceNotFound: 3}[expected]
    for _, text in ORDER[later:]:
        assert kind(status, failure(text)) is expected


def test_a_409_that_names_the_limit_is_the_limit_and_any_other_is_out_of_sync() -> None:
    assert kind(409, failure("Pin limit reached")) is PinLimit
    assert kind(409, failure("Pin limit reached"), pin=False) is Refused
    assert kind(409, failure("server returned error updating app state")) is OutOfSync
    assert kind(409, failure("")) is OutOfSync


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (body(success=True), True),
        (failure("x"), True),
        (body(success=False), True),
        (body(success="false"), False),
        (body(success=None), False),
        (body(message="Service Unavailable"), False),
        (b"<html>", False),
        (b"", False),
        (b"[true]", False),
    ],
)
def test_ryzes_envelope_is_an_object_with_a_boolean_success(answer: bytes, *, expected: bool) -> None:
    assert has_envelope(answer) is expected


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
TEXTS = st.text() | st.sampled_from([text for _, text in ORDER] + LIMIT_OF_THREE)
ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "success": st.booleans() | JSON,
        "error": st.fixed_dictionaries({"message": TEXTS | JSON}) | JSON,
        "message": TEXTS | JSON,
        "pinned": st.booleans() | JSON,
        "chat_jid": st.text() | JSON,
    },
)


@given(
    status=st.integers(100, 599) | st.sampled_from([200, 400, 429, 500, 503]) | st.integers(),
    headers=st.dictionaries(st.text() | st.just("x-ratelimit-remaining"), st.text(), max_size=3),
    answer=ENVELOPES.map(lambda fields: json.dumps(fields).encode()) | st.binary(),
    pin=st.booleans(),
)
@example(status=200, headers={}, answer=b'{"a":' * 30_000, pin=True)
@example(status=500, headers={}, answer=b'{"success": false, "error": {"message": "\\ud800 limit"}}', pin=True)
@example(status=500, headers={}, answer=failure("\ufdfa pin limit " * 4000), pin=True)
def test_whatever_is_answered_it_is_a_confirmation_or_one_of_our_errors(
    status: int, headers: dict[str, str], answer: bytes, *, pin: bool
) -> None:
    error: RyzeError | None = None
    try:
        done = decode_answer(status, headers, answer, pin=pin)
    except RyzeError as raised:
        error = raised
    if error:
        str(error).encode()
        assert len(error.text) <= MAX_TEXT
        assert pin or not isinstance(error, PinLimit)
    else:
        payload: dict[str, Any] = json.loads(answer)
        assert 200 <= status < 300
        assert payload["success"] is True
        assert payload["pinned"] is pin is done.pinned


def test_every_kind_of_error_has_a_name_of_its_own() -> None:
    kinds = RyzeError.__subclasses__()
    assert len({kind.outcome for kind in kinds}) == len(kinds)
