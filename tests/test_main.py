"""The command line: what it prints, and the status it leaves with."""

from pathlib import Path

import pytest

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
    assert "Operator Ana            111 on sales" in out.splitlines()
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
    assert "config/bot.yaml: No such file" in capsys.readouterr().err


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


def test_init_writes_the_example_and_never_over_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    written = folder / "config" / "bot.yaml"
    assert "operators: []" in written.read_text(encoding="utf-8")
    written.write_text("mine", encoding="utf-8")
    assert main(["init"]) == 1
    assert written.read_text(encoding="utf-8") == "mine"
    assert "nothing was written" in capsys.readouterr().err


def test_the_example_passes_the_check_and_lets_nobody_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    main(["init"])
    monkeypatch.setenv("RYZE_SALES_TOKEN", "a-long-token-of-sales")
    assert main(["check", "--config", str(folder / "config" / "bot.yaml")]) == 0
    out = capsys.readouterr().out
    assert out.endswith("No mistakes found.\n")
    assert "nobody is let in" in out


@pytest.mark.usefixtures("folder")
def test_history_forget_and_health_need_no_tokens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TELEGRAM_BOT_TOKEN")
    assert main(["history", "--config", "bot.yaml"]) == 0
    assert main(["history", "--config", "bot.yaml", "--instance", "foo"]) == 2
    assert main(["forget", "--config", "bot.yaml", "+55 11 99999-9999"]) == 0
    assert main(["health", "--config", "bot.yaml"]) == 1
    out, err = capsys.readouterr()
    assert "There is no instance foo; there are: sales" in err
    assert "Attempts removed: 0" in out
