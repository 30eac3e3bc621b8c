import pytest

from bot.settings.yaml_text import Document


def document(env: dict[str, str] | None = None) -> Document:
    return Document(env or {}, "in the environment", tokens_needed=True, lines={})


def test_every_value_is_a_string_and_has_a_line() -> None:
    found = document()
    tree = found.read("a: NO\nb:\n  - 1e3\n  - {c: ~, 'd e': 'x'}\n")
    assert tree == {"a": "NO", "b": ["1e3", {"c": "~", "d e": "x"}]}
    assert found.problems == {}
    assert [found.lines[path] for path in (("a",), ("b",), ("b", 0), ("b", 1, "c"))] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "meant"), [("${A}", "1"), ("x${A}y${B}", "x1y2 # ${A}"), ("$${A}", "${A}"), ("$A $$", "$A $$")]
)
def test_a_variable_is_put_in_once_and_after_reading(text: str, meant: str) -> None:
    assert document({"A": "1", "B": "2 # ${A}"}).read(f"key: {text}") == {"key": meant}


ALIAS = "anchors (&), aliases (*) and tags (!) are not supported: put the value in quotes"
PASTED = "wrongly indented: align it; if the line above ends with []"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        *((text, 1, "write “key: value” lines") for text in ("", "# nothing\n", "---\n", "- a\n- b\n", "canary", "[]")),
        ("a: b\n---\nc: d\n", 2, "but found another document"),
        ("a: b\nregion: B\x00R\n", 2, "a character that YAML does not allow: remove it"),
        ("a: b\nregion: \ud800\n", 2, "a character that YAML does not allow: remove it"),
        ("instances:\n\tsales:\n", 2, "a tab stands here: indent with spaces"),
        ("instances:\n  sales: x: canary\n", 2, "a second colon, or wrongly indented"),
        ("region: `canary`\n", 1, "found character '`' that cannot start any token"),
        ("telegram_id: @ana\n", 1, "no value begins with @, and a username is no id: write the numeric id"),
        ("region: [BR\n", 2, "expected ',' or ']'"),
        ('region: "BR\n', 2, "found unexpected end of stream"),
        ("region: !canary!x\n", 1, "found undefined tag handle '…'"),
        ("? [a, b]\n: c\n", 1, "only plain text can be a key"),
        *((f"operators: []\n{pasted}", 2, PASTED) for pasted in ("  - telegram_id: 42\n", "- telegram_id: 42\n")),
        *((f"a: b\nc: {text}\n", 2, ALIAS) for text in ("&a [*a]", "*canary", "&canary x", "!canary", "!!null []")),
        ("a: &a\n  <<: *a\n", 1, ALIAS),
    ],
)
def test_a_text_that_cannot_be_read_has_one_problem_with_its_line(text: str, line: int, problem: str) -> None:
    found = document()
    assert found.read(text) == {}
    ((where, (number, words)),) = found.problems.items()
    assert (where, number) == ((), line)
    assert words.startswith(problem)
    assert "canary" not in words


def test_of_several_problems_with_one_place_the_first_counts_and_a_key_that_may_be_a_secret_is_hidden() -> None:
    found = document()
    found.read("sales:\n  token: ${NOPE}${CANARY_TOO}\n")
    found.refuse(("sales", "token"), "and another")
    found.refuse(("instances", "token:canary", "a\u202eb\n", "x" * 50), "unknown")
    assert list(found.problems.values()) == [
        (2, "sales.token: the variable NOPE is not set: set it in the environment"),
        (1, f"instances.token….a…b….{'x' * 40}…: unknown"),
    ]
