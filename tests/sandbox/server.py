"""What both stand-ins are built on: an HTTP server on loopback that can be told to fail."""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import responses
from typing import Any, Generic, Literal, Self, TypeVar, cast
from weakref import WeakSet

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream, StreamClosedError
from tornado.netutil import bind_sockets

Json = dict[str, Any]
T = TypeVar("T")


class ApiError(Exception):
    """What a service answers instead of a result."""

    def __init__(self, status: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.parameters = parameters


@dataclass(eq=False, kw_only=True)
class Recorded:
    """What a server keeps of each call: when it came (`time.monotonic()`), and the status once it was answered.

    `gone` is done once the client has left.
    """

    at: float = field(default_factory=time.monotonic)
    status: int | None = None
    gone: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future(), repr=False)


C = TypeVar("C", bound=Recorded)


@dataclass(eq=False)
class Fault(Generic[C]):
    """A fault to order, and the handle that ends it. With `delay` alone the call is merely slow.

    Args:
        when: which calls it is for.
        status, body, headers: answered instead of doing what was asked.
        raw: exactly these bytes on the socket, then the connection is closed.
        times: how many calls; None until `stop`.
        delay: seconds before anything else.
        drop: the connection is closed without an answer, "before" or "after" doing what was asked, or in its "mid".
        hang: the connection is left open instead of being closed, until `stop`; by itself, before doing anything.
        drip: seconds between one byte of the answer, head included, and the next.
    """

    when: Callable[[C], bool] = lambda _: True
    status: int | None = None
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    times: int | None = 1
    delay: float = 0.0
    drop: Literal["before", "after", "mid"] | None = None
    hang: bool = False
    drip: float | None = None
    hits: int = 0
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Let later calls through, and close the connections that hang."""
        self.stopped.set()

    def takes(self, call: C) -> bool:
        """Whether this call is spoilt; if so, it is counted."""
        if self.stopped.is_set() or self.hits == self.times or not self.when(call):
            return False
        self.hits += 1
        return True


class LoopbackServer(ABC, Generic[C]):
    """An async context manager that listens on a free port of 127.0.0.1 and records every call it gets."""

    def __init__(self) -> None:
        self.port = 0
        self.calls: list[C] = []
        self.connections = 0  # how many there were
        self._faults: list[Fault[C]] = []
        self.listener: HTTPServer | None = None  # while it is up
        self._streams: WeakSet[IOStream] = WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[Exception] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.down()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._failures and kind is None:
            raise self._failures[0]

    async def up(self) -> None:
        """Listen; the second time and later on the same port as before."""
        if self.listener is None:
            sockets = bind_sockets(self.port, "127.0.0.1")
            self.port = sockets[0].getsockname()[1]
            self.listener = HTTPServer(self._accept, max_buffer_size=1 << 28)
            self.listener.add_sockets(sockets)

    async def down(self) -> None:
        """Refuse connections and close the open ones; what the server knows stays."""
        if self.listener is not None:
            listener, self.listener = self.listener, None
            listener.stop()
            await listener.close_all_connections()

    async def wait_for(
        self,
        condition: Callable[[], T],
        timeout: float = 30.0,  # noqa: ASYNC109 - a test says how long it is ready to wait
        what: str = "what the test waits for",
    ) -> T:
        """Wait until the condition, tried every 5 ms, holds, and return its value.

        Raises:
            AssertionError: it did not hold in time; names the last calls.
        """
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            if time.monotonic() > deadline:
                last = "\n".join(f"  {str(call)[:300]}" for call in self.calls[-10:])
                raise AssertionError(f"not within {timeout:g} s: {what}; the last calls:\n{last or '  none'}")
            await asyncio.sleep(0.005)
        return value

    @abstractmethod
    def _receive(self, request: HTTPServerRequest) -> C:
        """The record of a request."""

    @abstractmethod
    async def _perform(self, call: C) -> Json:
        """Do what was asked and return the answer's body.

        Raises:
            ApiError: it is refused.
        """

    @abstractmethod
    def _failure(self, error: ApiError) -> Json:
        """The body of a refusal."""

    def _headers(self, _call: C) -> dict[str, str]:
        return {}

    def _order(self, fault: Fault[C]) -> Fault[C]:
        self._faults.append(fault)
        return fault

    def _accept(self, request: HTTPServerRequest) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, request: HTTPServerRequest) -> None:
        connection = cast("HTTP1Connection", request.connection)
        stream = connection.stream
        if stream not in self._streams:
            self._streams.add(stream)
            self.connections += 1
        try:
            call = self._receive(request)
            connection.set_close_callback(lambda: call.gone.set_result(None))
            self.calls.append(call)
            fault = next((fault for fault in self._faults if fault.takes(call)), Fault[C]())
            await self._write(call, fault, stream)
            if fault.raw is None and not fault.drop and not fault.hang:
                connection.finish()
            else:
                stream.close()
        except StreamClosedError:
            pass
        except Exception as error:  # noqa: BLE001 - a stand-in's own bug is the test's failure, raised when it closes
            self._failures.append(error)
            connection.close()

    async def _write(self, call: C, fault: Fault[C], stream: IOStream) -> None:
        if fault.delay:
            with suppress(TimeoutError):
                async with asyncio.timeout(fault.delay):
                    await fault.stopped.wait()
        data = await self._answer(call, fault)
        if fault.drip is None:
            await stream.write(data)
        else:
            for byte in data:
                await stream.write(bytes([byte]))
                await asyncio.sleep(fault.drip)
        if fault.hang:
            await fault.stopped.wait()

    async def _answer(self, call: C, fault: Fault[C]) -> bytes:
        """What goes over the wire: all of it, a part, or nothing."""
        if fault.raw is not None:
            return fault.raw
        headers, body = fault.headers, fault.body or b""
        if fault.status is not None or fault.body is not None:
            call.status = fault.status or 200
        elif fault.drop == "before" or (fault.hang and fault.drop is None):
            return b""
        else:
            try:
                call.status, value = 200, await self._perform(call)
            except ApiError as error:
                call.status, value = error.status, self._failure(error)
            headers, body = {"Content-Type": "application/json", **self._headers(call)}, json.dumps(value).encode()
        lines = [f"HTTP/1.1 {call.status} {responses.get(call.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        answer = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body
        if fault.drop == "after":
            return b""
        return answer[:-1] if fault.drop == "mid" else answer
