"""A WhatsApp chat as Ryze takes it, and what came of reading a text for one."""

from dataclasses import dataclass
from enum import StrEnum

import phonenumbers


class Problem(StrEnum):
    """Why a text names no chat; each has its own sentence."""

    MISSING = "missing"  # nothing was typed
    WORDS = "words"  # no number in it
    AREA_CODE = "area_code"  # a number of the region, or of the country that was typed, without its area code
    COUNTRY_CODE = "country_code"  # a number without its country code, or with one that no country has
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    INVALID = "invalid"  # as long as the country's numbers, but none of them is like this
    SEVERAL = "several"  # more digits than a number has, in groups
    GROUP_ID = "group_id"  # more digits than a number has: maybe a group's or a channel's id without its suffix
    NOT_A_CHAT = "not_a_chat"  # something else with an @: an e-mail address, a username
    BAD_JID = "bad_jid"  # WhatsApp's domain, but no digits before the @
    GROUP_INVITE = "group_invite"
    CHANNEL_INVITE = "channel_invite"
    MESSAGE_LINK = "message_link"  # wa.me/message/…: only WhatsApp knows whose number it hides


@dataclass(frozen=True, slots=True)
class Chat:
    """A WhatsApp chat: `number` is `[1-9][0-9]{6,14}` (with its country code), or a JID of the four kinds."""

    number: str

    @property
    def display(self) -> str:
        """How a person reads it, with precisely the digits that are sent: "+55 11 99999-9999"; a JID as it is."""
        parsed = parse_number(f"+{self.number}")
        shown = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL) if parsed else ""
        if phonenumbers.normalize_digits_only(shown) == self.number:  # phonenumbers drops digits that do not belong
            return shown
        return self.number if "@" in self.number else f"+{self.number}"

    @property
    def masked(self) -> str:
        """For logs: "…9999", "…4321@g.us"."""
        user, at, domain = self.number.partition("@")
        return f"…{user.replace('-', '')[-4:]}{at}{domain}"

    @property
    def region(self) -> str:
        """ISO 3166 code of the number's country, for its flag; "" where there is none (a JID, a satellite phone)."""
        parsed = parse_number(f"+{self.number}")
        region = parsed and phonenumbers.region_code_for_number(parsed)
        return region if region and region.isalpha() else ""

    def jid_differs(self, chat_jid: str | None) -> bool:
        """Whether Ryze resolved to another chat. A device suffix is none, nor an @lid for a number, nor None or ""."""
        if not chat_jid:
            return False
        user, _, domain = chat_jid.strip().lower().partition("@")
        user = user.partition(":")[0].partition(".")[0]  # 5511999999999:12@…, 5511999999999.0:12@…
        asked = self.number if "@" in self.number else f"{self.number}@s.whatsapp.net"
        return f"{user}@{domain or 's.whatsapp.net'}" != asked and (domain != "lid" or asked == self.number)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text names; exactly one of `chat`, `choices` and `problem` is set."""

    typed: str  # the part of the text that was read
    chat: Chat | None = None
    other: Chat | None = None  # beside `chat`: the same digits as a number of another country
    choices: tuple[Chat, ...] = ()  # one to five; only a person's tap may act on one
    problem: Problem | None = None
    anyway: Chat | None = None  # beside `problem`: the digits as typed, with their country code


def parse_number(written: str, region: str | None = None) -> phonenumbers.PhoneNumber | None:
    """Parse what may be a phone number; `region` (ISO 3166) is for one without its country code."""
    try:
        return phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        return None
