"""Which chat: every form a person pastes, what is refused and why, and what no text may ever do."""

import re
import time

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chats import AmbiguousChat, Chat, ChatError, ChatProblem, parse_chat, split_chats

SENT = re.compile(r"[1-9][0-9]{6,14}|[0-9]{5,31}@(s\.whatsapp\.net|lid|newsletter)|[0-9]{5,31}(-[0-9]{1,31})?@g\.us")
SAO_PAULO = "5511999999999"

INTERNATIONAL = [
    ("5511999999999", SAO_PAULO),
    ("+55 (11) 99999-9999", SAO_PAULO),
    ("(+55) 11 99999-9999", SAO_PAULO),
    ("+55 11 99999 9999", SAO_PAULO),
    ("55 11 99999 9999", SAO_PAULO),
    ("55-11-99999-9999", SAO_PAULO),
    ("55.11.99999.9999", SAO_PAULO),
    ("+ 55 11 99999/9999", SAO_PAULO),
    ("  +5511999999999.\n", SAO_PAULO),
    ("+5511999999999,", SAO_PAULO),
    ("<5511999999999>", SAO_PAULO),
    ("“+55 11 99999-9999”", SAO_PAULO),
    ("+1 (415) 555-2671", "14155552671"),
    ("14155552671", "14155552671"),
    ("00 44 20 7946 0958", "442079460958"),
    ("0044 (0)20 7946 0958", "442079460958"),
    ("+44 (0)20 7946 0958", "442079460958"),
    ("+44(0) 20 7946 0958", "442079460958"),
    ("+49 30/1234567", "49301234567"),
    ("https://wa.me/5511999999999", SAO_PAULO),
    ("http://wa.me/+5511999999999/", SAO_PAULO),
    ("wa.me/5511999999999", SAO_PAULO),
    ("HTTPS://WWW.WA.ME/5511999999999?text=Ol%C3%A1+1", SAO_PAULO),
    ("https://wa.me/5511999999999?text=1+1+415", SAO_PAULO),
    ("https://wa.me/11999999999", "11999999999"),
    ("https://api.whatsapp.com/send?phone=5511999999999", SAO_PAULO),
    ("https://api.whatsapp.com/send/?text=2+2&phone=%2B5511999999999&app_absent=0", SAO_PAULO),
    ("https://web.whatsapp.com/send?phone=+55%2011%2099999-9999", SAO_PAULO),
    ("whatsapp://send?phone=5511999999999", SAO_PAULO),
    ("whatsapp:+5511999999999", SAO_PAULO),
    ("tel:+55-11-99999-9999", SAO_PAULO),
    ("TEL:+55%2011%2099999-9999;ext=12", SAO_PAULO),
    ("tel:5511999999999", SAO_PAULO),
    ("\u202a+55\u00a011\u00a099999\u20119999\u202c", SAO_PAULO),
    ("\u2066+55\u202f11\u200999999\u20139999\u2069\u200b\ufeff", SAO_PAULO),
    ("+55\u300011\u221299999\u2212\u00ad9999", SAO_PAULO),
    ("＋５５（１１）９９９９９－９９９９", SAO_PAULO),
    ("+٥٥ ١١ ٩٩٩٩٩ ٩٩٩٩", SAO_PAULO),
    ("+५५ ११ ९९९९९ ९९९९", SAO_PAULO),
    ("+55\t11\t99999\t9999", SAO_PAULO),
    # Digits stay as typed, whatever phonenumbers makes of them.
    ("+551199998888", "551199998888"),
    ("551199998888", "551199998888"),
    ("+52 1 55 1234 5678", "5215512345678"),
    ("5215512345678", "5215512345678"),
    ("+54 9 11 2345-6789", "5491123456789"),
    ("5491123456789", "5491123456789"),
    ("+54 11 15 2345-6789", "54111523456789"),
    ("54 11 15 2345-6789", "54111523456789"),
    ("+39 06 6982 0000", "390669820000"),
    ("+44 020 7946 0958", "4402079460958"),
    ("+11 99999-9999", "11999999999"),
    ("+1234567", "1234567"),
    ("+123456789012345", "123456789012345"),
]


@pytest.mark.parametrize("region", [None, "BR", "US", "AR"])
@pytest.mark.parametrize(("text", "number"), INTERNATIONAL)
def test_international_number_goes_as_typed_whatever_the_region(text: str, number: str, region: str | None) -> None:
    assert parse_chat(text, region).number == number


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("11999999999", "BR", SAO_PAULO),
        ("011 99999-9999", "BR", SAO_PAULO),
        ("(11) 99999-9999", "BR", SAO_PAULO),
        ("(011) 99999-9999", "BR", SAO_PAULO),
        ("tel:(11)99999-9999", "BR", SAO_PAULO),
        ("0 15 11 99999-9999", "BR", SAO_PAULO),  # 15 is the carrier
        ("015 99999-8888", "BR", "5515999998888"),  # 15 is the area
        ("(51) 98765-4321", "BR", "5551987654321"),  # not Peru: no country code begins with a parenthesis
        ("0800 123 4567", "BR", "558001234567"),
        ("51987654321", None, "51987654321"),
        ("55987654321", "BR", "5555987654321"),  # Santa Maria, whose area code is Brazil's country code
        ("4155552671", "US", "14155552671"),
        ("1 415 555 2671", "US", "14155552671"),  # the same digits both ways
        ("4155552671", "CA", "14155552671"),
        ("06 6982", "IT", "39066982"),  # an Italian zero is a part of the number
        ("8 916 123-45-67", "RU", "79161234567"),
        ("79161234567", "RU", "79161234567"),
        ("020 7946 0958", "GB", "442079460958"),
        ("14155552671", "BR", "14155552671"),
        ("351 912 345 678", "BR", "351912345678"),
    ],
)
def test_bare_number_is_of_the_region_if_it_is_valid_there(text: str, region: str | None, number: str) -> None:
    assert parse_chat(text, region).number == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5511999999999@s.whatsapp.net", "5511999999999@s.whatsapp.net"),
        ("123456789012345@lid", "123456789012345@lid"),
        ("120363021234567890@g.us", "120363021234567890@g.us"),
        ("5511999999999-1425418585@g.us", "5511999999999-1425418585@g.us"),
        ("120363021234567890@newsletter", "120363021234567890@newsletter"),
        (" \u202a120363021234567890@G.US\u202c. ", "120363021234567890@g.us"),
        ("`5511999999999\u20111425418585@g.us`", "5511999999999-1425418585@g.us"),
        ("５５１１９９９９９９９９９＠ｌｉｄ", "5511999999999@lid"),
    ],
)
def test_jid_goes_as_given(text: str, number: str) -> None:
    chat = parse_chat(text, "BR")
    assert (chat.number, chat.display) == (number, number)


REFUSED = [
    ("", ChatProblem.MISSING),
    (" \u200b\n,;", ChatProblem.MISSING),
    ("-", ChatProblem.WORDS),
    ("hello, world", ChatProblem.WORDS),
    ("@maria", ChatProblem.WORDS),
    ("5511999999999@", ChatProblem.WORDS),
    ("call 5511999999999 now", ChatProblem.WORDS),
    ("Olá, 5511999999999", ChatProblem.WORDS),
    ("0xx11 99999-9999", ChatProblem.WORDS),
    ("+55 11 99999-9999 ext 3", ChatProblem.WORDS),
    ("++5511999999999", ChatProblem.WORDS),
    ("551199999999²", ChatProblem.WORDS),
    ("⑤⑤①①⑨⑨⑨⑨⑨⑨⑨⑨⑨", ChatProblem.WORDS),
    ("5511\x00999999999", ChatProblem.WORDS),
    ("5511\ud800999999999", ChatProblem.WORDS),
    ("https://wa.me/message/ABC1234567890", ChatProblem.WORDS),
    ("https://wa.me/c/5511999999999", ChatProblem.WORDS),
    ("https://chat.whatsapp.com/AbC1234567890", ChatProblem.WORDS),
    ("https://example.org/5511999999999", ChatProblem.WORDS),
    ("9" * 3000, ChatProblem.WORDS),
    ("5511999999999" + " " * 3000, ChatProblem.WORDS),
    ("5511999999999 5511888888888", ChatProblem.SEVERAL),
    ("5511999999999, 14155552671", ChatProblem.SEVERAL),
    ("5511999999999;14155552671", ChatProblem.SEVERAL),
    ("5511999999999\r\n14155552671", ChatProblem.SEVERAL),
    ("+5511999999999\n123", ChatProblem.SEVERAL),
    ("+55 11 99999-9999 +1 415 555 2671", ChatProblem.SEVERAL),
    ("+5511999999999+14155552671", ChatProblem.SEVERAL),
    ("55 11 99999-9999 55 11 88888-8888", ChatProblem.SEVERAL),
    ("11 3344-5566 / 11 3344-5577", ChatProblem.SEVERAL),
    ("+55 11 3344-5566/67", ChatProblem.SEVERAL),
    ("120363021234567890@g.us 5511999999999", ChatProblem.SEVERAL),
    ("https://wa.me/5511999999999 https://wa.me/14155552671", ChatProblem.SEVERAL),
    ("João 5511999999999, Maria 5511888888888", ChatProblem.SEVERAL),
    ("11999999999", ChatProblem.COUNTRY_CODE),  # a possible US number, not a valid one
    ("011 99999-9999", ChatProblem.COUNTRY_CODE),
    ("(55) 11 99999-9999", ChatProblem.COUNTRY_CODE),
    ("999999999", ChatProblem.COUNTRY_CODE),
    ("+0 11 99999-9999", ChatProblem.COUNTRY_CODE),
    ("https://wa.me/011999999999", ChatProblem.COUNTRY_CODE),
    ("tel:99999-9999;phone-context=+5511", ChatProblem.COUNTRY_CODE),
    ("999999999999", ChatProblem.COUNTRY_CODE),
    ("190", ChatProblem.TOO_SHORT),
    ("+55 11", ChatProblem.TOO_SHORT),
    ("00", ChatProblem.TOO_SHORT),
    ("120363021234567890", ChatProblem.TOO_LONG_NUMBER),
    ("5511999999999-1425418585", ChatProblem.TOO_LONG_NUMBER),
    ("+1234567890123456", ChatProblem.TOO_LONG_NUMBER),
    ("joao@example.org", ChatProblem.UNKNOWN_DOMAIN),
    ("5511999999999@c.us", ChatProblem.UNKNOWN_DOMAIN),
    ("status@broadcast", ChatProblem.UNKNOWN_DOMAIN),
    ("maria@lid", ChatProblem.BAD_JID),
    ("+5511999999999@s.whatsapp.net", ChatProblem.BAD_JID),
    ("5511999999999:12@s.whatsapp.net", ChatProblem.BAD_JID),
    ("5511999999999-14@newsletter", ChatProblem.BAD_JID),
    ("1234@lid", ChatProblem.BAD_JID),
]


@pytest.mark.parametrize(("text", "kind"), REFUSED)
def test_what_is_not_exactly_one_chat_is_refused_for_its_reason(text: str, kind: ChatProblem) -> None:
    with pytest.raises(ChatError) as refusal:
        parse_chat(text, None)
    assert refusal.value.kind == kind


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("11999999999", "US"),
        ("1199998888", "BR"),  # a mobile without its ninth digit
        ("011 15-2345-6789", "AR"),  # phonenumbers would turn the 15 into a 9
        ("11999999999", "XX"),
        ("011 44 20 7946 0958", "US"),  # the American 00
    ],
)
def test_bare_number_that_is_not_valid_in_the_region_is_asked_for_again(text: str, region: str) -> None:
    with pytest.raises(ChatError) as refusal:
        parse_chat(text, region)
    assert refusal.value.kind == ChatProblem.COUNTRY_CODE


def test_refusal_keeps_the_part_at_fault() -> None:
    with pytest.raises(ChatError) as refusal:
        parse_chat("120363021234567890", None)
    assert refusal.value.typed == "120363021234567890"
    with pytest.raises(ChatError) as refusal:
        parse_chat("5511999999999@C.US", None)
    assert refusal.value.typed == "c.us"


def test_number_valid_both_ways_is_the_persons_choice_with_the_local_reading_first() -> None:
    with pytest.raises(AmbiguousChat) as question:
        parse_chat("51 98765-4321", "BR")
    assert question.value.kind == ChatProblem.AMBIGUOUS
    assert question.value.choices == (("BR", Chat("5551987654321")), ("PE", Chat("51987654321")))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("5511999999999", ["5511999999999"]),
        ("+55 11 99999 9999", ["+55 11 99999 9999"]),
        (
            "5511999999999, +1 (415) 555‑2671\n120363021234567890@g.us;",
            ["5511999999999", "+1 (415) 555-2671", "120363021234567890@g.us"],
        ),
        ("+55 11 99999-9999 (+1) 415 555 2671", ["+55 11 99999-9999", "(+1) 415 555 2671"]),
        ("5511999999999 14155552671", ["5511999999999", "14155552671"]),
        ("tel:+5511999999999;ext=1; tel:+14155552671", ["tel:+5511999999999;ext=1", "tel:+14155552671"]),
        ("wa.me/5511999999999?text=1+1 wa.me/14155552671", ["wa.me/5511999999999?", "wa.me/14155552671"]),
    ],
)
def test_several_chats_are_split_by_lines_commas_plus_signs_and_long_words(text: str, pieces: list[str] | None) -> None:
    assert split_chats(text) == pieces


@pytest.mark.parametrize(
    ("number", "display", "masked"),
    [
        ("5511999999999", "+55 11 99999-9999", "…9999"),
        ("442079460958", "+44 20 7946 0958", "…0958"),
        ("39066982", "+39 06 6982", "…6982"),
        ("551199998888", "+55 1199998888", "…8888"),
        ("4402079460958", "+4402079460958", "…0958"),  # phonenumbers would show it without its 0
        ("999999999999", "+999999999999", "…9999"),
        ("5511999999999-1425418585@g.us", "5511999999999-1425418585@g.us", "…8585@g.us"),
        ("123456789012345@lid", "123456789012345@lid", "…2345@lid"),
    ],
)
def test_chat_is_shown_whole_to_people_and_masked_in_logs(number: str, display: str, masked: str) -> None:
    assert (Chat(number).display, Chat(number).masked) == (display, masked)


@pytest.mark.parametrize(
    ("number", "chat_jid", "differs"),
    [
        ("5511999999999", "5511999999999@s.whatsapp.net", False),
        ("5511999999999", "5511999999999:12@s.whatsapp.net", False),
        ("5511999999999", "5511999999999.0:12@S.WhatsApp.net", False),
        ("5511999999999", "5511999999999", False),
        ("5511999999999", "551199999999@s.whatsapp.net", True),  # Brazil's ninth digit
        ("5511999999999", "123456789012345@lid", False),  # the same person's newer address, for all we know
        ("5511999999999", "5511999999999@g.us", True),
        ("5511999999999", None, False),
        ("5511999999999", "", False),
        ("120363021234567890@g.us", "120363021234567890@g.us", False),
        ("120363021234567890@g.us", "120363021234567891@g.us", True),
        ("5511999999999@s.whatsapp.net", "5511999999999:3@s.whatsapp.net", False),
        ("5511999999999@s.whatsapp.net", "551199999999@s.whatsapp.net", True),
        ("5511999999999@s.whatsapp.net", "123456789012345@lid", True),
    ],
)
def test_chat_that_ryze_resolved_to_is_compared_with_the_one_asked_for(
    number: str, chat_jid: str | None, *, differs: bool
) -> None:
    assert Chat(number).jid_differs(chat_jid) is differs


def readings(text: str, region: str | None) -> list[Chat] | ChatProblem:
    """The chats that a text may name (two if it is ambiguous), or why it names none."""
    try:
        return [parse_chat(text, region)]
    except AmbiguousChat as question:
        return [chat for _, chat in question.choices]
    except ChatError as refusal:
        return refusal.kind


def examples() -> list[tuple[str, str, phonenumbers.PhoneNumber]]:
    """(region, digits with country code, number) of a mobile and a landline of every country."""
    kinds = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
    found = [
        (region, phonenumbers.example_number_for_type(region, kind))
        for region in sorted(phonenumbers.SUPPORTED_REGIONS)
        for kind in kinds
    ]
    numbers = [
        (region, phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+"), number)
        for region, number in found
        if number
    ]
    return [example for example in numbers if len(example[1]) >= 7]


def test_every_countrys_numbers_are_read_in_every_international_way_of_writing() -> None:
    for region, digits, number in examples():
        international = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
        rfc3966 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.RFC3966)
        for text in (f"+{digits}", f"00{digits}", f"wa.me/{digits}", international, rfc3966):
            assert readings(text, region) == [Chat(digits)], text


def test_every_countrys_numbers_as_written_at_home_are_that_number_or_a_question() -> None:
    """At home a number is never read as another one; a few need their country code."""
    read = 0
    for region, digits, number in examples():
        text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
        chats = readings(text, region)
        if chats != ChatProblem.COUNTRY_CODE:
            assert chats[0] == Chat(digits), (region, text)
            read += 1
    assert read > 0.97 * len(examples())


ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
NUMBER_LIKE = st.text("0123456789019+() .-/@,;:\n\u00a0\u2011\u202a５٣²g.us", max_size=60)
DIGITS = ["+", "00", "0", "(0)", "55", "11", "99999", "9999", "51", "987654321", "1", "-", " ", "(", ")", "/", "\u2011"]
AROUND = [
    "tel:",
    "wa.me/",
    "https://",
    "?text=",
    "%2B",
    ";ext=",
    ",",
    "@",
    "@g.us",
    "@LID",
    "@newsletter",
    "@s.whatsapp.net",
]
TEXTS = ANY_TEXT | NUMBER_LIKE | st.lists(st.sampled_from(DIGITS + AROUND), max_size=12).map("".join)
REGIONS = st.sampled_from([None, "BR", "US", "IT", "AR", "MX", "RU", "XX"])


@given(TEXTS, REGIONS)
def test_no_text_raises_anything_else_and_what_is_accepted_fits_the_contract(text: str, region: str | None) -> None:
    chats = readings(text, region)
    if isinstance(chats, ChatProblem):
        return
    assert len(set(chats)) == len(chats)
    for chat in chats:
        assert SENT.fullmatch(chat.number)
        assert re.sub(r"[^0-9]", "", chat.display) == re.sub(r"[^0-9]", "", chat.number)
        assert len(re.findall(r"[0-9]", chat.masked)) == 4
        assert not chat.jid_differs(chat.number)
        assert parse_chat(chat.number if "@" in chat.number else f"+{chat.number}", region) == chat


@given(st.from_regex(r"\A[1-9]([ .\-\u00a0\u2011]?[0-9]){6,14}\Z"), REGIONS)
def test_international_number_is_exactly_the_digits_typed(written: str, region: str | None) -> None:
    digits = re.sub(r"[^0-9]", "", written)
    assert {parse_chat(prefix + written, region).number for prefix in ("+", "00 ", "tel:+", "wa.me/")} == {digits}


@given(st.from_regex(r"\A[0-9]{7,15}\Z"), st.sampled_from(["BR", "US", "IT", "AR", "MX", "RU"]))
def test_bare_number_is_the_digits_typed_or_their_end_after_the_regions_country_code(digits: str, region: str) -> None:
    code = str(phonenumbers.country_code_for_region(region))
    chats = readings(digits, region)
    for chat in [] if isinstance(chats, ChatProblem) else chats:
        as_typed = chat.number in {digits, digits.removeprefix("00")}
        assert as_typed or (chat.number.startswith(code) and digits.endswith(chat.number.removeprefix(code)))


@pytest.mark.parametrize(
    "junk", ["( ", "1 ", "1/", "(0)", "1+", "a@", ";a=", "wa.me/", "tel:;a=", "?text=", "\u202a", "\ud800"]
)
@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_text_made_to_be_slow_to_read_is_refused_at_once(junk: str, size: int) -> None:
    """The bound is generous: a pattern that backtracks would need minutes."""
    started = time.monotonic()
    with pytest.raises(ChatError):
        parse_chat((junk * size)[: size - 1] + "x", "BR")
    assert time.monotonic() - started < 10
