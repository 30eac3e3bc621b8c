"""How requests leave: through aiohttp where the extra `fast` is installed, which halves a command's processor time."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from urllib.request import getproxies

import httpx
from telegram.error import NetworkError, TimedOut
from telegram.request import BaseRequest

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator

    from httpx_aiohttp import AiohttpTransport
    from telegram._utils.types import ODVInput
    from telegram.request import RequestData

CONNECT, REPLY = (
    5.0,
    10.0,
)  # seconds for a connection, and for the next bytes of an answer where the caller does not say


def transport(tls: ssl.SSLContext, limits: httpx.Limits) -> httpx.AsyncBaseTransport | None:
    """Build a transport for one client; None stands for httpx's own.

    That one is also used where the environment names a proxy: httpx looks for proxies only if it is given no transport.
    """
    proxies = getproxies()
    if find_spec("httpx_aiohttp") is None or any(proxies.get(scheme) for scheme in ("http", "https", "all")):
        return None
    # Not at the top, since the extra may be absent.
    from aiohttp import ClientSession, DummyCookieJar, TCPConnector  # noqa: PLC0415
    from httpx_aiohttp import AiohttpTransport  # noqa: PLC0415

    def session() -> ClientSession:
        connector = TCPConnector(
            ssl=tls, limit=limits.max_connections or 0, keepalive_timeout=limits.keepalive_expiry or 0
        )
        return ClientSession(connector=connector, cookie_jar=DummyCookieJar())

    return _Fast(AiohttpTransport(verify=tls, client=session))


class TelegramRequest(BaseRequest):
    """python-telegram-bot's requests straight through a transport: httpx's client above it would cost as much again.

    Files can't be sent.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self._url = lru_cache(maxsize=64)(httpx.URL)
        self._headers = {
            "User-Agent": self.USER_AGENT,
            "Accept-Encoding": "gzip, deflate",
            "Content-Type": "application/x-www-form-urlencoded",
        }

    @property
    def read_timeout(self) -> float:
        """How many seconds an answer may leave one waiting, where the caller does not say."""
        return REPLY

    async def initialize(self) -> None:
        """Nothing: a connection is opened when it is needed."""

    async def shutdown(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: ODVInput[float] = BaseRequest.DEFAULT_NONE,
        write_timeout: ODVInput[float] = BaseRequest.DEFAULT_NONE,
        connect_timeout: ODVInput[float] = BaseRequest.DEFAULT_NONE,
        pool_timeout: ODVInput[float] = BaseRequest.DEFAULT_NONE,  # noqa: ARG002 - a place is waited for as long as it takes
    ) -> tuple[int, bytes]:
        """Make a request and give the answer's status and body.

        Raises:
            TimedOut: a connection or an answer took too long.
            NetworkError: anything else that is wrong with them.

        """
        timeout = {"connect": connect_timeout, "read": read_timeout, "write": write_timeout}
        usual = {"connect": CONNECT, "read": REPLY, "write": REPLY}
        seconds = {name: told if isinstance(told, int | float) else usual[name] for name, told in timeout.items()}
        request = httpx.Request(
            method,
            self._url(url),
            headers=self._headers,
            content=urlencode(request_data.json_parameters).encode() if request_data else b"",
            extensions={"timeout": {**seconds, "pool": None}},
        )
        try:
            response = await self._inner.handle_async_request(request)
            try:
                return response.status_code, await response.aread()
            finally:
                await response.aclose()
        except httpx.TimeoutException as error:
            raise TimedOut from error
        except httpx.HTTPError as error:
            raise NetworkError(f"{type(error).__name__}: {error}") from error


class _Fast(httpx.AsyncBaseTransport):
    """The extra's transport, with errors that are httpx's own: all of them, and each under its right name."""

    def __init__(self, inner: AiohttpTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with _as_httpx():
            response = await self._inner.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - it gives no other
        response.stream = _Stream(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for chunk in self._inner:
                yield chunk

    async def aclose(self) -> None:
        with _as_httpx():
            await self._inner.aclose()


@contextmanager
def _as_httpx() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - aiohttp also raises bare ValueErrors, TypeErrors and RuntimeErrors
        cause = error.__cause__ if isinstance(error, httpx.HTTPError) and error.__cause__ else error
        raise _kind(cause)(f"{type(cause).__name__}: {cause}") from cause


def _kind(error: BaseException) -> type[httpx.TransportError]:
    import aiohttp  # noqa: PLC0415 - the extra may be absent

    # From the particular to the general: the first that fits is it.
    kinds: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
        (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
        (aiohttp.ClientConnectorError, httpx.ConnectError),
        (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
        (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
        (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
        (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
        (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
        (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol),
        (aiohttp.ClientError, httpx.ReadError),
        (OSError, httpx.ReadError),
    )
    return next((kind for theirs, kind in kinds if isinstance(error, theirs)), httpx.LocalProtocolError)
