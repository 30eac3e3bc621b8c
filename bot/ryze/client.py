"""The client of Ryze's one call, `POST /api/chat/pinChat/{instance}`."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import quote

import httpx

from bot import __version__
from bot.http_client import CONNECT_TIMEOUT
from bot.ryze.outcomes import OUTCOMES, Reply, decode_answer
from bot.ryze.rate_limit import RateLimit
from bot.settings.model import Instance

MAX_BYTES = 64 * 1024  # of an answer's body
HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
HEADERS["User-Agent"] = f"ryze-pin-bot/{__version__}"
_url = lru_cache(httpx.URL)


@dataclass
class RyzeClient:
    """Calls Ryze. Both timeouts are in seconds: of a whole call, and for a connection."""

    transport: httpx.AsyncBaseTransport
    base_url: str
    timeout: float
    connect_timeout: float = CONNECT_TIMEOUT

    async def pin_chat(self, instance: Instance, number: str, *, pin: bool, rate_limit: RateLimit) -> Reply:
        """Pin or unpin one chat, within one total deadline that covers the retries too. No outcome is an exception.

        `number` is digits with country code, or a JID. The caller has taken `rate_limit`'s slot for the first try.
        """
        body, sent = json.dumps({"number": number, "pin": pin}).encode(), asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.timeout):
                for tries_left in (2, 1, 0):
                    reply = await self._try(instance, body, sent, pin=pin, rate_limit=rate_limit)
                    if not tries_left or not reply.transient:
                        return reply
                    await asyncio.sleep(0.3)
                    if not rate_limit.try_take():
                        return reply
        return _unanswered(sent, "no whole answer in time")

    async def _try(
        self, instance: Instance, body: bytes, sent: asyncio.Event, *, pin: bool, rate_limit: RateLimit
    ) -> Reply:
        reply, headers = _unanswered(sent, ""), httpx.Headers()
        try:
            request = self._request(instance, body, sent)
            async with aclosing(await self.transport.handle_async_request(request)) as response:
                headers, answer = response.headers, b""
                async for chunk in response.aiter_raw():
                    answer += chunk
                    if len(answer) > MAX_BYTES:
                        break
            reply = decode_answer(response.status_code, headers, answer[:MAX_BYTES], pin=pin)
        except Exception as error:  # noqa: BLE001 - the libraries let through what ssl, idna and anyio raise
            reply = _unanswered(sent, f"{type(error).__name__}: {error}")
        finally:
            rate_limit.finish(headers, refused=reply.outcome.name == "rate_limited")
        return replace(reply, text=reply.text.replace(instance.token, "***")) if instance.token in reply.text else reply

    def _request(self, instance: Instance, body: bytes, sent: asyncio.Event) -> httpx.Request:
        async def content() -> AsyncIterator[bytes]:
            sent.set()  # a connection asks for the body: until then, nothing was sent
            yield body

        url = _url(f"{self.base_url}/api/chat/pinChat/{quote(instance.name, safe='')}")
        # Without its length, a body of unknown size goes out in chunks.
        headers = HEADERS | {"Content-Length": str(len(body)), "token": instance.token}
        limits = {"timeout": {"connect": self.connect_timeout}}
        return httpx.Request("POST", url, headers=headers, content=content(), extensions=limits)


def _unanswered(sent: asyncio.Event, why: str) -> Reply:
    return Reply(OUTCOMES["outcome_unknown" if sent.is_set() else "not_sent"], why, transient=True)
