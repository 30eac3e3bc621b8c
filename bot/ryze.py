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
PIN_CHAT = "/api/chat/pinChat/"


class Meter(Protocol):
    """Counts the requests made with one token."""

    def begin(self) -> bool:
        """Count a further attempt, or answer False: none is left for it."""

    def end(self, headers: Mapping[str, str]) -> None:
        """Note that an attempt ended, with its answer's headers or, if none came, with none."""

    def exhausted(self, headers: Mapping[str, str]) -> None:
        """Note that the server refused an attempt because the budget is used up."""


class RyzeClient:
    """Calls Ryze through one `httpx.AsyncClient`, which stays its owner's to close."""

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
        try:
            async with asyncio.timeout(self._timeout):
                status, headers, answer = await self._answer(instance, body, meter)
        except TimeoutError:
            raise self._silence("no whole answer in time", sent=body.sent) from None
        try:
            return decode_answer(status, headers, answer, pin=pin)
        except RateLimited:
            meter.exhausted(headers)
            raise

    async def _answer(self, instance: Instance, body: _Body, meter: Meter) -> tuple[int, httpx.Headers, bytes]:
        for left in reversed(range(ATTEMPTS)):
            headers, failure = httpx.Headers(), None
            try:
                status, headers, answer = await self._attempt(instance, body)
            except httpx.HTTPError as error:
                failure = self._silence(f"{type(error).__name__}: {error}", sent=body.sent)
                if not left or isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
                    raise failure from error
            else:
                passing = status in (502, 504) or (status == 503 and not has_envelope(answer))
                if not left or not passing:
                    return status, headers, answer
            finally:
                meter.end(headers)
            await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - spreads the load, guards nothing
            if not meter.begin():
                if failure is None:
                    return status, headers, answer
                raise failure
        raise AssertionError  # pragma: no cover - the last attempt returns or raises

    async def _attempt(self, instance: Instance, body: _Body) -> tuple[int, httpx.Headers, bytes]:
        request = self._http.build_request(
            "POST",
            f"{self._base_url}{PIN_CHAT}{quote(instance.name, safe='')}",
            headers={
                "token": instance.token,
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            content=body,
        )
        response = await self._http.send(request, stream=True, follow_redirects=False)
        async with aclosing(response):
            return response.status_code, response.headers, await _read(response)

    @staticmethod
    def _silence(why: str, *, sent: bool) -> RyzeError:
        return OutcomeUnknown(why) if sent else NotSent(why)


class _Body(httpx.AsyncByteStream):
    """A request's body that knows whether a connection ever asked for it, which tells "nothing was sent" apart."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.sent = False

    def __len__(self) -> int:
        return len(self._content)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.sent = True
        yield self._content


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
        answer = unzip.decompress(bytes(received), MAX_ANSWER)
    except zlib.error:
        return b""
    return answer if unzip.eof else b""
