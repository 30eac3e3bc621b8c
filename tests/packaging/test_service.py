"""The systemd unit is right and keeps the bot from all that it does not need."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "config/ryze-pin-bot.service"
MOST_EXPOSED = 2.5  # of 10, by systemd's own count

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = (shutil.which("systemd-analyze") or "", *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603


@needs_systemd
def test_systemd_has_nothing_to_complain_of(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name  # systemd looks for the program, which is not installed here
    copy.write_text(
        re.sub(r"(?<=^ExecStart=)\S+", sys.executable, UNIT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    verified = analyze("verify", "--man=no", copy)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


@needs_systemd
def test_the_service_is_hardly_exposed() -> None:
    secured = analyze("security", "--offline=yes", UNIT)
    exposure = re.search(r"exposure level for ryze-pin-bot\.service: ([\d.]+)", secured.stdout)
    assert exposure, secured.stderr
    assert float(exposure[1]) <= MOST_EXPOSED


def test_a_wrong_configuration_is_not_tried_again(tmp_path: Path) -> None:
    final = re.search(r"^RestartPreventExitStatus=(.+)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    assert final
    environ = {"PYTHONPATH": str(ROOT), "TELEGRAM_BOT_TOKEN": "none", "BOT_CONFIG_YAML": "operators: nobody"}
    command = (sys.executable, "-m", "bot", "run")
    found = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, timeout=60, check=False)  # noqa: S603
    assert str(found.returncode) in final[1].split()
