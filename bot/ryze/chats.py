"""A WhatsApp chat, and a text → the chats that it names; `region` is whose code may be missing in it."""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote

import phonenumbers
from phonenumbers import Leniency, PhoneNumberFormat, PhoneNumberMatcher, PhoneNumberType, ValidationResult


class Problem(StrEnum):
    """Why a text names no chat; each has its own sentence."""

    WORDS = "words"  # no number in it
    AREA_CODE = "area_code"  # is missing
    COUNTRY_CODE = "country_code"  # is missing, or no country has it
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    INVALID = "invalid"  # as long as the country's numbers, but none is like this
    SEVERAL = "several"  # more digits than a number has, in groups
    GROUP_ID = "group_id"  # more digits than a number has: maybe an id without its suffix
    NOT_A_CHAT = "not_a_chat"  # with an @, but no JID: an e-mail address, a username
    GROUP_INVITE = "group_invite"
    CHANNEL_INVITE = "channel_invite"
    MESSAGE_LINK = "message_link"  # wa.me/message/…: hides its number


@dataclass(frozen=True, slots=True)
class Chat:
    """A WhatsApp chat: `number` is `[1-9][0-9]{6,14}` (with its country code), or a JID."""

    number: str

    @property
    def display(self) -> str:
        """How a person reads it, with precisely the digits that are sent: "+55 11 99999-9999"."""
        parsed = _parse(f"+{self.number}")
        shown = phonenumbers.format_number(parsed, PhoneNumberFormat.INTERNATIONAL) if parsed else ""
        as_sent = self.number if "@" in self.number else f"+{self.number}"
        return shown if re.sub("[^0-9]", "", shown) == self.number else as_sent

    @property
    def region(self) -> str:
        """ISO 3166 code of the number's country, or "001" for all the world's; "" for a JID."""
        parsed = _parse(f"+{self.number}")
        return (parsed and phonenumbers.region_code_for_number(parsed)) or ""

    def jid_differs(self, chat_jid: str | None) -> bool:
        """Whether Ryze found another chat; a device's suffix makes none, nor an @lid for a number."""
        asked = self.number if "@" in self.number else f"{self.number}@s.whatsapp.net"
        found = re.sub("[:.][0-9:]*@", "@", (chat_jid or asked).lower())  # 5511999999999:12@…
        return found not in (asked, self.number) and ("@" in self.number or not found.endswith("@lid"))


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text names; exactly one of `chat`, `choices` and `problem` is set."""

    typed: str  # the part of the text that was read
    chat: Chat | None = None
    other: Chat | None = None  # beside `chat`: the same digits as a number of another country
    choices: tuple[Chat, ...] = ()  # one to five; only a person's tap may act on one
    problem: Problem | None = None
    anyway: Chat | None = None  # beside `problem`: the digits as typed, with their country code


_KINDS = {"Pd": "-", "Zs": " ", "No": " ", "Cc": "\n", "Zl": "\n", "Zp": "\n", "Cf": ""}  # of Unicode
_MARKS = str.maketrans("−ー[]", "--()", "\ufe0f")
_JID = re.compile(r"[0-9]{5,26}@(?:s\.whatsapp\.net|lid|newsletter|g\.us)|[0-9]{5,15}-[0-9]{1,10}@g\.us")
_LINK = re.compile(
    r"(?i)(?:https?://)?(?:(?:www\.)?wa\.me/+|(?:whatsapp:/|\w+\.whatsapp\.com)/send/?\?(?:[^\s#]*&)?phone=)"
    r"(?:\+|%2B|%20)*(?P<number>[(%0-9][^\s?&#/,;]*)(?P<more>[?&#/]\S*)?"
    r"|(?:[a-z]+://|www\.)\S+|[a-z0-9.-]{1,60}\.[a-z]{2,9}/\S*"
)
_LINKS = {"chat.whatsapp": Problem.GROUP_INVITE, "/channel/": Problem.CHANNEL_INVITE, "wa.me": Problem.MESSAGE_LINK}
_TIDY = (  # what is no phone number's, and what is put for it, in this order
    (r"(?i)\btel:(?=[(+0-9])|;[a-z-]+=[^\s,;]*", ""),
    (r"\b(?=[0-9]+\.)[0-9./]{5,16}-[0-9]{1,2}(?![0-9-])", "#"),  # a CPF, CNPJ, PIS, RUT
    (r"(?<![0-9./-])[0-3]?[0-9]([./-])[0-3]?[0-9]\1(?:19|20)?[0-9]{2}(?![./-]?[0-9])", "#"),  # 31/12/2024
    (r"\b(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}\b|\b[0-9]{1,2}:[0-9]{2}\b", "#"),  # 2024-12-31, 14:30
    (r"[$€£] ?[0-9]+(?:[.,][0-9]+)*", "#"),
    (r"(?i)(?<![0-9])0 ?(?:xx|\*\*)\)? ?\(?(?=[0-9])|\( ?0 ?\) ?", "0"),  # 0xx11, (0xx)11, +44 (0)20
    (r"(?<![0-9])9[ .-](?=[0-9]{4}[ .-]?[0-9]{4}(?![0-9]))", "9"),  # 11 9 8888-7777
)
# A list's own numbering; in "11) 98888-7777" it is the area code.
_NUMBERING = re.compile(r"^[^\w+(]*(?:[0-9] ?[.)-](?=[\s(+])|[0-9]{2}[.)]\s+(?=[(+0]|[0-9]{2,3}[ )]|[0-9]{10}))")
_RUN = re.compile(r"(?<![^\W_])[+( ]*[0-9]++(?![^\W_])(?:[() ./-]*[0-9]++(?![^\W_]))*")  # of digits and marks
_UNCLEAR = re.compile(r"[0-9]+[./-]?[0-9]*|(?:[0-9][^0-9]*){1,8}|[^0-9]*(?:[0-9]{4}(?![0-9])[^0-9]*)+")
_OLD_MOBILE = re.compile(r"\D*(?:00\D*)?(?:55\D*[1-9]{2}\D*[6-9][0-9]{3}\D?[0-9]{4}|52\D*1(?:\D*[0-9]){10})")


def read_command(text: str, region: str | None) -> tuple[Reading, ...]:
    """Read what was typed after a command: one reading a line or a part between commas."""
    tidy = _tidy(text)
    pieces = [piece for piece in re.split("[\n,;]", tidy) if re.search("[0-9]|#[a-z]+_", piece)]
    return tuple(_read(piece, tidy, region) for piece in pieces or [tidy])


def read_message(text: str, region: str | None) -> Reading:
    """Read what people wrote for one another, or a contact card, as a whole."""
    tidy = _tidy(text)
    return _read(tidy, tidy, region)


def _tidy(text: str) -> str:
    """Write digits, marks, links and Brazil's habits as phonenumbers understands them."""
    tidy = text if len(text) <= 4096 else text[:4096].rpartition("\n")[0]  # never half a number
    tidy = "".join(_KINDS.get(unicodedata.category(char), char) for char in tidy.replace("\t", " "))
    tidy = unicodedata.normalize("NFKC", tidy).translate(_MARKS)
    tidy = tidy if tidy.isascii() else phonenumbers.normalize_digits_only(tidy, keep_non_digits=True)
    tidy = _LINK.sub(_plain_link, tidy)
    for pattern, plain in _TIDY:
        tidy = re.sub(pattern, plain, tidy)
    return tidy


def _plain_link(link: re.Match[str]) -> str:
    if number := link["number"]:  # a short one goes on after the link: wa.me/+55 11 98888-7777
        return f"+{unquote(number)}{' |' if link['more'] or len(number) > 7 else ''}"
    return "#" + next((problem for part, problem in _LINKS.items() if part in link[0].lower()), "link")


def _read(text: str, whole: str, region: str | None) -> Reading:
    """Read a piece of a whole: if that has words anywhere, what may be something else is only offered."""
    words = bool(re.search(r"[^\W0-9_]|[#%]", re.sub(r"[0-9-]+@\S+", "", whole)))
    found: list[Reading] = []
    for piece in re.split("[\n,;]", text):
        for word in re.findall(r"\S*@\S*", piece):
            jid = word.strip(".<>()\"'`“”„«»*").lower().replace("@c.us", "@s.whatsapp.net")
            is_chat = _JID.fullmatch(jid)
            found += [Reading(word, chat=Chat(jid)) if is_chat else Reading(word, problem=Problem.NOT_A_CHAT)]
        found += [Reading(piece, problem=problem) for problem in _LINKS.values() if f"#{problem}" in piece]
        for run in _RUN.findall(_NUMBERING.sub("", re.sub(r"\S*@\S*", "", piece))):
            found += _read_run(run.strip(), region, words=words)
    found.sort(key=lambda reading: reading.chat is None)
    chats = tuple(dict.fromkeys(chat for reading in found for chat in (reading.chat, *reading.choices) if chat))
    if chats and not (len(chats) == 1 and found[0].chat):
        return Reading(text.strip(), choices=chats[:5])
    return found[0] if found else Reading(text.strip(), problem=Problem.WORDS)


def _read_run(typed: str, region: str | None, *, words: bool) -> list[Reading]:
    """Read digits and marks: one number, or the numbers among them."""
    reading = _read_number(typed, region)
    if reading.chat and not words:
        return [reading]
    matches = PhoneNumberMatcher(typed, region, leniency=Leniency.STRICT_GROUPING)
    chats = [_read_number(match.raw_string, region).chat for match in matches]
    local = reading.problem is Problem.AREA_CODE and re.fullmatch("[0-9]{5}-[0-9]{4}", typed)
    if not any(chats) and (local or not words):
        return [reading]
    whole = chats == [reading.chat] and not _UNCLEAR.fullmatch(typed)  # bare digits, a date, a card
    if reading.chat and (whole or "+" in typed or typed.startswith("00 ")):
        return [reading]
    offered = chats if any(chats) else [reading.chat, *reading.choices]
    return [Reading(typed, choices=(chat,)) for chat in offered if chat]


def _read_number(typed: str, region: str | None) -> Reading:
    """Read one number: the region's as it stands, else any country's as it stands, else mended."""
    digits = re.sub("[^0-9]", "", typed)
    code = digits.removeprefix("00")
    has_code = "+" in typed or code != digits
    own_code = region is None or code.startswith(str(phonenumbers.country_code_for_region(region)))
    at_home = "" if "+" in typed else _valid(typed, region)
    abroad = at_home if at_home == code else _valid(f"+{code}")
    as_typed = code if abroad == code or _OLD_MOBILE.fullmatch(typed) else ""
    exact = at_home if at_home.endswith(digits) and not (own_code and as_typed) else ""  # no digit was dropped
    mended = abroad if (has_code or not region) and not abroad.startswith("1") else ""  # +1 1… is a slip
    chats = [Chat(number) for number in dict.fromkeys((exact, as_typed, mended, at_home)) if number]
    written = f"+{code}" if has_code else typed
    problem = None if chats and (at_home or has_code or not region) else _problem(written, region)
    if chats and problem is not Problem.AREA_CODE:
        return Reading(typed, chats[0], None if has_code or own_code else next(iter(chats[1:]), None))
    anyway = Chat(code) if (has_code or own_code) and re.fullmatch("[1-9][0-9]{6,14}", code) else None
    if anyway and has_code and problem is Problem.INVALID and not code.startswith("55"):  # possible, if not known
        meant = _valid(code, region)  # +11 98888-7777
        return Reading(typed, choices=(Chat(meant),)) if meant else Reading(typed, chat=anyway)
    if region == "BR" and _OLD_MOBILE.fullmatch(f"55 {typed}"):
        return Reading(typed, choices=(Chat(f"55{digits}"),))
    return Reading(typed, problem=problem, anyway=None if problem is Problem.AREA_CODE else anyway)


def _valid(written: str, region: str | None = None) -> str:
    """The digits of a number that exists, with its country code; else ""."""
    number = _parse(written, region)
    digits = phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:] if number else ""
    return digits if number and phonenumbers.is_valid_number(number) and 7 <= len(digits) <= 15 else ""


def _problem(written: str, region: str | None) -> Problem:
    """Why a number is not valid; its length is that of a landline or a mobile, or is wrong."""
    if len(re.sub("[^0-9]", "", written)) > 15:
        return Problem.GROUP_ID if re.fullmatch("[0-9-]+", written) else Problem.SEVERAL
    number = _parse(written, region)
    if number is None:
        return Problem.COUNTRY_CODE
    if "+" in written and phonenumbers.format_number(number, PhoneNumberFormat.E164) != written:
        return Problem.TOO_LONG  # phonenumbers dropped a digit
    length = phonenumbers.is_possible_number_for_type_with_reason(number, PhoneNumberType.FIXED_LINE_OR_MOBILE)
    if length == ValidationResult.IS_POSSIBLE:
        return Problem.TOO_SHORT if _valid(f"{written}0", region) else Problem.INVALID
    problems = {ValidationResult.TOO_LONG: Problem.TOO_LONG, ValidationResult.IS_POSSIBLE_LOCAL_ONLY: Problem.AREA_CODE}
    return problems.get(length, Problem.TOO_SHORT)


@lru_cache
def _parse(written: str, region: str | None = None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        return None
