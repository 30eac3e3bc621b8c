"""What both stand-ins are built on: an HTTP server on loopback whose answers can be spoilt to order."""

import asyncio
import json
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import responses
from typing import Any, Generic, Literal, Protocol, Self, TypedDict, TypeVar, cast
from weakref import WeakKeyDictionary

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError
from tornado.netutil import bind_sockets

Json = dict[str, Any]
T = TypeVar("T")


class Recorded(Protocol):
    """What a server keeps of each call."""

    status: int | None


C = TypeVar("C", bound=Recorded)


@dataclass
class Answer:
    """A whole HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, status: int, value: object, **headers: str) -> Self:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})

    def raw(self) -> bytes:
        head = {"Connection": "close", "Content-Length": str(len(self.body)), **self.headers}
        lines = [f"HTTP/1.1 {self.status} {responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in head.items()]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


class Order(TypedDict, total=False):
    """How an answer is to be spoilt; see `Fault`."""

    status: int
    body: bytes
    headers: dict[str, str]
    raw: bytes
    times: int | None
    delay: float
    done: bool
    drop: Literal["before", "after", "mid"]
    hang: bool
    drip: float


@dataclass(eq=False)
class Fault(Generic[C]):
    """A fault to order, and the handle that ends it. With `delay` alone the call is merely slow.

    Args:
        when: which calls it is for.
        status, body, headers: answered instead of doing what was asked (with `done`: after doing it).
        raw: these very bytes on the socket, then the connection is closed.
        times: how many calls; None until `stop`.
        delay: seconds before anything else.
        drop: the connection is closed without an answer, "before" or "after" doing what was asked, or in its "mid".
        hang: the connection is left open instead of being closed, until the client leaves or `stop`.
        drip: seconds between one byte of the answer, head included, and the next.
        by_service: the service itself answers, not something in front of it.
    """

    when: Callable[[C], bool]
    status: int | None = None
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    times: int | None = 1
    delay: float = 0.0
    done: bool = False
    drop: Literal["before", "after", "mid"] | None = None
    hang: bool = False
    drip: float | None = None
    by_service: bool = False
    hits: int = 0
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Lets later calls through, and closes the connections that hang."""
        self.stopped.set()

    def takes(self, call: C) -> bool:
        if self.stopped.is_set() or self.hits == self.times or not self.when(call):
            return False
        self.hits += 1
        return True

    def answers(self) -> bool:
        return self.status is not None or self.raw is not None or self.body is not None

    def acts(self) -> bool:
        """Whether what was asked for is done all the same."""
        if self.done or self.drop in {"after", "mid"}:
            return True
        return not self.answers() and self.drop != "before" and not self.hang

    def speaks(self) -> bool:
        """Whether any byte is answered."""
        return self.drop not in {"before", "after"} and (self.answers() or not self.hang)

    def cooked(self) -> bool:
        """Whether an honest HTTP server could not answer so."""
        lies = {"content-length", "transfer-encoding"} & {name.lower() for name in self.headers}
        return bool(self.raw is not None or self.drop or self.hang or self.drip is not None or lies)


class _Listener(HTTPServer):
    opened: Callable[[IOStream], None]

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        self.opened(stream)
        super().handle_stream(stream, address)


class LoopbackServer(ABC, Generic[C]):
    """An async context manager that listens on 127.0.0.1 and records every call it gets.

    Args:
        port: 0 for a free one.
        tls: a server's context, for https.
    """

    def __init__(self, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.calls: list[C] = []
        self.connections = 0
        self._tls = tls
        self._faults: list[Fault[C]] = []
        self._listener: _Listener | None = None
        self._numbers: WeakKeyDictionary[IOStream, int] = WeakKeyDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._failures: list[Exception] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

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
        """Listens, the second time and later on the same port as before."""
        if self._listener is None:
            sockets = bind_sockets(self.port, "127.0.0.1")
            self.port = sockets[0].getsockname()[1]
            self._listener = _Listener(self._accept, ssl_options=self._tls, max_buffer_size=1 << 28)
            self._listener.opened = self._opened
            self._listener.add_sockets(sockets)

    async def down(self) -> None:
        """Refuses connections and closes the open ones; what it knows stays."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.stop()
            self.close_connections()
            await listener.close_all_connections()

    def close_connections(self) -> None:
        """Closes the open connections, idle ones too, and goes on listening."""
        for stream in list(self._numbers):
            stream.close()

    async def wait_for(
        self,
        condition: Callable[[], T],
        timeout: float = 30.0,  # noqa: ASYNC109 - a test says how long it is ready to wait
        what: str = "what the test waits for",
    ) -> T:
        """Waits until the condition holds and returns its value; it is tried after every call and every 50 ms.

        Raises:
            AssertionError: it did not hold in time; names the last calls.
        """
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            left = deadline - time.monotonic()
            if left <= 0:
                last = "\n".join(f"  {str(call)[:300]}" for call in self.calls[-10:])
                raise AssertionError(f"not within {timeout:g} s: {what}; the last calls:\n{last or '  none'}")
            with suppress(TimeoutError):
                async with asyncio.timeout(min(0.05, left)):
                    await self._changed.wait()
        return value

    @abstractmethod
    def _receive(self, request: HTTPServerRequest, connection: int) -> C:
        """The record of a request."""

    @abstractmethod
    async def _perform(self, call: C, gone: asyncio.Future[None]) -> Answer:
        """Does what was asked. `gone` is done once the client has left."""

    @abstractmethod
    def _excuse(self, call: C, fault: Fault[C]) -> Answer:
        """What a fault that names an answer answers."""

    def _order(self, fault: Fault[C]) -> Fault[C]:
        self._faults.append(fault)
        return fault

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _spawn(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _opened(self, stream: IOStream) -> None:
        self.connections += 1
        self._numbers[stream] = self.connections

    def _accept(self, request: HTTPServerRequest) -> None:
        self._spawn(asyncio.get_running_loop().create_task(self._serve(request)))

    async def _serve(self, request: HTTPServerRequest) -> None:
        connection = cast("HTTP1Connection", request.connection)
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.set_close_callback(lambda: None if gone.done() else gone.set_result(None))
        try:
            call = self._receive(request, self._numbers[connection.stream])
            self.calls.append(call)
            self._notify()
            fault = next((fault for fault in self._faults if fault.takes(call)), None)
            if fault is None:
                answer = await self._perform(call, gone)
                self._answer(call, connection, answer)
            else:
                await self._spoil(call, fault, connection, gone)
        except StreamClosedError:
            pass
        except Exception as error:  # noqa: BLE001 - a stand-in's own bug is the test's failure, raised when it closes
            self._failures.append(error)
            connection.close()
        finally:
            self._notify()

    def _answer(self, call: C, connection: HTTP1Connection, answer: Answer) -> None:
        if connection.stream is None or connection.stream.closed():
            return
        call.status = answer.status
        headers = HTTPHeaders({"Content-Length": str(len(answer.body)), **answer.headers})
        start = ResponseStartLine("", answer.status, responses.get(answer.status, "Unknown"))
        connection.write_headers(start, headers, answer.body)
        connection.finish()

    async def _spoil(self, call: C, fault: Fault[C], connection: HTTP1Connection, gone: asyncio.Future[None]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(fault.delay):
                await fault.stopped.wait()
        answer = await self._perform(call, gone) if fault.acts() else None
        if fault.answers() or answer is None:
            answer = self._excuse(call, fault)
        if not fault.cooked():
            self._answer(call, connection, answer)
            return
        if connection.stream is None or connection.stream.closed():
            return
        stream = connection.detach()
        try:
            if fault.speaks():
                call.status = answer.status
                await self._utter(stream, answer, fault)
            self._notify()
            if fault.hang:
                await self._left(stream, fault)
        finally:
            stream.close()

    async def _utter(self, stream: IOStream, answer: Answer, fault: Fault[C]) -> None:
        data = fault.raw if fault.raw is not None else answer.raw()
        if fault.drop == "mid":
            data = data[: len(data) - max(1, len(answer.body) // 2)]
        step = len(data) if fault.drip is None else 1
        for start in range(0, len(data), max(step, 1)):
            await stream.write(data[start : start + step])
            if fault.drip is not None:
                await asyncio.sleep(fault.drip)

    async def _left(self, stream: IOStream, fault: Fault[C]) -> None:
        left = asyncio.Event()
        stream.set_close_callback(left.set)
        waiting = [asyncio.ensure_future(event.wait()) for event in (left, fault.stopped)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiting:
                waiter.cancel()
