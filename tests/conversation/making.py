"""Results, entries and texts as the tests of what a person reads need them, and what people send in journeys."""

import re
from datetime import UTC
from typing import Any

from bot.conversation.texts import Texts
from bot.memory.store import Entry
from bot.ryze.chats import Chat
from bot.ryze.outcomes import OUTCOMES, Reply
from bot.ryze.queue import Attempt, PinRequest
from bot.settings.model import Instance, Operator, Settings
from bot.telegram.outbox import Answer
from tests.conftest import Stage
from tests.sandbox.server import Json

SALES = Instance(name="sales", token="token-of-sales")
SUPPORT = Instance(name="support", token="token-of-support")
ANA = Operator(telegram_id=111, name="Ana", instances=("sales",))
BOTH = Operator(telegram_id=333, name="Caio", instances=("sales", "support"))
PHONE, OTHER, THIRD, FOURTH = (Chat(f"55119{digit * 8}") for digit in "9876")

TEAM: Json = {"id": -100123, "type": "supergroup", "title": "Team", "is_forum": True}
TOPIC: Json = {"message_thread_id": 77, "is_topic_message": True}
FORWARD: Json = {"forward_origin": {"type": "hidden_user", "date": 1, "sender_user_name": "Customer"}}
VIA_BOT: Json = {"via_bot": {"id": 5555, "is_bot": True, "first_name": "Via", "username": "via_bot"}}


def texts(language: str = "en", *, solo: bool = False, region: str | None = "BR") -> Texts:
    return Texts(language, UTC, region, names_instance=not solo)


def settings(**changes: Any) -> Settings:  # noqa: ANN401 - the model's own fields
    fields = {"instances": {"sales": SALES, "support": SUPPORT}, "operators": [ANA, BOTH], "region": "BR"}
    return Settings.model_validate(fields | changes)


def request(*chats: Chat, pin: bool = True, **fields: Any) -> PinRequest:  # noqa: ANN401 - the request's own fields
    return PinRequest(1, fields.pop("operator", ANA), fields.pop("instance", SALES), chats or (PHONE,), pin, **fields)


def attempts(
    asked: PinRequest, *outcomes: str, text: str = "", status: int = 0, jid: str | None = None
) -> list[Attempt]:
    """The attempts of a request, one an outcome; of a swap, unpinning comes first."""
    steps = [(chat, asked.pin) for chat in asked.chats]
    if asked.unpin_first:
        steps = [(asked.unpin_first, False), (asked.chats[0], True), (asked.unpin_first, True)]
    return [
        Attempt(asked, part, chat, pin, Reply(OUTCOMES[name], "" if OUTCOMES[name].ok else text, status, jid), 0.1)
        for part, ((chat, pin), name) in enumerate(zip(steps, outcomes, strict=False))
    ]


def entry(chat: Chat, at: float = 0.0, outcome: str = "pinned") -> Entry:
    action = "unpin" if outcome == "unpinned" else "pin"
    return Entry(1, 0, at, ANA.telegram_id, ANA.name, SALES.name, action, chat.number, None, outcome)


def contact(number: str, **fields: str) -> Json:
    return {"contact": {"phone_number": number, "first_name": "Jo <b>", **fields}}


def said(answer: Answer) -> str:
    return re.sub("<[^>]*>", "", answer.text)


def labels(answer: Answer) -> list[str]:
    return [button.label for button in answer.buttons]


def shown_labels(message: Json) -> list[str]:
    return [button["text"] for row in message.get("reply_markup", {}).get("inline_keyboard", []) for button in row]


def calls(stage: Stage) -> list[tuple[str | None, str, bool]]:
    """What Ryze was asked since this was last looked at: instance, number, pin."""
    made = [(call.instance, call.number, call.pin) for call in stage.ryze.calls]
    stage.ryze.calls.clear()
    return made
