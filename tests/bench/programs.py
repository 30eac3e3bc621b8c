"""The programs that are compared, each in a virtual environment of its own."""

import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.sandbox.stage import ROOT

ENVIRONMENTS = ROOT / ".venv-bench"
PLAIN = Path(__file__).parent


@dataclass(frozen=True)
class Program:
    """What `pip install` puts into its environment, and Python's arguments before the configuration's path."""

    name: str
    requirements: tuple[str, ...]
    arguments: tuple[str, ...]

    @property
    def python(self) -> str:
        return str(ENVIRONMENTS / self.name / "bin" / "python")

    def build(self) -> None:
        """Make the environment, and install what is missing there."""
        uv = [sys.executable, "-m", "uv", "--quiet"]
        make = [*uv, "venv", "--allow-existing", "--python", sys.executable, str(ENVIRONMENTS / self.name)]
        install = [*uv, "pip", "install", "--compile-bytecode", "--python", self.python, *self.requirements]
        for command in (make, install):
            subprocess.run(command, check=True, cwd=ROOT)  # noqa: S603 - our own words


def programs() -> dict[str, Program]:
    """All programs by name; what the plain ones need stands in pyproject.toml's dependency groups."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needs = {need.partition(">")[0]: need for need in project["dependency-groups"]["bench"]}
    everyone = (
        Program("bot", ("--no-deps", "--requirement", "requirements.txt"), ("-m", "bot", "run", "--config")),
        Program("python-telegram-bot", (needs["python-telegram-bot"],), (str(PLAIN / "plain_ptb.py"),)),
        Program("aiogram", (needs["aiogram"],), (str(PLAIN / "plain_aiogram.py"),)),
    )
    return {program.name: program for program in everyone}
