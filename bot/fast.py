"""The client on aiohttp, of the extra `fast`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import httpx
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from aiohttp.payload import BytesPayload
from yarl import URL

from bot.transport import KEEP_ALIVE, MOST_HEADERS, Body, Request, Response, whole

if TYPE_CHECKING:
    import ssl

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace


class Aiohttp:
    """As `bot.transport.Client`; to be built inside the event loop."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._session = ClientSession(
            connector=_Connector(ssl=tls, limit=0, keepalive_timeout=KEEP_ALIVE),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            max_line_size=MOST_HEADERS,
            max_field_size=MOST_HEADERS,
        )

    async def request(self, asked: Request) -> Response:
        """As `Client.request`."""
        async with self._session.request(
            asked.method,
            _url(asked.url),
            headers=asked.headers,
            data=_Sending(asked.body) if asked.body.content else None,
            timeout=_timeout(asked.connect, asked.read),
            allow_redirects=False,
        ) as response:
            answer = await whole(response.content.iter_any(), response.headers, asked.most)
            return Response(response.status, response.headers, answer)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()


class _Connector(TCPConnector):
    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        # aiohttp would take what a server said unasked, as a 408 for idling, for the answer to the next request.
        while connection := await super()._get(key, traces):
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None


class _Sending(BytesPayload):
    def __init__(self, body: Body) -> None:
        super().__init__(body.content)
        self._body = body

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._body.sent = True
        await super().write_with_length(writer, content_length)


@lru_cache(maxsize=1024)
def _url(url: str) -> URL:
    """Normalise a URL as httpx does, and no further."""
    return URL(str(httpx.URL(url)), encoded=True)


@lru_cache(maxsize=64)
def _timeout(connect: float, read: float | None) -> ClientTimeout:
    return ClientTimeout(sock_connect=connect, sock_read=read)
