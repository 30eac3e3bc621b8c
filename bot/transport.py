"""How requests leave: through aiohttp where the extra `fast` is installed, which takes a fraction of httpx's time."""

from __future__ import annotations

import json
import zlib
from contextlib import aclosing
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlencode
from urllib.request import getproxies

import httpx
from telegram.error import NetworkError
from telegram.request import BaseRequest

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterable, AsyncIterator, Mapping

    from telegram import Bot
    from telegram._utils.types import ODVInput
    from telegram.request import RequestData

# Kept for minutes: httpx's own 5 s would cost nearly every command a TLS handshake.
KEEP_ALIVE = 300.0
CONNECT, REPLY = 5.0, 10.0  # seconds for a connection to Telegram, and for the next bytes of its answer
MOST_HEADERS = 64 * 1024  # bytes of one header; aiohttp's own 8 KB are less than some proxies' policies
MOST_UPDATES = 32 * 1024 * 1024  # bytes of an answer of Telegram's: a hundred updates are far shorter


class Body:
    """A request's body that knows whether a connection ever asked for it, which tells "nothing was sent" apart."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.sent = False


@dataclass(slots=True)
class Request:
    """What is asked.

    `headers` are all but the body's length, and an empty `body` is none. In seconds, `connect` is for a connection and
    for its TLS handshake, `read` for the next bytes of the answer (None: as long as it takes). `most` bytes are read of
    the answer's body, and it may decompress to as many; of 0, it is not waited for.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: Body
    connect: float
    most: int
    read: float | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `body` is decoded, and empty if it was too long or in an encoding that was not asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client(Protocol):
    """Makes requests, over connections that it keeps; follows no redirect and keeps no cookie.

    What goes wrong in `request` is an exception of any type; its `body.sent` tells how far it came, unless it is empty.
    """

    async def request(self, asked: Request) -> Response:
        """Make one request."""

    async def aclose(self) -> None:
        """Close the connections."""


def client(tls: ssl.SSLContext, kept: int) -> Client:
    """Build a client; httpx's keeps so many connections at most.

    It is that one also where the environment names a proxy, since aiohttp reads those variables otherwise.

    Raises:
        ImportError, ValueError, httpx.InvalidURL: the environment's proxy can't be used.

    """
    proxies = getproxies()
    if find_spec("aiohttp") is None or any(proxies.get(scheme) for scheme in ("http", "https", "all")):
        return Httpx(tls, kept)
    from bot.fast import Aiohttp  # noqa: PLC0415 - the extra may be absent

    return Aiohttp(tls)


class Httpx:
    """The client on httpx."""

    def __init__(self, tls: ssl.SSLContext, kept: int) -> None:
        # No maximum: httpcore never takes back the place of a proxy's tunnel whose TLS handshake failed.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=kept, keepalive_expiry=KEEP_ALIVE)
        self._http = httpx.AsyncClient(verify=tls, limits=limits)

    async def request(self, asked: Request) -> Response:
        """As `Client.request`."""
        self._http.cookies.clear()
        request = self._http.build_request(
            asked.method,
            asked.url,
            headers={**asked.headers, "Content-Length": str(len(asked.body.content))},
            content=_Sending(asked.body),
            timeout=httpx.Timeout(None, connect=asked.connect, read=asked.read, write=asked.read),
        )
        response = await self._http.send(request, stream=True, follow_redirects=False)
        async with aclosing(response):
            answer = await whole(response.aiter_raw(), response.headers, asked.most)
            return Response(response.status_code, response.headers, answer)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


class _Sending(httpx.AsyncByteStream):
    def __init__(self, body: Body) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._body.sent = True
        yield self._body.content


async def whole(chunks: AsyncIterable[bytes], headers: Mapping[str, str], most: int) -> bytes:
    """Read a body within `most` bytes; one that is longer, or encoded otherwise than by gzip, counts as empty."""
    if not most:
        return b""
    received = bytearray()
    async for chunk in chunks:
        received += chunk
        if len(received) > most:
            return b""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return bytes(received)
    if encoding not in ("gzip", "x-gzip"):
        return b""
    unzip = zlib.decompressobj(wbits=31)
    try:
        answer = unzip.decompress(received, most + 1)
    except zlib.error:
        return b""
    return answer if unzip.eof and len(answer) <= most else b""


async def call_raw(bot: Bot, method: str, parameters: Mapping[str, object], read: float = REPLY) -> Any:  # noqa: ANN401 - as it came
    """Call a method of the Bot API and give its result as it came; a parameter that is None is left out.

    The bot's requests have to be a `TelegramRequest`. `Bot.do_api_request` takes nearly twice as long for the same.

    Raises:
        TelegramError: as every method of `Bot`.

    """
    texts = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in parameters.items()
        if value is not None
    }
    return await bot.request.post(f"{bot.base_url}/{method}", cast("RequestData", _Texts(texts)), read_timeout=read)


@dataclass(frozen=True, slots=True)
class _Texts:
    """As much of a RequestData as `TelegramRequest` reads."""

    json_parameters: dict[str, str]


class TelegramRequest(BaseRequest):
    """python-telegram-bot's requests through such a client, whose owner it is. Files can't be sent."""

    def __init__(self, http: Client) -> None:
        self._http = http
        self._headers = {
            "User-Agent": self.USER_AGENT,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
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
        await self._http.aclose()

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: ODVInput[float] = BaseRequest.DEFAULT_NONE,
        write_timeout: ODVInput[float] = BaseRequest.DEFAULT_NONE,  # noqa: ARG002 - no request is long
        connect_timeout: ODVInput[float] = BaseRequest.DEFAULT_NONE,
        pool_timeout: ODVInput[float] = BaseRequest.DEFAULT_NONE,  # noqa: ARG002 - a place is waited for as long as it takes
    ) -> tuple[int, bytes]:
        """Make a request and give the answer's status and body.

        Raises:
            NetworkError: whatever goes wrong.

        """
        asked = Request(
            method,
            url,
            self._headers,
            Body(urlencode(request_data.json_parameters).encode() if request_data else b""),
            connect=connect_timeout if isinstance(connect_timeout, int | float) else CONNECT,
            read=read_timeout if isinstance(read_timeout, int | float) else REPLY,
            most=MOST_UPDATES,
        )
        try:
            response = await self._http.request(asked)
        except Exception as error:  # the library's own wrapping shows the repr, with the whole request in it
            raise NetworkError(f"{type(error).__name__}: {error}".removesuffix(": ")) from error
        return response.status, response.body
