"""What a button carries: 64 bytes at most, and only what `pack` would write is read back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.conversation.callback_data import TWO_CHATS, Action, Press, instance_hash, pack, unpack
from bot.ryze.chats import Chat

DIGITS = st.text("0123456789", min_size=5, max_size=26)
NUMBERS = st.integers(10**6, 10**15 - 1).map(str)
JIDS = st.builds("{}@{}".format, DIGITS, st.sampled_from(["s.whatsapp.net", "lid", "newsletter", "g.us"]))
GROUPS = st.from_regex(r"\A[0-9]{5,15}-[0-9]{1,10}@g\.us\Z")
SAFE = re.compile(r"[1-9][0-9]{6,14}|[0-9]{5,26}@(s\.whatsapp\.net|lid|newsletter|g\.us)|[0-9]{5,15}-[0-9]{1,10}@g\.us")
CHATS = st.builds(Chat, NUMBERS | JIDS | GROUPS)
INSTANCES = st.sampled_from(["sales", "support", "é"])
NAMES = {instance_hash(name): name for name in ("sales", "support", "é")} | {"abcdef": "sales"}
ONE_CHAT = [action for action in Action if action not in TWO_CHATS]
PRESSES = st.builds(Press, st.sampled_from(ONE_CHAT), INSTANCES, CHATS, st.none()) | st.builds(
    Press, st.sampled_from(TWO_CHATS), INSTANCES, CHATS, CHATS
)
NEARLY = st.from_regex(r"\A[pusmrPUhx]?:?[\w-]{4,7}:?[0-9-]{0,33}[slgnx]?(:[0-9]{0,17}g?)?:?\Z")


@given(PRESSES)
def test_a_press_comes_back_as_it_was_packed(press: Press) -> None:
    data = pack(press)
    assert len(data.encode()) <= 64, "the Bot API's limit"
    assert unpack(data, NAMES) == press


@given(st.text() | NEARLY | st.text(alphabet="pusmrPUh:=0123456789lgn-_aA\n٣"))
def test_whatever_anybody_writes_is_read_exactly_or_not_at_all(data: str) -> None:
    press = unpack(data, {data[2:8]: "sales"})
    if press and "=" not in data:
        assert pack(press) == f"{data[:2]}{instance_hash('sales')}{data[8:]}"
    if isinstance(press, Press):
        assert all(SAFE.fullmatch(chat.number) for chat in (press.chat, press.other) if chat)


@pytest.mark.parametrize(
    ("data", "action"),
    [("p:abcdef:5511999999999:=111", Action.PIN_OWN), ("u:abcdef:5511999999999:=111", Action.UNPIN_OWN)],
)
def test_a_late_commands_button_from_before_version_1_is_its_operators_own(data: str, action: Action) -> None:
    assert unpack(data, NAMES) == Press(action, "sales", Chat("5511999999999"))


ODD = """
p:abcdef: p:abcdef:----- p:abcdef:0511999999999 p:abcdef:123456 p:abcdef:1234567890123456 p:abcdef:5511999999999:
p:abcdef:5511999999999:= s:abcdef:5511999999999:5511999999999:=1 r:abcdef:5511999999999:=1 P:abcdef:5511999999999:=1
p:abcdef:55119-9999s p:abcdef:12345 x:abcdef:5511999999999 s:abcdef:5511999999999 m:abcdef:5511999999999: h:abcdef:
p:abcdef:5511999999999:5511988887777 h:abcdef:-1 p:abcde:5511999999999 p:abcdef:٥٥١١٩٩٩٩٩٩٩٩٩
"""


@pytest.mark.parametrize("data", ["", "p:abcdef:5511999999999\n", f"p:abcdef:{'1' * 31}-{'1' * 31}g", *ODD.split()])
def test_what_is_incomplete_or_odd_is_nothing(data: str) -> None:
    assert unpack(data, NAMES) is None


def test_an_instance_is_named_by_six_characters_of_its_own() -> None:
    names = ["sales", "Sales", "sales ", "support", "é", "<b>"]
    hashes = [instance_hash(name) for name in names]
    assert len(set(hashes)) == len(names)
    assert all(re.fullmatch(r"[\w-]{6}", each, re.ASCII) for each in hashes)
