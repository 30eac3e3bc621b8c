import os
import re
from collections.abc import Mapping
from datetime import UTC, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.config import Config, ConfigError, Instance, Operator, Webhook, describe, load
from bot.schema import parse

BOT_TOKEN = "123456789:AA-canary_bot"
RYZE_TOKEN = "canary-ryze-token-4321"
ENV = {"TELEGRAM_BOT_TOKEN": BOT_TOKEN, "T": RYZE_TOKEN, "EMPTY": "", "SPACED": "canary with spaces", "ID": "42"}
INSTANCES = "instances:\n  sales:\n    token: ${T}\n"
GOOD = INSTANCES + "operators:\n  - telegram_id: 42\n    instance: sales\n"
EXAMPLE = Path(__file__).parent.parent / "config" / "bot.example.yaml"


def read(text: str | bytes, tmp_path: Path, environ: Mapping[str, str] = ENV) -> Config:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    (tmp_path / "bot.yaml").write_bytes(data)
    return load("bot.yaml", environ, tmp_path)


def problems_of(text: str | bytes, tmp_path: Path, environ: Mapping[str, str] = ENV) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read(text, tmp_path, environ)
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert "canary" not in str(caught.value).lower()
    assert all("\n" not in problem and problem.isprintable() for problem in caught.value.problems)
    return caught.value.problems


def test_everything_that_can_be_written_is_read(tmp_path: Path) -> None:
    config = read(
        """\
telegram:
  api_url: http://127.0.0.1:8081/
ryze:
  base_url: https://ryze.example/api//
  timeout: 2.5
region: NO
language: pt
timezone: America/Sao_Paulo
state: data/attempts.sqlite3
keep: 90d
admins: [7, "${ID}"]
instances:
  sales: {token: "${T}"}
  "sales / São Paulo": {token: written-here}
  on: {token: "a-${T}-$${T}"}
operators:
  - telegram_id: 4503599627370495
    name: "Front desk: 1e3 #"
    instance: sales / São Paulo
  - {telegram_id: "${ID}", instance: on}
  - telegram_id: 43
    instances: [on, sales]
    language: ES
""",
        tmp_path,
        {
            **ENV,
            "TELEGRAM_BOT_TOKEN": f" {BOT_TOKEN}\n",
            "LOG_LEVEL": "debug",
            "WEBHOOK_URL": "https://bot.example.org/hook/",
            "WEBHOOK_SECRET": "canary_-1",
            "PORT": "443",
            "METRICS_PORT": "9090",
            "METRICS_HOST": "::",
            "DATABASE_URL": "postgres://u:canary@h:5432/attempts?a=b",
        },
    )
    assert config == Config(
        telegram_token=BOT_TOKEN,
        api_url="http://127.0.0.1:8081",
        base_url="https://ryze.example/api",
        timeout=2.5,
        region="NO",
        instances={
            "sales": Instance("sales", RYZE_TOKEN),
            "sales / São Paulo": Instance("sales / São Paulo", "written-here"),
            "on": Instance("on", f"a-{RYZE_TOKEN}-${{T}}"),
        },
        operators={
            2**52 - 1: Operator(2**52 - 1, "Front desk: 1e3 #", ("sales / São Paulo",)),
            42: Operator(42, "42", ("on",)),
            43: Operator(43, "43", ("on", "sales"), "es"),
        },
        admins=(7, 42),
        language="pt-BR",
        timezone=ZoneInfo("America/Sao_Paulo"),
        state=tmp_path / "data" / "attempts.sqlite3",
        database_url="postgres://u:canary@h:5432/attempts?a=b",
        keep=timedelta(days=90),
        webhook=Webhook("https://bot.example.org/hook/", "canary_-1", 443),
        metrics=("::", 9090),
        log_level="DEBUG",
        source="bot.yaml",
        passwords=("canary",),
    )
    assert config.operators[42].instance == config.operators[43].instance == "on"
    assert "canary" not in repr(config)


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    config = read(GOOD, tmp_path)
    assert (config.api_url, config.base_url) == ("https://api.telegram.org", "https://ryzeapi.cloud")
    assert (config.timeout, config.region, config.log_level) == (12.0, None, "INFO")
    assert (config.language, config.timezone, config.operators[42].language) == (None, UTC, None)
    assert (config.state, config.keep) == (tmp_path / "ryze-pin-bot.sqlite3", timedelta(days=30))
    assert (config.database_url, config.admins, config.webhook, config.metrics) == ("", (), None, None)


@pytest.mark.parametrize(
    ("written", "language"),
    [
        *((written, "pt-BR") for written in ("pt", "PT", "pt-BR", "PT-br", "pt_BR")),
        *(("en", "en"), ("EN", "en"), ("es", "es"), ("Es", "es")),
    ],
)
def test_a_language_may_be_written_in_any_case_and_without_its_region(
    tmp_path: Path, written: str, language: str
) -> None:
    config = read(GOOD + f"    language: {written}\nlanguage: {written}\n", tmp_path)
    assert config.language == config.operators[42].language == language


@pytest.mark.parametrize(("written", "days"), [("0", 0), ("0d", 0), ("1d", 1), ("9999d", 9999), ("'30d'", 30)])
def test_how_long_to_keep_is_written_in_days(tmp_path: Path, written: str, days: int) -> None:
    assert read(GOOD + f"keep: {written}\n", tmp_path).keep == timedelta(days=days)


def test_the_state_is_a_path_from_where_the_bot_is_started_or_from_the_root(tmp_path: Path) -> None:
    started = tmp_path / "started" / "here"
    started.mkdir(parents=True)
    config = tmp_path / "bot.yaml"
    for written, meant in (("a", started / "a"), ("../a b.db", started / "../a b.db"), ("/x/a", Path("/x/a"))):
        config.write_text(GOOD + f"state: {written}\n")
        assert load("../../bot.yaml", ENV, started).state == meant


def test_an_admin_may_be_an_operator_and_the_list_may_be_empty(tmp_path: Path) -> None:
    assert read(GOOD + "admins:\n  - 42\n  - 7\n", tmp_path).admins == (42, 7)
    assert read(GOOD + "admins:\n  # - 42\n", tmp_path).admins == ()
    assert read(GOOD + "admins: []\n", tmp_path).admins == ()


@pytest.mark.parametrize(
    "text",
    [
        INSTANCES + "operators: []\n",
        "instances: {}\noperators: []\n",
        GOOD + "ryze:\n  # timeout: 12\ntelegram:\n",
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        "%YAML 1.1\n---\n" + GOOD + "...\n",
        GOOD + "region: br",
        GOOD.replace("sales", "null"),
        GOOD.replace("sales", "007"),
        GOOD.replace("${T}", "  ${T}\n"),
        GOOD + "    name: " + "ü" * 64,
    ],
)
def test_unusual_but_right(tmp_path: Path, text: str) -> None:
    assert read(text, tmp_path).instances.keys() <= {"sales", "null", "007"}


def test_a_value_from_the_environment_never_becomes_structure(tmp_path: Path) -> None:
    name = "x\u00a0${ID}, instance: other # ' \" ]"
    config = read(GOOD + "    name: ${NAME}", tmp_path, {**ENV, "NAME": name})
    assert config.operators[42].name == name


def test_a_config_cannot_be_changed(tmp_path: Path) -> None:
    config = read(GOOD, tmp_path)
    with pytest.raises(TypeError):
        config.operators[7] = config.operators[42]  # type: ignore[index] # that it is refused is what is tested
    with pytest.raises(AttributeError):
        config.region = "BR"  # type: ignore[misc] # the same


def one(telegram_id: object) -> str:
    return INSTANCES + f"operators:\n  - telegram_id: {telegram_id}\n    instance: sales\n"


def two(telegram_id: object, instance: str) -> str:
    return GOOD + f"  - telegram_id: {telegram_id}\n    instance: {instance}\n"


def of(instances: str) -> str:
    return INSTANCES.replace("sales:", "a: {token: x}\n  sales:") + f"operators:\n  - telegram_id: 42\n{instances}"


PROBLEMS = [
    # what the file as a whole is
    ("", ["1: the configuration is empty"]),
    ("# nothing\n", ["1: the configuration is empty"]),
    ("---\n", ["1: write “key: value” lines"]),
    ("- a\n- b\n", ["1: write “key: value” lines"]),
    ("canary", ["1: write “key: value” lines"]),
    (GOOD + "---\nregion: BR\n", ["7: a second document begins here"]),
    (b"# ok\nregion: \xff\xfe\n", ["2: not UTF-8 text"]),
    (GOOD.encode("utf-16"), ["1: not UTF-8 text"]),
    (GOOD + "region: B\x00R\n", ["7: a character that YAML does not allow"]),
    ("instances:\n\tsales:\n", ["2: not valid YAML: a tab stands here"]),
    ("instances:\n  sales: x: canary\n", ["2: not valid YAML: a second colon"]),
    ("region: @canary\n", ["1: not valid YAML: a character that no plain value begins with"]),
    ("region: [BR\n", ["2: not valid YAML: expected ',' or ']'"]),
    ('region: "BR\n', ["2: not valid YAML: found unexpected end of stream"]),
    ("region: !canary!x\n", ["1: not valid YAML: found undefined tag handle '…'"]),
    ("? [a, b]\n: c\n", ["1: not valid YAML: only a plain word can be a key"]),
    ("[" * 5000, ["1: not valid YAML: nested too deeply"]),
    ("a: " + "{a: " * 5000, ["1: not valid YAML: nested too deeply"]),
    # keys
    (
        "region: BR\n",
        ["1: instances: missing: write each instance", "1: operators: missing: write who may give commands"],
    ),
    ("instances:\noperators:\n", ["1: instances: empty: write each", "2: operators: empty: write who may give"]),
    ("instances: canary\noperators: {a: b}\n", ["1: instances: write “key: value”", "2: operators: write a list"]),
    (GOOD + "regoin: BR\n", ["7: regoin: unknown key: did you mean region?"]),
    (
        GOOD + "colour: red\n",
        ["7: colour: unknown key: write one of telegram, ryze, region, language, timezone, state, keep, admins, inst"],
    ),
    (GOOD + "ryze:\n  Time_out: 12\n", ["8: ryze.Time_out: unknown key: did you mean timeout?"]),
    (GOOD + "telegram:\n  url: x\n", ["8: telegram.url: unknown key: "]),
    (GOOD + "    nmae: Ana\n", ["7: operators[0].nmae: unknown key: did you mean name?"]),
    (GOOD + "ryze: 12\n", ["7: ryze: write “key: value” lines"]),
    (GOOD + "region: [BR]\n", ["7: region: write a single value"]),
    (GOOD + "region: BR\nregion: XX\n", ["8: region: given twice (first in line 7)"]),
    (GOOD + "region: XX\nregion: BR\n", ["7: region: no such region", "8: region: given twice (first in line 7)"]),
    (
        INSTANCES + "  sales:\n    token: x\n    token: y\noperators: []\n",
        ["4: instances.sales: given twice (first in line 2)", "6: instances.sales.token: given twice"],
    ),
    (INSTANCES + "operators: &all []\n", ["4: operators: anchors (&) and tags (!) are not supported"]),
    (INSTANCES + "operators: !!python/name:os.system []\n", ["4: operators: anchors (&) and tags (!)"]),
    (GOOD + "region: *canary\n", ["7: region: aliases (*) are not supported"]),
    (GOOD + "    <<: *canary\n", ["7: operators[0].'<<': aliases (*) are not supported"]),
    # region, URLs, timeout
    (GOOD + "region: UK\n", ["7: region: no such region: write its two letters of ISO 3166, such as BR or GB"]),
    (GOOD + "region: Brazil\n", ["7: region: no such region"]),
    (GOOD + "region:\n", ["7: region: no such region"]),
    *(
        (GOOD + f"ryze:\n  base_url: {url}\n", ["8: ryze.base_url: write http:// or https:// and a host"])
        for url in (
            *("", "ryzeapi.cloud", "ftp://ryzeapi.cloud", "https://", "https:///x", "https:ryzeapi.cloud", "//host"),
            *("https://ryzeapi.cloud/?a=canary", "https://ryzeapi.cloud?", "'https://ryzeapi.cloud/#'", "http://a b/"),
            *(
                "http://host:99999",
                "http://host:port",
                "http://[::1",
                "http://h/a b",
                "http://h\\x",
                "http://h/{{token}}",
            ),
        )
    ),
    (GOOD + "telegram:\n  api_url: file:///etc\n", ["8: telegram.api_url: write http:// or https://"]),
    (GOOD + "telegram:\n  api_url: https://u:canary@h\n", ["8: telegram.api_url: remove the user name and password"]),
    *(
        (GOOD + f"ryze:\n  timeout: {timeout}\n", ["8: ryze.timeout: write the seconds as a number, more than 0"])
        for timeout in (
            "0",
            "-1",
            "60.1",
            "12s",
            "1e1",
            "nan",
            ".inf",
            "0x0c",
            "1_0",
            "true",
            "",
            "[12]",
            "'12 '",
            "١٢",
        )
    ),
    # language, time zone, state, keep, admins
    *(
        (GOOD + f"language: {written}\n", ["7: language: no such language: write one of en, pt-BR, es, or leave"])
        for written in ("", "fr", "pt-PT", "english", "e", "en-US", "''")
    ),
    (GOOD + "language: [en]\n", ["7: language: write a single value"]),
    (GOOD + "    language: fr\n", ["7: operators[0].language: no such language"]),
    *(
        (GOOD + f"timezone: {written}\n", ["7: timezone: no such time zone: write its IANA name, such as America/Sao"])
        for written in (
            *("", "../../etc", "/etc/passwd", ".", "..", r'"a\0b"', "x" * 5000, "-03:00", "{}", "[]", "'C:\\x'"),
            "${T}",
        )
    ),
    *((GOOD + f"timezone: {folder}\n", ["7: timezone: no such time zone: "]) for folder in ("America", "America/")),
    *(
        (GOOD + f"timezone: {written}\n", [f"7: timezone: no such time zone: did you mean {meant}?"])
        for written, meant in (
            *(("utc", "UTC"), ("america/sao_paulo", "'America/Sao_Paulo'"), ("Sao_Paulo", "'America/Sao_Paulo'")),
            ("Europe/Lisboa", "'Europe/Lisbon'"),
        )
    ),
    *(
        (GOOD + f"keep: {written}\n", ["7: keep: write the number of days with a d, such as 30d"])
        for written in ("", "30", "30 d", "-1d", "030d", "1.5d", "10000d", "30D", "d", "4w", "٣d", "[30d]", "false")
    ),
    *(
        (GOOD + f"state: {written}\n", ["7: state: write the name of a file, or leave the line out"])
        for written in ("", "' '", ".", "..", "data/", "data/..", r'"a\x7fb"', r'"a\0b"', r'"a\nb"')
    ),
    (GOOD + "state: {a: b}\n", ["7: state: write a single value"]),
    (GOOD + "admins: 42\n", ["7: admins: write a list"]),
    (GOOD + "admins: '42'\n", ["7: admins: write a list"]),
    (GOOD + "admins: ['42']\n", ["7: admins[0]: write the id without quotes"]),
    (GOOD + 'admins:\n  - 7\n  - "42"\n', ["9: admins[1]: write the id without quotes"]),
    (GOOD + "admins:\n  - 7\n  - 42\n  - 7\n", ["10: admins[2]: the same id as in line 8: keep one of them"]),
    (GOOD + 'admins: [42, "${ID}"]\n', ["7: admins[1]: the same id as in line 7"]),
    (GOOD + "admins: [777000]\n", ["7: admins[0]: reserved: it stands for Telegram itself"]),
    (GOOD + "admins: [-1001234567890]\n", ["7: admins[0]: a negative id is a group's"]),
    (GOOD + f"admins: [{2**52}]\n", ["7: admins[0]: too large"]),
    (
        GOOD + "admins:\n  - ana\n  - telegram_id: 42\n  -\n",
        [f"{8 + index}: admins[{index}]: write the numeric id in plain digits" for index in range(3)],
    ),
    # instances and tokens
    ("instances:\n  sales:\noperators: []\n", ["2: instances.sales: empty: write “key: value” lines"]),
    ("instances:\n  sales: {}\noperators: []\n", ["2: instances.sales.token: missing: write the instance's token"]),
    ("instances:\n  sales:\n    token:canary\noperators: []\n", ["2: instances.sales: write “key: value”"]),
    (
        "instances:\n  sales: {token:canary}\noperators: []\n",
        ["2: instances.sales.token: missing", "2: instances.sales: unknown key"],
    ),
    ("instances: {token:canary}\noperators: []\n", ["1: instances.token…: empty"]),
    (
        "instances:\n  sales: {canary-1234: }\noperators: []\n",
        ["2: instances.sales.token: missing", "2: instances.sales: unknown key"],
    ),
    (GOOD.replace("token", "tokne"), ["2: instances.sales.token: missing", "3: instances.sales.tokne: unknown key"]),
    (GOOD.replace("${T}", ""), ["3: instances.sales.token: the token is empty"]),
    (GOOD.replace("${T}", "${EMPTY}"), ["3: instances.sales.token: the token is empty"]),
    (GOOD.replace("${T}", "${NOPE}"), ["3: instances.sales.token: the variable NOPE is not set"]),
    (GOOD.replace("${T}", "${SPACED}"), ["3: instances.sales.token: the token holds a space"]),
    (GOOD.replace("${T}", "cänary"), ["3: instances.sales.token: the token holds a space, a line break or an odd"]),
    (GOOD.replace("${T}", r'"canary\nx"'), ["3: instances.sales.token: the token holds"]),
    (GOOD.replace("${T}", "$T"), ["3: instances.sales.token: a variable needs braces"]),
    (GOOD.replace("${T}", "${T"), ["3: instances.sales.token: not the name of a variable"]),
    (GOOD.replace("${T}", "${}"), ["3: instances.sales.token: not the name of a variable"]),
    (GOOD.replace("${T}", "${canary-1}"), ["3: instances.sales.token: not the name of a variable"]),
    (GOOD.replace("${T}", "[x]"), ["3: instances.sales.token: write a single value"]),
    (GOOD.replace("${T}", "*canary"), ["3: instances.sales.token: aliases (*) are not supported"]),
    (GOOD.replace("${T}", "&canary"), ["3: instances.sales.token: anchors (&)"]),
    (GOOD.replace("${T}", "!canary"), ["3: instances.sales.token: anchors (&) and tags (!)"]),
    # operators
    *(
        (one(written), ["5: operators[0].telegram_id: write the numeric id in plain digits"])
        for written in (
            "0",
            "042",
            "0o52",
            "0x2A",
            "4_2",
            "42.0",
            "4e1",
            "+42",
            "ana",
            "٤٢",
            "[42]",
            "9" * 5000,
        )
    ),
    (one("'42'"), ["5: operators[0].telegram_id: write the id without quotes"]),
    (one('"42"'), ["5: operators[0].telegram_id: write the id without quotes"]),
    (one(""), ["5: operators[0].telegram_id: write the numeric id"]),
    (one("-1001234567890"), ["5: operators[0].telegram_id: a negative id is a group's"]),
    (one(2**52), ["5: operators[0].telegram_id: too large"]),
    (one("${T}"), ["5: operators[0].telegram_id: write the numeric id in plain digits"]),
    (one("${NOPE}"), ["5: operators[0].telegram_id: the variable NOPE is not set"]),
    *((one(number), ["5: operators[0].telegram_id: reserved"]) for number in (1087968824, 136817688, 777000)),
    (two(42, "sales"), ["7: operators[1].telegram_id: the same id as in line 5"]),
    (two("${ID}", "sales"), ["7: operators[1].telegram_id: the same id as in line 5"]),
    (two(43, "slaes"), ["8: operators[1].instance: no such instance: did you mean sales?"]),
    (two(43, "SALES"), ["8: operators[1].instance: no such instance: did you mean sales?"]),
    (two(43, "warehouse"), ["8: operators[1].instance: no such instance: write one of sales"]),
    (two(43, "${T}"), ["8: operators[1].instance: no such instance: write one of sales"]),
    (two(43, ""), ["8: operators[1].instance: no such instance"]),
    ("instances: {}\n" + GOOD.split(INSTANCES)[1], ["4: operators[0].instance: no such instance: there is none yet"]),
    (INSTANCES + "operators:\n  - 42\n", ["5: operators[0]: write “key: value” lines"]),
    (INSTANCES + "operators:\n  -\n", ["5: operators[0]: empty: write “key: value” lines"]),
    (
        INSTANCES + "operators:\n  - name: Ana\n",
        ["5: operators[0].telegram_id: missing: write the person's", "5: operators[0].instance: missing: write"],
    ),
    *(
        (GOOD + f"    name: {name}\n", ["7: operators[0].name: write 1 to 64 characters"])
        for name in ("", "' '", "a" * 65, r'"a\nb"', r'"a\u2028b"', r'"a\u202eb"', r'"\eb"')
    ),
    # the instances of an operator
    (of(""), ["6: operators[0].instance: missing: write the name of an instance, such as “instance: sales”"]),
    (
        of("    instnace: sales\n"),
        ["6: operators[0].instance: missing", "7: operators[0].instnace: unknown key: did you mean instance?"],
    ),
    (of("    name: ' '\n"), ["6: operators[0].instance: missing", "7: operators[0].name: write 1 to 64 characters"]),
    (of("    instances: [a]\n    instance: sales\n"), ["8: operators[0].instance: write either “instance: sales” or"]),
    (of("    instance: sales\n    instances: [sales]\n"), ["7: operators[0].instance: write either “instance: sales”"]),
    *(
        (of(f"    instances:{nothing}\n"), ["7: operators[0].instances: empty: write the names of instances, such as"])
        for nothing in (" []", "", " ''", " {}", "\n      # - sales")
    ),
    (of("    instance:\n"), ["7: operators[0].instance: no such instance: write one of a, sales"]),
    (of("    instance: [sales]\n"), ["7: operators[0].instance: write a single value"]),
    (of("    instances: sales\n"), ["7: operators[0].instances: write a list"]),
    (of("    instances: {a: b}\n"), ["7: operators[0].instances: write a list"]),
    (of("    instances: [sales, '']\n"), ["7: operators[0].instances[1]: no such instance"]),
    (of("    instances: [[sales]]\n"), ["7: operators[0].instances[0]: write a single value"]),
    (of("    instances:\n      - a\n      - sale\n"), ["9: operators[0].instances[1]: no such instance: did you mean"]),
    (
        of("    instances:\n      - a\n      - sales\n      - a\n"),
        ["10: operators[0].instances[2]: the same instance as in line 8: keep one of them"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), PROBLEMS)
def test_each_mistake_is_shown_where_it_stands(tmp_path: Path, text: str | bytes, expected: list[str]) -> None:
    problems = problems_of(text, tmp_path)
    assert len(problems) == len(expected)
    for problem, start in zip(problems, expected, strict=True):
        assert problem.startswith(f"bot.yaml:{start}")


@pytest.mark.parametrize("name", [".", "..", "''", "' '", "a" * 101, r'"a\nb"', r'"a\u202eb"', r'"\x7f"'])
def test_an_instance_cannot_have_a_name_that_breaks_a_path_or_a_line(tmp_path: Path, name: str) -> None:
    (problem,) = problems_of(f"instances:\n  {name}:\n    token: x\noperators: []\n", tmp_path)
    assert re.match(r"bot\.yaml:2: instances\..{1,45}: not a possible name of an instance: write Ryze's own", problem)


FRAGMENTS = [
    *"\n\n\n  -?:&*!|>'\"%@`#,[]{}\t\r\x85\u2028\ufeff\x00\ud800$",
    ": ",
    "- ",
    "${T}",
    "---\n",
    "...\n",
    "<<",
    "a",
    "1e3",
]
FRAGMENTS += [
    *GOOD.split("\n"),
    "\nregion: ",
    "\nlanguage: ",
    "\ntimezone: ",
    "\nstate: ",
    "\nkeep: ",
    "\nadmins: [",
    "\n    instances: [sales",
    "\nryze:\n  timeout: ",
    "\n  - telegram_id: ",
    "\n    name: ",
    "*a",
    "&a ",
]


@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=30).map("".join))
def test_no_text_is_answered_with_anything_but_a_config_or_lines_of_problems(text: str) -> None:
    file, problems = parse("bot.yaml", text, ENV)
    assert (file is None) == bool(problems)
    assert all(re.match(r"bot\.yaml:[1-9]\d*: ", problem) and "\n" not in problem for problem in problems)


def test_all_problems_come_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    text = (
        "ryze:\n  timeout: 99\nregion: XX\ninstances:\n  sales: {token: '${NOPE}'}\n  sales: {token: x}\n"
        "operators:\n  - telegram_id: '42'\n    instance: slaes\n  - telegram_id: 42\nfoo: 1\n"
    )
    problems = problems_of(text, tmp_path, {"LOG_LEVEL": "LOUD", "TELEGRAM_BOT_TOKEN": "canary"})
    assert [problem.split(": ")[0] for problem in problems[:2]] == ["TELEGRAM_BOT_TOKEN", "LOG_LEVEL"]
    assert [problem.split(": ")[:2] for problem in problems[2:]] == [
        ["bot.yaml:2", "ryze.timeout"],
        ["bot.yaml:3", "region"],
        ["bot.yaml:5", "instances.sales.token"],
        ["bot.yaml:6", "instances.sales"],
        ["bot.yaml:8", "operators[0].telegram_id"],
        ["bot.yaml:9", "operators[0].instance"],
        ["bot.yaml:10", "operators[1].telegram_id"],
        ["bot.yaml:10", "operators[1].instance"],
        ["bot.yaml:11", "foo"],
    ]


@pytest.mark.parametrize(
    "token", [None, "", " ", "canary", "123", "123:", ":canary", "12a:canary", '"1:canary"', "1:c a"]
)
def test_a_bot_token_that_cannot_be_one_is_a_problem(tmp_path: Path, token: str | None) -> None:
    environ = {key: value for key, value in ENV.items() if key != "TELEGRAM_BOT_TOKEN"}
    problems = problems_of(GOOD, tmp_path, environ if token is None else {**environ, "TELEGRAM_BOT_TOKEN": token})
    assert len(problems) == 1
    assert re.match(r"TELEGRAM_BOT_TOKEN: not (set|a bot token)", problems[0])


@pytest.mark.parametrize(
    ("name", "values", "start"),
    [
        ("LOG_LEVEL", ["loud", "10", "canary"], "no such level: write one of DEBUG, INFO"),
        (
            "WEBHOOK_URL",
            [
                *("bot.example.org", "ftp://bot.example.org", "https://", "https://h?canary", "https://h/#canary"),
                *("http://[::1", "https://h:port", "https://h:99999", "https://a b", "https:///x", "https://h/\\x"),
            ],
            "write http:// or https:// and a host, and no ? or # after it",
        ),
        ("WEBHOOK_URL", ["https://u:canary@h", "https://canary@h/x"], "remove the user name and password"),
        (
            "WEBHOOK_URL",
            [
                *("http://bot.example.org", "HTTP://10.0.0.1:8080/x", "http://localhost.example.org", "http://[::2]"),
                *("http://127.example.org", "http://0.0.0.0"),
            ],
            "Telegram pushes only to https:// (and http:// reaches only this machine)",
        ),
        ("WEBHOOK_URL", ["https://h/healthz"], "/healthz is the path of the health check"),
        ("WEBHOOK_URL", ["https://exämple.org", "https://a℀b"], "an odd character: write the host in its ASCII form"),
        ("WEBHOOK_SECRET", ["canary!", "canary canary", "cänary", "a" * 257], "write 1 to 256 letters, digits, _ or -"),
        *(
            (name, ["0", "65536", "-1", "80.0", "http", "8_0", "٨٠", "tcp://h:80", "9" * 5000], "not a port: write a")
            for name in ("PORT", "METRICS_PORT")
        ),
        (
            "METRICS_HOST",
            ["http://h", "h:9090", "[::1]", "127.0.0.256", "1.2.3", "*", "a b", "-", "hést", "a" * 64, "a..b", "a/b"],
            "not an address to listen at: write an IP address, such as 127.0.0.1",
        ),
        (
            "DATABASE_URL",
            [
                *("attempts.sqlite3", "sqlite:///x", "mysql://u:canary@h/d", "postgresql+psycopg://u:canary@h/d"),
                *("postgres:/h", "postgres://u:can@ry@h/d", "postgres://u:can/ry@h/d", "postgres://u:canary%@h/d"),
                *("postgres://u:canary@h/d e", "host=h password=canary", "postgres://u:canary%4@h", "postgres://h/a/b"),
            ],
            "not an address of a PostgreSQL database: write postgresql://user:password@host/name",
        ),
    ],
)
def test_a_wrong_variable_is_a_problem_of_its_own(tmp_path: Path, name: str, values: list[str], start: str) -> None:
    for value in values:
        for environ in (ENV, {**ENV, "WEBHOOK_URL": "https://bot.example.org"}):
            (problem,) = problems_of(GOOD, tmp_path, {**environ, name: value})
            assert problem.startswith(f"{name}: {start}"), value


@pytest.mark.parametrize(
    "url",
    [
        *("https://bot.example.org", "https://bot.example.org:8443/a.b/c(d)/", "https://10.0.0.1", "HTTPS://h"),
        *(
            "http://127.0.0.1:8080",
            "http://127.9.9.9/x",
            "http://localhost",
            "http://LOCALHOST:1/",
            "http://[::1]:80/x",
        ),
    ],
)
def test_a_webhook_is_kept_as_written_and_plain_http_only_reaches_this_machine(tmp_path: Path, url: str) -> None:
    webhook = read(GOOD, tmp_path, {**ENV, "WEBHOOK_URL": f" {url}\n"}).webhook
    assert webhook
    assert (webhook.url, webhook.port) == (url, 8080)


def test_identical_processes_derive_the_same_secret_and_another_token_another(tmp_path: Path) -> None:
    found = []
    for token, secret in ((BOT_TOKEN, ""), (BOT_TOKEN, " "), (BOT_TOKEN + "x", ""), (BOT_TOKEN, "a_-1" * 64)):
        environ = {"WEBHOOK_URL": "https://h", "TELEGRAM_BOT_TOKEN": token, "WEBHOOK_SECRET": secret}
        config = read(GOOD, tmp_path, {**ENV, **environ})
        assert config.webhook
        assert config.webhook.secret in config.secrets
        assert config.webhook.secret not in repr(config)
        assert re.fullmatch(r"[A-Za-z0-9_-]{32,256}", config.webhook.secret)
        found.append(config.webhook.secret)
    assert found[0] == found[1] != found[2]
    assert found[3] == "a_-1" * 64


def test_without_an_address_there_is_no_webhook_and_without_a_port_there_are_no_metrics(tmp_path: Path) -> None:
    environ = {"WEBHOOK_URL": " ", "WEBHOOK_SECRET": "s", "PORT": "8080", "METRICS_PORT": "", "METRICS_HOST": "::"}
    config = read(GOOD, tmp_path, {**ENV, **environ, "DATABASE_URL": ""})
    assert (config.webhook, config.metrics, config.database_url) == (None, None, "")


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("", "127.0.0.1"),
        *((h, h) for h in ("::", "::1", "fe80::1%eth0", "localhost", "bot-1.pod_a.internal")),
    ],
)
def test_metrics_are_served_on_this_machine_unless_told_otherwise(tmp_path: Path, written: str, host: str) -> None:
    assert read(GOOD, tmp_path, {**ENV, "METRICS_PORT": "9090", "METRICS_HOST": written}).metrics == (host, 9090)


def test_the_webhook_and_the_metrics_cannot_share_a_port(tmp_path: Path) -> None:
    (problem,) = problems_of(GOOD, tmp_path, {**ENV, "WEBHOOK_URL": "https://h", "METRICS_PORT": "8080"})
    assert problem == "METRICS_PORT: the same as PORT: write another"
    assert read(GOOD, tmp_path, {**ENV, "PORT": "9090", "METRICS_PORT": "9090"}).metrics == ("127.0.0.1", 9090)


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        *((f"{scheme}://u:p%40%2Fss@h:5432/d", ["p%40%2Fss", "p@/ss"]) for scheme in ("postgres", "postgresql")),
        *(
            (url, [])
            for url in ("postgresql://", "postgres://h", "postgres://u@h/d", "postgres://u:@h", "postgres:///d")
        ),
        ("postgresql://h:5432,i:5433/d?user=u&password=p%20w&sslpassword=q", ["p%20w", "p w", "q"]),
        ("postgresql://u:a?b#c@%2Fvar%2Frun/d?x=y@z", ["a?b#c"]),
        *((f"postgresql://u:p@[::1{end}/d", ["p"]) for end in ("]:5432", "")),
    ],
)
def test_the_secrets_hold_the_databases_address_and_password(tmp_path: Path, url: str, passwords: list[str]) -> None:
    config = read(GOOD, tmp_path, {**ENV, "DATABASE_URL": f"{url} "})
    assert config.database_url == url
    assert config.secrets == (BOT_TOKEN, RYZE_TOKEN, url, *passwords)
    assert url not in repr(config)


def test_the_way_that_names_the_configuration_counts_in_its_order(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    for name, region in (("a", "BR"), ("b", "PT"), ("config/bot", "ES")):
        (tmp_path / f"{name}.yaml").write_text(GOOD + f"region: {region}\n")
    ways = {**ENV, "BOT_CONFIG": "b.yaml", "BOT_CONFIG_YAML": "\ufeff" + GOOD.replace("\n", "\r\n") + "region: DE\r\n"}
    found = [load("a.yaml", ways, tmp_path)]
    found.append(load(None, ways, tmp_path))
    found.append(load(None, {**ways, "BOT_CONFIG": ""}, tmp_path))
    found.append(load(None, ENV, tmp_path))
    assert [(config.source, config.region) for config in found] == [
        ("a.yaml", "BR"),
        ("b.yaml", "PT"),
        ("BOT_CONFIG_YAML", "DE"),
        ("config/bot.yaml", "ES"),
    ]


def test_problems_in_bot_config_yaml_have_its_lines(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {**ENV, "BOT_CONFIG_YAML": GOOD + "region: XX\udc80"}, tmp_path)
    assert str(caught.value).startswith("BOT_CONFIG_YAML:7: a character that YAML does not allow")


@pytest.mark.parametrize(
    ("path", "environ", "start"),
    [
        ("x.yaml", ENV, "x.yaml: no such file (named by --config): copy config/bot.example.yaml to it"),
        (None, {**ENV, "BOT_CONFIG": "y.yaml"}, "y.yaml: no such file (named by BOT_CONFIG): copy config/bot.example"),
        (None, ENV, "config/bot.yaml: no such file (looked for because neither --config nor BOT_CONFIG nor"),
        ("directory", ENV, "directory: is a directory: name a file"),
        ("", ENV, ": is a directory"),
        ("file/x", ENV, "file/x: cannot be read (Not a directory)"),
        ("a\x00b", ENV, "a\x00b: cannot be read (no such name is possible)"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, path: str | None, environ: Mapping[str, str], start: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as caught:
        load(path, environ, tmp_path)
    assert len(caught.value.problems) == 1
    assert str(caught.value).startswith(start)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    (tmp_path / "bot.yaml").touch(mode=0)
    with pytest.raises(ConfigError, match=r"^bot\.yaml: cannot be read \(Permission denied\)"):
        load("bot.yaml", ENV, tmp_path)


def test_variables_come_from_dotenv_where_the_environment_lacks_them(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(
        b"\xef\xbb\xbf# comment\r\n\r\n"
        b"TELEGRAM_BOT_TOKEN=1:dotenv\r\n"
        b"  export BOT_CONFIG = other.yaml   # of the team\n"
        b"LOG_LEVEL='WARNING' # loud\n"
        b'NAME="A \\"B\\" # \\\\ = C"\n'
        b"T=a#b=c\n"
        b"EMPTY= # nothing\n"
        b"REGION=BR"
    )
    (tmp_path / "other.yaml").write_text(GOOD + "    name: <${NAME}${EMPTY}>\nregion: ${REGION}\n")
    config = load(None, {"REGION": "PT"}, tmp_path)
    assert (config.telegram_token, config.log_level, config.source) == ("1:dotenv", "WARNING", "other.yaml")
    assert config.operators[42].name == '<A "B" # \\ = C>'
    assert config.instances["sales"].token == "a#b=c"
    assert config.region == "PT"


@pytest.mark.parametrize(
    "line", ["canary", "export", "=canary", "1A=canary", "A='canary", 'A="canary', "A='b' canary", "A-B=c"]
)
def test_a_malformed_line_of_dotenv_is_a_problem(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"# ok\n\n{line}\nB=c\n")
    (problem,) = problems_of(GOOD, tmp_path)
    assert problem.startswith(".env:3: not a “KEY=VALUE” line")


def test_a_dotenv_that_is_no_text_is_a_problem_and_a_directory_of_that_name_is_none(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=b\nB=\xff\n")
    (problem,) = problems_of(GOOD, tmp_path)
    assert problem.startswith(".env:2: not UTF-8 text")
    (tmp_path / ".env").unlink()
    (tmp_path / ".env").mkdir()
    read(GOOD, tmp_path)


def test_the_secrets_are_every_token_and_the_proxys_password(tmp_path: Path) -> None:
    proxies = {
        "HTTPS_PROXY": "http://user:p%40ss@proxy:3128",
        "all_proxy": "socks5h://u:a@b@h",
        "HTTP_PROXY": "http://user@proxy:3128",
        "no_proxy": "localhost",
        "ftp_proxy": "http://proxy:21",
    }
    config = read(GOOD, tmp_path, {**ENV, **proxies})
    assert config.secrets == (BOT_TOKEN, RYZE_TOKEN, "p%40ss", "p@ss", "a@b")
    assert "canary" not in repr(config)
    assert "p@ss" not in repr(config)


def test_describe_shows_operators_and_instances_with_masked_tokens(tmp_path: Path) -> None:
    text = GOOD + "    name: Front desk\ninstances_end: x\n"
    text = text.replace("instances_end: x\n", "region: BR\n").replace(
        "  sales:\n", "  b: {token: short-tokn}\n  sales:\n"
    )
    assert describe(read(text, tmp_path)) == (
        "Configuration  bot.yaml\n"
        "Telegram       https://api.telegram.org, token …_bot\n"
        "Updates        long polling\n"
        "Ryze           https://ryzeapi.cloud, 12 s at most\n"
        "Region         BR\n"
        "Language       each person's own\n"
        "Time zone      UTC\n"
        f"History        {tmp_path}/ryze-pin-bot.sqlite3, for 30 days\n"
        "Admins         none\n"
        "Metrics        none\n"
        "Log level      INFO\n"
        "\n"
        "Instance  Token\n"
        "b         …\n"
        "sales     …4321\n"
        "\n"
        "Operator    Telegram id  Instance\n"
        "Front desk  42           sales"
    )


def test_describe_shows_where_updates_come_from_and_history_goes_to_without_a_secret(tmp_path: Path) -> None:
    environ = {"WEBHOOK_URL": "https://h:8443/canary", "METRICS_PORT": "9090", "DATABASE_URL": "postgres://u:canary@h"}
    text = GOOD.replace("instance: sales", "instances: [sales, a]").replace("  sales:", "  a: {token: x}\n  sales:")
    text += "language: pt\ntimezone: America/Sao_Paulo\nadmins: [7, 8]\n"
    shown = describe(read(text, tmp_path, {**ENV, **environ}))
    for line in (
        "Updates        pushed to https://h:8443, port 8080",
        "Language       pt-BR",
        "Time zone      America/Sao_Paulo",
        "History        PostgreSQL, for 30 days",
        "Admins         7, 8",
        "Metrics        127.0.0.1, port 9090",
        "42        42           sales, a",
    ):
        assert line in shown.split("\n")
    assert "canary" not in shown
    assert "History        none\n" in describe(read(text + "keep: 0\n", tmp_path, {**ENV, **environ}))


def test_describe_says_that_nobody_is_let_in(tmp_path: Path) -> None:
    shown = describe(read(INSTANCES + "operators: []\n", tmp_path))
    assert shown.endswith("No operators: nobody is let in.")
    assert "none: numbers are sent with their country code" in shown


def test_the_example_loads_once_its_variables_are_set(tmp_path: Path) -> None:
    text = EXAMPLE.read_text("utf-8")
    with pytest.raises(ConfigError, match="the variable RYZE_SALES_TOKEN is not set"):
        read(text, tmp_path)
    assert read(text, tmp_path, {**ENV, "RYZE_SALES_TOKEN": "x"}).operators[123456789].name == "Front desk"


def test_every_line_that_the_example_has_commented_out_is_right(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text("utf-8").split("\n")
    text = "\n".join(re.sub(r"^( *)# ( *(?:- )?[a-z_ ]+:( |$).*)", r"\1\2", line) for line in lines)
    config = read(text, tmp_path, {**ENV, "RYZE_SALES_TOKEN": "x", "RYZE_SUPPORT_TOKEN": "y"})
    assert config.region == "BR"
    assert config.operators[987654321] == Operator(987654321, "Ana", ("support team", "sales"), "en")
    assert (config.language, str(config.timezone), config.admins) == ("pt-BR", "America/Sao_Paulo", (123456789,))
    assert (config.state, config.keep) == (tmp_path / "ryze-pin-bot.sqlite3", timedelta(days=30))
