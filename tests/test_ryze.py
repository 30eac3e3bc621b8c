"""The one call over real HTTP: the contract, the retries, the deadline, and servers that mean harm."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import time
import tracemalloc
import zlib
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from bot.app import PLACES
from bot.budget import LIMIT, Budget
from bot.config import Instance
from bot.outcomes import (
    BadRequest,
    InstanceNotFound,
    NotConfirmed,
    NotConnected,
    NotSent,
    OutcomeUnknown,
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
)
from bot.ryze import MAX_ANSWER, RyzeClient
from bot.transport import client
from tests.sandbox.ryze import RyzeServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from bot.transport import Client

    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

NUMBER = "5511999999999"
JID = "5511999999999@s.whatsapp.net"
TOKEN = "token-of-sales-canary"
SALES = Instance("sales", TOKEN)
DONE = json.dumps({"success": True, "message": "Chat pinned successfully", "chat_jid": JID, "pinned": True}).encode()
TLS = httpx.create_ssl_context()
GENEROUS = 15.0  # seconds within which anything with a short deadline has ended, however slow the machine
SHORT = 1.5  # seconds, for calls that are meant to run out of time


class Caller:
    """The product's client with the product's pool, and a budget as its meter, one slot taken a call."""

    def __init__(self, http: Client, base_url: str, timeout: float) -> None:
        self.http = http
        self.ryze = RyzeClient(http, base_url, timeout)
        self.budget = Budget()

    async def pin(self, number: str = NUMBER, *, pin: bool = True, instance: Instance = SALES) -> PinnedChat:
        await self.budget.take()
        return await self.ryze.pin_chat(instance, number, pin=pin, meter=self.budget)

    async def failure(self, number: str = NUMBER, *, pin: bool = True, instance: Instance = SALES) -> type[RyzeError]:
        with pytest.raises(RyzeError) as caught:
            await self.pin(number, pin=pin, instance=instance)
        assert TOKEN not in str(caught.value)
        return caught.type

    @property
    def counted(self) -> int:
        """How many attempts the budget has counted."""
        return LIMIT - self.budget._unused


@asynccontextmanager
async def calling(base_url: str, timeout: float = 12.0) -> AsyncIterator[Caller]:  # noqa: ASYNC109 - the client's own
    async with aclosing(client(TLS, PLACES)) as http:
        caller = Caller(http, base_url, timeout)
        yield caller
        assert caller.budget._under_way == 0, "every attempt that began has ended"


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server that does with each connection what the handler does; its URL."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(connected(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A request's head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
    )
    return head, await reader.readexactly(length)


def answering(*answers: bytes, then: Callable[[asyncio.StreamWriter], None] | None = None) -> Handler:
    """Answers each connection's first request with these bytes, the last ones for all that follow, and closes it."""
    left = list(answers)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()
        if then:
            then(writer)

    return handler


def http(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def repr_start(answer: bytes) -> str:
    """A test's name for an answer."""
    return ascii(answer[:60])


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, _: low)


@pytest.fixture
async def ryze() -> AsyncIterator[RyzeServer]:
    async with RyzeServer(tokens={"sales": TOKEN, "support": "token-of-support"}) as server:
        yield server


@pytest.fixture
async def caller(ryze: RyzeServer) -> AsyncIterator[Caller]:
    async with calling(ryze.url) as caller:
        yield caller


# The contract


@pytest.mark.parametrize("pin", [True, False])
async def test_the_request_is_exactly_the_contracts(ryze: RyzeServer, caller: Caller, *, pin: bool) -> None:
    assert await caller.pin(pin=pin) == PinnedChat(JID, pin)
    (call,) = ryze.calls
    assert (call.method, call.path) == ("POST", "/api/chat/pinChat/sales")
    assert json.loads(call.body) == {"number": NUMBER, "pin": pin}
    assert call.number == NUMBER, "a string"
    assert call.pin is pin, "a boolean"
    assert call.headers["token"] == TOKEN
    assert call.headers["content-type"] == "application/json"
    assert call.headers["accept-encoding"] == "identity"
    assert call.headers["content-length"] == str(len(call.body))
    assert "transfer-encoding" not in call.headers
    assert "authorization" not in call.headers
    assert caller.counted == 1


@pytest.mark.parametrize("chat", [JID, "123456789@lid", "120363025246125486@g.us", "120363025246125486@newsletter"])
async def test_a_jid_goes_out_as_it_is(ryze: RyzeServer, caller: Caller, chat: str) -> None:
    assert await caller.pin(chat) == PinnedChat(chat, pinned=True)
    assert ryze.calls[0].number == chat


async def test_the_chat_that_ryze_resolved_is_told(ryze: RyzeServer, caller: Caller) -> None:
    ryze.resolve[NUMBER] = "551199999999@s.whatsapp.net"
    assert (await caller.pin()).chat_jid == "551199999999@s.whatsapp.net"


@pytest.mark.parametrize(
    "name",
    [
        "a/b c%é?#",
        "vendas sul",
        "a+b&c=d",
        "100%",
        "%2F",
        "..a",
        "a/../b",
        "日本",
        "a;b,c:d@e",
        "~-._",
        'q"<>\\^`{|}',
        "/",
    ],
)
async def test_an_instances_name_is_one_segment_of_the_path(name: str) -> None:
    async with RyzeServer(tokens={name: TOKEN}) as ryze, calling(ryze.url) as caller:
        await caller.pin(instance=Instance(name, TOKEN))
        assert ryze.calls[0].instance == name
        assert ryze.calls[0].path.count("/") == 4
        assert ryze.instances[name].pinned == [JID]


async def test_a_base_url_may_have_a_path(ryze: RyzeServer) -> None:
    async with calling(f"{ryze.url}/ryze") as caller:
        assert await caller.failure() is InstanceNotFound
        assert ryze.calls[0].path == "/ryze/api/chat/pinChat/sales"


async def test_each_refusal_of_the_contract_is_told_apart(ryze: RyzeServer, caller: Caller) -> None:
    assert await caller.failure("") is BadRequest
    assert await caller.failure(instance=Instance("sales", "wrong")) is TokenRefused
    assert await caller.failure(instance=Instance("sales", "token-of-support")) is TokenForbidden
    assert await caller.failure(instance=Instance("elsewhere", TOKEN)) is InstanceNotFound
    ryze.instances["sales"].connected = False
    assert await caller.failure() is NotConnected
    ryze.instances["sales"].connected = True
    for number in range(3):
        await caller.pin(f"551199999000{number}")
    assert await caller.failure() is PinLimit
    await caller.pin("5511999990000", pin=False)
    assert (await caller.pin()).pinned
    assert ryze.connections == 1
    assert caller.counted == len(ryze.calls), "nothing of this was sent twice"


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({"status": 429}, Throttled),
        ({"status": 429, "headers": {"X-RateLimit-Remaining": "0"}}, RateLimited),
        ({"status": 409, "message": "conflict"}, None),
        ({"status": 500, "message": "something new"}, Refused),
        ({"status": 200, "message": "something new"}, Refused),
        ({"status": 503, "message": "Instance is not connected to WhatsApp"}, NotConnected),
        ({"status": 500, "body": b"<html>Internal Server Error</html>"}, ServerTrouble),
        ({"status": 200, "body": b""}, UnreadableAnswer),
        ({"status": 200, "body": b"<html>hello</html>"}, UnreadableAnswer),
        ({"status": 200, "body": json.dumps({"success": True, "pinned": False}).encode()}, NotConfirmed),
    ],
)
async def test_other_answers_are_final_at_once(
    ryze: RyzeServer, caller: Caller, order: dict[str, Any], expected: type[RyzeError] | None
) -> None:
    ryze.fault(**order)
    kind = await caller.failure()
    assert expected in (None, kind)
    assert len(ryze.calls) == caller.counted == 1


async def test_a_refusal_for_the_budget_holds_the_token(ryze: RyzeServer, caller: Caller) -> None:
    ryze.fault(status=429, message="Rate limit exceeded. Try again later.")
    assert await caller.failure() is RateLimited
    assert caller.budget.left == 0
    assert 0 < caller.budget.wait_for() <= 62
    assert len(ryze.calls) == 1


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed_and_the_token_goes_nowhere_else(
    ryze: RyzeServer, caller: Caller, status: int
) -> None:
    async with RyzeServer(tokens={"sales": TOKEN}) as other:
        for location in (f"{other.url}/api/chat/pinChat/sales", f"//127.0.0.1:{other.port}/", "/elsewhere"):
            ryze.fault(status=status, body=b"", headers={"Location": location})
            assert await caller.failure() is Redirected
        assert other.calls == []
        assert other.connections == 0
    assert len(ryze.calls) == 3


async def test_a_redirect_to_nowhere_is_no_reason_to_fail(ryze: RyzeServer, caller: Caller) -> None:
    for location in ("", "http://[", "javascript:alert(1)", "http://☃:99999999", "\x01"):
        ryze.fault(status=302, body=b"", headers={"Location": location}, times=3)
        assert await caller.failure() in (Redirected, OutcomeUnknown)


# Connections


async def test_one_connection_is_kept_and_used_again(ryze: RyzeServer, caller: Caller) -> None:
    for turn in range(20):
        await caller.pin(pin=turn % 2 == 0)
    assert ryze.connections == 1


async def test_a_connection_that_died_at_rest_costs_nobody_anything(ryze: RyzeServer, caller: Caller) -> None:
    await caller.pin()
    ryze.close_connections()
    await caller.pin(pin=False)
    assert ryze.instances["sales"].pinned == []


@pytest.mark.parametrize("drop", ["before", "after", "mid"])
async def test_a_connection_dropped_in_the_middle_is_tried_again(ryze: RyzeServer, caller: Caller, drop: Any) -> None:  # noqa: ANN401 - a literal of the stand-in's
    await caller.pin(pin=False)
    ryze.fault(drop=drop)
    await caller.pin()
    assert ryze.instances["sales"].pinned == [JID]
    assert len(ryze.calls) == caller.counted == 3


async def test_a_server_that_is_back_in_time_is_reached(ryze: RyzeServer, caller: Caller) -> None:
    await ryze.down()
    call = asyncio.create_task(caller.pin())
    await ryze.wait_for(lambda: caller.counted >= 1 and caller.budget._answered, what="the first attempt to fail")
    await ryze.up()
    assert (await call).pinned


# Retries


PASSING: list[dict[str, Any]] = [
    {"status": 502, "body": b"<html>Bad Gateway</html>"},
    {"status": 502, "message": "upstream is gone"},
    {"status": 504, "body": b"<html>Gateway Timeout</html>"},
    {"status": 503, "body": b"<html>Service Unavailable</html>"},
    {"status": 503, "body": b""},
    {"status": 503, "body": b'{"message": "Service Unavailable"}'},
    {"drop": "before"},
    {"drop": "after"},
]


@pytest.mark.parametrize("order", PASSING)
async def test_what_passes_is_tried_again_twice(ryze: RyzeServer, caller: Caller, order: dict[str, Any]) -> None:
    ryze.fault(times=2, **order)
    assert (await caller.pin()).pinned
    assert len(ryze.calls) == caller.counted == 3


@pytest.mark.parametrize("order", PASSING)
async def test_and_no_more_than_twice(ryze: RyzeServer, caller: Caller, order: dict[str, Any]) -> None:
    ryze.fault(times=None, **order)
    expected = OutcomeUnknown if "drop" in order else Refused if "message" in order else ServerTrouble
    assert await caller.failure() is expected
    assert len(ryze.calls) == caller.counted == 3


async def test_no_attempt_is_made_that_the_budget_has_no_slot_for(ryze: RyzeServer, caller: Caller) -> None:
    for _ in range(LIMIT - 1):
        assert caller.budget.begin()
        caller.budget.end({})
    ryze.fault(status=502, body=b"", times=None)
    assert await caller.failure() is ServerTrouble
    assert len(ryze.calls) == 1
    ryze.fault(drop="before", times=None)
    caller.budget = Budget()
    caller.budget.limit = 2
    assert await caller.failure() is ServerTrouble
    assert len(ryze.calls) == 3


async def test_the_pauses_between_attempts_are_short(ryze: RyzeServer, caller: Caller) -> None:
    ryze.fault(status=502, body=b"", times=2)
    await caller.pin()
    first, second, third = (call.at for call in ryze.calls)
    assert second - first >= 0.1
    assert third - second >= 0.1
    assert third - first < GENEROUS


# The deadline


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Reads a request and never answers."""
    await read_request(reader)
    await reader.read()


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers a byte at a time, each soon after the one before."""
    await read_request(reader)
    for byte in http(DONE):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.1)


async def dripping_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers a head at once and a body without end, chunk by chunk."""
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\n{\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def never_ready(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says that the answer will come, for ever."""
    await read_request(reader)
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 50)
        await writer.drain()
        await asyncio.sleep(0.001)


async def endless_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers headers without end."""
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"x" * 4000 + b"\r\n")
        await writer.drain()


async def test_one_deadline_covers_it_all_and_the_outcome_is_then_unknown() -> None:
    async def outcome(handler: Handler) -> type[RyzeError]:
        async with serving(handler) as url, calling(url, SHORT) as caller:
            return await caller.failure()

    handlers = (silent, dripping, dripping_body, never_ready, endless_head)
    began = time.monotonic()
    kinds = await asyncio.gather(*(outcome(handler) for handler in handlers))
    assert time.monotonic() - began < GENEROUS
    assert dict(zip(handlers, kinds, strict=True)) == dict.fromkeys(handlers, OutcomeUnknown)


async def test_the_deadline_covers_the_retries_too(ryze: RyzeServer) -> None:
    ryze.fault(status=502, body=b"", delay=SHORT / 2, times=None)
    async with calling(ryze.url, SHORT) as caller:
        assert await caller.failure() is OutcomeUnknown
        assert 1 <= len(ryze.calls) <= 2


async def test_what_ryze_did_without_answering_in_time_is_done(ryze: RyzeServer) -> None:
    ryze.fault(hang=True, done=True)
    async with calling(ryze.url, SHORT) as caller:
        assert await caller.failure() is OutcomeUnknown
    assert ryze.instances["sales"].pinned == [JID]


async def test_calls_that_ran_out_of_time_leave_a_client_that_works(ryze: RyzeServer) -> None:
    async with calling(ryze.url, SHORT) as caller:
        hang = ryze.fault(hang=True, times=None)
        assert set(await asyncio.gather(*(caller.failure() for _ in range(PLACES)))) == {OutcomeUnknown}
        hang.stop()
        caller.ryze = RyzeClient(caller.http, ryze.url, GENEROUS)
        assert (await caller.pin()).pinned


# Nothing was sent


async def test_a_refused_connection_means_that_nothing_was_sent() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with calling(f"http://127.0.0.1:{unused.getsockname()[1]}") as caller:
            assert await caller.failure() is NotSent
            assert caller.counted == 3


@pytest.mark.parametrize("host", ["ryze.invalid", "a..b.invalid", "a" * 70 + ".invalid", "xn--a.invalid", "☃.invalid"])
async def test_a_host_without_an_address_means_that_nothing_was_sent(host: str) -> None:
    async with calling(f"http://{host}") as caller:
        assert await caller.failure() is NotSent


async def test_no_tls_means_that_nothing_was_sent(ryze: RyzeServer) -> None:
    async with calling(ryze.url.replace("http:", "https:"), SHORT) as caller:
        assert await caller.failure() is NotSent
    assert ryze.calls == []


async def test_a_tls_handshake_that_hangs_means_that_nothing_was_sent() -> None:
    async def mute(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(mute) as url, calling(url.replace("http:", "https:"), SHORT) as caller:
        assert await caller.failure() is NotSent
        assert caller.counted >= 2, "it ended by itself, before the deadline did it"


async def test_once_sent_a_later_refused_connection_does_not_unsend_it() -> None:
    listening = asyncio.Event()

    async def leaving(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)
        listening.set()

    async with AsyncExitStack() as server:
        url = await server.enter_async_context(serving(leaving))
        async with calling(url) as caller:
            call = asyncio.create_task(caller.failure())
            await listening.wait()
            await server.aclose()
            assert await call is OutcomeUnknown


# Bodies


def chunked(body: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        http(DONE),
        http(DONE, "Content-Encoding: identity"),
        http(DONE, "Content-Encoding: "),
        http(gzip.compress(DONE, mtime=0), "Content-Encoding: gzip"),
        http(gzip.compress(DONE, mtime=0), "Content-Encoding: GZip "),
        http(gzip.compress(DONE, mtime=0), "Content-Encoding: x-gzip"),
        http(DONE + b" " * (MAX_ANSWER - len(DONE))),
        http(gzip.compress(DONE + b" " * (MAX_ANSWER - len(DONE))), "Content-Encoding: gzip"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(DONE),
        b"HTTP/1.1 200 OK\r\n\r\n" + DONE,
        b"HTTP/1.0 200 OK\r\n\r\n" + DONE,
        b"HTTP/1.1 100 Continue\r\n\r\n" + http(DONE),
        http(b"\xef\xbb\xbf" + DONE),
        http(DONE, "Set-Cookie: a=b; expires=never", "Set-Cookie: ;;;=", "Content-Type: text/html; charset=klingon"),
        http(DONE, "X-RateLimit-Remaining: many", "X-RateLimit-Reset: \x80", "Date: tomorrow"),
    ],
    ids=repr_start,
)
async def test_these_are_all_good_answers(answer: bytes) -> None:
    async with serving(answering(answer)) as url, calling(url) as caller:
        assert await caller.pin() == PinnedChat(JID, pinned=True)


@pytest.mark.parametrize(
    "answer",
    [
        http(zlib.compress(DONE), "Content-Encoding: deflate"),
        http(DONE, "Content-Encoding: br"),
        http(gzip.compress(DONE, mtime=0), "Content-Encoding: br"),
        http(gzip.compress(DONE, mtime=0), "Content-Encoding: deflate, gzip"),
        http(DONE, "Content-Encoding: zstd"),
        http(gzip.compress(gzip.compress(DONE), mtime=0), "Content-Encoding: gzip, gzip"),
        http(DONE, "Content-Encoding: gzip"),
        http(gzip.compress(DONE, mtime=0)[:-4], "Content-Encoding: gzip"),
        http(gzip.compress(DONE, mtime=0)[:20], "Content-Encoding: gzip"),
        http(b"", "Content-Encoding: gzip"),
        http(gzip.compress(DONE, mtime=0)),
        http(DONE + b" " * MAX_ANSWER),
        http(gzip.compress(DONE + b" " * MAX_ANSWER, mtime=0), "Content-Encoding: gzip"),
        http(b'{"success": true, "pinned": true, "n": ' + b"[" * 50_000),
    ],
    ids=repr_start,
)
async def test_these_cannot_be_read(answer: bytes) -> None:
    async with serving(answering(answer, http(DONE))) as url, calling(url) as caller:
        assert await caller.failure() is UnreadableAnswer
        assert (await caller.pin()).pinned, "and the next answer is not taken for a part of this one"


async def test_a_body_longer_than_its_length_is_cut_or_asked_for_again() -> None:
    """httpx's own transport cuts it; aiohttp's takes the connection for broken, which is tried again."""
    async with serving(answering(http(DONE, length=len(DONE) - 5), http(DONE))) as url, calling(url) as caller:
        with suppress(UnreadableAnswer):
            assert (await caller.pin()).pinned
        assert (await caller.pin()).pinned, "and the next answer is not taken for a part of this one"


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


BROKEN = [
    http(DONE, length=len(DONE) + 100),
    http(DONE, length=-1),
    b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n" + DONE,
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 20\r\n\r\n" + DONE,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n" + DONE,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    b"HTTP/1.1 200 OK\r\nX-Huge: " + b"x" * 300_000 + b"\r\n\r\n" + DONE,
    b"HTTP/1.1 2000 OK\r\n\r\n" + DONE,
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"\x00" * 1000,
    b"HTTP/1.1 200",
    b"",
]


@pytest.mark.parametrize("answer", BROKEN, ids=repr_start)
async def test_a_broken_answer_is_tried_again_and_its_outcome_is_unknown(answer: bytes) -> None:
    async with serving(answering(answer)) as url, calling(url) as caller:
        assert await caller.failure() is OutcomeUnknown
        assert caller.counted == 3
    async with serving(answering(answer, http(DONE))) as url, calling(url) as caller:
        assert (await caller.pin()).pinned
        assert caller.counted == 2


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\n", http(DONE, length=len(DONE) + 1), http(DONE)[:-9]], ids=repr_start
)
async def test_a_reset_is_tried_again_and_its_outcome_is_unknown(answer: bytes) -> None:
    async with serving(answering(answer, then=reset)) as url, calling(url) as caller:
        assert await caller.failure() is OutcomeUnknown
        assert caller.counted == 3


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """300 MB of body, gzip or not."""
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 314572800\r\nContent-Encoding: gzip\r\n\r\n" + ZEROS[:10])
    for _ in range(4800):
        writer.write(b"\x00" * 65536)
        await writer.drain()


ZEROS = gzip.compress(b"\x00" * 60_000_000, mtime=0)


@pytest.mark.parametrize(
    "handler",
    [
        flood,
        endless_head,
        answering(http(ZEROS, "Content-Encoding: gzip")),
        answering(http(b"\x00" * 1_000_000)),
        answering(b"HTTP/1.1 200 OK\r\nX-Huge: " + b"x" * 2_000_000),
    ],
    ids=["flood", "endless head", "bomb", "large", "huge header"],
)
async def test_no_answer_costs_much_memory(handler: Handler) -> None:
    async with serving(handler) as url, calling(url) as caller:
        await caller.failure()  # what is set up once is not the answer's
        tracemalloc.start()
        try:
            began = time.monotonic()
            assert await caller.failure() in (UnreadableAnswer, OutcomeUnknown)
            assert time.monotonic() - began < 12 + GENEROUS
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 10_000_000


# Proxies


class Proxy:
    """Forwards requests in absolute form; refuses to tunnel, or tunnels into silence. Keeps every byte it got."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent
        self.heads: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, body = await read_request(reader)
        self.heads.append(head + body)
        method, target, _ = head.split(b" ", 2)
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" if self.silent else b"HTTP/1.1 403 Forbidden\r\n\r\n")
            await writer.drain()
            if self.silent:
                await reader.read()
            return
        url = httpx.URL(target.decode())
        there, out = await asyncio.open_connection(url.host, url.port)
        out.write(head.replace(target, url.raw_path, 1) + body)
        writer.write(await there.readuntil(b"\r\n\r\n"))
        writer.write(await there.read(65536))
        await writer.drain()
        out.close()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_the_proxy_variables_are_honoured(
    ryze: RyzeServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    proxy = Proxy()
    async with serving(proxy) as url:
        monkeypatch.setenv(variable, url)
        async with calling(ryze.url) as caller:
            assert (await caller.pin()).pinned
    assert [head.split(b"\r\n")[0] for head in proxy.heads] == [
        f"POST {ryze.url}/api/chat/pinChat/sales HTTP/1.1".encode()
    ]
    assert len(ryze.calls) == 1


async def test_no_proxy_is_honoured_too(ryze: RyzeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy()
    async with serving(proxy) as url:
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with calling(ryze.url) as caller:
            assert (await caller.pin()).pinned
    assert proxy.heads == []


async def test_a_proxy_that_refuses_the_tunnel_means_that_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy()
    async with serving(proxy) as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        async with calling("https://ryze.invalid") as caller:
            assert await caller.failure() is NotSent
    assert proxy.heads
    assert all(head.startswith(b"CONNECT ryze.invalid:443 ") for head in proxy.heads)
    assert TOKEN.encode() not in b"".join(proxy.heads)


async def test_a_proxy_that_is_away_means_that_nothing_was_sent(
    ryze: RyzeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with calling(ryze.url, 5) as caller:
        assert await caller.failure() is NotSent
    assert ryze.calls == []


async def test_tunnels_that_hang_do_not_use_the_connections_up(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy(silent=True)
    async with serving(proxy) as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        async with calling("https://ryze.invalid", SHORT) as caller:
            kinds = await asyncio.gather(*(caller.failure() for _ in range(PLACES)))
            assert set(kinds) == {NotSent}
            before = len(proxy.heads)
            caller.budget = Budget()
            assert await caller.failure() is NotSent
            assert len(proxy.heads) > before, "there was a connection for it"


# Cancellation


async def test_a_call_that_is_cancelled_gives_its_connection_back_and_stays_counted(ryze: RyzeServer) -> None:
    async with calling(ryze.url) as caller:
        hang = ryze.fault(hang=True, times=None)
        for number in range(1, PLACES + 3):
            call = asyncio.create_task(caller.pin())
            await ryze.wait_for(lambda number=number: len(ryze.calls) == number, what="the call")  # type: ignore[misc]
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert caller.counted == number
        hang.stop()
        assert (await caller.pin()).pinned


async def test_a_call_cancelled_between_two_attempts_counts_the_one_that_was_made(ryze: RyzeServer) -> None:
    async with calling(ryze.url) as caller:
        ryze.fault(status=502, body=b"", times=None)
        call = asyncio.create_task(caller.pin())
        await ryze.wait_for(lambda: caller.budget._answered, what="the first attempt's end")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert caller.budget._under_way == 0
        assert caller.counted == len(ryze.calls)


async def test_calls_of_several_instances_run_at_once(ryze: RyzeServer, caller: Caller) -> None:
    ryze.fault(when=lambda call: call.instance == "sales", delay=60)
    slow = asyncio.create_task(caller.ryze.pin_chat(SALES, NUMBER, pin=True, meter=Budget()))
    support = Instance("support", "token-of-support")
    for _ in range(3):
        budget = Budget()
        await budget.take()
        assert (await caller.ryze.pin_chat(support, NUMBER, pin=True, meter=budget)).pinned
    assert not slow.done()
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
