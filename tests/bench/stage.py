"""The stand-ins as the benchmark drives them, and a program at work on them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from tests.bench.programs import Program
from tests.sandbox.ryze import RyzeServer
from tests.sandbox.server import Json
from tests.sandbox.stage import configure, start_program
from tests.sandbox.telegram import TelegramServer

FIRST = 1_000_000  # the first operator's Telegram id
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Telegram(TelegramServer):
    """Tells the moment at which a person's message is answered, without anything being polled or searched."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[int, asyncio.Future[float]] = {}

    async def ask(self, person: int, text: str) -> float:
        """Send a message and wait for the answer; gives the seconds from the one to the other."""
        answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.waiting[person] = answered
        begun = perf_counter()
        self.message(person, text)
        return await answered - begun

    def _send_message(self, params: Json) -> Json:
        message = super()._send_message(params)
        waiting = self.waiting.pop(message["chat"]["id"], None)
        if waiting and not waiting.done():
            waiting.set_result(perf_counter())
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


@asynccontextmanager
async def running(program: Program, folder: Path, operators: int, delay: float = 0.0) -> AsyncIterator[Running]:
    """Start a program on stand-ins of its own, with an instance an operator, and wait until it has nothing to do.

    `delay` is Ryze's, in seconds.
    """
    tokens = {f"instance-{place}": f"token-of-instance-{place}" for place in range(operators)}
    async with Telegram() as telegram, RyzeServer(tokens) as ryze:
        ryze.limit = 10**6
        ryze.delay = delay
        for place in range(operators):
            telegram.add_chat(FIRST + place)
        home = folder / f"{program.name}-{telegram.port}"
        home.mkdir()
        team = [{"telegram_id": FIRST + place, "instance": f"instance-{place}"} for place in range(operators)]
        configure(home, telegram, ryze, team)
        begun = perf_counter()
        process = await start_program(telegram.token, home, (program.python, *program.arguments))
        at_work = Running(telegram, ryze, process)
        try:
            await telegram.wait_for(lambda: _polls(at_work), 60, "the program's first getUpdates")
            at_work.started = perf_counter() - begun
            await _settles(telegram)
            yield at_work
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


def _polls(at_work: Running) -> bool:
    if at_work.process.returncode is not None:
        sys.exit(f"A program ended instead of polling, with status {at_work.process.returncode}.")
    return any(call.method == "getUpdates" for call in at_work.telegram.calls)


async def _settles(telegram: Telegram) -> None:
    """Wait until there has been a second without any call, menus and the like included."""
    count = -1
    while count != len(telegram.calls):
        count = len(telegram.calls)
        await asyncio.sleep(1)
