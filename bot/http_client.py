"""One way to make HTTP calls: aiohttp, also below httpx, takes a third of the CPU time of httpx's own transport.

They follow no redirect and keep no cookie. Where the environment names a proxy, httpx's own transport heeds it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Any
from urllib.request import getproxies

import httpx
from aiohttp import ClientSession, DummyCookieJar, TCPConnector
from aiohttp.connector import Connection
from httpx_aiohttp import AiohttpTransport

CONNECT_TIMEOUT = 5.0  # seconds, TLS handshake included
KEEP_ALIVE = 300.0  # seconds; httpx's own 5 s would cost nearly every command a TLS handshake
MAX_HEADER_BYTES = 64 * 1024  # of one header; aiohttp's own 8 KB are less than some proxies' policies
Send = Callable[[httpx.Request], Awaitable[httpx.Response]]  # gives an answer that is yet to be read, and closed
_tls = cache(httpx.create_ssl_context)  # reading the certificates takes longer than a whole command


@asynccontextmanager
async def connect() -> AsyncIterator[Send]:
    """Give what sends requests over kept connections, each within the time that its extensions allow.

    Raises ImportError, OSError, ValueError or httpx.InvalidURL if the environment's proxy or certificates are no good.
    """
    if options := proxy_options():
        async with httpx.AsyncClient(timeout=None, **options) as client:  # noqa: S113 - it is the request's
            yield partial(client.send, stream=True)
    else:
        async with AiohttpTransport(verify=_tls(), client=open_session) as transport:
            yield transport.handle_async_request


def proxy_options() -> dict[str, Any]:
    """Build what `httpx.AsyncClient` takes where the environment names a proxy, else nothing; raises as `connect`."""
    if {"http", "https", "all"}.isdisjoint(getproxies()):
        return {}
    # No maximum: httpcore never takes back the place of a proxy's tunnel whose TLS handshake failed.
    return {"verify": _tls(), "limits": httpx.Limits(keepalive_expiry=KEEP_ALIVE)}


def open_session() -> ClientSession:
    """Open aiohttp's client, which knows nothing of proxies, inside the event loop."""
    connector = _Connector(ssl=_tls(), limit=0, keepalive_timeout=KEEP_ALIVE)
    return ClientSession(connector=connector, cookie_jar=DummyCookieJar(), max_field_size=MAX_HEADER_BYTES)


class _Connector(TCPConnector):
    async def _get(self, *args: Any) -> Connection | None:  # noqa: ANN401 - aiohttp's own arguments
        # aiohttp would take what a server said unasked, such as a 408 for idling, for the answer to the next request.
        while connection := await super()._get(*args):
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None
