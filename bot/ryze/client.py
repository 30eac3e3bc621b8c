"""The client of Ryze's one call, `POST /api/chat/pinChat/{instance}`."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from functools import lru_cache
from urllib.parse import quote

import httpx

from bot import __version__
from bot.ryze.outcomes import OUTCOMES, Reply, decode_answer
from bot.ryze.rate_limit import RateLimit
from bot.settings.model import Instance

PIN_CHAT = "/api/chat/pinChat/"
MAX_BYTES = 64 * 1024  # of an answer's body
TRIES = 3
HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
HEADERS["User-Agent"] = f"ryze-pin-bot/{__version__}"


class RyzeClient:
    """Calls Ryze through an HTTP client, which stays its owner's to close. `timeout` is in seconds."""

    def __init__(self, http: httpx.AsyncClient, base_url: str, timeout: float) -> None:
        self._http = http
        self._base_url = base_url
        self._timeout = timeout

    async def pin_chat(self, instance: Instance, number: str, *, pin: bool, rate_limit: RateLimit) -> Reply:
        """Pin or unpin one chat, within one total deadline that covers the retries too. No outcome is an exception.

        `number` is digits with country code, or a JID. The caller has taken `rate_limit`'s slot for the first try.
        """
        body = _Body(json.dumps({"number": number, "pin": pin}).encode())
        try:
            async with asyncio.timeout(self._timeout):
                for tries_left in reversed(range(TRIES)):
                    reply = await self._try(instance, body, pin=pin, rate_limit=rate_limit)
                    if not tries_left or not reply.transient:
                        break
                    await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - spreads the load, guards nothing
                    if not rate_limit.try_take():
                        break
                return reply
        except TimeoutError:
            return _no_answer(body, "no whole answer in time")

    async def _try(self, instance: Instance, body: "_Body", *, pin: bool, rate_limit: RateLimit) -> Reply:
        reply, answered = None, httpx.Headers()
        # Without its length, a body of unknown size goes out in chunks.
        headers = {**HEADERS, "Content-Length": str(len(body.content)), "token": instance.token}
        try:
            request = httpx.Request("POST", _url(self._base_url, instance.name), headers=headers, content=body)
            async with aclosing(await self._http.send(request, stream=True, follow_redirects=False)) as response:
                answered, answer = response.headers, b""
                async for chunk in response.aiter_raw():
                    answer += chunk
                    if len(answer) > MAX_BYTES:
                        break
            reply = decode_answer(response.status_code, answered, answer[:MAX_BYTES], pin=pin)
        except Exception as error:  # noqa: BLE001 - the libraries let through what ssl, idna and anyio raise
            reply = _no_answer(body, f"{type(error).__name__}: {error}")
        finally:
            rate_limit.finish(answered, refused=reply is not None and reply.outcome.name == "rate_limited")
        return replace(reply, text=reply.text.replace(instance.token, "***")) if instance.token in reply.text else reply


class _Body(httpx.AsyncByteStream):
    """A request's body that notes whether a connection asked for it: until then, nothing was sent."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.sent = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.sent = True
        yield self.content


@lru_cache
def _url(base_url: str, instance_name: str) -> httpx.URL:
    return httpx.URL(f"{base_url}{PIN_CHAT}{quote(instance_name, safe='')}")


def _no_answer(body: _Body, why: str) -> Reply:
    return Reply(OUTCOMES["outcome_unknown" if body.sent else "not_sent"], why, transient=True)
