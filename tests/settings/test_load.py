import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.settings import load as module
from bot.settings.load import ConfigError, load
from bot.settings.model import Instance, Operator, Ryze, Settings, Telegram, Webhook

BOT_TOKEN = "123456789:AA-canary_bot"
RYZE_TOKEN = "canary-ryze-token-4321"
ENV = {"TELEGRAM_BOT_TOKEN": BOT_TOKEN, "T": RYZE_TOKEN, "EMPTY": "", "SPACED": "canary with spaces", "ID": "42"}
INSTANCES = "instances:\n  sales:\n    token: ${T}\n"
GOOD = INSTANCES + "operators:\n  - telegram_id: 42\n    instance: sales\n"
EXAMPLE = Path(module.__file__).with_name("bot.example.yaml")
HOW_TO_GET_ONE = "(to get it, start the bot with “operators: []” and let the person send it /id)"


def read(text: str, folder: Path, environ: Mapping[str, str] = ENV, *, tokens_needed: bool = True) -> Settings:
    (folder / "bot.yaml").write_text(text, "utf-8")
    return load("bot.yaml", environ, folder, tokens_needed=tokens_needed)


def problems_of(text: str, folder: Path, environ: Mapping[str, str] = ENV) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read(text, folder, environ)
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert "canary" not in str(caught.value).lower()
    assert all(problem.isprintable() for problem in caught.value.problems)
    return caught.value.problems


def test_everything_that_can_be_written_is_read(tmp_path: Path) -> None:
    text = """\
telegram: {api_url: "http://127.0.0.1:8081/"}
ryze: {base_url: https://ryze.example/api//, timeout: 2.5}
region: NO
language: pt-BR
timezone: America/Sao_Paulo
state: data/attempts.sqlite3
keep: 90d
admins: [7, "${ID}"]
instances:
  sales: {token: "${T}"}
  "sales / São Paulo": {token: written-here, pins: 100}
  on: {token: "a-${T}-$${T}", pins: 1}
operators:
  - telegram_id: 4503599627370495
    name: "Front desk: 1e3 #"
    instance: sales / São Paulo
  - {telegram_id: "${ID}", instance: on}
  - {telegram_id: 43, instances: [on, sales], language: es}
"""
    variables = {
        "TELEGRAM_BOT_TOKEN": f" {BOT_TOKEN}\n",
        "LOG_LEVEL": "debug",
        "WEBHOOK_URL": "https://bot.example.org/hook/",
        "WEBHOOK_SECRET": "canary_-1",
        "PORT": "443",
        "METRICS_PORT": "9090",
        "METRICS_HOST": "::",
        "DATABASE_URL": "postgres://u:canary@h:5432/attempts?a=b",
    }
    assert read(text, tmp_path, ENV | variables) == Settings(
        telegram_token=BOT_TOKEN,
        telegram=Telegram(api_url="http://127.0.0.1:8081"),
        ryze=Ryze(base_url="https://ryze.example/api", timeout=2.5),
        region="NO",
        language="pt-BR",
        timezone=ZoneInfo("America/Sao_Paulo"),
        state=tmp_path / "data" / "attempts.sqlite3",
        keep=timedelta(days=90),
        admins=(7, 42),
        instances={
            "sales": Instance(name="sales", token=RYZE_TOKEN, pins=3),
            "sales / São Paulo": Instance(name="sales / São Paulo", token="written-here", pins=100),
            "on": Instance(name="on", token=f"a-{RYZE_TOKEN}-${{T}}", pins=1),
        },
        operators=(  # type: ignore[arg-type] # the list in the file
            Operator(telegram_id=2**52 - 1, name="Front desk: 1e3 #", instances=("sales / São Paulo",)),
            Operator(telegram_id=42, name="42", instances=("on",)),
            Operator(telegram_id=43, name="43", instances=("on", "sales"), language="es"),
        ),
        database_url="postgres://u:canary@h:5432/attempts?a=b",
        webhook=Webhook(url="https://bot.example.org/hook/", secret="canary_-1", port=443),
        metrics=("::", 9090),
        log_level="DEBUG",
        source="bot.yaml",
    )


@pytest.mark.parametrize(
    "text",
    [
        INSTANCES + "operators: []\n",
        "instances: {}\noperators: []\n",
        GOOD + "ryze:\n  # timeout: 12\ntelegram:\nadmins:\n  # - 42\nregion:\n",
        "\ufeff" + GOOD.replace("\n", "\r\n"),
        "%YAML 1.1\n---\n" + GOOD + "...\n",
        GOOD.replace("sales", "null"),
        GOOD.replace("instance: sales", "instances: sales"),
        GOOD + "    name: " + "ü" * 100,
        GOOD + "    name: '👩‍⚕️ Ana'",
    ],
)
def test_unusual_but_right(tmp_path: Path, text: str) -> None:
    assert read(text, tmp_path).instances.keys() <= {"sales", "null"}


def test_the_state_is_a_path_from_where_the_bot_is_started_or_from_the_root(tmp_path: Path) -> None:
    for written, meant in (("a", tmp_path / "a"), ("../a b.db", tmp_path / "../a b.db"), ("/x/a", Path("/x/a"))):
        assert read(GOOD + f"state: {written}\n", tmp_path).state == meant


def test_a_value_from_the_environment_never_becomes_structure(tmp_path: Path) -> None:
    name = "x\u00a0${ID}, instance: other # ' \" ]"
    assert read(GOOD + "    name: ${NAME}", tmp_path, {**ENV, "NAME": name}).operators[42].name == name


TWO = GOOD.replace("sales:", "a: {token: x}\n  sales:")
ONE = "instances:\n  %\noperators: []\n"
TOKEN = GOOD.replace("${T}", "%")
ID = GOOD.replace("42", "%")
OF_ID, OF_TOKEN, OF_NAME = "5: operators.0.telegram_id: ", "3: instances.sales.token: ", "7: operators.0.name: "
OF_INSTANCE = "7: operators.0.instances"
LIST = "write a list, each entry beginning with “- ”, or [] for none"
KEYS = "write “key: value” lines"
LINE = "write one line of 1 to 100 characters, or leave the line out"
URL = "write http:// or https://, a host and perhaps a path, and no more"
ZONE = "7: timezone: write an IANA name, such as America/Sao_Paulo, or leave the line out"
EXAMPLES = "write it as in the example (the command init writes one)"
UNKNOWN = f"unknown key: {EXAMPLES}"
NO_ID = "write a person's own numeric id, of up to 10 digits"
ALIAS = "anchors (&), aliases (*) and tags (!) are not supported: put the value in quotes"
NO_YAML = "a character that YAML does not allow, or too many brackets"
VALUES = [  # a text, what stands in place of its %, and what is said of it
    (GOOD + "region: %", "UK|Brazil|[BR]|{}", "7: region: write the two letters of ISO 3166, such as BR or GB"),
    (GOOD + "language: %", "fr|pt-PT|e|[en]", "7: language: Input should be 'en', 'pt-BR' or 'es'"),
    (GOOD + "timezone: %", f"../../etc|/etc/passwd|.|-03:00|{{}}|[]|America|{'x' * 5000}", ZONE),
    (GOOD + "keep: %", "30|-1d|1.5d|10000d|d|4w|٣d|[30d]|false", "7: keep: write days with a d"),
    (GOOD + "state: %", "{a: b}|[x]", "7: state: Input is not a valid path"),
    (GOOD + "ryze:\n  base_url: %", "|x.example|ftp://h|https://|http://a b/|http://[::1", f"8: ryze.base_url: {URL}"),
    (GOOD + "ryze:\n  base_url: %", "http://h:99999|'http://h/#'|http://h?canary", f"8: ryze.base_url: {URL}"),
    (
        GOOD + "telegram:\n  api_url: %",
        "https://u:canary@h|https://u@h",
        "8: telegram.api_url: write http:// or https://, a host",
    ),
    (GOOD + "ryze:\n  timeout: %", "0|-1|60.1|12s|nan|.inf|0x0c|true||[12]|١٢", "8: ryze.timeout: Input should be "),
    (GOOD + "ryze: %", "12|[]", f"7: ryze: {KEYS}"),
    (GOOD + "admins: %", "42|{a: b}", f"7: admins: {LIST}"),
    (GOOD + "admins:\n  - 7\n  - %", "'42'|\"42\"", "9: admins.1: write the id without quotes"),
    (GOOD + "admins:\n  - 7\n  - %", "ana|x: 42||", f"9: admins.1: {NO_ID}"),
    (ONE, "sales:|sales: canary|sales:\n    token:canary", f"2: instances.sales: {KEYS}"),
    (ONE, "'': {token: x}|\"a\\nb\": {token: x}", "2: instances."),
    (ONE, "..: {token: x}", "2: instances...: write the exact name at Ryze"),
    ("instances: {%}\noperators: []\n", "token:canary", f"1: instances.token…: {KEYS}"),
    (TOKEN, '|${EMPTY}|${SPACED}|cänary|[x]|{a: b}|"canary\\nx"', OF_TOKEN + "write the token from Ryze in one piece"),
    (TOKEN, "${NOPE}", OF_TOKEN + "the variable NOPE is not set: set it in the environment or in /"),
    (TOKEN, "${T|${}|${T-1}|${canary-1}|${canary}", OF_TOKEN + "no such variable: write ${NAME}, or the token itself"),
    (GOOD.replace("${T}", "x\n    pins: %"), "0|101|many|", "4: instances.sales.pins: Input should be "),
    (ID, "0|042|0x2A|4_2|42.0|4e1|+42|ana|'@ana'|٤٢|[42]||${T}|-1001234567890", f"{OF_ID}{NO_ID} {HOW_TO_GET_ONE}"),
    (ID, f"{'1' * 17}|{'9' * 5000}|1087968824|136817688|777000", OF_ID + NO_ID),
    (ID, "'42'|\"42\"", OF_ID + "write the id without quotes"),
    (ID, "@canary", f"5: a username is no id: write the numeric id {HOW_TO_GET_ONE}"),
    (GOOD + "  - {instance: sales, telegram_id: %}", "42|'${ID}'", "7: operators.1.telegram_id: the same id as in"),
    (INSTANCES + "operators:\n  - %\n", "42||[]", f"5: operators.0: {KEYS}"),
    (INSTANCES + "operators:\n  %\n", "a: b|telegram_id: 42", f"4: operators: {LIST}"),
    (GOOD + "    name: %", f"|' '|{'a' * 101}" + r'|"a\nb"|"a\u202eb"', OF_NAME + LINE),
    (TWO.replace(": sales", ": %"), "Sales|stock|${T}|", "7: operators.0.instance: no such instance: write a n"),
    (TWO.replace(": sales", "s: [%]"), "x|q w", OF_INSTANCE + ".0: no such instance: write a name"),
    (TWO.replace(": sales", "s: %"), "|[]|{}", OF_INSTANCE + ": no such instance: write a name"),
    (TWO.replace(": sales", "s: %"), "{a: b}", f"{OF_INSTANCE}: {LIST}"),
    (TWO + "    %: [a]", "instances", f"8: operators.0.%: {UNKNOWN}"),
    (GOOD + "%: canary", "telegram_token", f"7: %: {UNKNOWN}"),
    (GOOD + "%: canary", f"'a\\u202eb'|{'x' * 50}", "7: "),
    (GOOD + "%: canary", "TELEGRAM_BOT_TOKEN|WEBHOOK_URL|DATABASE_URL", "7: %: belongs in the environment or in .env"),
    (GOOD + "    %: Ana", "nmae", f"7: operators.0.%: {UNKNOWN}"),
    (GOOD.replace("    token", "    %: x\n    token"), "name", f"3: instances.sales.%: {UNKNOWN}"),
    (GOOD + "region: BR\nregion: %\n", "BR|XX", "8: region: given twice (first in line 7): keep one of them"),
    (INSTANCES + "  sales: %\noperators: []\n", "{token: x}|", "4: instances.sales: given twice (first in line 2)"),
    ("%", "|# nothing\n|---\n|- a\n- b\n|canary|[]", f"1: write “key: value” lines: {EXAMPLES}"),
    (GOOD + "c: %", "&a [*a]|*canary|&canary x|!canary|!canary!x|!!null []", f"7: {ALIAS}"),
    (GOOD + "region: B%R\n", "\x00|\x7f", f"7: {NO_YAML}"),
    (GOOD + "region: %\n", '"BR|[BR', "8: "),
    (GOOD + "%: x", "? [a, canary]\n|? {a: canary}\n|{{ canary }}", "7: only plain text can be a key"),
    ("operators: []\n%", "  - telegram_id: 42\n|- telegram_id: 42\n", "2: wrongly indented: align it; if the line"),
    ("%", "[" * 9999, f"1: {NO_YAML}"),
]


@pytest.mark.parametrize(("text", "values", "start"), VALUES)
def test_each_mistake_is_shown_where_it_stands(tmp_path: Path, text: str, values: str, start: str) -> None:
    for value in values.split("|"):
        (problem,) = problems_of(text.replace("%", value), tmp_path)
        assert problem.startswith(f"bot.yaml:{start.replace('%', value)}"), value


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("region: BR\n", ["1: instances: missing", "1: operators: missing"]),
        ("instances:\noperators:\n", ["1: instances: missing", "2: operators: missing"]),
        (GOOD + "  - name: Ana\n", ["7: operators.1.instance: missing", "7: operators.1.telegram_id: missing"]),
    ],
)
def test_what_is_missing_is_shown_where_it_belongs(tmp_path: Path, text: str, places: list[str]) -> None:
    assert problems_of(text, tmp_path) == tuple(f"bot.yaml:{place}: {EXAMPLES}" for place in places)


def test_every_mistake_is_shown_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    text = "region: UK\nryze:\n  timeout: x\ninstances:\n  sales: {token: '${NOPE}'}\n  b:\noperators:\n"
    text += "  - telegram_id: '42'\n    instance: c\n  - {telegram_id: 1.5, instance: c}\nfoo: 1\n"
    problems = problems_of(text, tmp_path, {"LOG_LEVEL": "loud", "DATABASE_URL": "mysql://canary"})
    shown = [re.sub(r": (write|Input|not|no|unknown|the) .*", "", problem) for problem in problems]
    assert shown == [
        *("DATABASE_URL", "LOG_LEVEL", "TELEGRAM_BOT_TOKEN", "bot.yaml:1: region", "bot.yaml:3: ryze.timeout"),
        *("bot.yaml:5: instances.sales.token", "bot.yaml:6: instances.b", "bot.yaml:8: operators.0.telegram_id"),
        *("bot.yaml:9: operators.0.instance", "bot.yaml:10: operators.1.instance"),
        *("bot.yaml:10: operators.1.telegram_id", "bot.yaml:11: foo"),
    ]


DATABASE = "write postgresql://user:password@host/name, in the password %40 for @ and %2F for /"
HTTPS = "write https://, a host and perhaps a path, and no more"
VARIABLES = [
    ("TELEGRAM_BOT_TOKEN", " ", "not set: put the token from @BotFather in the environment or in /"),
    ("TELEGRAM_BOT_TOKEN", "canary|123:|:canary|12a:canary|'1:canary'|1:c a|\udc80", "not a bot token"),
    ("LOG_LEVEL", "loud|10|canary|\udc80", "Input should be "),
    ("WEBHOOK_URL", "x.example|ftp://h|https://|https://h?canary|https://h/#canary|http://[::1|https://h:port", HTTPS),
    ("WEBHOOK_URL", "https://a b|https://a℀b|https://u:canary@h|https://canary@h/x|http://h|http://localhost.h", HTTPS),
    ("WEBHOOK_SECRET", f"canary!|canary canary|{'a' * 257}", "String should match pattern '^[A-Za-z0-9_-]{1,256}$'"),
    ("PORT", "0|65536|http", "Input should be "),
    ("METRICS_PORT", "0|65536|-1|80.5|http|tcp://h:80", "Input should be "),
    ("DATABASE_URL", "x.sqlite3|sqlite:///x|mysql://u:canary@h/d|postgres:/h|postgres://u:can%ry@h", DATABASE),
    ("DATABASE_URL", "postgres://u:can@ry@h|postgres://u:can/ry@h|postgres://u:canary@h/d e|host=h", DATABASE),
]


@pytest.mark.parametrize(("name", "values", "start"), VARIABLES)
def test_a_wrong_variable_is_a_problem_of_its_own(tmp_path: Path, name: str, values: str, start: str) -> None:
    for value in values.split("|"):
        (problem,) = problems_of(GOOD, tmp_path, {**ENV, "WEBHOOK_URL": "https://h", name: value})
        assert problem.startswith(f"{name}: {start}"), value


def test_identical_processes_derive_the_same_secret_and_another_token_another(tmp_path: Path) -> None:
    def secret(token: str, given: str = "") -> str:
        environ = {"WEBHOOK_URL": " https://h\n", "TELEGRAM_BOT_TOKEN": token, "WEBHOOK_SECRET": given}
        webhook = read(GOOD, tmp_path, {**ENV, **environ}).webhook
        assert webhook
        assert (webhook.url, webhook.port) == ("https://h/", 8080)
        return webhook.secret

    assert re.fullmatch(r"[A-Za-z0-9_-]{32,256}", secret(BOT_TOKEN))
    assert secret(BOT_TOKEN) == secret(BOT_TOKEN, " ") != secret(BOT_TOKEN + "x")
    assert secret(BOT_TOKEN, "a_-1" * 64) == "a_-1" * 64


def test_metrics_are_served_on_this_machine_unless_told_otherwise(tmp_path: Path) -> None:
    for written, host in (("", "127.0.0.1"), ("localhost", "localhost")):
        assert read(GOOD, tmp_path, {**ENV, "METRICS_PORT": "9090", "METRICS_HOST": written}).metrics == (host, 9090)


def test_without_the_need_of_tokens_no_variable_of_one_has_to_be_set(tmp_path: Path) -> None:
    found = read(GOOD.replace("42", "${ID}"), tmp_path, {"ID": "42"}, tokens_needed=False)
    assert (found.telegram_token, list(found.operators)) == ("", [42])
    with pytest.raises(ConfigError) as caught:
        read(GOOD.replace("42", "${ID}"), tmp_path, {}, tokens_needed=False)
    assert len(caught.value.problems) == 1
    assert f"{OF_ID}the variable ID is not set" in str(caught.value)


def test_the_way_that_names_the_configuration_counts_in_its_order(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    for name, region in (("a", "BR"), ("b", "PT"), ("config/bot", "ES")):
        (tmp_path / f"{name}.yaml").write_text(GOOD + f"region: {region}\n")
    text = {**ENV, "BOT_CONFIG_YAML": "\ufeff" + GOOD.replace("\n", "\r\n") + "region: DE\r\n"}
    both = {**text, "BOT_CONFIG": "b.yaml"}
    ways = [("a.yaml", both), (None, both), (None, text), (None, ENV)]
    found = [load(path, environ, tmp_path) for path, environ in ways]
    shown = [(settings.source, settings.region) for settings in found]
    assert shown == [("a.yaml", "BR"), ("b.yaml", "PT"), ("BOT_CONFIG_YAML", "DE"), ("config/bot.yaml", "ES")]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (None, "config/bot.yaml: No such file or directory (init writes an example, --config names another file)"),
        ("directory", "directory: Is a directory"),
        ("binary", "binary: save it as UTF-8 text"),
        ("directory/bot.yaml", "directory/.env: save it as UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, path: str | None, problem: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "bot.yaml").write_text(GOOD)
    for binary in ("binary", "directory/.env"):
        (tmp_path / binary).write_bytes(GOOD.encode("utf-16"))
    with pytest.raises(ConfigError) as caught:
        load(path, ENV, tmp_path)
    assert len(caught.value.problems) == 1
    assert str(caught.value).removeprefix(f"{tmp_path}/").startswith(problem)


def test_variables_come_from_dotenv_where_the_environment_lacks_them(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(
        b"\xef\xbb\xbf# comment\r\n\r\n"
        b"TELEGRAM_BOT_TOKEN=1:dotenv\r\n"
        b"  export BOT_CONFIG = other/bot.yaml   # of the team\n"
        b"LOG_LEVEL='WARNING' # loud\n"
        b'NAME="A \\"B\\" # \\\\ = C"\n'
        b"T=a#b=${NAME}\n"
        b"ALONE\n"
        b"EMPTY= # nothing\n"
        b"REGION=BR\nZONE=Europe/Lisbon"
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".env").write_text("ZONE=America/Sao_Paulo\nREGION=DE\n")
    text = GOOD + "    name: <${NAME}${EMPTY}${ALONE}>\nregion: ${REGION}\ntimezone: ${ZONE}\n"
    (tmp_path / "other" / "bot.yaml").write_text(text)
    found = load(None, {"REGION": "PT"}, tmp_path)
    assert (found.telegram_token, found.log_level, found.source) == ("1:dotenv", "WARNING", "other/bot.yaml")
    assert found.operators[42].name == '<A "B" # \\ = C>'
    assert found.instances["sales"].token == "a#b=${NAME}"
    assert (found.region, str(found.timezone)) == ("PT", "America/Sao_Paulo")


def test_an_unset_variable_says_where_it_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "bot.yaml").write_text(GOOD)
    (tmp_path / ".env").mkdir()  # somebody's virtual environment
    with pytest.raises(ConfigError) as caught:
        load(None, {}, tmp_path)
    places = f"in the environment or in {tmp_path}/config/.env or {tmp_path}/.env"
    assert caught.value.problems == (
        f"TELEGRAM_BOT_TOKEN: not set: put the token from @BotFather {places}",
        f"config/bot.yaml:3: instances.sales.token: the variable T is not set: set it {places}",
    )


FRAGMENTS = [
    *"\n\n\n  -?:&*!|>'\"%@`#,[]{}\t\r\x85\u2028\ufeff\x00\ud800$",
    *(": ", "- ", "${T}", "---\n", "...\n", "<<", "a", "1e3", "*a", "&a ", "TELEGRAM_BOT_TOKEN: ", *GOOD.split("\n")),
    *("\nregion: ", "\ntimezone: ", "\nkeep: ", "\nadmins: [", "\nryze:\n  timeout: ", "\n    instances: [sales"),
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join), st.sampled_from(["\n", GOOD]))
def test_no_text_is_too_odd(tmp_path_factory: pytest.TempPathFactory, text: str, beginning: str) -> None:
    environ = {"BOT_CONFIG_YAML": beginning + text, "TELEGRAM_BOT_TOKEN": BOT_TOKEN, "T": "canary\udc80"}
    problems: tuple[str, ...] = ()
    try:
        load(None, environ, tmp_path_factory.getbasetemp())
    except ConfigError as error:
        problems = error.problems
    assert all(re.match(r"BOT_CONFIG_YAML:\d+: .", problem) and problem.isprintable() for problem in problems)
    assert "canary" not in "".join(problems)


def test_every_line_that_the_example_has_commented_out_is_right(tmp_path: Path) -> None:
    text = re.sub(r"^( *)# ( *(?:- )?[a-z_ ]+:( |$).*)", r"\1\2", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)
    environ = {**ENV, "RYZE_SALES_TOKEN": "x", "RYZE_SUPPORT_TOKEN": "y"}
    assert len(problems_of(EXAMPLE.read_text("utf-8"), tmp_path)) == 1, "a variable beside the bot's token"
    (problem,) = problems_of(text, tmp_path, environ)
    assert problem.endswith("if the line above ends with [] or {}, remove these")
    found = read(text.replace("operators: []", "operators:"), tmp_path, environ)
    assert [operator.instances for operator in found.operators.values()] == [("sales",), ("support team", "sales")]
    assert (found.region, found.language, str(found.timezone)) == ("BR", "pt-BR", "America/Sao_Paulo")
    assert (found.admins, found.instances["support team"].pins) == ((123456789,), 20)
    left_out = read(GOOD, tmp_path)
    for name in ("telegram", "ryze", "state", "keep"):
        assert getattr(found, name) == getattr(left_out, name)
