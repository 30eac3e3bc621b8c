"""One way to build HTTP clients: aiohttp, also below httpx, takes a third of the CPU time of httpx's own transport.

They follow no redirect and keep no cookie. Where the environment names a proxy, httpx's own transport heeds it.
"""

from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ssl import SSLContext
from typing import Any
from urllib.request import getproxies

import httpx
from aiohttp import ClientSession, DummyCookieJar, TCPConnector
from aiohttp.connector import Connection
from httpx_aiohttp import AiohttpTransport

CONNECT_TIMEOUT = 5.0  # seconds, TLS handshake included
KEEP_ALIVE = 300.0  # seconds; httpx's own 5 s would cost nearly every command a TLS handshake
MAX_HEADER_BYTES = 64 * 1024  # of one header; aiohttp's own 8 KB are less than some proxies' policies


def build(*, connect_timeout: float = CONNECT_TIMEOUT) -> httpx.AsyncClient:
    """Build a client that waits `connect_timeout` seconds for a connection, and without a limit for the answer.

    Raises ImportError, OSError, ValueError or httpx.InvalidURL if the environment's proxy or certificates are no good.
    """
    # aiohttp takes the time for a place in its pool as the time for all of connecting.
    timeout = httpx.Timeout(None, connect=connect_timeout, pool=connect_timeout)
    return httpx.AsyncClient(timeout=timeout, **httpx_options())


def httpx_options() -> dict[str, Any]:
    """Build what `httpx.AsyncClient` takes besides its timeout; raises as `build`."""
    options = {"verify": _tls(), "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=()))}
    if uses_proxy():
        # No maximum: httpcore never takes back the place of a proxy's tunnel whose TLS handshake failed.
        return options | {"limits": httpx.Limits(keepalive_expiry=KEEP_ALIVE)}
    return options | {"transport": AiohttpTransport(verify=_tls(), client=open_session)}


def uses_proxy() -> bool:
    """Whether the environment names a proxy."""
    return not {"http", "https", "all"}.isdisjoint(getproxies())


def open_session() -> ClientSession:
    """Open aiohttp's client, which knows nothing of proxies, inside the event loop."""
    connector = _Connector(ssl=_tls(), limit=0, keepalive_timeout=KEEP_ALIVE)
    return ClientSession(connector=connector, cookie_jar=DummyCookieJar(), max_field_size=MAX_HEADER_BYTES)


@cache
def _tls() -> SSLContext:
    return httpx.create_ssl_context()  # reading the certificates takes longer than a whole command


class _Connector(TCPConnector):
    async def _get(self, *args: Any) -> Connection | None:  # noqa: ANN401 - aiohttp's own arguments
        # aiohttp would take what a server said unasked, such as a 408 for idling, for the answer to the next request.
        while connection := await super()._get(*args):
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None
