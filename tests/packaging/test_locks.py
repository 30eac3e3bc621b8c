"""The lists of pinned packages install whatever is released later, also with the pip that Python 3.11 brings."""

import hashlib
import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.sandbox.stage import ROOT

OLD_PIP = "23.2.1"
LISTS = ("requirements.txt", "requirements-dev.txt")
# No setting of this machine's pip: the stand-ins below are all there is.
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")} | {
    "PIP_CONFIG_FILE": os.devnull
}


def pinned(name: str) -> dict[str, Requirement]:
    """A list's packages by their names, with extras, version and marker."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found = [Requirement(line.removesuffix("\\")) for line in re.findall(r"^[a-z].*$", text, re.MULTILINE)]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def run(*command: str | Path, environ: dict[str, str] = ENVIRON) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603


def build(folder: Path, distribution: Distribution, version: str) -> str:
    """Build a wheel with the real one's name, dependencies and extras, but no content; gives its hash."""
    metadata = distribution.read_text("METADATA")
    assert metadata
    stem = f"{distribution.name.replace('-', '_').replace('.', '_')}-{version}"
    files = {
        "METADATA": metadata.replace(f"\nVersion: {distribution.version}\n", f"\nVersion: {version}\n", 1).encode(),
        "WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files["RECORD"] = "".join(f"{stem}.dist-info/{name},,\n" for name in (*files, "RECORD")).encode()
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(f"{stem}.dist-info/{name}"), content)  # the same bytes at any time
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def old_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old-pip")
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin/python"
    if f"pip {OLD_PIP} " not in run(python, "-m", "pip", "--version").stdout:
        run(python, "-m", "pip", "install", "--quiet", f"pip=={OLD_PIP}", environ=dict(os.environ))
        if f"pip {OLD_PIP} " not in run(python, "-m", "pip", "--version").stdout:
            pytest.skip(f"pip {OLD_PIP} can't be installed or does not run on Python {sys.version.split()[0]}")
    return python


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins for every pinned package and for a much later release of each, and the lists with their hashes."""
    folder = tmp_path_factory.mktemp("shelf")
    installed: dict[str, Distribution] = {canonicalize_name(found.name): found for found in distributions()}
    for list_name in LISTS:
        lines = []
        for name, requirement in pinned(list_name).items():
            digest = "0" * 64
            if requirement.marker is None or requirement.marker.evaluate():
                build(folder, installed[name], "99999")
                digest = build(folder, installed[name], str(requirement.specifier).removeprefix("=="))
            lines.append(f"{requirement} --hash=sha256:{digest}")
        (folder / list_name).write_text("\n".join(lines), encoding="utf-8")
    return folder


def install(old_pip: Path, shelf: Path, environment: Path, list_path: Path, *options: str) -> str:
    """Install a list into an empty virtual environment; what pip and then `pip check` complained of."""
    venv.create(environment, symlinks=True)
    pip = (old_pip, "-m", "pip", "--python", environment / "bin/python")
    found = run(*pip, "install", "--no-index", "--find-links", shelf, "--requirement", list_path, *options)
    if found.returncode:
        return found.stderr
    checked = run(*pip, "check")
    return checked.stdout if checked.returncode else ""


@pytest.mark.parametrize(
    ("list_name", "options"),
    [
        ("requirements.txt", ()),  # as a host with a Procfile installs it
        ("requirements.txt", ("--no-deps", "--require-hashes")),
        ("requirements-dev.txt", ("--no-deps", "--require-hashes")),
    ],
)
def test_a_list_installs_with_an_old_pip_after_newer_releases(
    old_pip: Path, shelf: Path, tmp_path: Path, list_name: str, options: tuple[str, ...]
) -> None:
    assert install(old_pip, shelf, tmp_path, shelf / list_name, *options) == ""


def test_without_its_extras_a_list_would_not_install(old_pip: Path, shelf: Path, tmp_path: Path) -> None:
    """So the stand-ins show the mistake of that pip which the lists must live with (pypa/pip #12345)."""
    text = (shelf / "requirements-dev.txt").read_text(encoding="utf-8")
    stripped = tmp_path / "stripped.txt"
    stripped.write_text(re.sub(r"^([\w.-]+)\[[^]]+\]", r"\1", text, flags=re.MULTILINE), encoding="utf-8")
    assert "requirements must have their versions pinned" in install(old_pip, shelf, tmp_path / "venv", stripped)


@pytest.mark.parametrize("list_name", LISTS)
def test_a_list_names_no_host_and_no_folder(list_name: str) -> None:
    text = (ROOT / list_name).read_text(encoding="utf-8")
    assert re.findall(r"^-.*$", text, re.MULTILINE) == []  # such as --index-url
    assert re.findall(r"\S*(?://|@|\s/)\S*", text) == []


@pytest.mark.parametrize("list_name", LISTS)
def test_a_list_holds_what_the_project_asks_for(list_name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["postgres"]]
    if list_name == "requirements-dev.txt":
        asked += project["dependency-groups"]["dev"]
    found = pinned(list_name)
    for requirement in map(Requirement, asked):
        pin = found[canonicalize_name(requirement.name)]
        version = str(pin.specifier).removeprefix("==")
        assert requirement.specifier.contains(version)
        assert requirement.extras <= pin.extras
