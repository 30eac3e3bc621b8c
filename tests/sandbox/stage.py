"""The demo's stage: both stand-ins, the people, and the real bot between them in a process of its own."""

import asyncio
import json
import os
import signal
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.sandbox.ryze import RyzeServer
from tests.sandbox.server import Json
from tests.sandbox.telegram import TelegramServer

PATIENCE = 30.0  # seconds for one answer
ROOT = Path(__file__).parents[2]
BOT = (sys.executable, "-m", "bot", "run", "--config")


@dataclass(frozen=True)
class Person:
    """Someone at Telegram; an operator if they have instances, of which the first is the default."""

    telegram_id: int
    name: str
    instances: tuple[str, ...] = ()

    @property
    def user(self) -> Json:
        return {"id": self.telegram_id, "is_bot": False, "first_name": self.name, "language_code": "en"}


ANA = Person(1001, "Ana", ("sales",))
BRUNO = Person(1002, "Bruno", ("support", "sales"))
CARLA = Person(1003, "Carla", ("night",))
DAVI = Person(1004, "Davi", ("warehouse",))
EVE = Person(2001, "Eve")
OPERATORS = (ANA, BRUNO, CARLA, DAVI)

TOKENS = {person.instances[0]: f"token-of-{person.instances[0]}" for person in OPERATORS}


class DemoError(Exception):
    """The demo cannot go on; says why."""


def configure(folder: Path, telegram: TelegramServer, ryze: RyzeServer, operators: list[Json], **more: object) -> None:
    """Write a configuration for the stand-ins."""
    settings = {
        "telegram": {"api_url": telegram.url},
        "ryze": {"base_url": ryze.url},
        "instances": {name: {"token": instance.token} for name, instance in ryze.instances.items()},
        "operators": operators,
        **more,
    }
    (folder / "bot.yaml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML


async def start_program(token: str, folder: Path, command: Sequence[str] = BOT) -> asyncio.subprocess.Process:
    """Start the bot on the configuration in its folder, where its log goes too, without this process's environment."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TELEGRAM_BOT_TOKEN": token}
    with (folder / "log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *(*command, "bot.yaml"),
            cwd=folder,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C is for who started it, and who then ends it as a platform would
        )


@dataclass
class Demo:
    """The stand-ins, and the bot between them."""

    telegram: TelegramServer
    ryze: RyzeServer
    folder: Path
    bot: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        return self.bot is not None and self.bot.returncode is None

    async def start(self) -> None:
        """Start the bot, unless it runs, and wait until it asks for updates."""
        if not self.running:
            calls = len(self.telegram.calls)
            self.bot = await start_program(self.telegram.token, self.folder)
            await self.until(lambda: any(call.method == "getUpdates" for call in self.telegram.calls[calls:]), "start")

    async def kill(self) -> None:
        """End the bot by SIGKILL, as a crash would: it has no time for anything."""
        if self.bot and self.running:
            self.bot.kill()
            await self.bot.wait()

    async def stop(self) -> None:
        """End the bot by SIGTERM.

        Raises:
            DemoError: it did not leave, or not with status 0.
        """
        if self.bot and self.running:
            self.bot.terminate()
            await self.until(lambda: not self.running, "end")
            if self.bot.returncode:
                raise DemoError(f"The bot ended with status {self.bot.returncode}.")

    async def until(self, done: Callable[[], bool], what: str) -> bool:
        """Wait for something that the bot is to do; False if it was killed meanwhile.

        Raises:
            DemoError: it did not do it in time, or ended.
        """
        try:
            await self.telegram.wait_for(lambda: done() or not self.running, PATIENCE)
        except AssertionError:
            raise DemoError(f"The bot did not {what} within {PATIENCE:g} s.") from None
        if not done() and self.bot and self.bot.returncode != -signal.SIGKILL:
            raise DemoError(f"The bot did not {what}: it ended with status {self.bot.returncode}.")
        return done()


@asynccontextmanager
async def started() -> AsyncIterator[Demo]:
    """The demo with its bot at work."""
    with tempfile.TemporaryDirectory(prefix="ryze-pin-bot-demo-") as folder:
        async with TelegramServer() as telegram, RyzeServer(TOKENS) as ryze:
            for person in (*OPERATORS, EVE):
                telegram.add_chat(person.user)
            operators = [asdict(person) for person in OPERATORS]
            configure(Path(folder), telegram, ryze, operators, region="BR", admins=[BRUNO.telegram_id])
            ryze.window = 15.0  # seconds, of a minute: nobody wants to watch a full one
            ryze.instances["night"].connected = False
            ryze.instances["warehouse"].token = "changed-meanwhile"
            ryze.instances["sales"].pinned = ["442079460958@s.whatsapp.net", "5521987654321@s.whatsapp.net"]
            demo = Demo(telegram, ryze, Path(folder))
            try:
                await demo.start()
                yield demo
                await demo.stop()
            except DemoError as error:
                log = (Path(folder) / "log").read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
                end = textwrap.indent("\n".join(log), "  ") or "  empty"
                raise DemoError(f"{error}\nThe end of its log:\n{end}") from None
            finally:
                await demo.kill()
