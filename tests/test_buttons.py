"""What a button carries: 64 bytes at most, and only what `pack` wrote is read back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.buttons import MOST_BYTES, Action, Page, Press, instance_hash, pack, unpack
from bot.chats import Chat

DIGITS = st.text("0123456789", min_size=5, max_size=31)
NUMBERS = st.integers(10**6, 10**15 - 1).map(str)
JIDS = st.builds("{}@{}".format, DIGITS, st.sampled_from(["s.whatsapp.net", "lid", "newsletter", "g.us"])) | st.builds(
    "{}-{}@g.us".format, DIGITS, DIGITS
)
SAFE = re.compile(r"[1-9][0-9]{6,14}|[0-9]{5,31}@(s\.whatsapp\.net|lid|newsletter)|[0-9]{5,31}(-[0-9]{1,31})?@g\.us")
CHATS = st.builds(Chat, NUMBERS | JIDS)
HASHES = st.sampled_from(["sales", "support", "é"]).map(instance_hash)
OWNERS = st.none() | st.integers(1, 2**52)
PRESSES = (
    st.builds(Press, st.sampled_from((Action.PIN, Action.UNPIN)), HASHES, CHATS, other=st.none(), owner=OWNERS)
    | st.builds(Press, st.just(Action.SWAP), HASHES, CHATS, other=CHATS, owner=OWNERS)
    | st.builds(Page, HASHES, st.integers(0, 999_999))
)
NEARLY = st.from_regex(r"\A[pushx]?:?[\w-]{4,7}:?[0-9-]{0,33}[slgnx]?(:[0-9]{0,17}g?)?(:=?[0-9]{0,17})?:?\Z")


@given(PRESSES)
def test_a_press_comes_back_as_it_was_packed(press: Press | Page) -> None:
    data = pack(press)
    assert data is None or (len(data.encode()) <= MOST_BYTES and unpack(data) == press)


@pytest.mark.parametrize(
    "number", ["5511999999999", "123456789012345@s.whatsapp.net", "5511999999999-1534567890@g.us", "9" * 31 + "@lid"]
)
def test_every_chat_there_is_fits_even_with_an_owner(number: str) -> None:
    assert pack(Press(Action.UNPIN, instance_hash("sales"), Chat(number), owner=2**52 - 1))


def test_two_groups_fit() -> None:
    group = Chat("5511999999999-1534567890@g.us")
    assert pack(Press(Action.SWAP, instance_hash("sales"), group, group))


@given(st.text() | NEARLY | st.text(alphabet="push:=0123456789lgn-_aA\n٣"))
def test_whatever_anybody_writes_is_read_exactly_or_not_at_all(data: str) -> None:
    press = unpack(data)
    if isinstance(press, Press):
        assert pack(press) == data
        assert all(SAFE.fullmatch(chat.number) for chat in (press.chat, press.other) if chat)


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
        "p:abcdef:5511999999999:=0",
        "p:abcdef:5511999999999:=007",
        "p:abcdef:5511999999999\n",
        "p:abcdef:55119-9999s",
        "p:abcdef:12345",
        "x:abcdef:5511999999999",
        "s:abcdef:5511999999999",
        "s:abcdef:5511999999999:",
        "p:abcdef:5511999999999:5511988887777",
        "h:abcdef:",
        "h:abcdef:-1",
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
