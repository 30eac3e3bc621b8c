"""The command line: what it prints, and the status it leaves with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bot
from bot import __version__
from bot.__main__ import main

CONFIG = """
instances:
  sales:
    token: a-long-token-of-sales
operators:
  - telegram_id: 111
    name: Ana
    instance: sales
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a configuration, and an environment with a bot's token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "123456:a-long-token-of-the-bot")
    for name in ("BOT_CONFIG", "BOT_CONFIG_YAML", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bot.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_check_prints_who_may_do_what_with_the_tokens_masked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", "bot.yaml"]) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines() if line.startswith("Ana")] == [["Ana", "111", "sales"]]
    assert "a-long-token" not in out
    assert err == ""


@pytest.mark.usefixtures("folder")
def test_check_reads_the_file_that_the_environment_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_CONFIG", "bot.yaml")
    assert main(["check"]) == 0
    assert "Ana" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["check", "run"])
def test_config_errors_are_all_told_on_stderr_with_status_78(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TELEGRAM_BOT_TOKEN")
    (folder / "bot.yaml").write_text(CONFIG.replace("instance: sales", "instance: sale"), encoding="utf-8")
    assert main([command, "--config", "bot.yaml"]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[0] for line in err.splitlines()] == ["TELEGRAM_BOT_TOKEN", "bot.yaml:8"]


@pytest.mark.usefixtures("folder")
def test_without_any_configuration_the_default_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 78
    assert capsys.readouterr().err.startswith("config/bot.yaml: ")


@pytest.mark.parametrize("arguments", [[], ["walk"], ["run", "--fast"]])
def test_a_command_line_that_is_none_shows_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: ryze-pin-bot ")


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def python(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program, "run", "--config", str(folder / "bot.yaml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(bot.__file__).parents[1],
    )


def test_a_failure_of_the_bot_itself_is_logged_without_secrets(folder: Path) -> None:
    done = python(
        """
import asyncio, sys
from bot import app
from bot.__main__ import main

async def fail(config):
    asyncio.create_task(asyncio.sleep(600))
    raise RuntimeError(f"with {config.telegram_token} and {config.instances}")

app.run = fail
sys.exit(main())
""",
        folder,
    )
    assert done.returncode == 70
    first, *rest = done.stderr.splitlines()
    assert first.endswith("CRITICAL bot.__main__ the bot has failed")
    assert rest
    assert all(line.startswith("  | ") for line in rest)
    assert "a-long-token" not in done.stderr


def test_a_thread_that_hangs_does_not_keep_the_process(folder: Path) -> None:
    """As the look-up of a name does while the network is away."""
    done = python(
        """
import asyncio, sys, time
from bot import app
from bot.__main__ import main

async def leave(config):
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)
    await asyncio.sleep(0.1)
    return 5

app.run = leave
sys.exit(main())
""",
        folder,
    )
    assert done.returncode == 5
    assert done.stderr == ""
