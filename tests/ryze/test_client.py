"""The one call over real HTTP: the contract, the retries, the deadline, and servers that mean harm."""

import asyncio
import gzip
import json
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest

from bot import http_client
from bot.ryze.client import MAX_BYTES, RyzeClient
from bot.ryze.outcomes import OUTCOMES, Reply
from bot.ryze.rate_limit import LIMIT, RateLimit
from bot.settings.model import Instance
from tests.sandbox.ryze import RyzeServer

NUMBER = "5511999999999"
JID = "5511999999999@s.whatsapp.net"
TOKEN = "token-of-sales-canary"
DONE = json.dumps({"success": True, "message": "Chat pinned successfully", "chat_jid": JID, "pinned": True}).encode()
GZIPPED = gzip.compress(DONE, mtime=0)
OK = b"HTTP/1.1 200 OK\r\n"
SHORT = 1.0  # seconds, for calls that are meant to run out of time


class Counting(RateLimit):
    """A rate limit that counts the tries that ended."""

    finished = 0

    def finish(self, headers: Mapping[str, str], *, refused: bool = False) -> None:
        self.finished += 1
        super().finish(headers, refused=refused)


class Caller:
    """The product's client, which takes a slot for each call."""

    def __init__(self, http: httpx.AsyncClient, base_url: str, timeout: float) -> None:
        self.http = http
        self.ryze = RyzeClient(http, base_url, timeout)
        self.rate_limit = Counting()

    async def pin(self, number: str = NUMBER, *, pin: bool = True, name: str = "sales", token: str = TOKEN) -> Reply:
        await self.rate_limit.take()
        instance = Instance(name=name, token=token)
        return await self.ryze.pin_chat(instance, number, pin=pin, rate_limit=self.rate_limit)

    async def outcome(self, number: str = NUMBER, **given: Any) -> str:  # noqa: ANN401 - as `pin`
        return (await self.pin(number, **given)).outcome.name


@asynccontextmanager
async def calling(base_url: str, timeout: float = 12.0) -> AsyncIterator[Caller]:  # noqa: ASYNC109 - the client's own
    async with http_client.build(connect_timeout=0.5) as http:
        yield Caller(http, base_url, timeout)


@asynccontextmanager
async def serving(handler: Callable[[asyncio.StreamReader], Awaitable[bytes]]) -> AsyncIterator[str]:
    """A server that answers each connection what the handler gives, and resets it; its address."""
    tasks: list[asyncio.Task[Any] | None] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        with suppress(asyncio.CancelledError, asyncio.IncompleteReadError):
            writer.write(await handler(reader))
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for task in filter(None, tasks):
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture(params=["aiohttp", "httpx"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways in which requests leave: where a proxy is named, by httpx's own transport, here without the proxy."""
    if request.param == "httpx":
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,.invalid")
    return str(request.param)


@pytest.fixture
async def ryze() -> AsyncIterator[RyzeServer]:
    async with RyzeServer(tokens={"sales": TOKEN, "support": "token-of-support"}) as server:
        yield server


@pytest.fixture
async def caller(transport: str, ryze: RyzeServer) -> AsyncIterator[Caller]:  # noqa: ARG001 - it comes first
    async with calling(ryze.url) as caller:
        yield caller


# The contract


@pytest.mark.parametrize("chat", [NUMBER, "123456789@lid", "120363025246125486@g.us", "120363025246125486@newsletter"])
@pytest.mark.parametrize("pin", [True, False])
async def test_the_request_is_exactly_the_contracts(ryze: RyzeServer, caller: Caller, chat: str, *, pin: bool) -> None:
    reply = await caller.pin(chat, pin=pin)
    assert (reply.outcome.name, reply.jid) == ("pinned" if pin else "unpinned", chat if "@" in chat else JID)
    (call,) = ryze.calls
    assert (call.method, call.path) == ("POST", "/api/chat/pinChat/sales")
    assert json.loads(call.body) == {"number": chat, "pin": pin}
    expected = {"token": TOKEN, "content-type": "application/json", "accept-encoding": "identity"}
    assert call.headers.items() >= {**expected, "content-length": str(len(call.body))}.items()
    assert not {"transfer-encoding", "authorization"} & set(call.headers)
    assert caller.rate_limit.finished == 1


NAMES = ("a/b c%é?#", "a+b&c=d", "100%", "%2F", "..a", "a/../b", "日本", "a;b,c:d@e", 'q"<>\\^`{|}', "/")


@pytest.mark.usefixtures("transport")
async def test_an_instances_name_is_one_segment_of_the_path() -> None:
    for name in NAMES:
        async with RyzeServer(tokens={name: TOKEN}) as ryze, calling(ryze.url) as caller:
            assert await caller.outcome(name=name) == "pinned"
            assert ryze.calls[0].instance == name
            assert ryze.calls[0].path.count("/") == 4


async def test_each_refusal_of_the_contract_is_told_apart(ryze: RyzeServer, caller: Caller) -> None:
    assert await caller.outcome("") == "bad_request"
    assert await caller.outcome(token="wrong") == "token_refused"
    assert await caller.outcome(token="token-of-support") == "token_forbidden"
    assert await caller.outcome(name="elsewhere") == "instance_not_found"
    for number in range(3):
        assert await caller.outcome(f"551199999000{number}") == "pinned"
    assert await caller.outcome() == "pin_limit"
    ryze.instances["sales"].connected = False
    assert await caller.outcome() == "not_connected"
    assert caller.rate_limit.available == LIMIT - 9
    ryze.fault(status=429, message="Rate limit exceeded. Try again later.")
    assert await caller.outcome() == "rate_limited"
    assert caller.rate_limit.available == 0, "it is held"
    assert ryze.connections == 1
    assert caller.rate_limit.finished == len(ryze.calls), "nothing of this was sent twice"


async def test_the_token_is_in_no_log_and_in_no_text(
    ryze: RyzeServer, caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ryze.fault(status=401, message=f"Invalid token {TOKEN}!")
    assert (await caller.pin()).text == "Invalid token ***!"
    await ryze.down()
    assert TOKEN not in (await caller.pin()).text
    assert TOKEN not in caplog.text


# Answers, and how often they are asked for


@pytest.mark.parametrize(
    ("order", "expected", "tries"),
    [
        ({"body": DONE + b" " * MAX_BYTES, "status": 200}, "pinned", 1),
        ({"body": DONE, "status": 200, "headers": {"Date": "tomorrow", "X-RateLimit-Reset": "\x80"}}, "pinned", 1),
        ({"raw": OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(DONE), DONE)}, "pinned", 1),
        ({"body": GZIPPED, "status": 200, "headers": {"Content-Encoding": "gzip"}}, "unreadable_answer", 1),
        ({"body": DONE[:-1] + b" " * MAX_BYTES + b"}", "status": 200}, "unreadable_answer", 1),
        ({"raw": OK + b"Content-Length: 300000000\r\n\r\n" + b"\0" * 2_000_000}, "unreadable_answer", 1),
        ({"body": b"<html>Not Found</html>", "status": 404}, "not_ryze", 1),
        ({"body": b"<html>Bad Gateway</html>", "status": 502}, "server_trouble", 3),
        ({"message": "upstream is gone", "status": 502}, "refused", 3),
        ({"body": b"", "status": 408}, "server_trouble", 3),
        ({"drop": "before"}, "outcome_unknown", 3),
        ({"raw": OK + b"Content-Length: 10\r\nContent-Length: 20\r\n\r\n" + DONE}, "outcome_unknown", 3),
        ({"raw": b"\x00" * 1000}, "outcome_unknown", 3),
    ],
    ids=lambda value: ascii(value)[:60],
)
async def test_what_is_transient_is_tried_three_times_and_anything_else_once(
    ryze: RyzeServer, caller: Caller, order: dict[str, Any], expected: str, tries: int
) -> None:
    fault = ryze.fault(times=None, **order)
    assert await caller.outcome() == expected
    assert len(ryze.calls) == caller.rate_limit.finished == tries
    pauses = [after.at - before.at for before, after in zip(ryze.calls, ryze.calls[1:], strict=False)]
    assert all(0.1 <= pause < 10 for pause in pauses)
    fault.stop()
    assert await caller.outcome(pin=False) == "unpinned", "the next answer is not taken for a part of this one"


async def test_no_try_is_made_that_the_rate_limit_has_no_slot_for(ryze: RyzeServer, caller: Caller) -> None:
    ryze.fault(status=502, body=b"", times=None)
    for _ in range(LIMIT - 2):
        caller.rate_limit.try_take()
    assert await caller.outcome() == "server_trouble"
    assert len(ryze.calls) == 2


async def test_no_redirect_is_followed(ryze: RyzeServer, caller: Caller) -> None:
    async with RyzeServer(tokens={"sales": TOKEN}) as other:
        for location in (f"{other.url}/api/chat/pinChat/sales", f"//127.0.0.1:{other.port}/", "/elsewhere"):
            for status in (301, 303, 307, 308):
                ryze.fault(status=status, body=b"", headers={"Location": location})
                assert await caller.outcome() == "redirected"
        assert other.connections == 0


async def test_a_kept_connection_that_died_at_rest_costs_at_most_a_try(ryze: RyzeServer, caller: Caller) -> None:
    for turn in range(6):
        await caller.pin(pin=turn % 2 == 0)
    assert ryze.connections == 1
    await ryze.down()
    await ryze.up()
    assert await caller.outcome() == "pinned"
    assert ryze.connections == 2


# The deadline


ENDLESS = [
    {"drop": "after", "hang": True},
    {"drip": 0.1},
    {"raw": OK, "hang": True},
    {"status": 502, "delay": SHORT * 0.6},
]


@pytest.mark.parametrize("order", ENDLESS)
async def test_one_deadline_covers_it_all_and_the_outcome_is_then_unknown(
    ryze: RyzeServer, order: dict[str, Any]
) -> None:
    fault = ryze.fault(times=None, **order)
    async with calling(ryze.url, SHORT) as caller, asyncio.timeout(10):
        assert await caller.outcome() == "outcome_unknown"
        fault.stop()
        caller.ryze = RyzeClient(caller.http, ryze.url, 12)
        assert await caller.outcome(pin=False) == "unpinned", "the client still works"


async def test_a_call_that_is_cancelled_leaves_a_client_that_works_and_stays_counted(
    ryze: RyzeServer, caller: Caller
) -> None:
    ryze.fault(hang=True, times=12)
    calls = [asyncio.create_task(caller.pin()) for _ in range(12)]
    await ryze.wait_for(lambda: len(ryze.calls) == 12, what="the calls")
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert all(call.cancelled() for call in calls)
    assert caller.rate_limit.finished == 12
    assert await caller.outcome() == "pinned"


# Was anything sent?


async def test_a_refused_connection_means_that_nothing_was_sent(ryze: RyzeServer, caller: Caller) -> None:
    await ryze.down()
    reply = await caller.pin()
    assert (reply.outcome, reply.status) == (OUTCOMES["not_sent"], 0)
    assert "Connect" in reply.text, "the reason"
    assert caller.rate_limit.finished == 3


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("host", ["ryze.invalid", "a..b.invalid", "a" * 70 + ".invalid", "xn--a.invalid", "☃.invalid"])
async def test_a_host_without_an_address_means_that_nothing_was_sent(host: str) -> None:
    async with calling(f"http://{host}") as caller:
        assert await caller.outcome() == "not_sent"


@pytest.mark.usefixtures("transport")
async def test_a_tls_handshake_that_hangs_means_that_nothing_was_sent() -> None:
    async with serving(lambda reader: reader.read()) as address, calling(f"https://{address}") as caller:
        assert await caller.outcome() == "not_sent"
        assert caller.rate_limit.finished == 3, "it ended by itself, before the deadline did it"


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("answer", [b"", OK + b"Content-Length: 300\r\n\r\n" + DONE])
async def test_a_reset_after_the_request_means_that_the_outcome_is_unknown(answer: bytes) -> None:
    async def handler(reader: asyncio.StreamReader) -> bytes:
        await reader.readuntil(b"}")
        return answer

    async with serving(handler) as address, calling(f"http://{address}") as caller:
        assert await caller.outcome() == "outcome_unknown"
        assert caller.rate_limit.finished == 3


async def test_once_sent_a_later_refused_connection_does_not_unsend_it(ryze: RyzeServer, caller: Caller) -> None:
    ryze.fault(hang=True)
    call = asyncio.create_task(caller.outcome())
    await ryze.wait_for(lambda: ryze.calls, what="the first try")
    await ryze.down()
    assert await call == "outcome_unknown"
    assert caller.rate_limit.finished == 3
