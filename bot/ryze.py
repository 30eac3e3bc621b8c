"""The client of Ryze's one call, `POST /api/chat/pinChat/{instance}`; the only module that knows httpx's errors."""

from __future__ import annotations

import asyncio
import json
import random
import zlib
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

import httpx

from bot.outcomes import NotSent, OutcomeUnknown, PinnedChat, RateLimited, RyzeError, decode_answer, has_envelope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from bot.config import Instance

MAX_ANSWER = 64 * 1024  # bytes read of an answer, and bytes it may decompress to
ATTEMPTS = 3
CONNECT = 5.0  # seconds at most for a connection, and again for its TLS handshake
PIN_CHAT = "/api/chat/pinChat/"


class Meter(Protocol):
    """Counts the requests made with one token."""

    def begin(self) -> bool:
        """Count a further attempt, or answer False: none is left for it."""

    def end(self, headers: Mapping[str, str], *, refused: bool = False) -> None:
        """Note that an attempt ended.

        Args:
            headers: its answer's; empty if none came.
            refused: whether the server refused it because the budget is used up.

        """


class RyzeClient:
    """Calls Ryze through one `httpx.AsyncClient`, which stays its owner's to close. `timeout` is in seconds."""

    def __init__(self, http: httpx.AsyncClient, base_url: str, timeout: float) -> None:
        self._http = http
        self._base_url = base_url
        self._timeout = timeout

    async def pin_chat(self, instance: Instance, number: str, *, pin: bool, meter: Meter) -> PinnedChat:
        """Pin or unpin one chat, within one total deadline that covers the retries too.

        Args:
            instance: whose WhatsApp, and the token for it.
            number: digits with country code, or a chat's JID.
            pin: True pins, False unpins.
            meter: counts each attempt; the first was counted by the caller, who may have waited for it.

        Raises:
            RyzeError: anything but a confirmation of what was asked.

        """
        body = _Body(json.dumps({"number": number, "pin": pin}).encode())
        deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            async with asyncio.timeout_at(deadline):
                attempts = 0
                while True:
                    result, passing = await self._attempt(instance, body, deadline, pin=pin, meter=meter)
                    attempts += 1
                    if attempts == ATTEMPTS or not passing:
                        break
                    await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - spreads the load, guards nothing
                    if not meter.begin():
                        break
        except TimeoutError:
            raise body.silence("no whole answer in time") from None
        if isinstance(result, RyzeError):
            raise result
        return result

    async def _attempt(
        self, instance: Instance, body: _Body, deadline: float, *, pin: bool, meter: Meter
    ) -> tuple[PinnedChat | RyzeError, bool]:
        """Make one request; tell what came of it, and whether that may pass, so that another may do better."""
        headers = httpx.Headers()
        result: PinnedChat | RyzeError | None = None
        try:
            status, headers, answer = await self._exchange(instance, body, deadline)
            passing = status in (502, 504) or (status == 503 and not has_envelope(answer))
            result = decode_answer(status, headers, answer, pin=pin)
        except RyzeError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - httpx lets through what ssl, idna and anyio raise
            result, passing = body.silence(f"{type(error).__name__}: {error}"), True
        finally:
            meter.end(headers, refused=isinstance(result, RateLimited))
        return result, passing

    async def _exchange(self, instance: Instance, body: _Body, deadline: float) -> tuple[int, httpx.Headers, bytes]:
        left = deadline - asyncio.get_running_loop().time()
        request = self._http.build_request(
            "POST",
            f"{self._base_url}{PIN_CHAT}{quote(instance.name, safe='')}",
            headers={
                "token": instance.token,
                "Content-Type": "application/json",
                "Content-Length": str(len(body.content)),
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            content=body,
            # Counts twice, for TCP and for TLS: a handshake through a proxy that the deadline cancels, instead of it
            # ending by itself before, keeps its socket.
            timeout=httpx.Timeout(None, connect=min(CONNECT, left * 0.45)),
        )
        response = await self._http.send(request, stream=True, follow_redirects=False)
        async with aclosing(response):
            return response.status_code, response.headers, await _read(response)


class _Body(httpx.AsyncByteStream):
    """A request's body that knows whether a connection ever asked for it, which tells "nothing was sent" apart."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._sent = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._sent = True
        yield self.content

    def silence(self, why: str) -> RyzeError:
        """What it means that no whole answer came."""
        return OutcomeUnknown(why) if self._sent else NotSent(why)


async def _read(response: httpx.Response) -> bytes:
    """Read a body within `MAX_ANSWER`; one that is longer, or encoded otherwise than by gzip, counts as empty."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    received = bytearray()
    async for chunk in response.aiter_raw():
        received += chunk
        if len(received) > MAX_ANSWER:
            return b""
    if encoding in ("identity", ""):
        return bytes(received)
    if encoding not in ("gzip", "x-gzip"):
        return b""
    unzip = zlib.decompressobj(wbits=31)
    try:
        answer = unzip.decompress(received, MAX_ANSWER + 1)
    except zlib.error:
        return b""
    return answer if unzip.eof and len(answer) <= MAX_ANSWER else b""
