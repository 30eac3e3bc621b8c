"""A stand-in for the Ryze API: pinChat, strict about the contract, and the list of instances.

Texts and statuses are the contract's page's. What happens to one pin too many is open there, so both worlds are played.
"""

import asyncio
import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import responses
from typing import Any
from urllib.parse import unquote

from tornado.httputil import HTTPServerRequest

from tests.sandbox.server import ApiError, Fault, Json, LoopbackServer, Recorded

_PATH = re.compile(r"/api/chat/pinChat/([^/]+)")
_LIST = "/api/instance/list"
_CHAT = re.compile(r"[0-9]{5,15}|[^@\s]+@(s\.whatsapp\.net|lid|g\.us|newsletter)")
_LIMIT = "failed to pin chat: server returned error updating app state: maximum of {} pinned chats reached"


@dataclass
class Instance:
    """A connection to one WhatsApp number. `pinned` holds JIDs, newest first; `most_at_once` counts calls at work."""

    token: str
    connected: bool = True
    pinned: list[str] = field(default_factory=list)
    most_at_once: int = 0
    at_work: int = 0


@dataclass(eq=False)
class Call(Recorded):
    """One request. `remaining` is how many its token has left, -1 if it had none.

    `number` and `pin` are what the body holds under these names, of whatever type; None if there is no such thing.
    """

    method: str
    path: str
    instance: str | None
    headers: dict[str, str]
    body: bytes
    number: Any
    pin: Any
    remaining: int


class RyzeServer(LoopbackServer[Call]):
    """Ryze, with an instance for each name in `tokens`. `url` is what the bot takes as `ryze.base_url`.

    What a test may set: `instances[name].connected` and `.pinned`; `delay` (seconds before a call is done, or a
    function of the call); `max_pins`; `drops_oldest` (one pin too many is accepted, and the oldest is silently gone);
    `limit` (requests a window and token), `window` (seconds), `clock` (Unix seconds), `used_up` (tokens whose requests
    are all over the limit).
    """

    def __init__(self, tokens: dict[str, str]) -> None:
        super().__init__()
        self.instances = {name: Instance(token) for name, token in tokens.items()}
        self.limit = 100
        self.window = 60.0
        self.clock = time.time
        self.used_up: set[str] = set()
        self.delay: float | Callable[[Call], float] = 0.0
        self.max_pins = 3
        self.drops_oldest = False
        self._used: Counter[tuple[str, int]] = Counter()

    def fault(
        self,
        *,
        message: str | None = None,
        when: Callable[[Call], bool] = lambda _: True,
        **order: Any,  # noqa: ANN401 - Fault's own fields
    ) -> Fault[Call]:
        """Order a fault for calls that satisfy `when`; see `Fault`.

        With `message`, Ryze itself answers: its envelope with this text. With `body`, something in front of it does.
        With `status` alone, the envelope holds the status's own name.
        """
        fault: Fault[Call] = Fault(when, **order)
        if fault.body is None and (message is not None or fault.status is not None):
            fault.status = fault.status or 500
            refusal = ApiError(fault.status, responses[fault.status] if message is None else message)
            fault.body = json.dumps(self._failure(refusal)).encode()
        return self._order(fault)

    def _receive(self, request: HTTPServerRequest) -> Call:
        found = _PATH.fullmatch(request.path)
        body: object = None
        with suppress(ValueError):
            body = json.loads(request.body)
        fields = body if isinstance(body, dict) else {}
        return Call(
            method=request.method or "",
            path=request.path,
            instance=unquote(found[1]) if found else None,
            headers={name.lower(): value for name, value in request.headers.get_all()},
            body=request.body,
            number=fields.get("number"),
            pin=fields.get("pin"),
            remaining=self._spend(request.headers.get("token", "")),
        )

    def _spend(self, token: str) -> int:
        """Count a request in its token's window; returns how many are left, -1 if there was none."""
        window = token, self._current_window()
        self._used[window] += 1
        return -1 if token in self.used_up else max(self.limit - self._used[window], -1)

    def _current_window(self) -> int:
        return math.floor(self.clock() / self.window)

    def _headers(self, call: Call) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(call.remaining, 0)),
            "X-RateLimit-Reset": str(math.ceil((self._current_window() + 1) * self.window)),
        }

    def _failure(self, error: ApiError) -> Json:
        return {"success": False, "error": {"message": error.description}}

    async def _perform(self, call: Call) -> Json:
        instance = self.instances.get(call.instance or "", Instance(""))
        instance.at_work += 1
        instance.most_at_once = max(instance.most_at_once, instance.at_work)
        try:
            await asyncio.sleep(self.delay(call) if callable(self.delay) else self.delay)
            return self._result(call)
        finally:
            instance.at_work -= 1

    def _result(self, call: Call) -> Json:
        own = self._instances_of(call)
        if (call.method, call.path) == ("GET", _LIST):
            states = {name: "connected" if one.connected else "disconnected" for name, one in own.items()}
            shown = [{"name": name, "connection": {"state": state}} for name, state in states.items()]
            return {"success": True, "instances": shown}
        if call.instance is None:
            raise ApiError(404, f"Cannot {call.method} {call.path}")
        if call.method != "POST":
            raise ApiError(405, "Method Not Allowed")
        if call.instance not in self.instances:
            raise ApiError(404, "Instance not found")
        if call.instance not in own:
            raise ApiError(403, "Token does not belong to this instance")
        number, pin = _read(call)
        jid = number if "@" in number else f"{number}@s.whatsapp.net"
        self._pin(own[call.instance], jid, pin=pin)
        message = f"Chat {'pinned' if pin else 'unpinned'} successfully"
        return {"success": True, "message": message, "chat_jid": jid, "pinned": pin}

    def _instances_of(self, call: Call) -> dict[str, Instance]:
        """The instances that a call's token reaches, after rate limit and authentication."""
        if call.remaining < 0:
            raise ApiError(429, "Rate limit exceeded. Try again later.")
        if not call.headers.get("token"):
            raise ApiError(401, "Missing token in header")
        own = {name: one for name, one in self.instances.items() if one.token == call.headers["token"]}
        if not own:
            raise ApiError(401, "Invalid token")
        return own

    def _pin(self, instance: Instance, jid: str, *, pin: bool) -> None:
        if not instance.connected:
            raise ApiError(503, "Instance is not connected to WhatsApp")
        if not pin:
            instance.pinned[:] = [pinned for pinned in instance.pinned if pinned != jid]
        elif jid not in instance.pinned:
            if len(instance.pinned) >= self.max_pins and not self.drops_oldest:
                raise ApiError(500, _LIMIT.format(self.max_pins))
            instance.pinned[:] = [jid, *instance.pinned][: self.max_pins]


def _read(call: Call) -> tuple[str, bool]:
    """The body's number and pin, of the contract's types or not at all."""
    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if call.number is None and kind == "application/json" and call.pin is not None:
        raise ApiError(400, "Number is required")
    if kind != "application/json" or not isinstance(call.number, str) or not isinstance(call.pin, bool):
        raise ApiError(400, "Invalid request body: JSON with a string number and a boolean pin is expected")
    if not _CHAT.fullmatch(call.number):
        raise ApiError(400, "Invalid request body: number is neither a phone number nor a JID")
    return call.number, call.pin
