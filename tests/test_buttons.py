"""What a button carries: 64 bytes at most, and only what `pack` wrote is read back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.buttons import MOST_BYTES, Press, instance_hash, pack, unpack
from bot.chats import Chat

NUMBERS = st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True)
JIDS = st.from_regex(r"[0-9]{5,31}@(s\.whatsapp\.net|lid|newsletter)|[0-9]{5,31}(-[0-9]{1,31})?@g\.us", fullmatch=True)
SAFE = re.compile(r"[1-9][0-9]{6,14}|[0-9]{5,31}@(s\.whatsapp\.net|lid|newsletter)|[0-9]{5,31}(-[0-9]{1,31})?@g\.us")
PRESSES = st.builds(
    Press,
    pin=st.booleans(),
    instance_hash=st.text().map(instance_hash),
    chat=st.builds(Chat, NUMBERS | JIDS),
    owner=st.none() | st.integers(1, 2**52),
)
NEARLY = st.from_regex(r"\A[pux]?:?[\w-]{4,7}:?[0-9-]{0,33}[slgnx]?(:[0-9]{0,17})?:?\Z")


@given(PRESSES)
def test_a_press_comes_back_as_it_was_packed(press: Press) -> None:
    data = pack(press)
    assert data is None or (len(data.encode()) <= MOST_BYTES and unpack(data) == press)


@pytest.mark.parametrize(
    "number", ["5511999999999", "123456789012345@s.whatsapp.net", "5511999999999-1534567890@g.us", "9" * 31 + "@lid"]
)
def test_every_chat_there_is_fits_even_with_an_owner(number: str) -> None:
    assert pack(Press(pin=False, instance_hash=instance_hash("sales"), chat=Chat(number), owner=2**52 - 1))


@given(st.text() | NEARLY | st.text(alphabet="pu:0123456789slgn-_aA\n٣"))
def test_whatever_anybody_writes_is_read_exactly_or_not_at_all(data: str) -> None:
    press = unpack(data)
    if press:
        assert pack(press) == data
        assert SAFE.fullmatch(press.chat.number)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "p:abcdef:",
        "p:abcdef:-----",
        "p:abcdef:0511999999999",
        "p:abcdef:123456",
        "p:abcdef:1234567890123456",
        "p:abcdef:5511999999999:",
        "p:abcdef:5511999999999:0",
        "p:abcdef:5511999999999:007",
        "p:abcdef:5511999999999\n",
        "p:abcdef:55119-9999s",
        "p:abcdef:12345",
        "x:abcdef:5511999999999",
        "p:abcde:5511999999999",
        "p:abcdef:٥٥١١٩٩٩٩٩٩٩٩٩",
        "p:abcdef:" + "1" * 31 + "-" + "1" * 31 + "g",
    ],
)
def test_what_is_incomplete_or_odd_is_nothing(data: str) -> None:
    assert unpack(data) is None


def test_an_instance_is_named_by_six_characters_of_its_own() -> None:
    names = ["sales", "Sales", "sales ", "support", "é", "<b>"]
    hashes = [instance_hash(name) for name in names]
    assert len(set(hashes)) == len(names)
    assert all(re.fullmatch(r"[\w-]{6}", each, re.ASCII) for each in hashes)
