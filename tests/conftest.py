"""The real bot on the stand-ins: in this process for speed and coverage, or as a process of its own (`start`)."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml

from bot.app import App
from bot.settings.load import load
from bot.settings.model import Settings
from tests.sandbox.ryze import RyzeServer
from tests.sandbox.server import Json
from tests.sandbox.telegram import TelegramServer

# A slow machine is no failure.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

ANA, BIA, STRANGER = 111, 222, 999  # Ana's instance is sales, Bia's is support


class Stage:
    """Both stand-ins, and a configuration in which Ana pins on `sales` and Bia on `support`, in Brazil."""

    def __init__(self, telegram: TelegramServer, ryze: RyzeServer, folder: Path) -> None:
        self.telegram, self.ryze, self.folder = telegram, ryze, folder
        self.settings: dict[str, Any] = {
            "telegram": {"api_url": telegram.url},
            "ryze": {"base_url": ryze.url, "timeout": 12},
            "region": "BR",
            "state": str(folder / "state.sqlite3"),
            "instances": {name: {"token": instance.token} for name, instance in ryze.instances.items()},
            "operators": [
                {"telegram_id": ANA, "name": "Ana", "instance": "sales"},
                {"telegram_id": BIA, "name": "Bia", "instance": "support"},
            ],
        }
        self.environ = {"TELEGRAM_BOT_TOKEN": telegram.token}

    def write(self) -> Path:
        path = self.folder / "bot.yaml"
        path.write_text(yaml.safe_dump(self.settings, sort_keys=False), encoding="utf-8")
        return path

    def load(self) -> Settings:
        return load(str(self.write()), self.environ, self.folder)

    @asynccontextmanager
    async def bot(self) -> AsyncIterator[asyncio.Task[int]]:
        """Run the bot in this process, stop it with a real SIGTERM, and see that it leaves with status 0."""
        running = asyncio.create_task(App(self.load(), self.load).run())
        calls, before = self.telegram.calls, len(self.telegram.calls)
        try:
            await self.telegram.wait_for(
                lambda: running.done() or {"getUpdates", "setWebhook"} & {call.method for call in calls[before:]},
                what="the first getUpdates or setWebhook",
            )
            yield running
        finally:
            if not running.done():
                signal.raise_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                status = await running
        assert status == 0

    async def start(self, **environ: str) -> asyncio.subprocess.Process:
        """Start `python -m bot run` as a process; its log goes to `log`. The caller ends it."""
        command = (sys.executable, "-m", "bot", "run", "--config", str(self.write()))
        with (self.folder / "log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *command, env={**os.environ, **self.environ, **environ}, stderr=log
            )

    async def handled(self) -> None:
        """Waits until every update was handled and confirmed, so that what did not happen will not."""
        await self.telegram.wait_for(lambda: not self.telegram.pending, what="all updates confirmed")

    async def say(self, text: str | None, user: int = ANA, **fields: Any) -> Json:  # noqa: ANN401 - a message's fields
        """Says something and returns the answer."""
        return await self.telegram.answer(self.telegram.message(user, text, **fields))

    async def press(self, message: Json, label: str, user: int = ANA) -> Json:
        """Presses the button with this in its label, and returns what the message is then."""
        self.telegram.press(user, message, self.telegram.button(message, label))
        await self.handled()
        shown = self.telegram.current(message)
        assert shown
        return shown

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    tokens = {"sales": "token-of-sales", "support": "token-of-support"}
    async with TelegramServer() as telegram, RyzeServer(tokens=tokens) as ryze:
        yield Stage(telegram, ryze, tmp_path)
