"""What a person typed or pasted → the chat it names: a phone number or a JID.

The forms of a chat are those of the contract's `number` field. Digits are never rewritten: phonenumbers judges and
formats, what is sent are the digits that were typed.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote

import phonenumbers
from phonenumbers import PhoneNumber

_LONGEST = 1000  # characters; the longest pasted link is shorter, and the work stays bounded
_NUMBER = re.compile(r"[1-9][0-9]{6,14}")  # E.164 has at most 15 digits
_JID = re.compile(r"([^\s@]+)@([^\s@]+)")
_USERS = dict.fromkeys(("s.whatsapp.net", "lid", "newsletter"), re.compile(r"[0-9]{5,31}")) | {
    "g.us": re.compile(r"[0-9]{5,31}(-[0-9]{1,31})?"),
}

_WRITTEN = re.compile(r"[( ]*+(?P<plus>\+?)[0-9() ./-]*+")  # possessive: the time stays linear in the length
_TEL = re.compile(r"(?:tel|whatsapp):(?://)?(?P<number>[^;?]*)(?P<parameters>(?:;[a-z-]+=[^;]*)*)", re.IGNORECASE)
_LINKS = (
    re.compile(r"(?:https?://)?(?:www\.)?wa\.me/(?P<number>[^/?#]+)/?(?:[?#].*)?", re.IGNORECASE),
    re.compile(
        r"(?:whatsapp:/|(?:https?://)?(?:api|web|www)\.whatsapp\.com)/send/?"
        r"\?(?:[^#]*&)?phone=(?P<number>[^&#]+)(?:[&#].*)?",
        re.IGNORECASE,
    ),
)
_LINK_TEXT = re.compile(r"(?<=[?&])text=[^\s,;&]*", re.IGNORECASE)  # a message in a link, which may hold digits and "+"
_BETWEEN_CHATS = re.compile(r"[\n,]|;(?![a-z-]+=)|(?<=[0-9)])\s*(?=\(?\+)", re.IGNORECASE)
_AROUND = " .<>\"'`“”„«»"  # what people leave around a thing they paste
_IN_TEXT = re.compile(
    r"(?:https?://)?(?:www\.)?(?:wa\.me/|(?:api|web)\.whatsapp\.com/send)[^\s,;]+|[0-9-]{5,63}@[a-z.]+[a-z]"
    r"|(?<![\w@.+-])\(?\+?[0-9][0-9() .-]{5,28}[0-9](?![\w@])",
    re.IGNORECASE,
)
_TRUNK_ZERO = re.compile(r"(?<=[0-9)]) *\( ?0 ?\)")  # +44 (0)20 …
_SECOND_NUMBER = re.compile(r"(?:[0-9][^0-9/]*){10}/ *\(?[0-9]")  # 11 3344-5566/67; +49 30/1234567 is one number


class ChatProblem(StrEnum):
    """Why a text names no chat; each has its own sentence."""

    MISSING = "missing"  # nothing was typed
    WORDS = "words"  # no chat in it: words, a username, a page of text
    SEVERAL = "several"  # two chats or more
    COUNTRY_CODE = "country_code"  # digits that need their country code
    TOO_SHORT = "too_short"  # fewer than 7 digits
    TOO_LONG_NUMBER = "too_long_number"  # more than 15 digits: maybe a group's id without @g.us
    UNKNOWN_DOMAIN = "unknown_domain"  # x@y with a y that is not WhatsApp's
    BAD_JID = "bad_jid"  # a known domain, but no digits before the @
    TOO_MANY = "too_many"  # more chats than one message may have
    AMBIGUOUS = "ambiguous"  # valid in two countries


@dataclass(frozen=True, slots=True)
class Chat:
    """A WhatsApp chat as Ryze takes it: `number` is `[1-9][0-9]{6,14}`, or a JID of the four kinds."""

    number: str

    @property
    def display(self) -> str:
        """How a person reads it, with precisely the digits that are sent: "+55 11 99999-9999"; a JID as it is."""
        return self.number if "@" in self.number else _international(self.number)

    @property
    def masked(self) -> str:
        """For logs: "…9999", "…4321@g.us"."""
        user, at, domain = self.number.partition("@")
        return f"…{_digits(user)[-4:]}{at}{domain}"

    def jid_differs(self, chat_jid: str | None) -> bool:
        """Whether the JID that Ryze resolved to is another chat than the one asked for.

        A device suffix makes no difference. An @lid that comes back for a number does not either: it is WhatsApp's
        newer address of a person and tells nothing about digits. Nothing known (None, "") is no difference.
        """
        if not chat_jid:
            return False
        user, _, domain = chat_jid.strip().lower().partition("@")
        user = re.split(r"[.:]", user, maxsplit=1)[0]  # 5511999999999:12@…, 5511999999999.0:12@…
        if "@" in self.number:
            return f"{user}@{domain}" != self.number
        return domain != "lid" and (user, domain or "s.whatsapp.net") != (self.number, "s.whatsapp.net")


class ChatError(Exception):
    """The text names no chat. `kind` says why; `typed` is the part at fault (digits, domain) where there is one."""

    def __init__(self, kind: ChatProblem, typed: str = "") -> None:
        super().__init__(kind)
        self.kind = kind
        self.typed = typed


class AmbiguousChat(ChatError):
    """Valid as a number of the region and with its country code: only the person can tell.

    `choices` are (ISO 3166 region, or "001" for a number of no country; chat), the local reading first.
    """

    def __init__(self, choices: tuple[tuple[str, Chat], ...]) -> None:
        super().__init__(ChatProblem.AMBIGUOUS)
        self.choices = choices


def split_chats(text: str) -> list[str]:
    """Split a text into what may each be one chat, cleaned: one a line, or separated by commas, semicolons or a "+".

    Spaces separate only where the whole cannot be one number (more than 15 digits) and each piece can.
    """
    pieces: list[str] = []
    for part in _BETWEEN_CHATS.split(_LINK_TEXT.sub("", _clean(text))):
        words = part.split()
        together = len(_digits(part)) <= 15 or any(len(_digits(word)) < 7 for word in words)
        pieces += [part] if together else words
    return [stripped for piece in pieces if (stripped := piece.strip(_AROUND))]


@lru_cache(maxsize=256)  # a command's text is first asked whether it begins with an instance's name
def parse_chat(text: str, region: str | None) -> Chat:
    """Read one chat from what a person typed; `region` (ISO 3166) is for numbers without a country code.

    Raises:
        AmbiguousChat: the digits are valid as a number of the region and as an international one.
        ChatError: everything else that is not exactly one chat.

    """
    if len(text) > _LONGEST:
        raise ChatError(ChatProblem.WORDS)
    pieces = split_chats(text)
    if not pieces:
        raise ChatError(ChatProblem.MISSING)
    if len(pieces) > 1:
        several = sum(bool(_digits(piece)) for piece in pieces) > 1
        raise ChatError(ChatProblem.SEVERAL if several else ChatProblem.WORDS)
    piece = pieces[0]
    if jid := _JID.fullmatch(piece):
        return _jid(jid[1], jid[2].lower())
    for pattern in _LINKS:
        if link := pattern.fullmatch(piece):
            return _phone(unquote(link["number"]), region, international=True)
    if tel := _TEL.fullmatch(piece):
        if "phone-context" in tel["parameters"].lower():  # RFC 3966 does not promise that it is a prefix
            raise ChatError(ChatProblem.COUNTRY_CODE, _digits(tel["number"]))
        piece = unquote(tel["number"])
    return _phone(piece, region, international=False)


def parse_contact(number: str, region: str | None) -> Chat:
    """Read the number of a contact card, which Telegram often writes internationally, but without its "+".

    Raises:
        ChatError: as `parse_chat` does.

    """
    try:
        return parse_chat(number, region)
    except AmbiguousChat:
        raise
    except ChatError:
        return parse_chat(f"+{number.lstrip('+')}", region)


def find_chats(text: str, region: str | None) -> list[Chat]:
    """Find the chats in a text that people wrote for one another, each once.

    Raises:
        AmbiguousChat: one of them is valid in two countries.

    """
    try:
        return [parse_chat(text, region)]
    except AmbiguousChat:
        raise
    except ChatError:
        found = dict[Chat, None]()
    for candidate in _IN_TEXT.findall(_clean(text[:_LONGEST])):
        try:
            found[parse_chat(candidate, region)] = None
        except AmbiguousChat:
            raise
        except ChatError:
            continue
    return list(found)


def _clean(text: str) -> str:
    """ASCII for every digit, space, hyphen and full-width form; marks that nobody sees are gone."""
    cleaned = []
    for char in text:
        category = unicodedata.category(char)
        if category == "Nd":  # not superscripts or circled digits: nobody's number is written in those
            cleaned.append(str(unicodedata.decimal(char)))
        elif category == "Pd" or char in "−ー":
            cleaned.append("-")
        elif "！" <= char <= "～":
            cleaned.append(chr(ord(char) - ord("！") + ord("!")))
        elif char.isspace():
            cleaned.append(" " if category == "Zs" or char == "\t" else "\n")
        elif category != "Cf":
            cleaned.append(char)
    return "".join(cleaned)


def _digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", text)


def _jid(user: str, domain: str) -> Chat:
    if domain not in _USERS:
        raise ChatError(ChatProblem.UNKNOWN_DOMAIN, domain)
    if not _USERS[domain].fullmatch(user):
        raise ChatError(ChatProblem.BAD_JID, user)
    return Chat(f"{user}@{domain}")


def _phone(written: str, region: str | None, *, international: bool) -> Chat:
    form, digits = _WRITTEN.fullmatch(written), _digits(written)
    if not form or not digits:
        raise ChatError(ChatProblem.WORDS)
    if _SECOND_NUMBER.search(written):
        raise ChatError(ChatProblem.SEVERAL)
    number: str | None
    if international or form["plus"] or digits.startswith("00"):
        number = _digits(_TRUNK_ZERO.sub("", written, count=1)).removeprefix("00")
    else:
        number = _bare(digits, region, may_have_code=not written.strip().startswith(("(", "0")))
    length = len(number or digits)
    if length > 15:
        several = re.search(r"[0-9)][ /]", written)
        raise ChatError(ChatProblem.SEVERAL if several else ChatProblem.TOO_LONG_NUMBER, digits)
    if length < 7:
        raise ChatError(ChatProblem.TOO_SHORT, digits)
    if not number or not _NUMBER.fullmatch(number):
        raise ChatError(ChatProblem.COUNTRY_CODE, digits)
    return Chat(number)


def _bare(digits: str, region: str | None, *, may_have_code: bool) -> str | None:
    """Judge digits without a "+": a number of the region, or one that begins with its country code, or None."""
    local = _local(digits, region)
    abroad = _region_of(digits) if may_have_code else None
    if local and abroad and local != digits:
        raise AmbiguousChat(((_region_of(local) or "001", Chat(local)), (abroad, Chat(digits))))
    if local or abroad:
        return local or digits
    # WhatsApp's own ids of Mexican mobiles keep a 1 that the numbering plan gave up: 52 1 55 …
    parsed = _parsed("+" + re.sub(r"^521(?=[0-9]{10}$)", "52", digits))
    possible = parsed is not None and phonenumbers.is_possible_number(parsed) and len(digits) >= 12
    return digits if may_have_code and possible else None


def _local(digits: str, region: str | None) -> str | None:
    """Read the digits as dialled within the region; its trunk prefix (0 11 …) and carrier code (0 15 11 …) go."""
    parsed = _parsed(digits, region)
    if region is None or parsed is None or not phonenumbers.is_valid_number(parsed):
        return None
    prefix = phonenumbers.ndd_prefix_for_region(region, strip_non_digits=True) or ""
    national = phonenumbers.national_significant_number(parsed)
    dialled = {national, prefix + national, f"{prefix}{parsed.preferred_domestic_carrier_code or ''}{national}"}
    return f"{parsed.country_code}{national}" if digits in dialled else None  # else phonenumbers rewrote them


def _region_of(number: str) -> str | None:
    """Name the region in which the number is valid as it stands, no digit dropped or added."""
    parsed = _parsed(f"+{number}")
    if parsed is None or f"{parsed.country_code}{phonenumbers.national_significant_number(parsed)}" != number:
        return None
    return phonenumbers.region_code_for_number(parsed) if phonenumbers.is_valid_number(parsed) else None


@lru_cache(maxsize=256)  # shown in the answer, on its button and in its log
def _international(number: str) -> str:
    parsed = _parsed(f"+{number}")
    if parsed is not None:
        formatted = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
        if _digits(formatted) == number:
            return formatted
    return f"+{number}"


@lru_cache(maxsize=256)  # asked again and again while one text is judged
def _parsed(written: str, region: str | None = None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(written, region, keep_raw_input=True)
    except phonenumbers.NumberParseException:
        return None
