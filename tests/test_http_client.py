"""The HTTP clients over real connections: what they keep, what they ignore, and which way they go."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest

from bot.http_client import build
from bot.telegram import build_bot

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers each request with what a test says, and keeps what it received."""

    def __init__(self) -> None:
        self.answer = OK
        self.requests: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lengths = [line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
                self.requests.append(head + await reader.readexactly(sum(map(int, lengths))))
                writer.write(self.answer)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/path"
        yield server
        for writer in server.writers:
            writer.close()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with build() as client:
        yield client


async def arrived() -> None:
    """Wait until what the server did has reached the client."""
    for _ in range(10):
        await asyncio.sleep(0.01)


async def test_a_connection_is_kept_and_one_that_the_server_closed_is_replaced(
    server: Server, http: httpx.AsyncClient
) -> None:
    for _ in range(3):
        assert (await http.get(server.url)).text == "ok"
    assert len(server.writers) == 1
    server.writers[0].close()
    await arrived()
    assert (await http.get(server.url)).text == "ok"
    assert len(server.writers) == 2


async def test_what_a_server_says_unasked_is_not_taken_for_the_next_answer(
    server: Server, http: httpx.AsyncClient
) -> None:
    await http.get(server.url)
    server.writers[0].write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nidle")
    await arrived()  # what comes after the request was sent is taken for its answer
    response = await http.get(server.url)
    assert (response.status_code, response.text) == (200, "ok")
    assert len(server.writers) == 2


async def test_no_redirect_is_followed_and_no_cookie_is_kept(server: Server, http: httpx.AsyncClient) -> None:
    server.answer = b"HTTP/1.1 307 Moved\r\nContent-Length: 0\r\nLocation: /\r\nSet-Cookie: a=b; Path=/\r\n\r\n"
    for _ in range(2):  # by name, since aiohttp takes no cookie from an address
        assert (await http.get(server.url.replace("127.0.0.1", "localhost"))).status_code == 307
    assert len(server.requests) == 2
    assert b"cookie" not in server.requests[1].lower()


async def test_long_headers_and_compressed_bodies_are_read(server: Server, http: httpx.AsyncClient) -> None:
    body = gzip.compress(b"x" * 1000)
    policy = b"Content-Security-Policy: " + b"x" * 60_000
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n%s\r\n\r\n"
    server.answer = head % (len(body), policy) + body
    assert (await http.get(server.url)).text == "x" * 1000


@pytest.mark.parametrize("name", ["HTTP_PROXY", "all_proxy"])
async def test_a_proxy_that_the_environment_names_is_used(
    server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, server.url)
    async with build() as http:
        assert (await http.get("http://ryze.example/api")).text == "ok"
    server.answer = b'HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{"ok":true,"result":true}'
    bot = build_bot("123456:token", "http://telegram.example")
    async with bot.request:
        assert await bot.do_api_request("logOut_") is True
    lines = [request.partition(b"\r\n")[0] for request in server.requests]
    assert lines == [
        b"GET http://ryze.example/api HTTP/1.1",
        b"POST http://telegram.example/bot123456:token/logOut HTTP/1.1",
    ]
