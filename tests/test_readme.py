"""What the README says is so: its metrics, keys, variables, commands, answers, modules and links exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from bot import config, schema
from bot.__main__ import main
from bot.outcomes import RyzeError
from tests.conftest import ANA
from tests.test_webhook import free_port

if TYPE_CHECKING:
    from tests.conftest import Stage

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", README)
OUTCOMES = {error.outcome for error in RyzeError.__subclasses__()}
NOT_RUN = {"late", "busy", "queue_timeout"}


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(text: str) -> list[list[str]]:
    """The rows of a section's only table, without its head."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


async def test_the_alert_rules_are_rules_about_metrics_that_exist(stage: Stage) -> None:
    snippet = re.search(r"```yaml\n(groups:.*?)```", README, re.DOTALL)
    assert snippet
    rules = yaml.safe_load(snippet[1])["groups"][0]["rules"]
    assert len(rules) == 3
    port = free_port()
    stage.environ["METRICS_PORT"] = str(port)
    async with stage.bot(), httpx.AsyncClient(trust_env=False) as client:
        await stage.telegram.answer(stage.telegram.message(ANA, "/pin +5511999999999"))
        families = list(text_string_to_metric_families((await client.get(f"http://127.0.0.1:{port}/metrics")).text))
    samples = [sample for family in families for sample in family.samples]
    for rule in rules:
        names = re.findall(r"ryze_pin_bot_\w+", rule["expr"])
        assert names
        for name in names:
            labels = {label for sample in samples if sample.name == name for label in sample.labels}
            assert name in {sample.name for sample in samples}
            assert set(re.findall(r"by \((\w+)\)", rule["expr"])) <= labels
        for asked in re.findall(r'outcome=~"([^"]*)"', rule["expr"]):
            assert set(asked.split("|")) <= OUTCOMES


def test_every_key_of_the_configuration_is_described_and_no_other() -> None:
    described = {key for row in table(section("Configuration")) for key in re.findall(r"`([\w.]+):`", row[0])}
    keys = set()
    for name, field in schema.File.model_fields.items():
        section_of = field.annotation
        if isinstance(section_of, type) and issubclass(section_of, BaseModel):
            keys |= {f"{name}.{key}" for key in section_of.model_fields}
        else:
            keys.add(name)
    assert described == keys
    rows = {row[0]: row for row in table(section("Configuration"))}
    inner = set(re.findall(r"`(\w+):", rows["`operators:`"][1] + rows["`instances:`"][1]))
    assert inner == {*schema.Operator.model_fields, *schema.Instance.model_fields}


def test_the_defaults_of_the_configuration_are_those_described(tmp_path: Path) -> None:
    """As a configuration has them that says nothing else."""
    text = "instances: {sales: {token: t}}\noperators: []\n"
    found = config.load(None, {"TELEGRAM_BOT_TOKEN": "1:a", "BOT_CONFIG_YAML": text}, tmp_path)
    rows = {row[0].strip("`:"): row[2].strip("`") for row in table(section("Configuration"))}
    assert rows["ryze.base_url"] == found.base_url
    assert rows["telegram.api_url"] == found.api_url
    assert float(rows["ryze.timeout"]) == found.timeout
    assert rows["keep"] == f"{found.keep.days}d"
    assert rows["state"] == found.state.name
    assert rows["timezone"] == str(found.timezone)


def test_every_variable_of_the_environment_is_described_and_no_other() -> None:
    source = Path(config.__file__).read_text(encoding="utf-8")
    read = set(re.findall(r'(?:variable\(|env\.get\()"([A-Z_]+)"', source))
    assert {"TELEGRAM_BOT_TOKEN", "BOT_CONFIG_YAML", "WEBHOOK_SECRET"} < read
    named = {name for code in CODE for name in re.findall(r"\b[A-Z][A-Z_]+[A-Z]\b", code) if "_" in name}
    assert {name for name in read if f"`{name}" not in README} == set()
    assert {name for name in named - read if not name.startswith("RYZE_")} == set()


def test_every_answer_to_a_command_has_its_row() -> None:
    """A row quotes the answer: what stands between its dots is in the answer's text, in this order."""
    sentences = yaml.safe_load((ROOT / "bot/locales/en.yaml").read_text(encoding="utf-8"))
    rows = table(section("What the answers mean"))
    assert {len(row) for row in rows} == {4}
    quotes = [quote for row in rows for quote in re.split(r", (?=\W)", row[0])]
    missing = []
    for outcome in sorted({"pinned", "unpinned", "other_chat", "failed_inside", *OUTCOMES, *NOT_RUN}):
        text = re.sub(r"<[^>]+>", "", sentences[outcome])
        if not any(re.search(".*".join(map(re.escape, re.split(r"\s*…\s*", quote))), text) for quote in quotes):
            missing.append(f"{outcome}: {text}")
    assert "\n".join(missing) == ""


def test_every_module_named_exists() -> None:
    described = {name for row in table(section("How it is built")) for name in re.findall(r"`([a-z_]+)`", row[1])}
    modules = {path.stem for path in (ROOT / "bot").glob("*.py") if not path.stem.startswith("__")}
    assert described <= modules


def test_every_link_to_a_file_and_every_file_named_exists() -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", README)
    targets = [link.partition("#")[0] for link in links if "://" not in link]
    named = [code for code in CODE if re.fullmatch(r"(?:bot|tests|config|docs)/[\w./-]+", code)]
    missing = [target for target in [*targets, *named] if not (ROOT / target).exists()]
    assert [target for target in missing if target != "config/bot.yaml"] == []  # which the reader makes


def test_every_make_target_and_every_command_exists(capsys: pytest.CaptureFixture[str]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", README, re.MULTILINE)) <= targets
    for command in set(re.findall(r"python -m bot ([a-z]+)", README)):
        with pytest.raises(SystemExit) as leaving:
            main([command, "--help"])
        assert leaving.value.code == 0
        shown = capsys.readouterr().out
        for line in re.findall(rf"python -m bot {command}([^`\n]*)", README):
            for option in re.findall(r"--[a-z]+", line):
                assert option in shown


def test_the_procfile_runs_a_worker_and_the_readme_has_the_line_for_webhook_mode() -> None:
    lines: dict[str, Any] = yaml.safe_load((ROOT / "Procfile").read_text(encoding="utf-8"))
    assert lines == {"release": "python -m bot check", "worker": "python -m bot run"}
    assert "\n    web: python -m bot run\n" in README
