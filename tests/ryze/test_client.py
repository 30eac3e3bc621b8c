"""The one call over real HTTP: the contract, the retries, the deadline, and servers that mean harm."""

import asyncio
import gzip
import json
import logging
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from bot import http_client
from bot.ryze.client import LIMIT, MAX_BYTES, RateLimit, RyzeClient
from bot.ryze.outcomes import Reply
from bot.settings.model import Instance
from tests.sandbox.ryze import RyzeServer

NUMBER = "5511999999999"
JID = "5511999999999@s.whatsapp.net"
TOKEN = "token-of-sales-canary"
DONE = json.dumps({"success": True, "message": "Chat pinned successfully", "chat_jid": JID, "pinned": True}).encode()
GZIPPED = gzip.compress(DONE, mtime=0)
OK = b"HTTP/1.1 200 OK\r\n"


class Caller(RateLimit):
    """The product's client, which takes a slot for each call, of a rate limit that counts the tries that ended."""

    def __init__(self, transport: httpx.AsyncBaseTransport, base_url: str, timeout: float) -> None:
        super().__init__()
        self.ryze = RyzeClient(transport, base_url, timeout, connect_timeout=30)
        self.finished = 0

    def finish(self, headers: Mapping[str, str], *, refused: bool = False) -> None:
        self.finished += 1
        super().finish(headers, refused=refused)

    async def pin(self, number: str = NUMBER, *, pin: bool = True, name: str = "sales", token: str = TOKEN) -> Reply:
        await self.take()
        return await self.ryze.pin_chat(Instance(name=name, token=token), number, pin=pin, rate_limit=self)

    async def outcome(self, number: str = NUMBER, **given: Any) -> str:  # noqa: ANN401 - as `pin`
        return (await self.pin(number, **given)).outcome.name


@asynccontextmanager
async def calling(base_url: str, timeout: float = 12.0) -> AsyncIterator[Caller]:  # noqa: ASYNC109 - the client's own
    async with http_client.build_transport(base_url) as transport:
        yield Caller(transport, base_url, timeout)


@pytest.fixture
async def ryze() -> AsyncIterator[RyzeServer]:
    async with RyzeServer(tokens={"sales": TOKEN, "support": "token-of-support"}) as server:
        yield server


@pytest.fixture
async def caller(ryze: RyzeServer) -> AsyncIterator[Caller]:
    async with calling(ryze.url) as caller:
        yield caller


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
    assert caller.finished == 1


async def test_an_instances_name_is_one_segment_of_the_path() -> None:
    names = ("a/b c%é?#", "a+b&c=d", "100%", "%2F", "..a", "a/../b", "日本", "a;b,c:d@e", 'q"<>\\^`{|}', "/")
    async with RyzeServer(tokens=dict.fromkeys(names, TOKEN)) as ryze, calling(ryze.url) as caller:
        for name in names:
            await caller.outcome(name=name)
            assert (ryze.calls[-1].instance, ryze.calls[-1].path.count("/")) == (name, 4)


async def test_each_call_is_one_request_on_one_connection_which_counts(ryze: RyzeServer, caller: Caller) -> None:
    assert await caller.outcome(token="wrong") == "token_refused"
    assert await caller.outcome(name="elsewhere") == "instance_not_found"
    assert await caller.outcome() == "pinned"
    assert caller.available == LIMIT - 3
    ryze.fault(status=429, message="Rate limit exceeded. Try again later.")
    assert await caller.outcome() == "rate_limited"
    assert caller.available == 0, "it is held"
    assert caller.finished == len(ryze.calls) == 4
    assert ryze.connections == 1
    await ryze.down()
    await ryze.up()
    assert await caller.outcome() == "pinned", "a kept connection that died at rest costs at most a try"
    assert ryze.connections == 2


async def test_the_token_is_in_no_log_and_in_no_text(
    ryze: RyzeServer, caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ryze.fault(status=401, message=f"Invalid token {TOKEN}!")
    assert (await caller.pin()).text == "Invalid token ***!"
    await ryze.down()
    assert TOKEN not in (await caller.pin()).text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("order", "expected", "tries"),
    [
        ({"body": DONE + b" " * MAX_BYTES, "status": 200}, "pinned", 1),
        ({"body": DONE, "status": 200, "headers": {"Date": "tomorrow", "X-RateLimit-Reset": "\x80"}}, "pinned", 1),
        ({"body": DONE, "status": 200, "headers": {"Content-Security-Policy": "x" * 60_000}}, "pinned", 1),
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
    assert len(ryze.calls) == caller.finished == tries
    fault.stop()
    assert await caller.outcome(pin=False) == "unpinned", "the next answer is not taken for a part of this one"


async def test_no_try_is_made_that_the_rate_limit_has_no_slot_for(ryze: RyzeServer, caller: Caller) -> None:
    ryze.fault(status=502, body=b"", times=None)
    for _ in range(LIMIT - 2):
        caller.try_take()
    assert await caller.outcome() == "server_trouble"
    assert len(ryze.calls) == 2


async def test_no_redirect_is_followed(ryze: RyzeServer, caller: Caller) -> None:
    async with RyzeServer(tokens={"sales": TOKEN}) as other:
        for location in (f"{other.url}/api/chat/pinChat/sales", f"//127.0.0.1:{other.port}/", "/elsewhere"):
            for status in (301, 303, 307, 308):
                ryze.fault(status=status, body=b"", headers={"Location": location})
                assert await caller.outcome() == "redirected"
        assert other.connections == 0


# The deadline


@pytest.mark.parametrize(
    "order",
    [{"drop": "after", "hang": True}, {"drip": 0.1}, {"raw": OK, "hang": True}, {"status": 502, "delay": 0.6}],
)
async def test_one_deadline_covers_it_all_and_the_outcome_is_then_unknown(
    ryze: RyzeServer, order: dict[str, Any]
) -> None:
    fault = ryze.fault(times=None, **order)
    async with calling(ryze.url, timeout=1.0) as caller, asyncio.timeout(10):
        assert await caller.outcome() == "outcome_unknown"
        fault.stop()
        caller.ryze.timeout = 12
        assert await caller.outcome(pin=False) == "unpinned", "the client still works"


async def test_a_call_that_is_cancelled_leaves_a_client_that_works_and_stays_counted(
    ryze: RyzeServer, caller: Caller
) -> None:
    ryze.fault(hang=True, times=12)
    calls = asyncio.gather(*(caller.pin() for _ in range(12)))
    await ryze.wait_for(lambda: len(ryze.calls) == 12, what="the calls")
    calls.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls
    assert caller.finished == 12
    assert await caller.outcome() == "pinned"


# Was anything sent?


async def test_a_refused_connection_means_that_nothing_was_sent(ryze: RyzeServer, caller: Caller) -> None:
    await ryze.down()
    reply = await caller.pin()
    assert (reply.outcome.name, reply.status, "Connect" in reply.text) == ("not_sent", 0, True)
    assert caller.finished == 3


@pytest.mark.parametrize("host", ["ryze.invalid", "a..b.invalid", "a" * 70 + ".invalid", "xn--a.invalid", "☃.invalid"])
async def test_a_host_without_an_address_means_that_nothing_was_sent(host: str) -> None:
    async with calling(f"http://{host}") as caller:
        assert await caller.outcome() == "not_sent"


async def test_a_tls_handshake_that_hangs_means_that_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        async with calling(f"https://127.0.0.1:{server.getsockname()[1]}") as caller:
            caller.ryze.connect_timeout = 0.5
            assert await caller.outcome() == "not_sent"
            assert caller.finished == 3, "it ended by itself, before the deadline did it"


@pytest.mark.parametrize("answer", [b"", OK + b"Content-Length: 300\r\n\r\n" + DONE])
async def test_a_reset_after_the_request_means_that_the_outcome_is_unknown(answer: bytes) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        async with calling(f"http://127.0.0.1:{server.getsockname()[1]}") as caller:
            call = asyncio.create_task(caller.outcome())
            for _ in range(3):
                connection, _ = await loop.sock_accept(server)
                with connection:
                    while b"}" not in await loop.sock_recv(connection, 10_000):
                        pass
                    await loop.sock_sendall(connection, answer)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            assert await call == "outcome_unknown"


async def test_once_sent_a_later_refused_connection_does_not_unsend_it(ryze: RyzeServer, caller: Caller) -> None:
    ryze.fault(hang=True)
    call = asyncio.create_task(caller.outcome())
    await ryze.wait_for(lambda: ryze.calls, what="the first try")
    await ryze.down()
    assert await call == "outcome_unknown"
    assert caller.finished == 3
