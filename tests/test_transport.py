"""Both transports over real HTTP: what goes wrong has the same name on either, and nothing foreign gets out."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import httpx
import pytest
from telegram import Bot
from telegram.error import NetworkError, RetryAfter, TimedOut

from bot.transport import TelegramRequest, transport
from tests.sandbox.ryze import RyzeServer
from tests.sandbox.telegram import TelegramServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LIMITS = httpx.Limits(max_connections=4, max_keepalive_connections=4, keepalive_expiry=60)
PATH = "/api/chat/pinChat/sales"
HEADERS = {"token": "token-sales", "Content-Type": "application/json", "Content-Length": "38"}
CONTENT = b'{"number": "5511999999999","pin":true}'


class Body(httpx.AsyncByteStream):
    asked = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.asked = True
        yield CONTENT


@pytest.fixture(params=["aiohttp", "httpx"])
def inner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], httpx.AsyncBaseTransport]:
    """What builds the transport that a test is run on."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    tls = httpx.create_ssl_context()
    if request.param == "httpx":
        return lambda: httpx.AsyncHTTPTransport(verify=tls, limits=LIMITS)
    pytest.importorskip("httpx_aiohttp")

    def fast() -> httpx.AsyncBaseTransport:
        made = transport(tls, LIMITS)
        assert made is not None
        return made

    return fast


@pytest.fixture
async def client(inner: Callable[[], httpx.AsyncBaseTransport]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=inner(), timeout=5) as made:
        yield made


async def pin(client: httpx.AsyncClient, url: str, body: Body | None = None) -> httpx.Response:
    return await client.send(client.build_request("POST", url + PATH, headers=HEADERS, content=body or Body()))


async def test_an_answer_arrives_whole_and_the_request_was_sent_as_it_was_built(client: httpx.AsyncClient) -> None:
    async with RyzeServer() as ryze:
        response = await pin(client, ryze.url)
        assert response.status_code == 200
        assert response.json()["pinned"] is True
        assert response.headers["X-RateLimit-Limit"] == "100"
        call = ryze.calls[0]
        assert call.body == CONTENT
        assert call.headers["content-length"] == str(len(CONTENT))
        assert "transfer-encoding" not in call.headers


async def test_the_connection_is_kept_and_one_that_the_server_closed_is_not_used_again(
    client: httpx.AsyncClient,
) -> None:
    async with RyzeServer() as ryze:
        await pin(client, ryze.url)
        await pin(client, ryze.url)
        assert ryze.connections == 1
        ryze.close_connections()
        await asyncio.sleep(0.05)  # the closing is on its way; sent before it arrives, the request would fail honestly
        assert (await pin(client, ryze.url)).status_code == 200
        assert ryze.connections == 2


async def test_a_redirect_is_not_followed(client: httpx.AsyncClient) -> None:
    async with RyzeServer() as ryze:
        ryze.fault(status=307, headers={"Location": f"{ryze.url}/elsewhere"})
        assert (await pin(client, ryze.url)).status_code == 307
        assert len(ryze.calls) == 1


async def test_where_nobody_listens_no_connection_comes_about_and_the_body_is_not_asked_for(
    client: httpx.AsyncClient,
) -> None:
    async with RyzeServer() as ryze:
        url = ryze.url
    body = Body()
    with pytest.raises(httpx.ConnectError):
        await pin(client, url, body)
    assert not body.asked


@asynccontextmanager
async def odd_server(says: bytes = b"") -> AsyncIterator[str]:
    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(says)

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def test_a_server_without_tls_is_a_connection_that_does_not_come_about(client: httpx.AsyncClient) -> None:
    body = Body()
    async with odd_server(b"220 mail.example.com ESMTP\r\n") as address:
        # httpx's own lets ssl's error through, where the extra's gives httpx's.
        with pytest.raises((httpx.ConnectError, ssl.SSLError)):
            await pin(client, f"https://{address}", body)
    assert not body.asked


async def test_a_tls_handshake_without_an_answer_ends_with_the_timeout_for_connecting(
    client: httpx.AsyncClient,
) -> None:
    body = Body()
    client.timeout = httpx.Timeout(5, connect=0.2)
    async with odd_server() as address:
        with pytest.raises(httpx.ConnectTimeout):
            await pin(client, f"https://{address}", body)
    assert not body.asked


async def test_an_answer_that_does_not_come_ends_with_the_timeout_for_reading(client: httpx.AsyncClient) -> None:
    body = Body()
    client.timeout = httpx.Timeout(5, read=0.2)
    async with RyzeServer() as ryze:
        ryze.fault(hang=True)
        with pytest.raises(httpx.ReadTimeout):
            await pin(client, ryze.url, body)
    assert body.asked


@pytest.mark.parametrize("when", ["before", "after", "mid"])
async def test_a_connection_that_breaks_is_a_network_error(
    client: httpx.AsyncClient, when: Literal["before", "after", "mid"]
) -> None:
    body = Body()
    async with RyzeServer() as ryze:
        ryze.fault(drop=when)
        with pytest.raises((httpx.NetworkError, httpx.RemoteProtocolError)):
            await pin(client, ryze.url, body)
    assert body.asked


@pytest.mark.parametrize(
    "raw",
    [
        b"\0\0\0\0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnothing\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 9999 What\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_an_error_of_httpx(client: httpx.AsyncClient, raw: bytes) -> None:
    async with RyzeServer() as ryze:
        ryze.fault(raw=raw)
        try:
            response = await pin(client, ryze.url)
        except httpx.HTTPError:
            pass
        else:  # a lenient parser may make something of it
            assert response.status_code == 200
            assert not response.content


async def test_a_header_that_no_request_may_have_is_the_callers_error(client: httpx.AsyncClient) -> None:
    async with RyzeServer() as ryze:
        with pytest.raises(httpx.LocalProtocolError):
            await client.post(ryze.url, headers={"token": "a\r\nb: c"})
        assert not ryze.calls


async def test_who_stops_waiting_leaves_the_server(client: httpx.AsyncClient) -> None:
    async with RyzeServer() as ryze:
        ryze.fault(hang=True)
        waiting = asyncio.create_task(pin(client, ryze.url))
        await ryze.wait_for(lambda: ryze.calls)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await pin(client, ryze.url)).status_code == 200
        assert ryze.connections == 2


async def test_a_long_answer_can_be_left_after_its_beginning(client: httpx.AsyncClient) -> None:
    async with RyzeServer() as ryze:
        ryze.fault(status=200, body=b"x" * 10_000_000)
        async with client.stream("POST", ryze.url + PATH, headers=HEADERS, content=Body()) as response:
            async for chunk in response.aiter_raw():
                assert chunk
                break
        assert (await pin(client, ryze.url)).status_code == 200


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
def test_where_a_proxy_is_named_httpx_uses_its_own(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert transport(httpx.create_ssl_context(), LIMITS) is None


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramServer]:
    async with TelegramServer() as server:
        server.add_chat(1)
        yield server


@pytest.fixture
async def bot(telegram: TelegramServer, inner: Callable[[], httpx.AsyncBaseTransport]) -> AsyncIterator[Bot]:
    requests = TelegramRequest(inner()), TelegramRequest(inner())
    url = f"{telegram.url}/bot"
    async with Bot(telegram.token, url, request=requests[0], get_updates_request=requests[1]) as made:
        yield made


async def test_the_bot_api_is_spoken_over_one_connection(bot: Bot, telegram: TelegramServer) -> None:
    sent = await bot.send_message(1, "<b>Grüße</b> & +5511 = 📌", parse_mode="HTML")
    assert sent.text == "Grüße & +5511 = 📌"
    await bot.send_message(1, "again")
    assert telegram.connections == 1


@pytest.mark.parametrize("how", [{"drop": "before"}, {"drop": "mid"}, {"raw": b"\0\0\0\0\r\n\r\n"}, {"status": 502}])
async def test_what_breaks_is_a_network_error_and_the_next_request_works(
    bot: Bot, telegram: TelegramServer, how: dict[str, Any]
) -> None:
    telegram.fault("sendMessage", **how)
    with pytest.raises(NetworkError):
        await bot.send_message(1, "hello")
    assert (await bot.send_message(1, "hello")).text == "hello"


async def test_an_answer_that_takes_too_long_has_timed_out(bot: Bot, telegram: TelegramServer) -> None:
    telegram.fault("sendMessage", hang=True)
    with pytest.raises(TimedOut):
        await bot.send_message(1, "hello", read_timeout=0.2)


async def test_where_telegram_is_down_it_is_a_network_error(bot: Bot, telegram: TelegramServer) -> None:
    await telegram.down()
    with pytest.raises(NetworkError):
        await bot.send_message(1, "hello")


async def test_telegrams_own_refusals_keep_their_meaning(bot: Bot, telegram: TelegramServer) -> None:
    telegram.fault("sendMessage", status=429, retry_after=3)
    with pytest.raises(RetryAfter):
        await bot.send_message(1, "hello")
