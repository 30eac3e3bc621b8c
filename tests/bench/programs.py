"""The programs that are compared, each in a virtual environment of its own."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-bench"
CERTIFICATE = ENVIRONMENTS / "certificate.pem"
KEY = ENVIRONMENTS / "key.pem"


@dataclass(frozen=True)
class Program:
    """What runs, and what its environment holds beside the standard library (`pip install`'s arguments)."""

    name: str
    requirements: tuple[str, ...]
    arguments: Callable[[Path, str], list[str]] = field(repr=False)
    without: str = ""  # what is taken away again

    @property
    def environment(self) -> Path:
        return ENVIRONMENTS / self.name

    def command(self, config: Path, token: str) -> list[str]:
        return [str(self.environment / "bin" / "python"), *self.arguments(config, token)]

    def build(self) -> None:
        """Make the environment, unless it is there with just these requirements."""
        files = [ROOT / item for item in self.requirements if item.endswith(".txt")]
        wanted = repr((sys.version, self.requirements, self.without, [file.read_bytes() for file in files]))
        digest = hashlib.sha256(wanted.encode()).hexdigest()
        stamp = self.environment / "built"
        if not stamp.exists() or stamp.read_text(encoding="ascii") != digest:
            print(f"Building {self.environment.relative_to(ROOT)} …", flush=True)
            shutil.rmtree(self.environment, ignore_errors=True)
            uv = [sys.executable, "-m", "uv", "--quiet"]
            subprocess.run([*uv, "venv", "--python", sys.executable, str(self.environment)], check=True)  # noqa: S603 - our own words
            into = ["--python", str(self.environment / "bin" / "python")]
            install = [*uv, "pip", "install", "--compile-bytecode", *into, *self.requirements]
            subprocess.run(install, check=True, cwd=ROOT)  # noqa: S603 - the same
            if self.without:
                subprocess.run([*uv, "pip", "uninstall", *into, self.without], check=True)  # noqa: S603 - the same
            stamp.write_text(digest, encoding="ascii")
        self._trust()

    def _trust(self) -> None:
        """Have certifi trust the benchmark's certificate, for what asks neither SSL_CERT_FILE nor the system."""
        for bundle in self.environment.glob("lib/python*/site-packages/certifi/cacert.pem"):
            theirs = bundle.read_text(encoding="utf-8").partition("\n# The benchmark's\n")[0]
            bundle.write_text(
                f"{theirs}\n# The benchmark's\n{CERTIFICATE.read_text(encoding='ascii')}", encoding="utf-8"
            )


def _bot(config: Path, _token: str) -> list[str]:
    return ["-m", "bot", "run", "--config", str(config)]


def _plain(script: str) -> Callable[[Path, str], list[str]]:
    return lambda config, token: [str(Path(__file__).with_name(script)), str(config), token]


def programs() -> dict[str, Program]:
    """All programs by name; what the plain ones need stands in pyproject.toml's dependency groups."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needs = {need.partition(">")[0]: need for need in project["dependency-groups"]["bench"]}
    locked = ("--requirement", "requirements.txt")
    everyone = (
        Program("bot", locked, _bot),
        Program("bot-plain", locked, _bot, without="aiohttp"),
        Program("python-telegram-bot", (needs["python-telegram-bot"],), _plain("plain_ptb.py")),
        Program("aiogram", (needs["aiogram"],), _plain("plain_aiogram.py")),
    )
    return {program.name: program for program in everyone}


def certify() -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 and its key."""
    ENVIRONMENTS.mkdir(exist_ok=True)
    openssl = shutil.which("openssl")
    if openssl is None:
        sys.exit("The benchmark makes its certificate with the program openssl: install it.")
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    named = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    named += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    files = ["-keyout", str(KEY), "-out", str(CERTIFICATE)]
    subprocess.run([openssl, *made, *named, *files], check=True, capture_output=True)  # noqa: S603 - our own words
    return CERTIFICATE, KEY
