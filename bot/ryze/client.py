"""The client of Ryze's one call, `POST /api/chat/pinChat/{instance}`, and how often a token may be used for it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import quote

import httpx

from bot import __version__
from bot.http_client import CONNECT_TIMEOUT
from bot.ryze.outcomes import OUTCOMES, Reply, decode_answer
from bot.settings.model import Instance

WINDOW = 60.0  # seconds
LIMIT, MAX_LIMIT = 100, 1000  # requests a window and token, at first and as what may be learnt at most
UNKNOWN_RESET = 10.0  # seconds to wait where the answer does not say when to come back
MAX_BYTES = 64 * 1024  # of an answer's body
HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
HEADERS["User-Agent"] = f"ryze-pin-bot/{__version__}"
_url = lru_cache(httpx.URL)


class RateLimit:
    """One token's. Whoever takes a slot finishes it; the request counts until a window after that."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.limit = LIMIT
        self._clock = clock  # Unix seconds
        self._used = 0  # by requests, until a window after their answers, and by what holds the token
        self._queue = asyncio.Lock()  # first come, first served; its holder waits for a slot
        self._changed = asyncio.Event()

    @property
    def available(self) -> int:
        """How many requests could begin now."""
        return max(0, self.limit - self._used)

    def try_take(self) -> bool:
        """Take a slot if there is one now."""
        taken = self.available > 0
        self._used += taken
        return taken

    async def take(self) -> None:
        """Wait, first come first served, for a slot and take it."""
        async with self._queue:
            while not self.try_take():
                self._changed.clear()
                await self._changed.wait()

    def finish(self, headers: Mapping[str, str], *, refused: bool = False) -> None:
        """Note a request's end: its answer's headers, if one came, and whether it was over the limit."""
        loop = asyncio.get_running_loop()
        loop.call_later(WINDOW, self._free, 1)
        limit, left, reset = (_number(headers, f"x-ratelimit-{name}") for name in ("limit", "remaining", "reset"))
        self.limit = max(self.limit, min(limit, MAX_LIMIT))
        self._changed.set()
        if refused or left == 0:
            seconds = reset - self._clock() + 1  # for the header's rounding
            seconds = min(seconds, WINDOW) if 0 < seconds < 2 * WINDOW else UNKNOWN_RESET
            self._used += MAX_LIMIT  # holds the token
            loop.call_later(seconds, self._free, MAX_LIMIT)

    def _free(self, slots: int) -> None:
        self._used -= slots
        self._changed.set()


def _number(headers: Mapping[str, str], name: str) -> int:
    """A header's whole number, or -1."""
    value = headers.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 16 else -1


@dataclass
class RyzeClient:
    """Calls Ryze. Both timeouts are in seconds: of a whole call, and for a connection."""

    transport: httpx.AsyncBaseTransport
    base_url: str
    timeout: float
    connect_timeout: float = CONNECT_TIMEOUT

    async def pin_chat(self, instance: Instance, number: str, *, pin: bool, rate_limit: RateLimit) -> Reply:
        """Pin or unpin a number or JID, in one deadline for all tries; the slot for the first of them is taken."""
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
