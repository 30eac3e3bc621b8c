"""The programs that are compared, and the stand-ins on which one of them is at work."""

import asyncio
import os
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from tests.sandbox.ryze import RyzeServer
from tests.sandbox.server import Json
from tests.sandbox.stage import ROOT, configure, start_program
from tests.sandbox.telegram import TelegramServer

FIRST = 1_000_000  # the first operator's Telegram id
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Program:
    """What `pip install` puts into its own virtual environment, and Python's arguments before the configuration."""

    name: str
    requirements: tuple[str, ...]
    arguments: tuple[str, ...]

    @property
    def python(self) -> str:
        return str(ROOT / ".venv-bench" / self.name / "bin" / "python")

    def build(self) -> None:
        """Make the environment, and install what is missing there."""
        uv = [sys.executable, "-m", "uv", "--quiet"]
        make = [*uv, "venv", "--allow-existing", "--python", sys.executable, str(Path(self.python).parents[1])]
        install = [*uv, "pip", "install", "--compile-bytecode", "--python", self.python, *self.requirements]
        for command in (make, install):
            subprocess.run(command, check=True, cwd=ROOT)  # noqa: S603 - our own words


def programs() -> dict[str, Program]:
    """All programs by name; what the plain ones need stands in pyproject.toml's dependency groups."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    ptb, aiogram = project["dependency-groups"]["bench"]
    everyone = (
        Program("bot", ("--no-deps", "--requirement", "requirements.txt"), ("-m", "bot", "run", "--config")),
        Program("python-telegram-bot", (ptb,), (str(ROOT / "tests/bench/plain_ptb.py"),)),
        Program("aiogram", (aiogram,), (str(ROOT / "tests/bench/plain_aiogram.py"),)),
    )
    return {program.name: program for program in everyone}


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
    started: float

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
async def running(program: Program, operators: int, delay: float = 0.0) -> AsyncIterator[Running]:
    """Start a program, with an instance an operator and Ryze's `delay` in s, and wait until it has nothing to do."""
    tokens = {f"instance-{place}": f"token-of-instance-{place}" for place in range(operators)}
    async with AsyncExitStack() as stack, Telegram() as telegram, RyzeServer(tokens) as ryze:
        ryze.limit = 10**6
        ryze.delay = delay
        for place in range(operators):
            telegram.add_chat(FIRST + place)
        home = Path(stack.enter_context(TemporaryDirectory()))
        team = [{"telegram_id": FIRST + place, "instance": f"instance-{place}"} for place in range(operators)]
        configure(home, telegram, ryze, team)
        begun = perf_counter()
        process = await start_program(telegram.token, home, (program.python, *program.arguments))
        try:
            await telegram.wait_for(
                lambda: process.returncode is not None or any(call.method == "getUpdates" for call in telegram.calls),
                60,
                "the program's first getUpdates",
            )
            if process.returncode is not None:
                sys.exit(f"A program ended instead of polling, with status {process.returncode}.")
            started = perf_counter() - begun
            calls = 0
            while calls != len(telegram.calls):  # until a second without any, menus and the like included
                calls = len(telegram.calls)
                await asyncio.sleep(1)
            yield Running(telegram, ryze, process, started)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
