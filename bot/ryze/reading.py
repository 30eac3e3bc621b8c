"""What a person typed, pasted or sent → the chats that it names. `region`: the country whose code may be missing."""

import re
import unicodedata
from urllib.parse import unquote

import phonenumbers

from bot.ryze.chats import Chat, Problem, Reading, parse_number

_LONGEST = 4096  # characters, Telegram's own limit; it bounds the work
_JIDS = dict.fromkeys(("s.whatsapp.net", "lid", "newsletter"), r"[0-9]{5,31}") | {"g.us": r"[0-9]{5,31}(-[0-9]{1,31})?"}
_KINDS = {"Pd": "-", "Zs": " ", "No": " ", "Cc": "\n", "Zl": "\n", "Zp": "\n", "Cf": ""}  # Unicode's categories
_LINK = re.compile(
    r"(?i)(?:https?://)?(?:(?:www\.)?wa\.me/+|(?:whatsapp:/|(?:api|web|www)\.whatsapp\.com)/send/?\?(?:[^\s#]*&)?phone=)"
    r"(?:\+|%2B|%20)*(?P<number>[(%0-9][^\s?&#/,;]*)(?P<more>[?&#/]\S*)?"
    r"|(?:[a-z]+://|www\.)\S+|[a-z0-9.-]{1,60}\.[a-z]{2,9}/\S*"
)
_LINKS = {"chat.whatsapp": Problem.GROUP_INVITE, "/channel/": Problem.CHANNEL_INVITE, "wa.me": Problem.MESSAGE_LINK}
_NO_NUMBER = re.compile(
    r"\b(?=[0-9]+\.)[0-9./]{5,16}-[0-9]{1,2}(?![0-9-])"  # a CPF, CNPJ, PIS, RUT: dots, then one or two check digits
    r"|(?<![0-9./-])[0-3]?[0-9]([./-])[0-3]?[0-9]\1(?:19|20)?[0-9]{2}(?![./-]?[0-9])"  # 31/12/2024, 31.12.24
    r"|\b(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}\b|\b[0-9]{1,2}:[0-9]{2}\b|[$€£] ?[0-9][0-9.]*"  # 2024-12-31, 14:30, $ 1
)
# A list's own numbering; in "11) 98888-7777" it is the area code.
_NUMBERING = re.compile(r"^[^\w+(]*(?:[0-9] ?[.)-](?=[\s(+])|[0-9]{2}[.)]\s+(?=[(+0]|[0-9]{2,3}[ )]|[0-9]{10}))")
_RUN = re.compile(r"(?<![^\W_])[+( ]*[0-9]++(?![^\W_])(?:[() ./-]*[0-9]++(?![^\W_]))*")  # a phone number's characters
_OLD_BRAZIL = re.compile(r"[^0-9]*(?:55)?[^0-9]*[1-9]{2}[^0-9]*[6-9][0-9]{3}[^0-9]?[0-9]{4}")  # before the ninth digit


def read_command(text: str, region: str | None) -> tuple[Reading, ...]:
    """Read what was typed after a command: one reading a line or a part between commas, each chat once."""
    tidy, words = _tidy(text)
    pieces = [piece for piece in re.split("[\n,;]", tidy) if re.search("[0-9]|#[a-z]+_", piece)]
    readings = [_read(piece, words, region) for piece in pieces or [tidy]]
    return tuple({reading.chat or reading: reading for reading in readings}.values())


def read_message(text: str, region: str | None) -> Reading:
    """Read what people wrote for one another, or a contact card's number: one reading of the whole."""
    return _read(*_tidy(text), region)


read_contact = read_message


def _tidy(text: str) -> tuple[str, list[str]]:
    """Write digits, marks, links and Brazil's habits as phonenumbers understands them; return the letters as well."""
    text = text if len(text) <= _LONGEST else text[:_LONGEST].rpartition("\n")[0]  # never half a number
    kinds = ((char, unicodedata.category(char)) for char in text.replace("\t", " "))
    tidy = "".join(str(unicodedata.decimal(char, _KINDS.get(kind, char))) for char, kind in kinds)
    tidy = unicodedata.normalize("NFKC", tidy).translate(str.maketrans("−ー[]", "--()", "\ufe0f"))
    tidy = re.sub(r"(?i)\btel:(?=[(+0-9])|;[a-z-]+=[^\s,;]*", "", _LINK.sub(_plain_link, tidy))
    trunk_zero = r"(?i)(?<![0-9])0 ?(?:xx|\*\*)\)? ?\(?(?=[0-9])|\( ?0 ?\) ?"  # 0xx11, (0xx)11, +44 (0)20 …
    tidy = re.sub(trunk_zero, "0", _NO_NUMBER.sub("#", tidy))
    tidy = re.sub(r"(?<![0-9])9[ .-](?=[0-9]{4}[ .-]?[0-9]{4}(?![0-9]))", "9", tidy)  # 11 9 8888-7777
    return tidy, re.findall(r"[^\W0-9_]|[#%]", re.sub(r"[0-9-]+@\S+", "", tidy))


def _plain_link(link: re.Match[str]) -> str:
    if number := link["number"]:  # a short one goes on after the link: wa.me/+55 11 98888-7777
        return f"+{unquote(number)}{' |' if link['more'] or len(number) > 7 else ''}"
    return "#" + next((problem for part, problem in _LINKS.items() if part in link[0].lower()), "link")


def _read(text: str, words: list[str], region: str | None) -> Reading:
    found = [reading for piece in re.split("[\n,;]", text) for reading in _read_piece(piece, words, region)]
    found.sort(key=lambda reading: reading.chat is None)
    chats = tuple(dict.fromkeys(chat for reading in found for chat in (reading.chat, *reading.choices) if chat))
    if chats and not (len(chats) == 1 and found[0].chat):
        return Reading(text.strip(), choices=chats[:5])
    nothing = Reading(text.strip(), problem=Problem.WORDS if text.strip() else Problem.MISSING)
    return found[0] if found else nothing


def _read_piece(piece: str, words: list[str], region: str | None) -> list[Reading]:
    jids = [_read_jid(word) for word in piece.split() if "@" in word]
    links = [Reading(piece, problem=problem) for problem in _LINKS.values() if f"#{problem}" in piece]
    runs = _RUN.findall(_NUMBERING.sub("", re.sub(r"\S*@\S*", "", piece)))
    return [*jids, *links, *(reading for run in runs for reading in _read_run(run.strip(), words, region))]


def _read_jid(word: str) -> Reading:
    user, _, domain = word.strip(".<>()\"'`“”„«»*").lower().replace("@c.us", "@s.whatsapp.net").partition("@")
    if re.fullmatch(_JIDS.get(domain, "(?!)"), user):
        return Reading(word, chat=Chat(f"{user}@{domain}"))
    return Reading(word, problem=Problem.BAD_JID if domain in _JIDS else Problem.NOT_A_CHAT)


def _read_run(typed: str, words: list[str], region: str | None) -> list[Reading]:
    """Read digits and marks: one number, or the numbers among them."""
    reading, groups = _read_number(typed, region), re.findall("[0-9]+", typed)
    if reading.chat and not words and len(groups) == 1:
        return [reading]
    matches = phonenumbers.PhoneNumberMatcher(typed, region, leniency=phonenumbers.Leniency.STRICT_GROUPING)
    chats = [_read_number(match.raw_string, region).chat for match in matches]
    plus = reading.chat is not None and ("+" in typed or typed.startswith("00 "))
    if plus or chats in ([], [reading.chat]):
        grouped = chats and (len(groups) > 2 or re.search("[ ()]", typed)) and {*map(len, groups)} != {4}  # no card's
        if not words or ((plus or grouped) and len("".join(groups)) > 8):  # no date's
            return [reading]
        chats = [reading.chat, *reading.choices]
    return [Reading(typed, choices=(chat,)) for chat in chats if chat]


def _read_number(typed: str, region: str | None) -> Reading:
    """Read digits as one number: of the region as it stands, else international as it stands, else mended."""
    digits = phonenumbers.normalize_digits_only(typed)
    code = digits.removeprefix("00")
    with_code = "+" in typed or code != digits
    own = code.startswith(str(phonenumbers.country_code_for_region(region)) if region else "")
    at_home, abroad = "" if "+" in typed else _valid(typed, region), _valid(f"+{code}")
    old = (len(code) == 12 and _OLD_BRAZIL.fullmatch(typed)) or re.fullmatch("521[0-9]{10}", code)  # Mexico's mobiles
    as_typed = code if abroad == code or old else ""
    exact = at_home if at_home.endswith(digits) and not (own and as_typed) else ""  # no digit was dropped
    mended = abroad if (with_code or not region) and not abroad.startswith("1") else ""  # +1 1… is a slip
    chats = [Chat(number) for number in dict.fromkeys((exact, as_typed, mended, at_home)) if number]
    written = f"+{code}" if with_code else typed
    if chats and (at_home or with_code or _misfit(written, region) is not Problem.AREA_CODE):
        return Reading(typed, chat=chats[0], other=None if with_code or own else next(iter(chats[1:]), None))
    anyway = Chat(code) if (with_code or own) and re.fullmatch("[1-9][0-9]{6,14}", code) else None
    return _read_invalid(typed, written, region, anyway)


def _read_invalid(typed: str, written: str, region: str | None, anyway: Chat | None) -> Reading:
    digits, problem = phonenumbers.normalize_digits_only(typed), _misfit(written, region)
    if len(digits) > 15:
        return Reading(typed, problem=Problem.GROUP_ID if re.fullmatch("[+0-9-]+", typed) else Problem.SEVERAL)
    if anyway and not problem and re.match(r"\+(?!55)", written):  # all of Brazil's numbers are known
        meant = _valid(anyway.number, region)  # +11 98888-7777
        return Reading(typed, choices=(Chat(meant),)) if meant else Reading(typed, chat=anyway)
    if region == "BR" and _OLD_BRAZIL.fullmatch(typed):
        return Reading(typed, choices=(Chat(f"55{digits}"),))
    problem = problem or (Problem.TOO_SHORT if _valid(f"{written}0", region) else Problem.INVALID)
    return Reading(typed, problem=problem, anyway=None if problem is Problem.AREA_CODE else anyway)


def _valid(written: str, region: str | None = None) -> str:
    """The digits of a number that exists, with its country code; else ""."""
    number = parse_number(written, region)
    valid = number and phonenumbers.is_valid_number(number)
    digits = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:] if number and valid else ""
    return digits if 7 <= len(digits) <= 15 else ""


def _misfit(written: str, region: str | None) -> Problem | None:
    """What is wrong with a number's length, be it a landline's or a mobile's."""
    number = parse_number(written, region)
    if number is None:
        return Problem.COUNTRY_CODE
    if written.startswith("+") and phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) != written:
        return Problem.TOO_LONG  # phonenumbers dropped a digit
    kinds = (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE)
    results = [phonenumbers.is_possible_number_for_type_with_reason(number, kind) for kind in kinds]
    if phonenumbers.ValidationResult.IS_POSSIBLE in results:
        return None
    if phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY in results:
        return Problem.AREA_CODE
    return Problem.TOO_LONG if phonenumbers.ValidationResult.TOO_LONG in results else Problem.TOO_SHORT
