"""A small load balancer, to stand before the bot's processes: the next one in turn, and another if that one is away."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
from tornado.httputil import HTTPServerRequest

from tests.sandbox.server import Answer, Fault, LoopbackServer

_AWAY = {502, 503}


@dataclass(eq=False)
class Call:
    """One request, and the servers that it was given to."""

    path: str
    headers: dict[str, str]
    body: bytes
    backends: list[str]
    status: int | None = None


class Front(LoopbackServer[Call]):
    """Hands POST requests to `backends` (addresses without a path) in turn.

    A server that cannot be reached or answers 502 or 503 has another one asked; one that breaks off has not, since it
    may have done what was asked.
    """

    def __init__(self, **listening: Any) -> None:  # noqa: ANN401 - LoopbackServer's own arguments
        super().__init__(**listening)
        self.backends: list[str] = []
        self._turn = 0
        self._client = httpx.AsyncClient(trust_env=False, timeout=60)

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        await super().__aexit__(kind, *rest)
        await self._client.aclose()

    def _receive(self, request: HTTPServerRequest, connection: int) -> Call:  # noqa: ARG002 - whose connection it is does not matter here
        headers = {name: value for name, value in request.headers.get_all() if name not in ("Host", "Connection")}
        return Call(request.path, headers, request.body, [])

    async def _perform(self, call: Call, gone: asyncio.Future[None]) -> Answer:  # noqa: ARG002 - what was handed on is done even if nobody waits
        self._turn += 1
        answer = Answer(503, b"")
        for step in range(len(self.backends)):
            backend = self.backends[(self._turn + step) % len(self.backends)]
            call.backends.append(backend)
            try:
                given = await self._client.post(backend + call.path, content=call.body, headers=call.headers)
            except httpx.ConnectError:
                continue
            except httpx.HTTPError:
                return Answer(502, b"")
            answer = Answer(given.status_code, given.content)
            if given.status_code not in _AWAY:
                break
        return answer

    def _excuse(self, call: Call, fault: Fault[Call]) -> Answer:  # noqa: ARG002 - no fault is ordered here but with its whole answer
        return Answer(fault.status or 502, fault.body or b"")
