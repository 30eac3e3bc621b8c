"""What the HTTP calls ignore, and which way they go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest

from bot.http_client import build_transport, open_session
from bot.ryze.client import RateLimit, RyzeClient
from bot.settings.model import Instance
from bot.telegram import build_bot


class Server:
    """Answers each request with what a test says, and keeps what it received."""

    def __init__(self) -> None:
        self.answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 2\r\n\r\nok"
        self.requests: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        server.url = f"http://localhost:{listening.sockets[0].getsockname()[1]}/path"
        yield server
        for writer in server.writers:
            writer.close()


async def test_cookies_and_what_a_server_says_unasked_are_ignored(server: Server) -> None:
    async with build_transport(server.url) as transport:
        for connections in (1, 2):
            response = await transport.handle_async_request(httpx.Request("GET", server.url))
            assert (response.status_code, await response.aread()) == (200, b"ok")
            assert len(server.writers) == connections
            server.writers[-1].write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nidle")
            for _ in range(10):  # until it has arrived: what comes after the next request is taken for its answer
                await asyncio.sleep(0.01)
    assert b"cookie" not in server.requests[1].lower()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "all_proxy"])
async def test_a_proxy_that_the_environment_names_for_an_address_is_used(
    server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, server.url)
    monkeypatch.setenv("NO_PROXY", "localhost")
    for url in ("http://ryze.example/api", server.url):
        async with build_transport(url) as transport:
            response = await transport.handle_async_request(httpx.Request("GET", url))
            assert await response.aread() == b"ok"
    server.answer = b'HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{"ok":true,"result":true}'
    async with build_bot("123456:token", "http://telegram.example").request as request:
        assert await request.post("http://telegram.example/bot123456:token/logOut") is True
    assert [head.partition(b" HTTP")[0] for head in server.requests] == [
        b"GET http://ryze.example/api",
        b"GET /path",
        b"POST http://telegram.example/bot123456:token/logOut",
    ]


@pytest.mark.parametrize(
    "proxy", ["http://u:pass#word@127.0.0.1:1", "http://u:pass/word@h:1", "socks5://u:p@h:1", "a:b:c"]
)
async def test_a_proxy_that_is_none_is_told_without_its_password(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ValueError, match="the proxy is not http://host:port") as refused:
        open_session("https://ryze.example")
    assert "word" not in str(refused.value)


async def test_a_tunnel_that_a_proxy_refuses_means_that_nothing_was_sent(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.url.removeprefix("http://"))
    server.answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    async with build_transport("https://ryze.example") as transport:
        client = RyzeClient(transport, "https://ryze.example", timeout=30)
        reply = await client.pin_chat(Instance(name="a", token="t"), "5511", pin=True, rate_limit=RateLimit())
    assert reply.outcome.name == "not_sent"
    assert server.requests[0].startswith(b"CONNECT ryze.example:443 ")
