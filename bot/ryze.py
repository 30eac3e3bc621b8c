"""The client of Ryze's one call, `POST /api/chat/pinChat/{instance}`."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from bot import __version__
from bot.outcomes import NotSent, OutcomeUnknown, PinnedChat, RateLimited, RyzeError, decode_answer, has_envelope
from bot.transport import Body, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bot.config import Instance
    from bot.transport import Client

MAX_ANSWER = 64 * 1024  # bytes read of an answer, and bytes it may decompress to
ATTEMPTS = 3
CONNECT = 5.0  # seconds at most for a connection, and again for its TLS handshake
PIN_CHAT = "/api/chat/pinChat/"
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": f"ryze-pin-bot/{__version__}",
}


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
    """Calls Ryze through a client, which stays its owner's to close. `timeout` is in seconds."""

    def __init__(self, http: Client, base_url: str, timeout: float) -> None:
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
        body = Body(json.dumps({"number": number, "pin": pin}).encode())
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
            raise _silence(body, "no whole answer in time") from None
        if isinstance(result, RyzeError):
            raise result
        return result

    async def _attempt(
        self, instance: Instance, body: Body, deadline: float, *, pin: bool, meter: Meter
    ) -> tuple[PinnedChat | RyzeError, bool]:
        """Make one request; tell what came of it, and whether that may pass, so that another may do better."""
        headers: Mapping[str, str] = {}
        result: PinnedChat | RyzeError | None = None
        left = deadline - asyncio.get_running_loop().time()
        try:
            asked = Request(
                "POST",
                f"{self._base_url}{PIN_CHAT}{quote(instance.name, safe='')}",
                {**HEADERS, "token": instance.token},
                body,
                # Counts twice, for TCP and for TLS: a handshake through a proxy that the deadline cancels, instead of
                # it ending by itself before, keeps its socket.
                connect=min(CONNECT, left * 0.45),
                most=MAX_ANSWER,
            )
            answer = await self._http.request(asked)
            headers = answer.headers
            passing = answer.status in (502, 504) or (answer.status == 503 and not has_envelope(answer.body))
            result = decode_answer(answer.status, headers, answer.body, pin=pin)
        except RyzeError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - the libraries let through what ssl, idna and anyio raise
            result, passing = _silence(body, f"{type(error).__name__}: {error}"), True
        finally:
            meter.end(headers, refused=isinstance(result, RateLimited))
        return result, passing


def _silence(body: Body, why: str) -> RyzeError:
    """What it means that no whole answer came."""
    return OutcomeUnknown(why) if body.sent else NotSent(why)
