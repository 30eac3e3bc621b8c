"""A host with a Procfile checks the configuration first, so that a wrong one replaces no running release."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RIGHT = "{instances: {sales: {token: t}}, operators: []}"


@pytest.mark.parametrize(("configuration", "status"), [(RIGHT, 0), ("operators: nobody", 78)])
def test_the_release_fails_if_the_configuration_is_wrong(tmp_path: Path, configuration: str, status: int) -> None:
    environ = {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        "PYTHONPATH": str(ROOT),
        "TELEGRAM_BOT_TOKEN": "123456:a-token-that-nobody-has",
        "BOT_CONFIG_YAML": configuration,
    }
    command = (sys.executable, "-m", "honcho", "-f", ROOT / "Procfile", "-d", tmp_path, "start", "release")
    found = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert found.returncode == status, found.stdout
