"""Both clients over real HTTP: they behave alike, and tell whether anything was sent."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import httpx
import pytest
from telegram import Bot
from telegram.error import BadRequest, NetworkError, RetryAfter

from bot.transport import Body, Client, Httpx, Request, Response, TelegramRequest, call_raw, client
from tests.sandbox.ryze import RyzeServer
from tests.sandbox.telegram import TelegramServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATH = "/api/chat/pinChat/sales"
HEADERS = {"token": "token-sales", "Content-Type": "application/json", "Accept-Encoding": "identity"}
CONTENT = b'{"number": "5511999999999","pin":true}'


@pytest.fixture(params=["aiohttp", "httpx"])
async def http(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    tls = httpx.create_ssl_context()
    made: Client
    if request.param == "httpx":
        made = Httpx(tls, 4)
    else:
        pytest.importorskip("aiohttp")
        from bot.fast import Aiohttp  # noqa: PLC0415 - the extra may be absent

        made = Aiohttp(tls)
    async with aclosing(made):
        yield made


async def pin(
    http: Client,
    url: str,
    body: Body | None = None,
    *,
    connect: float = 5.0,
    read: float | None = 5.0,
    most: int = 64 * 1024,
    headers: dict[str, str] = HEADERS,
) -> Response:
    body = body or Body(CONTENT)
    return await http.request(Request("POST", url + PATH, headers, body, connect=connect, read=read, most=most))


async def test_an_answer_arrives_whole_and_the_request_was_sent_as_it_was_built(http: Client) -> None:
    body = Body(CONTENT)
    async with RyzeServer() as ryze:
        response = await pin(http, ryze.url, body)
        assert response.status == 200
        assert b'"pinned": true' in response.body
        assert response.headers["X-RateLimit-Limit"] == response.headers["x-ratelimit-limit"] == "100"
        call = ryze.calls[0]
        assert call.body == CONTENT
        assert call.headers["content-length"] == str(len(CONTENT))
        assert call.headers["token"] == "token-sales"
        assert call.headers["accept-encoding"] == "identity"
        assert "transfer-encoding" not in call.headers
    assert body.sent


async def test_a_request_without_a_body(http: Client) -> None:
    async with RyzeServer() as ryze:
        response = await http.request(Request("GET", ryze.url, {}, Body(b""), connect=5, read=5, most=0))
        assert (response.status, response.body) == (404, b"")
        assert ryze.calls[0].body == b""


async def test_the_connection_is_kept_and_one_that_the_server_closed_is_not_used_again(http: Client) -> None:
    async with RyzeServer() as ryze:
        await pin(http, ryze.url)
        await pin(http, ryze.url)
        assert ryze.connections == 1
        ryze.close_connections()
        await asyncio.sleep(0.05)  # the closing is on its way; sent before it arrives, the request would fail honestly
        assert (await pin(http, ryze.url)).status == 200
        assert ryze.connections == 2


async def test_no_redirect_is_followed_and_no_cookie_kept(http: Client) -> None:
    async with RyzeServer() as ryze:
        ryze.fault(status=307, headers={"Location": f"{ryze.url}/elsewhere", "Set-Cookie": "a=b; Path=/"})
        assert (await pin(http, ryze.url)).status == 307
        assert len(ryze.calls) == 1
        await pin(http, ryze.url)
        assert "cookie" not in ryze.calls[1].headers


async def test_where_nobody_listens_nothing_was_sent(http: Client) -> None:
    async with RyzeServer() as ryze:
        url = ryze.url
    body = Body(CONTENT)
    with pytest.raises(Exception, match=r"(?i)connect"):
        await pin(http, url, body)
    assert not body.sent


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


async def test_where_there_is_no_tls_nothing_was_sent(http: Client) -> None:
    body = Body(CONTENT)
    async with odd_server(b"220 mail.example.com ESMTP\r\n") as address:
        with pytest.raises(Exception, match=r"(?i)ssl|tls"):
            await pin(http, f"https://{address}", body)
    assert not body.sent


async def test_a_tls_handshake_without_an_answer_ends_with_the_time_for_connecting(http: Client) -> None:
    body = Body(CONTENT)
    async with odd_server() as address, asyncio.timeout(30):
        with pytest.raises(Exception, match=r"(?i)timeout|^$"):
            await pin(http, f"https://{address}", body, connect=0.2, read=None)
    assert not body.sent


async def test_an_answer_that_does_not_come_ends_with_the_time_for_reading(http: Client) -> None:
    body = Body(CONTENT)
    async with RyzeServer() as ryze, asyncio.timeout(30):
        ryze.fault(hang=True)
        with pytest.raises(Exception, match=r"(?i)timeout|^$"):
            await pin(http, ryze.url, body, read=0.2)
    assert body.sent


@pytest.mark.parametrize("when", ["before", "after", "mid"])
async def test_a_connection_that_breaks_is_an_error(http: Client, when: Literal["before", "after", "mid"]) -> None:
    body = Body(CONTENT)
    async with RyzeServer() as ryze:
        ryze.fault(drop=when)
        with pytest.raises(Exception, match=r"(?i)disconnect|reset|peer|closed|not enough data|payload|^$"):
            await pin(http, ryze.url, body)
        assert (await pin(http, ryze.url)).status == 200
    assert body.sent


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
async def test_what_is_no_http_gives_no_answer_and_was_sent(http: Client, raw: bytes) -> None:
    body = Body(CONTENT)
    async with RyzeServer() as ryze:
        ryze.fault(raw=raw)
        try:
            response = await pin(http, ryze.url, body)
        except Exception:  # noqa: BLE001 - of any type, as the interface has it
            response = Response(200, {}, b"")  # which a lenient parser may make of it
        assert (response.status, response.body) == (200, b"")
        assert (await pin(http, ryze.url)).status == 200
    assert body.sent


@pytest.mark.parametrize("token", ["a\r\nb: c", "a\nb", "é\x00"])
async def test_a_header_that_no_request_may_have_is_not_sent(http: Client, token: str) -> None:
    body = Body(CONTENT)
    async with RyzeServer() as ryze:
        with pytest.raises((ValueError, httpx.LocalProtocolError)):
            await pin(http, ryze.url, body, headers={"token": token})
        assert not ryze.calls
    assert not body.sent


@pytest.mark.parametrize("url", ["", "http://", "no url", "http://[::1", "ftp://127.0.0.1", "http://a b"])
async def test_what_is_no_url_is_not_sent(http: Client, url: str) -> None:
    body = Body(CONTENT)
    with pytest.raises(Exception, match=r"."):
        await pin(http, url, body)
    assert not body.sent


async def test_who_stops_waiting_leaves_the_server(http: Client) -> None:
    async with RyzeServer() as ryze:
        ryze.fault(hang=True)
        waiting = asyncio.create_task(pin(http, ryze.url))
        await ryze.wait_for(lambda: ryze.calls)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await pin(http, ryze.url)).status == 200
        assert ryze.connections == 2


async def test_what_a_server_says_unasked_is_no_answer(http: Client) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    asked: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                asked.append(await reader.readexactly(len(CONTENT)))
                writer.write(answer + b"ok")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        assert (await pin(http, url)).body == b"ok"
        assert (await pin(http, url)).body == b"ok"
        assert len(writers) == 1
        writers[0].write(answer + b"no")
        await writers[0].drain()
        await asyncio.sleep(0.05)  # it is on its way; what comes after the request was sent is taken for its answer
        assert (await pin(http, url)).body == b"ok"
        assert len(asked) == 3
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def test_long_headers_are_read(http: Client) -> None:
    async with RyzeServer() as ryze:
        ryze.fault(status=200, body=b"ok", headers={"Content-Security-Policy": "x" * 20_000})
        assert (await pin(http, ryze.url)).body == b"ok"


async def test_a_body_that_nobody_wants_is_not_waited_for(http: Client) -> None:
    async with odd_server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") as address, asyncio.timeout(30):
        response = await pin(http, f"http://{address}", most=0, read=None)
        assert (response.status, response.body) == (200, b"")


async def test_an_answer_is_read_up_to_its_bound_and_decoded_within_it(http: Client) -> None:
    async with RyzeServer() as ryze:
        zipped = {"Content-Encoding": "gzip"}
        for body, headers, read in (
            (b"x" * 100, {}, b"x" * 100),
            (b"x" * 101, {}, b""),
            (b"x" * 10_000_000, {}, b""),
            (gzip.compress(b"x" * 100), zipped, b"x" * 100),
            (gzip.compress(b"x" * 101), zipped, b""),
            (gzip.compress(b"x" * 100)[:-1], zipped, b""),
            (b"no gzip", zipped, b""),
            (b"x", {"Content-Encoding": "br"}, b""),
            (b"x", {"Content-Encoding": " Identity "}, b"x"),
        ):
            ryze.fault(status=200, body=body, headers=headers)
            assert (await pin(http, ryze.url, most=100)).body == read


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
async def test_where_a_proxy_is_named_httpx_is_the_client(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with aclosing(client(httpx.create_ssl_context(), 4)) as made:
        assert isinstance(made, Httpx)


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramServer]:
    async with TelegramServer() as server:
        server.add_chat(1)
        yield server


@pytest.fixture
async def bot(telegram: TelegramServer, http: Client) -> AsyncIterator[Bot]:
    request = TelegramRequest(http)
    async with Bot(telegram.token, f"{telegram.url}/bot", request=request, get_updates_request=request) as made:
        yield made


async def test_the_bot_api_is_spoken_over_one_connection(bot: Bot, telegram: TelegramServer) -> None:
    sent = await bot.send_message(1, "<b>Grüße</b> & +5511 = 📌", parse_mode="HTML")
    assert sent.text == "Grüße & +5511 = 📌"
    await bot.send_message(1, "again")
    assert telegram.connections == 1


async def test_a_raw_call_is_the_librarys_call(bot: Bot, telegram: TelegramServer) -> None:
    parameters = {"chat_id": 1, "text": "<b>Grüße</b> & +5511 = 📌", "disable_notification": None}
    rows = [[{"text": "a", "callback_data": "b"}]]
    raw = await call_raw(
        bot, "sendMessage", parameters | {"parse_mode": "HTML", "reply_markup": {"inline_keyboard": rows}}
    )
    assert raw["text"] == "Grüße & +5511 = 📌"
    assert raw["reply_markup"]["inline_keyboard"] == rows
    assert "disable_notification" not in telegram.calls[-1].params
    telegram.fault("sendMessage", status=429, retry_after=3)
    with pytest.raises(RetryAfter):
        await call_raw(bot, "sendMessage", parameters)
    with pytest.raises(BadRequest, match="Chat not found"):
        await call_raw(bot, "sendMessage", parameters | {"chat_id": 404})


@pytest.mark.parametrize("how", [{"drop": "before"}, {"drop": "mid"}, {"raw": b"\0\0\0\0\r\n\r\n"}, {"status": 502}])
async def test_what_breaks_is_a_network_error_and_the_next_request_works(
    bot: Bot, telegram: TelegramServer, how: dict[str, Any]
) -> None:
    telegram.fault("sendMessage", **how)
    with pytest.raises(NetworkError):
        await bot.send_message(1, "hello")
    assert (await bot.send_message(1, "hello")).text == "hello"


async def test_an_answer_that_takes_too_long_is_a_network_error(bot: Bot, telegram: TelegramServer) -> None:
    telegram.fault("sendMessage", hang=True)
    with pytest.raises(NetworkError):
        await bot.send_message(1, "hello", read_timeout=0.2)


async def test_where_telegram_is_down_it_is_a_network_error(bot: Bot, telegram: TelegramServer) -> None:
    await telegram.down()
    with pytest.raises(NetworkError, match=r"^(Client)?Connect(or)?Error: "):
        await bot.send_message(1, "hello")


async def test_telegrams_own_refusals_keep_their_meaning(bot: Bot, telegram: TelegramServer) -> None:
    telegram.fault("sendMessage", status=429, retry_after=3)
    with pytest.raises(RetryAfter):
        await bot.send_message(1, "hello")
