"""The wheel holds the whole package, and its console script starts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from bot import __version__

ROOT = Path(__file__).parents[2]
# The copy that is installed here does not count for the coverage.
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    return subprocess.run(  # noqa: S603
        command, cwd=cwd, env=ENVIRON | environ, stdout=subprocess.PIPE, text=True, timeout=120, check=True
    ).stdout


def test_the_wheel_holds_the_whole_package_and_its_command_starts(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "bot", tmp_path / "bot", ignore=shutil.ignore_patterns("__pycache__"))
    package = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "bot").rglob("*") if path.is_file()}
    build = ("wheel", "--no-deps", "--no-build-isolation", "--no-cache-dir", "--wheel-dir", tmp_path / "dist", tmp_path)
    run(*PIP, *build, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").iterdir()
    assert {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name} == package
    run(*PIP, "install", "--no-deps", "--no-index", "--target", tmp_path / "installed", wheel, cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = tmp_path / "installed/bin/ryze-pin-bot"
    assert run(command, "--version", cwd=elsewhere, PYTHONPATH=str(tmp_path / "installed")).strip() == __version__
