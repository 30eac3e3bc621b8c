"""One way to make HTTP calls: aiohttp, also below httpx, takes a third of the CPU time of httpx's own transport."""

import re
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
from aiohttp import ClientSession, DummyCookieJar, TCPConnector
from aiohttp.connector import Connection
from httpx_aiohttp import AiohttpTransport

CONNECT_TIMEOUT = 5.0  # seconds, TLS handshake included
KEEP_ALIVE = 300.0  # seconds; httpx's own 5 s would cost nearly every command a TLS handshake
MAX_HEADER_BYTES = 64 * 1024  # of one header; aiohttp's own 8 KB are less than some proxies' policies

_PROXY = re.compile(r"(?i:https?)://([^/?#@\s]*@)?(\[[0-9a-fA-F:.]+\]|[^/?#@:\s]+)(:[0-9]{1,5})?(/[^?#@\s]*)?")
_tls = cache(httpx.create_ssl_context)  # reading the certificates takes longer than a whole command


def build_transport(url: str) -> AiohttpTransport:
    """Build httpx's transport to an address; raises as `open_session`."""
    return AiohttpTransport(verify=_tls(), client=partial(open_session, url))


def open_session(url: str) -> ClientSession:
    """Open a session in the event loop; raises OSError or ValueError for the environment's certificates or proxy."""
    address = urlsplit(url)
    proxies = {} if proxy_bypass(address.hostname or "") else getproxies()
    proxy = proxies.get(address.scheme, proxies.get("all", ""))
    proxy = f"http://{proxy}" if proxy and "://" not in proxy else proxy
    if proxy and not _PROXY.fullmatch(proxy):  # it may hold a password, which other messages would quote
        raise ValueError("the proxy is not http://host:port, or has a character that must be percent-encoded")
    connector = _Connector(ssl=_tls(), limit=0, keepalive_timeout=KEEP_ALIVE)
    return ClientSession(
        connector=connector, cookie_jar=DummyCookieJar(), max_field_size=MAX_HEADER_BYTES, proxy=proxy or None
    )


class _Connector(TCPConnector):
    async def _get(self, *args: Any) -> Connection | None:  # noqa: ANN401 - aiohttp's own arguments
        # aiohttp would take what a server said unasked, such as a 408 for idling, for the answer to the next request.
        while connection := await super()._get(*args):
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None
