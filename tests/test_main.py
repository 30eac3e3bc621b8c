"""The command line: what it prints, and the status it leaves with."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bot import __version__
from bot.__main__ import main
from tests.sandbox.stage import ROOT

CONFIG = """
instances:
  sales: {token: a-long-token-of-sales}
operators:
  - {telegram_id: 111, name: Ana, instance: sales}
"""
Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a configuration, and an environment that names it and has a bot's token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "123456:a-long-token-of-the-bot")
    monkeypatch.setenv("BOT_CONFIG", "bot.yaml")
    for name in ("BOT_CONFIG_YAML", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bot.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def test_check_prints_who_may_do_what_and_warns_with_status_0(folder: Path, capsys: Out) -> None:
    (folder / "bot.yaml").write_text(CONFIG.replace("111", "5511999999999"), encoding="utf-8")
    assert main(["check"]) == 0
    out, err = capsys.readouterr()
    assert "Operator Ana            5511999999999 on sales" in out.splitlines()
    assert "\nWarning: " in out
    assert out.endswith("\nNo mistakes found.\n")
    assert err == ""


@pytest.mark.parametrize("command", ["check", "run"])
def test_config_errors_are_all_told_on_stderr_with_status_78(
    command: str, folder: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TELEGRAM_BOT_TOKEN")
    (folder / "bot.yaml").write_text(CONFIG.replace("instance: sales", "instance: sale"), encoding="utf-8")
    assert main([command]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[0] for line in err.splitlines()] == ["TELEGRAM_BOT_TOKEN", "bot.yaml:5"]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "usage: ryze-pin-bot "),
        (["walk"], 2, "usage: ryze-pin-bot "),
        (["run", "--fast"], 2, "usage: ryze-pin-bot "),
        (["history", "--since", "week"], 2, "write a number of days with a d, such as 7d"),
        (["--version"], 0, f"{__version__}\n"),
    ],
)
def test_a_command_line_that_is_none_shows_the_usage(arguments: list[str], status: int, says: str, capsys: Out) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == status
    assert says in "".join(capsys.readouterr())


def test_init_writes_the_example_and_never_over_a_file(folder: Path, capsys: Out) -> None:
    assert main(["init"]) == 0
    written = folder / "config" / "bot.yaml"
    assert "operators: []" in written.read_text(encoding="utf-8")
    written.write_text("mine", encoding="utf-8")
    assert main(["init"]) == 1
    assert written.read_text(encoding="utf-8") == "mine"
    assert "nothing was written" in capsys.readouterr().err


def test_history_forget_and_health_need_no_tokens(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TELEGRAM_BOT_TOKEN")
    assert main(["history", "--since", "7d"]) == 0
    assert main(["history", "--instance", "foo"]) == 2
    assert main(["forget", "+55 11 99999-9999"]) == 0
    assert main(["health"]) == 1
    out, err = capsys.readouterr()
    assert "There is no instance foo; there are: sales" in err
    assert "Attempts removed: 0" in out


def test_a_database_that_hangs_ends_the_process_all_the_same_with_status_69() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://a:b@127.0.0.1:{silent.getsockname()[1]}/c"
        environ = {**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
        command = (sys.executable, "-m", "bot", "history")
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert done.returncode == 69
    assert "The history can't be reached: " in done.stderr
