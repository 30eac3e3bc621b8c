"""A stand-in for the Ryze API: its one call, pinChat, strict about the contract.

Texts and statuses are the contract's page's; what the page leaves open (the refusal of a fourth pin) can be set.
"""

import asyncio
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import responses
from typing import Any, Unpack
from urllib.parse import unquote

from tornado.httputil import HTTPServerRequest

from tests.sandbox.server import Answer, Fault, Json, LoopbackServer, Order

_PATH = re.compile(r"/api/chat/pinChat/([^/]+)")
_JID = re.compile(r"[^@\s]+@(s\.whatsapp\.net|lid|g\.us|newsletter)")


@dataclass
class Instance:
    """A connection to one WhatsApp number. `pinned` holds JIDs, newest first; `most_at_once` counts calls at work."""

    token: str
    connected: bool = True
    pinned: list[str] = field(default_factory=list)
    most_at_once: int = 0
    at_work: int = 0


@dataclass(eq=False)
class Call:
    """One request. `at` is `time.monotonic()`; `status` is None while nothing was answered.

    `number` and `pin` are what the body holds under these names, of whatever type; None if there is no such thing.
    """

    method: str
    path: str
    instance: str | None
    token: str | None
    headers: dict[str, str]
    body: bytes
    number: Any
    pin: Any
    at: float
    connection: int
    status: int | None = None
    remaining: int = 0


class Refusal(Exception):
    """What the server answers instead of success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class RyzeServer(LoopbackServer[Call]):
    """Ryze, with one instance a name in `tokens`. `url` is what the bot takes as `ryze.base_url`.

    What a test may set: `instances[name].connected` and `.pinned`; `delay` (seconds before a call is done, or a
    function of the call); `resolve` (number to the JID it stands for); `max_pins`, `limit_status` and `limit_text` (the
    refusal of one pin too many); `phase` (seconds by which the rate limit's windows are shifted).

    Args:
        tokens: instance name to TokenInstance.
        account_token: reaches every instance.
        limit: requests a window and token.
        window: seconds.
        clock: Unix seconds, for the rate limit.
    """

    def __init__(
        self,
        tokens: dict[str, str] | None = None,
        *,
        account_token: str | None = None,
        limit: int = 100,
        window: float = 60.0,
        clock: Callable[[], float] = time.time,
        **listening: Any,  # noqa: ANN401 - LoopbackServer's own arguments
    ) -> None:
        super().__init__(**listening)
        named = {"sales": "token-sales"} if tokens is None else tokens
        self.instances = {name: Instance(token) for name, token in named.items()}
        self.account_token = account_token
        self.limit = limit
        self.window = window
        self.phase = 0.0
        self.clock = clock
        self.delay: float | Callable[[Call], float] = 0.0
        self.resolve: dict[str, str] = {}
        self.max_pins = 3
        self.limit_status = 500
        self.limit_text = (
            "failed to pin chat: server returned error updating app state: maximum of 3 pinned chats reached"
        )
        self._windows: dict[str, tuple[int, int]] = {}

    def fault(
        self,
        *,
        message: str | None = None,
        when: Callable[[Call], bool] | None = None,
        **order: Unpack[Order],
    ) -> Fault[Call]:
        """Orders a fault for calls that satisfy `when`; see `Fault`.

        With `message`, Ryze itself answers: its envelope with this text, and the rate limit's headers. With `body`,
        something in front of it does. With `status` alone, the envelope holds the status's own name.
        """
        fault: Fault[Call] = Fault(when or (lambda _: True), **order)
        if message is not None:
            fault.status = fault.status or 500
            fault.body = _failure(message)
            fault.by_service = True
        elif fault.status is not None and fault.body is None:
            fault.body = _failure(responses.get(fault.status, "Unknown"))
            fault.by_service = True
        return self._order(fault)

    def _receive(self, request: HTTPServerRequest, connection: int) -> Call:
        headers = {name.lower(): value for name, value in request.headers.get_all()}
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        token = headers.get("token") or (bearer if scheme.lower() == "bearer" else "") or None
        found = _PATH.fullmatch(request.path)
        try:
            body = json.loads(request.body)
        except ValueError:
            body = None
        fields = body if isinstance(body, dict) else {}
        call = Call(
            method=request.method or "",
            path=request.path,
            instance=unquote(found[1]) if found else None,
            token=token,
            headers=headers,
            body=request.body,
            number=fields.get("number"),
            pin=fields.get("pin"),
            at=time.monotonic(),
            connection=connection,
        )
        call.remaining = self._spend(token or "")
        return call

    def _spend(self, token: str) -> int:
        """Counts a request in its token's window; returns how many are left, -1 if there was none."""
        current = self._current_window()
        known, used = self._windows.get(token, (current, 0))
        used = min(used if known == current else 0, self.limit) + 1
        self._windows[token] = current, used
        return self.limit - used

    def _current_window(self) -> int:
        return math.floor((self.clock() - self.phase) / self.window)

    def _budget(self, call: Call) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(call.remaining, 0)),
            "X-RateLimit-Reset": str(math.ceil((self._current_window() + 1) * self.window + self.phase)),
        }

    async def _perform(self, call: Call, gone: asyncio.Future[None]) -> Answer:  # noqa: ARG002 - a pin is done even if nobody waits
        try:
            result = await self._pin_chat(call)
        except Refusal as refusal:
            allow = {"Allow": "POST"} if refusal.status == 405 else {}
            headers = {"Content-Type": "application/json", **self._budget(call), **allow}
            return Answer(refusal.status, _failure(refusal.message), headers)
        return Answer.of(200, result, **self._budget(call))

    def _excuse(self, call: Call, fault: Fault[Call]) -> Answer:
        body = fault.body or b""
        kind = "text/html" if body.startswith(b"<") else "application/json"
        budget = self._budget(call) if fault.by_service else {}
        return Answer(fault.status or 200, body, {"Content-Type": kind, **budget, **fault.headers})

    async def _pin_chat(self, call: Call) -> Json:
        instance = self._admit(call)
        number, pin = _read(call)
        instance.at_work += 1
        instance.most_at_once = max(instance.most_at_once, instance.at_work)
        try:
            await asyncio.sleep(self.delay(call) if callable(self.delay) else self.delay)
        finally:
            instance.at_work -= 1
        if not instance.connected:
            raise Refusal(503, "Instance is not connected to WhatsApp")
        jid = self.resolve.get(number) or (number if "@" in number else f"{number}@s.whatsapp.net")
        if pin and jid not in instance.pinned:
            if len(instance.pinned) >= self.max_pins:
                raise Refusal(self.limit_status, self.limit_text)
            instance.pinned.insert(0, jid)
        elif not pin and jid in instance.pinned:
            instance.pinned.remove(jid)
        message = f"Chat {'pinned' if pin else 'unpinned'} successfully"
        return {"success": True, "message": message, "chat_jid": jid, "pinned": pin}

    def _admit(self, call: Call) -> Instance:
        """Router, rate limit and authentication, in this order."""
        if call.instance is None:
            raise Refusal(404, f"Cannot {call.method} {call.path}")
        if call.method != "POST":
            raise Refusal(405, "Method Not Allowed")
        if call.remaining < 0:
            raise Refusal(429, "Rate limit exceeded. Try again later.")
        if call.token is None:
            raise Refusal(401, "Missing token in header")
        owners = [name for name, instance in self.instances.items() if instance.token == call.token]
        if not owners and call.token != self.account_token:
            raise Refusal(401, "Invalid token")
        if not call.instance.strip():
            raise Refusal(400, "Instance name is required")
        if call.instance not in self.instances:
            raise Refusal(404, "Instance not found")
        if call.token != self.account_token and call.instance not in owners:
            raise Refusal(403, "Token does not belong to this instance")
        return self.instances[call.instance]


def _failure(message: str) -> bytes:
    return json.dumps({"success": False, "error": {"message": message}}).encode()


def _read(call: Call) -> tuple[str, bool]:
    """The body's number and pin, of the contract's types or not at all."""
    if call.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(400, "Invalid request body: Content-Type must be application/json")
    try:
        body = json.loads(call.body)
    except ValueError as error:
        raise Refusal(400, f"Invalid request body: {error}") from error
    if not isinstance(body, dict):
        raise Refusal(400, "Invalid request body: an object is expected")
    if call.number is None or call.number == "":
        raise Refusal(400, "Number is required")
    if not isinstance(call.number, str):
        raise Refusal(400, "Invalid request body: number must be a string")
    if not isinstance(call.pin, bool):
        raise Refusal(400, "Invalid request body: pin must be a boolean")
    if not (_JID.fullmatch(call.number) or re.fullmatch(r"[0-9]{5,15}", call.number)):
        raise Refusal(400, "Invalid request body: number is neither a phone number nor a JID")
    return call.number, call.pin
