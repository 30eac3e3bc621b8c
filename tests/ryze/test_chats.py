"""A chat as people see it, as logs have it, and compared with the one that Ryze resolved to."""

import pytest

from bot.ryze.chats import Chat

SAO_PAULO = "5511999999999"


@pytest.mark.parametrize(
    ("number", "display", "masked", "region"),
    [
        (SAO_PAULO, "+55 11 99999-9999", "…9999", "BR"),
        ("442079460958", "+44 20 7946 0958", "…0958", "GB"),
        ("390612345678", "+39 06 1234 5678", "…5678", "IT"),
        ("12042345678", "+1 204-234-5678", "…5678", "CA"),
        ("870773111632", "+870 773 111 632", "…1632", ""),  # a satellite phone
        ("551199998888", "+55 1199998888", "…8888", "BR"),
        ("5215512345678", "+52 15512345678", "…5678", "MX"),
        ("4402079460958", "+4402079460958", "…0958", "GB"),  # phonenumbers would show it without its 0
        ("999999999999", "+999999999999", "…9999", ""),
        ("5511999999999-1425418585@g.us", "5511999999999-1425418585@g.us", "…8585@g.us", ""),
        ("123456789012345@lid", "123456789012345@lid", "…2345@lid", ""),
    ],
)
def test_chat_is_shown_whole_to_people_and_masked_in_logs(number: str, display: str, masked: str, region: str) -> None:
    chat = Chat(number)
    assert (chat.display, chat.masked, chat.region) == (display, masked, region)


@pytest.mark.parametrize(
    ("number", "chat_jid", "differs"),
    [
        (SAO_PAULO, "5511999999999@s.whatsapp.net", False),
        (SAO_PAULO, "5511999999999:12@s.whatsapp.net", False),
        (SAO_PAULO, "5511999999999.0:12@S.WhatsApp.net", False),
        (SAO_PAULO, "5511999999999", False),
        (SAO_PAULO, "551199999999@s.whatsapp.net", True),  # Brazil's ninth digit
        (SAO_PAULO, "123456789012345@lid", False),  # the same person's newer address, for all we know
        (SAO_PAULO, "5511999999999@g.us", True),
        (SAO_PAULO, None, False),
        (SAO_PAULO, "", False),
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
