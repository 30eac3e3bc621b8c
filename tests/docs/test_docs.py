"""What the docs say is so: their links, files, commands, keys, answers, metrics and exit statuses, and their length."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot import __main__ as command_line
from bot.conversation import answers
from bot.ryze.chats import Chat, read_command
from bot.ryze.outcomes import OUTCOMES
from bot.settings import model
from bot.settings.load import load
from tests.conversation.making import attempts, entry, request, texts
from tests.sandbox.stage import ROOT

DOCS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
}
SHELL = {name: re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE) for name, text in DOCS.items()}
BOT = f"{shlex.quote(sys.executable)} -m bot"


def section(name: str, title: str) -> str:
    return re.split(r"\n## .*\n", DOCS[name].split(f"\n## {title}\n")[1])[0]


def table(text: str) -> list[list[str]]:
    """The rows of a section's first table, without its head."""
    lines = re.search(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    assert lines
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[0].splitlines()[2:]]


def code(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", text))


def sentences(language: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / f"bot/conversation/locales/{language}.yaml").read_text("utf-8"))
    return found


def run(script: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the docs, with this Python's bot in place of an installed one."""
    functions = f'ryze-pin-bot() {{ {BOT} "$@"; }}\nsudo() {{ "$@"; }}\n'
    command = ("bash", "-euc", functions + script)
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environ}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603


@pytest.mark.parametrize("name", ["README.md", "docs/LEIA-ME.md"])
def test_the_readme_is_read_in_minutes(name: str) -> None:
    assert len(DOCS[name].splitlines()) <= 130
    assert len(DOCS[name].split()) <= 1500


@pytest.mark.parametrize("name", DOCS)
def test_every_link_leads_somewhere_and_every_file_named_exists(name: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", DOCS[name]):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        titles = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE) if anchor else []
        anchors = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
        assert anchor in ["", *anchors], link
    named = {word for word in code(DOCS[name]) if re.fullmatch(r"(?:bot|tests|config|docs)/[\w./-]+", word)}
    assert {word for word in named if not (ROOT / word).exists()} <= {"config/bot.yaml"}  # which the reader makes


def test_every_page_and_every_picture_is_shown() -> None:
    shown = {(ROOT / name).parent / link for name in DOCS for link in re.findall(r"\]\(([^)#]+)", DOCS[name])}
    assert {path for path in (ROOT / "docs").iterdir() if path not in {link.resolve() for link in shown}} == set()


def test_the_rooms_are_those_of_the_house() -> None:
    rooms = {word for row in table(section("README.md", "How it is built")) for word in code(row[1])}
    top = {f"{path.name}/" if path.is_dir() else path.name for path in (ROOT / "bot").glob("[!_]*")}
    assert rooms == top - {"__pycache__/"} | {"__main__.py"}
    for row in table(section("CONTRIBUTING.md", "Where to change what")):
        first, *others = re.findall(r"`([\w./-]+)`", row[1])
        folder = ROOT / first if first.endswith("/") else (ROOT / first).parent
        assert [name for name in (ROOT / first, *map(folder.joinpath, others)) if not name.exists()] == []


@pytest.mark.parametrize("name", DOCS)
def test_every_command_is_one(name: str) -> None:
    assert run("set -n\n" + "".join(SHELL[name]), ROOT).stderr == ""
    text = re.sub(r"\\\n", " ", DOCS[name])
    call = r"(?:(?<=bin/)|(?<![\w/.:-]))(?:ryze-pin-bot|python -m bot|compose run --rm bot) ([a-z][^`\n#“|]*)"
    for line in re.findall(call, text):
        command_line._parser().parse_args(shlex.split(line.rstrip(" .,;)")))
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", text, re.MULTILINE)) <= set(targets)


def test_the_state_is_where_the_backup_looks_for_it() -> None:
    name = model.Settings.model_fields["state"].default
    folders = [
        re.findall(rf"^{key}(/\S+)$", (ROOT / file).read_text("utf-8"), re.MULTILINE)[0]
        for file, key in (("Dockerfile", "WORKDIR "), ("config/ryze-pin-bot.service", "WorkingDirectory="))
    ]
    found = re.findall(r"(/\S+)/(\S+\.sqlite3)", DOCS["docs/operations.md"])
    assert set(found) == {(folder, str(name)) for folder in folders}


@pytest.mark.parametrize("name", ["README.md", "docs/LEIA-ME.md"])
def test_the_ten_minutes_end_with_a_right_configuration(name: str, tmp_path: Path) -> None:
    """Both ways but for the container itself and the package's installation, which tests of their own have."""
    dotenv = re.search(r"^ +(TELEGRAM_BOT_TOKEN=.*)\n +(RYZE_SALES_TOKEN=.*)$", DOCS[name], re.MULTILINE)
    assert dotenv
    (tmp_path / ".env").write_text("\n".join(dotenv.groups()).replace("…", "0"), encoding="utf-8")
    copied, wheel = SHELL[name][:2]
    steps = "\n".join(line for line in wheel.splitlines() if re.search(r"ryze-pin-bot (init|check)", line))
    found = run(steps, tmp_path)
    assert (found.returncode, found.stdout.splitlines()[-1]) == (0, "No mistakes found."), found.stderr
    assert "“No mistakes found.”" in re.sub(r"\s+", " ", DOCS[name])
    (source,) = re.findall(r"cp (\S+) config/bot\.yaml", copied)
    assert (ROOT / source).read_text("utf-8") == (tmp_path / "config/bot.yaml").read_text("utf-8")


def test_a_procfile_host_takes_the_configuration_from_a_variable(tmp_path: Path) -> None:
    assert "\n    web: python -m bot run\n" in section("docs/operations.md", "Webhook mode")
    (line,) = re.findall(r"^heroku config:set BOT.*$", DOCS["docs/configuration.md"], re.MULTILINE)
    assert line in section("docs/operations.md", "Procfile hosts")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/bot.yaml").write_text("instances: {sales: {token: '${T}'}}\noperators: []\n", encoding="utf-8")
    script = f'heroku() {{ rm config/bot.yaml; env "$2" {BOT} check; }}\n{line}'
    found = run(script, tmp_path, TELEGRAM_BOT_TOKEN="1:a", T="token")
    assert (found.returncode, found.stderr) == (0, "")


def test_the_service_finds_what_is_installed_for_it(tmp_path: Path) -> None:
    script = next(script for script in SHELL["docs/operations.md"] if "install -m 600 .env" in script)
    (tmp_path / "config").mkdir()
    for name in ("config/bot.yaml", ".env", "config/ryze-pin-bot.service"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    lines = [line for line in script.splitlines() if line.startswith("sudo install")]
    moved = "\n".join(lines).replace(" /etc/", f" {tmp_path}/etc/")
    found = run(f"mkdir -p etc/systemd/system\n{moved}", tmp_path)
    assert found.returncode == 0, found.stderr
    unit = (ROOT / "config/ryze-pin-bot.service").read_text("utf-8")
    wanted = re.findall(r"^(?:Environment=BOT_CONFIG|EnvironmentFile)=/(.*)$", unit, re.MULTILINE)
    assert [(tmp_path / path).read_text("utf-8") for path in wanted] == ["config/bot.yaml", ".env"]
    (program,) = re.findall(r"^ExecStart=(\S+)/bin/ryze-pin-bot run$", unit, re.MULTILINE)
    assert f"python3 -m venv {program}\n" in script


def test_a_second_bot_has_nothing_of_the_first_but_its_program(tmp_path: Path) -> None:
    (line,) = re.findall(r"^sed '.*$", DOCS["docs/operations.md"], re.MULTILINE)
    assert run(line.replace("config/", f"{ROOT}/config/"), tmp_path).stderr == ""
    settings = re.sub(r"(?m)^#.*$", "", (tmp_path / "second-bot.service").read_text("utf-8"))
    assert [row for row in settings.splitlines() if "ryze-pin-bot" in row] == [
        "ExecStart=/opt/ryze-pin-bot/bin/ryze-pin-bot run"
    ]


def test_every_key_is_described_with_its_default_and_no_other() -> None:
    environ = {"TELEGRAM_BOT_TOKEN": "1:a", "RYZE_SALES_TOKEN": "a", "RYZE_SUPPORT_TOKEN": "b"}
    (example,) = re.findall(r"```yaml\n(.*?)```", DOCS["docs/configuration.md"], re.DOTALL)
    assert len(load(None, {**environ, "BOT_CONFIG_YAML": example}, ROOT).operators) == 2
    found = load(None, {**environ, "BOT_CONFIG_YAML": "{instances: {a: {token: t}}, operators: []}"}, ROOT)
    defaults = {"timezone": str(found.timezone), "state": found.state.name, "keep": f"{found.keep.days}d"}
    for name in ("telegram", "ryze"):
        defaults |= {f"{name}.{key}": f"{of:g}" if isinstance(of, float) else of for key, of in getattr(found, name)}
    fields = {name for name, field in model.Settings.model_fields.items() if not field.validation_alias}
    rows = {row[0].strip("`:"): row for row in table(section("docs/configuration.md", "Keys"))}
    assert rows.keys() == defaults.keys() | fields - {"telegram", "ryze"}
    assert {name: rows[name][2].strip("`") for name in defaults} == defaults
    inner = set(re.findall(r"`(\w+):", rows["operators"][1] + rows["instances"][1]))
    assert inner == {*model.Operator.model_fields, "instance", *model.Instance.model_fields}


def test_every_variable_is_described_and_no_other() -> None:
    described = {word for row in table(section("docs/configuration.md", "Variables")) for word in code(row[0])}
    source = "".join(path.read_text("utf-8") for path in (ROOT / "bot/settings").glob("*.py"))
    assert described == set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+|PORT)"', source))


def matches(quote: str, candidates: list[str]) -> bool:
    pattern = r".*".join(map(re.escape, re.split(r"\s*…\s*", quote)))
    return any(re.search(pattern, re.sub(r"<[^>]+>", "", text)) for text in candidates)


@pytest.mark.parametrize(("language", "line"), [("en", 0), ("pt-BR", 1)])
def test_every_answer_in_the_tables_is_what_the_bot_says(language: str, line: int) -> None:
    said = sentences(language)
    rows = table(DOCS["docs/answers.md"])
    assert {name for row in rows for name in code(row[4])} == set(OUTCOMES)
    own = {name: [entry["why"]] for name, entry in said["outcomes"].items()}
    own |= {"pinned": [said["pinned"]], "unpinned": [said["unpinned"]], "pin_limit": [said["limit"]]}
    wrong = [row[0] for row in rows if not matches(row[0].split("<br>")[line], own[row[4].strip("`")])]
    every = [text for key, text in said.items() if key != "outcomes"]
    more = [row[0] for row in table(section("docs/answers.md", "More lines"))]
    assert [*wrong, *(quotes for quotes in more if not matches(quotes.split("<br>")[line], every))] == []
    labels = {text for key, text in sentences("en").items() if key.startswith("button_")}
    assert set(re.findall(r"\*([A-Z][\w ]+)\*", DOCS["docs/answers.md"])) <= labels


@pytest.mark.parametrize(("name", "language"), [("README.md", "en"), ("docs/LEIA-ME.md", "pt-BR")])
def test_the_sample_is_what_the_bot_says(name: str, language: str) -> None:
    def answer(chat: Chat, outcome: str, *pinned: Chat) -> str:
        context = answers.Context(pinned=list(map(entry, pinned)))
        said = answers.of(attempts(request(chat), outcome), texts(language, solo=True), context)
        return "\n".join([re.sub(r"<[^>]+>", "", said.text), *(f"[{button.label}]" for button in said.buttons)])

    shown = re.findall(r"^ {4}Bot   (.*\n(?: {10}.*\n)*)", DOCS[name], re.MULTILINE)
    first, second = Chat("5511999999999"), Chat("5521988887777")
    told = [answer(first, "pinned"), answer(second, "pin_limit", first)]
    assert [re.sub(r"\n {10}", "\n", lines).rstrip() for lines in shown] == told


def test_every_number_in_the_readme_is_read_as_meant() -> None:
    written = [word for word in code(section("README.md", "What operators can do")) if re.match(r"[0+h].*9999", word)]
    assert len(written) == 3
    assert {read_command(word, "BR")[0].chat for word in written} == {Chat("5511999999999")}


def test_the_alert_rules_are_about_metrics_and_outcomes_that_exist() -> None:
    (rules,) = re.findall(r"```yaml\n(groups:.*?)```", DOCS["docs/operations.md"], re.DOTALL)
    expressions = [rule["expr"] for rule in yaml.safe_load(rules)["groups"][0]["rules"]]
    assert len(expressions) == 3
    source = (ROOT / "bot/operations/metrics.py").read_text("utf-8")
    names = re.findall(r"ryze_pin_bot_(\w+?)(?:_total|_bucket)?\b", " ".join(expressions))
    assert [name for name in names if name not in source] == []
    (asked,) = re.findall(r'outcome=~"([^"]*)"', expressions[1])
    assert set(asked.split("|")) == {outcome.name for outcome in OUTCOMES.values() if outcome.admin}


def test_the_exit_statuses_are_those_of_the_code() -> None:
    documented = {int(row[0]) for row in table(section("docs/operations.md", "When it ends"))}
    source = "".join((ROOT / name).read_text("utf-8") for name in ("bot/app.py", "bot/__main__.py"))
    given = {getattr(os, name) for name in re.findall(r"os\.(EX_[A-Z]+)", source)}
    assert documented == {0, 1, 2, *given}  # 1 is what `faulthandler` ends with, 2 is argparse's own
