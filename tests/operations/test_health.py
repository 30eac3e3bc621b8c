"""The watchdog ends a deaf process, whatever it is stuck in; `health` tells a healthy bot from one that is not."""

import asyncio
import faulthandler
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tornado.web import Application

from bot.operations.health import Health, health
from bot.settings.load import load
from bot.settings.model import Settings
from bot.telegram.updates import Polling
from bot.telegram.webhook import Health as Healthz

TEXT = "instances: {sales: {token: t0ken}}\noperators: []\nstate: bot.sqlite3\n"


def settings(folder: Path, **environ: str) -> Settings:
    return load(None, {"TELEGRAM_BOT_TOKEN": "1:x", "BOT_CONFIG_YAML": TEXT, **environ}, folder)


@pytest.mark.parametrize(
    ("limit", "body", "status"),
    [
        (0.3, "stuck()", 1),
        (0.3, "asyncio.run(asyncio.to_thread(stuck))", 1),
        (0.3, "health.report(answered=True, pause=0.2); stuck()", 1),
        (0.3, "health.stopping(0.3); health.report(answered=True, pause=60); stuck()", 1),
        (1.5, "[(time.sleep(0.1), health.report(answered=False)) for _ in range(20)]", 0),
        (0.3, "health.report(answered=False, pause=60); time.sleep(0.6)", 0),
        (0.3, "health.stopping(60); time.sleep(0.6)", 0),
    ],
)
def test_silence_ends_the_process_and_shows_where_it_hung(limit: float, body: str, status: int, tmp_path: Path) -> None:
    source = f"""
import faulthandler, time
from tests.operations.test_health import *
def stuck(): time.sleep(60)
health = Health(settings(Path({str(tmp_path)!r})), {limit})
{body}
faulthandler.cancel_dump_traceback_later()
time.sleep(0.6)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert done.returncode == status
    assert ("Timeout (0:00:0" in done.stderr and " in stuck" in done.stderr) == bool(status)


def test_while_polling_the_age_of_the_heartbeat_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = settings(tmp_path / "folder")
    bot = Health(config)
    bot.report(answered=True)  # which cannot be noted: there is no folder
    assert health(config) == 1
    assert "No such file" in capsys.readouterr().out
    (tmp_path / "folder").mkdir()
    for age in (-600, 600):
        bot._next = 0.0  # a second later
        bot.report(answered=True)
        assert health(config) == 0
        assert capsys.readouterr().out == "healthy\n"
        then = time.time() - age
        os.utime(config.state.with_suffix(".heartbeat"), (then, then))
        assert health(config) == 1
        assert "s ago" in capsys.readouterr().out
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("environ", [{"METRICS_PORT": "%d"}, {"WEBHOOK_URL": "https://a.example/hook", "PORT": "%d"}])
async def test_with_a_port_the_bots_own_healthz_is_asked(
    environ: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    updates = Polling(None, print)  # type: ignore[arg-type]  # nothing is fetched
    routes = [("/healthz", Healthz)]
    server = Application(routes, log_function=lambda _: None, updates=updates).listen(0, "127.0.0.1")
    (socket,) = server._sockets.values()
    port = socket.getsockname()[1]
    config = settings(tmp_path, **{name: value.replace("%d", str(port)) for name, value in environ.items()})
    for problem in ("", "stopping"):
        updates.problem = problem
        assert await asyncio.to_thread(health, config) == (problem != "")
        assert capsys.readouterr().out == f"{problem or 'healthy'}\n"
    server.stop()
    await server.close_all_connections()
    assert health(config) == 1
    assert "refused" in capsys.readouterr().out
