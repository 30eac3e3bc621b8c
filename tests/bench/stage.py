"""The stand-ins as the benchmark drives them, and a program running on them."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tests.bench.programs import ROOT
from tests.sandbox.ryze import Call, RyzeServer
from tests.sandbox.telegram import TelegramServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.bench.programs import Program
    from tests.sandbox.server import Json

FIRST = 1_000_000  # the first operator's Telegram id
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Telegram(TelegramServer):
    """Tells the moment at which a person's message is answered, without anything being polled or searched."""

    def __init__(self, **listening: Any) -> None:  # noqa: ANN401 - TelegramServer's own arguments
        super().__init__(**listening)
        self._asked: dict[int, asyncio.Future[float]] = {}

    async def ask(self, person: int, text: str) -> float:
        """Send a message and wait for the answer; gives the seconds from the one to the other."""
        answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._asked[person] = answered
        begun = perf_counter()
        self.message(person, text)
        return await answered - begun

    def _send_message(self, params: Json) -> Json:
        message = super()._send_message(params)
        if params.get("disable_notification"):
            return message  # no answer yet, but word of what is being waited for
        asked = self._asked.pop(message["chat"]["id"], None)
        if asked and not asked.done():
            asked.set_result(perf_counter())
        return message


@dataclass
class Running:
    """A program at work on its stand-ins; `started` is the seconds from its start to the first getUpdates."""

    telegram: Telegram
    ryze: RyzeServer
    process: asyncio.subprocess.Process
    started: float = 0.0

    async def command(self, operator: int, number: int) -> float:
        """Have an operator, by place, send their command of this number; gives the seconds until its answer."""
        verb = "unpin" if number % 2 else "pin"
        return await self.telegram.ask(FIRST + operator, f"/{verb} 5511{900_000_000 + operator}")

    @property
    def cpu(self) -> float:
        """The processor time that the program has used, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    @property
    def memory(self) -> float:
        """What the program keeps in memory (resident set size), in MiB."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * PAGE / 2**20

    def close_idle(self) -> None:
        """Close every connection on which no call is waiting for its answer, as servers do after a while of silence."""
        for server in (self.telegram, self.ryze):
            busy = {call.connection for call in server.calls[-100:] if call.status is None}
            for stream, number in list(server._numbers.items()):
                if number not in busy:
                    stream.close()


@asynccontextmanager
async def running(
    program: Program, folder: Path, operators: int = 20, delay: float = 0.0, tls: tuple[Path, Path] | None = None
) -> AsyncIterator[Running]:
    """Start a program on stand-ins of its own, with an instance an operator, and wait until it has nothing to do.

    `delay` is Ryze's, in seconds; `tls` a certificate and its key.
    """
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    tokens = {f"instance-{place}": f"token-of-instance-{place}" for place in range(operators)}
    async with Telegram(tls=context) as telegram, RyzeServer(tokens, limit=10**6, tls=context) as ryze:
        ryze.delay = delay
        for place in range(operators):
            telegram.add_chat(FIRST + place)
        home = folder / f"{program.name}-{telegram.port}"
        home.mkdir()
        path = home / "bot.yaml"
        settings = {
            "telegram": {"api_url": telegram.url},
            "ryze": {"base_url": ryze.url},
            "instances": {name: {"token": token} for name, token in tokens.items()},
            "operators": [
                {"telegram_id": FIRST + place, "instance": f"instance-{place}"} for place in range(operators)
            ],
        }
        path.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TELEGRAM_BOT_TOKEN": telegram.token}
        if tls:
            environ["SSL_CERT_FILE"] = str(tls[0])
        begun = perf_counter()
        with (folder / f"{program.name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *program.command(path, telegram.token), env=environ, cwd=home, stdout=log, stderr=log
            )
        at_work = Running(telegram, ryze, process)
        try:
            await _polls(at_work)
            at_work.started = perf_counter() - begun
            await _settles(telegram)
            yield at_work
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(20):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _polls(at_work: Running) -> None:
    def polls() -> bool:
        if at_work.process.returncode is not None:
            sys.exit(f"A program ended instead of polling, with status {at_work.process.returncode}: see its log.")
        return any(call.method == "getUpdates" for call in at_work.telegram.calls)

    await at_work.telegram.wait_for(polls, 60, "the program's first getUpdates")


async def _settles(telegram: Telegram) -> None:
    """Wait until there has been a second without any call, menus and the like included."""
    count = -1
    while count != len(telegram.calls):
        count = len(telegram.calls)
        await asyncio.sleep(1)


def slow(instance: str, seconds: float) -> Any:  # noqa: ANN401 - what RyzeServer.delay takes
    """A delay for one instance's calls only."""

    def delay(call: Call) -> float:
        return seconds if call.instance == instance else 0.0

    return delay
