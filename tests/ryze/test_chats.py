"""Which chat: every form a person types or pastes, what is only offered, what is refused and why."""

import re
import time
from collections import Counter

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from bot.ryze.chats import Chat, Problem, Reading, read_command, read_message
from tests.ryze.numbers import digits, documents, forms, rows

SENT = re.compile(r"[1-9][0-9]{6,14}|[0-9]{5,26}@(s\.whatsapp\.net|lid|newsletter|g\.us)|[0-9]{5,15}-[0-9]{1,10}@g\.us")
SAO_PAULO = "5511988887777"


def read(text: str, region: str | None = "BR") -> Reading:
    """The one reading of a command, which is also that of the same message."""
    message, (reading,) = read_message(text, region), read_command(text, region)
    assert (message.chat, message.choices) == (reading.chat, reading.choices)
    return reading


FORMS = rows("""Maria +55 11 98888-7777|📱 11 98888-7777 👍|*11 98888-7777*|**11988887777** 👍|fone: 0xx11 98888-7777
(0xx)11 98888-7777|+55 (011) 98888-7777|00 55 11 98888-7777|0 15 11 98888-7777|11 988 887 777|11 - 98888-7777
tel.: +55 (11) 9 8888-7777 (whats)|Maria 11 9.8888-7777|[10:21, 05/03/2024] +55 11 98888-7777: Oi|11 98888-7777 14:30
maria@x.com 11 98888-7777|1. (11) 98888-7777|2) 11 98888-7777|3 - 11 98888-7777|12. 11 98888-7777
＋５５（１１）９８８８８－７７７７|+٥٥ ١١ ٩٨٨٨٨ ٧٧٧٧|(http://wa.me/+5511988887777/)|wa.me/+55 11 98888-7777
whatsapp://send?phone=%2B55%2011%2098888-7777&text=Oi, Zé|[Zé](https://wa.me/5511988887777)
https://api.whatsapp.com/send/?text=2+2&phone=5511988887777&app_absent=0|tel:+55-11-98888-7777;ext=12""")
OTHERS = [
    ("+44 020 7946 0958", "BR", "442079460958"),
    ("+49 0151 12345678", "BR", "4915112345678"),
    ("+39 (0)6 69820000", "BR", "390669820000"),
    ("00 21 351 912 345 678", "BR", "351912345678"),
    ("+54 11 15 2345-6789", "BR", "5491123456789"),
    ("011 15 2345-6789", "AR", "5491123456789"),
    ("011 55 11 91234-5678", "US", "5511912345678"),
    ("0011 61 412 345 678", "AU", "61412345678"),
    ("(55) 11 91234-5678", "BR", "5511912345678"),
    ("(55) (11) 91234-5678", "BR", "5511912345678"),
    ("55 97777-6666", "BR", "5555977776666"),  # Santa Maria, whose area code is Brazil's country code
    ("015 99999-8888", "BR", "5515999998888"),  # 15 is the area, not the carrier
    ("3. 49 3333-4444", "BR", "554933334444"),
    ("\u2066+55\u202f11\u200998888\u20137777\u2069\u200b\ufeff", "BR", SAO_PAULO),
    ("+551188887777", "BR", "551188887777"),  # before the ninth digit: as typed
    ("551188887777", None, "551188887777"),
    ("+52 1 55 1234 5678", "BR", "5215512345678"),
    ("5215512345678", "BR", "5215512345678"),
    ("90 532 123 4567", "BR", "905321234567"),  # 90 is a prefix of Brazil's collect calls, too
    ("49 151 12345678", "DE", "4915112345678"),  # some German landlines begin with 49
    ("351 912 345 678", "BR", "351912345678"),
    ("8 916 123-45-67", "RU", "79161234567"),
    ("+44 7000 000000", "BR", "447000000000"),  # possible, though no number that is known
    ("55 011 98888-7777", None, SAO_PAULO),
    ("51 98765-4321", None, "51987654321"),
    ("5511988887777@c.us", None, "5511988887777@s.whatsapp.net"),
    ("123456789012345@lid", None, "123456789012345@lid"),
    ("grupo `5511988887777\u20111425418585@G.US`.", None, "5511988887777-1425418585@g.us"),
    ("120363021234567890@newsletter", None, "120363021234567890@newsletter"),
]


@pytest.mark.parametrize(("text", "region", "number"), [*((text, "BR", SAO_PAULO) for text in FORMS), *OTHERS])
def test_text_names_the_chat_that_was_meant(text: str, region: str | None, number: str) -> None:
    assert read(text, region).chat == Chat(number)


@pytest.mark.parametrize(
    ("text", "number", "other"),
    [
        ("51 987 654 321", "5551987654321", "51987654321"),
        ("Zé 33 98765-4321", "5533987654321", "33987654321"),
        ("+51 987 654 321", "51987654321", None),
        ("0051 987 654 321", "51987654321", None),
        ("11 98888-7777", SAO_PAULO, None),
    ],
)
def test_number_that_is_valid_abroad_too_is_the_regions_and_the_other_is_told(
    text: str, number: str, other: str | None
) -> None:
    reading = read(text)
    assert (reading.chat, reading.other) == (Chat(number), other and Chat(other))


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("Maria 11988887777", [SAO_PAULO]),  # digits alone in a text with words might be anything
        ("Maria 1198888-7777", [SAO_PAULO]),
        ("Maria 351 912 345 678", ["351912345678"]),
        ("11 8888-7777", ["551188887777"]),  # its ninth digit is missing, or was forgotten
        ("+11 98888-7777", [SAO_PAULO]),
        ("wa.me/11988887777", [SAO_PAULO]),
        ("11 98888-7777 e 11 3333-4444", [SAO_PAULO, "551133334444"]),
        ("Loja 5 (11) 98888-7777", [SAO_PAULO]),
        (" / ".join(f"(11) 98888-777{last}" for last in range(7)), [f"551198888777{last}" for last in range(5)]),
    ],
)
def test_what_might_be_something_else_is_only_offered(text: str, choices: list[str]) -> None:
    assert [chat.number for chat in read_message(text, "BR").choices] == choices
    assert not any(reading.chat for reading in read_command(text, "BR"))


@pytest.mark.parametrize(
    ("text", "region", "problem", "anyway"),
    [
        ("", "BR", Problem.WORDS, None),
        ("Cliente João, CPF 787.789.328-07", "BR", Problem.WORDS, None),
        ("Maria 98888-7777", "BR", Problem.AREA_CODE, None),
        ("Pedido 1234-5678", "BR", Problem.WORDS, None),
        ("https://example.org/5511988887777", "BR", Problem.WORDS, None),
        ("98888-7777", "BR", Problem.AREA_CODE, None),
        ("4912-3456", "BR", Problem.AREA_CODE, None),  # not Germany
        ("+55 98888-7777", "BR", Problem.AREA_CODE, None),
        ("119999999990", "BR", Problem.TOO_LONG, None),
        ("31 98888-77777", "BR", Problem.TOO_LONG, None),  # not the Netherlands
        ("55 11 98888-77777", "BR", Problem.TOO_LONG, "55119888877777"),
        ("+119999999990", "BR", Problem.TOO_LONG, "119999999990"),
        ("0011 61 423 456 78", "AU", Problem.TOO_LONG, "116142345678"),  # not Ohio
        ("11 98888-777", "BR", Problem.TOO_SHORT, None),
        ("+55 11 98888-777", "BR", Problem.TOO_SHORT, "551198888777"),
        ("+55 20 98888-7777", "BR", Problem.INVALID, "5520988887777"),
        ("11 98888-7777", None, Problem.COUNTRY_CODE, "11988887777"),
        ("119415555267", None, Problem.COUNTRY_CODE, "119415555267"),  # not Florida
        ("+999 1234567", "BR", Problem.COUNTRY_CODE, "9991234567"),
        ("11 98888-7777 11 97777-6666", "BR", Problem.SEVERAL, None),
        ("120363021234567890", "BR", Problem.GROUP_ID, None),
        ("joao@example.org", "BR", Problem.NOT_A_CHAT, None),
        ("https://chat.whatsapp.com/AbC5511988887777", "BR", Problem.GROUP_INVITE, None),
        ("https://whatsapp.com/channel/0029Va5511988887777", "BR", Problem.CHANNEL_INVITE, None),
        ("wa.me/message/ABC1234567890", "BR", Problem.MESSAGE_LINK, None),
    ],
)
def test_text_without_a_chat_is_refused_for_its_reason(
    text: str, region: str | None, problem: Problem, anyway: str | None
) -> None:
    reading = read(text, region)
    assert (reading.problem, reading.anyway) == (problem, anyway and Chat(anyway))


def test_each_line_and_part_between_commas_of_a_command_is_read_by_itself_but_a_message_as_a_whole() -> None:
    text = "Vendas:\n+55 11 98888-7777, Maria, 11988887777\n(11) 97777-6666; sala 12\n120363021234567890@g.us"
    readings = read_command(text, "BR")
    chats = [SAO_PAULO, None, "5511977776666", None, "120363021234567890@g.us"]
    assert [reading.chat and reading.chat.number for reading in readings] == chats
    assert readings[1].choices == (Chat(SAO_PAULO),), "bare digits, beside words"
    assert (readings[3].typed, readings[3].problem) == ("sala 12", Problem.WORDS)
    assert len(read_message(text, "BR").choices) == 3
    assert read_message("Maria, 11988887777", "BR").choices == (Chat(SAO_PAULO),)


def test_written_forms_are_read_as_meant() -> None:
    counts = Counter[str]()
    for region, text, meant in forms(seed=1, count=2500):
        for readings in (read_command(text, region), (read_message(text, region),)):
            sent = [reading.chat.number for reading in readings if reading.chat]
            asked = [chat.number for reading in readings for chat in reading.choices]
            assert sent in ([], [meant]), (region, text)
            counts["sent" if sent else "asked" if meant in asked else "refused"] += 1
    assert counts["refused"] <= 0.002 * counts.total()
    assert counts["sent"] >= 0.94 * counts.total()


def test_documents_dates_sums_and_orders_are_never_acted_on() -> None:
    for region, text in documents(seed=1, count=1000):
        assert not read_message(text, region).chat, text
        assert not any(reading.chat for reading in read_command(text, region)), text


def test_every_countrys_numbers_are_read_at_home_and_abroad() -> None:
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE):
            number = phonenumbers.example_number_for_type(region, kind)
            if number is None or len(digits(number)) < 7:
                continue
            shown = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
            at_home = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
            texts = {f"+{digits(number)}": None, f"00{digits(number)}": "BR", f"wa.me/{digits(number)}": "BR"}
            if region not in {"NC", "TM"}:  # some of theirs are written like a date
                texts |= {shown: "BR", at_home: region}
            for text, where in texts.items():
                assert read(text, where).chat == Chat(digits(number)), (text, where)


NUMBER_LIKE = st.text("0123456789019+() .-/@,;:#%x*&?=\n\u00a0\u2011\u202a५٣²g.us", max_size=60)
PARTS = ["+", "00", "0", "(0)", "55", "11", "98888-7777", "51", "987654321", "1", "-", " ", "(", ")", "/", "1. ", "0xx"]
AROUND = ["tel:", "wa.me/", "https://", "?text=", "%2B", ";ext=", ",", "@", "@g.us", "@LID", "@s.whatsapp.net", "Maria"]
ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
TEXTS = ANY_TEXT | NUMBER_LIKE | st.lists(st.sampled_from(PARTS + AROUND), max_size=12).map("".join)


@given(TEXTS, st.sampled_from([None, "BR", "US", "IT", "AR", "MX", "DE", "AU", "XX"]))
def test_whatever_is_read_has_one_outcome_and_fits_the_contract(text: str, region: str | None) -> None:
    for reading in (*read_command(text, region), read_message(text, region)):
        assert [bool(reading.chat), bool(reading.choices), bool(reading.problem)].count(True) == 1
        assert len(reading.choices) <= 5
        for chat in filter(None, (reading.chat, reading.other, reading.anyway, *reading.choices)):
            assert SENT.fullmatch(chat.number)
            assert re.sub("[^0-9]", "", chat.display) == re.sub("[^0-9]", "", chat.number)
            assert not chat.jid_differs(chat.number)
        if reading.chat:
            number = reading.chat.number
            assert read_message(number if "@" in number else f"+{number}", region).chat == reading.chat


@pytest.mark.parametrize("junk", rows("( |1 |1/|(0)|1+|+(|1.1|1.|-1 |a@|;a=|a.b/|wa.me/1|tel:1;a=|?text=|ﷺ"))
@pytest.mark.parametrize("size", [4000, 1_000_000])
def test_text_made_to_be_slow_to_read_is_read_at_once(junk: str, size: int) -> None:
    """The bound is generous: an expression that backtracks would need minutes."""
    started = time.monotonic()
    assert not read_message((junk * size)[: size - 1] + "x", "BR").chat
    assert time.monotonic() - started < 5


def test_text_that_is_too_long_is_read_to_a_whole_line() -> None:
    assert read_message("+55 11 98888-7777\n" + "x" * 4096, "BR").chat == Chat(SAO_PAULO)
    assert read_message("x" * 4080 + " +55 11 98888-7777", "BR").problem


@pytest.mark.parametrize(
    ("number", "display", "region"),
    [
        (SAO_PAULO, "+55 11 98888-7777", "BR"),
        ("390612345678", "+39 06 1234 5678", "IT"),
        ("870773111632", "+870 773 111 632", "001"),  # a satellite phone
        ("551199998888", "+55 1199998888", "BR"),
        ("5215512345678", "+52 15512345678", "MX"),
        ("4402079460958", "+4402079460958", "GB"),  # phonenumbers would show it without its 0
        ("999999999999", "+999999999999", ""),
        ("123456789012345@lid", "123456789012345@lid", ""),
    ],
)
def test_chat_is_shown_whole_and_with_its_country(number: str, display: str, region: str) -> None:
    chat = Chat(number)
    assert (chat.display, chat.region) == (display, region)


def test_chat_that_ryze_found_is_compared_with_the_one_asked_for() -> None:
    group, lid = "120363021234567890@g.us", "123456789012345@lid"  # an @lid may be the same person's newer address
    same = ["@s.whatsapp.net", ":12@s.whatsapp.net", ".0:12@S.WhatsApp.net", ""]
    assert not any(Chat(SAO_PAULO).jid_differs(found) for found in [*(SAO_PAULO + end for end in same), lid, None, ""])
    assert all(Chat(SAO_PAULO).jid_differs(found) for found in ("551188887777@s.whatsapp.net", f"{SAO_PAULO}@g.us"))
    assert not Chat(group).jid_differs(group)
    assert Chat(group).jid_differs("120363021234567891@g.us")
    assert not Chat(f"{SAO_PAULO}@s.whatsapp.net").jid_differs(f"{SAO_PAULO}:3@s.whatsapp.net")
    assert Chat(f"{SAO_PAULO}@s.whatsapp.net").jid_differs(lid)
