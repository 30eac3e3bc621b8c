"""10,000 updates of any shape and text, at the bot as a process of its own."""

import json
import random
import re
import time
from typing import Any

import httpx

from bot.conversation.callback_data import Action, Press, pack
from bot.ryze.chats import Chat
from tests.conftest import ANA, BIA, STRANGER, Stage
from tests.sandbox.content import content, utf16
from tests.sandbox.ryze import Instance
from tests.sandbox.server import Json
from tests.sandbox.telegram import TelegramServer
from tests.telegram.test_webhook import HEADERS, SECRET, free_port

HOW_MANY = 10_000
OPERATORS = {ANA: "sales", BIA: "support"}
GROUP, CHANNEL = -1001000000001, -1001000000002
ROOMS = {ANA: "private", BIA: "private", STRANGER: "private", GROUP: "supergroup", CHANNEL: "channel"}
NUMBER = "5511970000000"  # each update gets one of its own in its place, by which its calls are known
FORGED = "2026-11-22T14:05:01.123Z INFO bot.forged attempt operator=111"
LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]{12}Z (DEBUG|INFO|WARNING|ERROR) (bot|telegram|asyncio)[.\w]* |  \| ")
FIELDS = ("id", "type", "text", "from", "chat", "date", "message_id", "phone_number", "is_bot")
COMMANDS = ("/pin {}", "/unpin +{}", "/pin\n{}", "/pin support {}", "/pin", "/help", "{}", "/pin {}, {}")
NASTY = (
    *("<b>", "</b>", "</i>", "<pre>", "&amp;", "&", "<", ">", '"', "%s%n", "{0}", "{chat}", "${TELEGRAM_BOT_TOKEN}"),
    *("\n", "\r\n", "\r", "\t", "\x00", "\x1b[2J", "\x85", "\u2028", "\u2029", "\u200b", "\u200f", "\u202e", "\u2067"),
    *("\ud83d", "\udc00", "\ufffe", "📌", "é", "ﷺ", "a" * 5000, "\u202e" * 500, "\n" * 300, "9" * 60, f"\n{FORGED}\n"),
    *("/pin", "/unpin", "/pin@ryze_pin_bot", "/pins", "/id", "/", "@", "@g.us", "wa.me/", "tel:", "+", ",", "sales"),
    *(NUMBER, f"+{NUMBER}", f"{NUMBER}@s.whatsapp.net", f"{NUMBER}@lid"),
)
ODD: tuple[object, ...] = (None, True, -1, 1.5, 2**70, (), ((),), ({},), (ANA,), {"id": None}, {"id": ANA})
# With it a number alone is a command.
QUESTION: Json = {"from": {"id": 123456, "is_bot": True, "first_name": "B"}, "text": "Which chat shall I pin on sales?"}
AUTHOR = {"id": ANA, "is_bot": False, "first_name": "A"}
# With any of these a message is another's, an older one or a program's.
SUSPICIOUS: list[tuple[str, Any]] = [
    ("forward_origin", {"type": "user", "date": 1, "sender_user": AUTHOR}),
    ("forward_origin", {"type": "hidden_user", "date": 1, "sender_user_name": "A"}),
    ("forward_from", AUTHOR),
    ("forward_from_chat", {"id": GROUP, "type": "supergroup"}),
    *(("forward_sender_name", "A"), ("forward_date", 1)),
    ("via_bot", {**AUTHOR, "is_bot": True}),
    ("sender_chat", {"id": GROUP, "type": "supergroup"}),
    ("sender_business_bot", {**AUTHOR, "is_bot": True}),
    ("is_automatic_forward", True),
    *(("business_connection_id", "b"), ("guest_query_id", "g"), ("edit_date", 1_800_000_000)),
]


class Fuzz:
    """Updates put together by chance; the same each time."""

    def __init__(self) -> None:
        self.chance = random.Random(20261122)  # noqa: S311 - not for secrets

    def updates(self, count: int) -> dict[str, Json]:
        """So many, each by a number of its own in place of `NUMBER`."""
        numbers = [f"551197{place:07}" for place in range(count)]
        return {number: json.loads(json.dumps(self.update()).replace(NUMBER, number)) for number in numbers}

    def update(self) -> Json:
        """With a `message`, be it empty, the stand-in gives also what nobody asks for."""
        kind = self.chance.randrange(12)
        if kind < 8:
            return {"message": self.message()}
        if kind == 8:
            return {"callback_query": self.press()}
        names = ["edited_message", "channel_post", "business_message", "guest_message"]
        if kind < 11:
            return {"message": None, self.chance.choice(names): self.message()}
        return {"message": self.value(), self.chance.choice([*names, "callback_query", "new_kind"]): self.value()}

    def text(self) -> str:
        kind = self.chance.randrange(5)
        if kind == 0:
            return self.chance.choice(COMMANDS).replace("{}", NUMBER)
        if kind == 1:
            some = range(self.chance.choice([0x80, 0x3000, 0x110000]))  # halves of surrogate pairs and all
            return "".join(map(chr, self.chance.choices(some, k=20)))
        text = self.chance.choice(["", " "]).join(self.chance.choices(NASTY, k=self.chance.randrange(6)))
        return text if kind < 4 else f"/pin {NUMBER} {text}"

    def value(self, depth: int = 2) -> object:
        """What no field should be."""
        if depth and self.chance.random() < 0.4:
            return {name: self.value(depth - 1) for name in self.chance.sample(FIELDS, self.chance.randrange(3))}
        return self.chance.choice((*ODD, self.text()))

    def spoilt(self, whole: Json) -> Json:
        """Now and then with a field that is not what it should be."""
        if self.chance.random() < 0.1:
            whole[self.chance.choice([*sorted(whole), "pinned_message"])] = self.value()
        return whole

    def person(self) -> Json:
        ids = [ANA, BIA, STRANGER, self.chance.randrange(1, 2**52), 0, -1, 136817688, 1087968824, 777000]
        person = {"id": self.chance.choice(ids), "is_bot": self.chance.random() < 0.2, "first_name": self.text()}
        return self.spoilt({**person, "last_name": self.text(), "username": self.text(), "language_code": self.text()})

    def message(self, *, reply: bool = True) -> Json:
        operator = {"id": self.chance.choice(sorted(OPERATORS)), "is_bot": False, "first_name": "O"}
        chat, kind = self.chance.choice(sorted(ROOMS.items()))
        message: Json = {
            "message_id": self.chance.randrange(1, 10**6),
            "from": operator if self.chance.random() < 0.4 else self.person(),
            "chat": {"id": chat, "type": kind, "title": self.text()},
            "date": int(time.time()),
            "text": self.text(),
        }
        if reply and self.chance.random() < 0.3:
            message["reply_to_message"] = self.message(reply=False) | self.chance.choice([{}, QUESTION])
        oddity = self.chance.randrange(4)
        if oddity == 0:
            return message
        if oddity == 1:
            name, value = self.chance.choice(SUSPICIOUS)
            return {**message, name: value if self.chance.random() < 0.7 else self.value()}
        return self.spoilt({**message, **dict(self.chance.sample(self.contents(), 3))})

    def contents(self) -> list[tuple[str, Any]]:
        numbers = self.chance.choices(range(-5, 9000), k=2)
        return [
            ("caption", self.text()),
            ("contact", self.spoilt({"phone_number": NUMBER, "first_name": self.text(), "vcard": self.text()})),
            ("quote", {"text": self.text(), "position": 0}),
            ("entities", [self.spoilt({"type": "bot_command", "offset": numbers[0], "length": numbers[1]})]),
            ("is_topic_message", True),
            ("message_thread_id", self.chance.randrange(1, 4)),
            ("new_chat_members", [self.person()]),
        ]

    def press(self) -> Json:
        """Of a real button of another's instance, or with data that no button has."""
        presser = self.person()
        instance = "board" if presser["id"] in (*OPERATORS, True) else "sales"
        data = pack(Press(Action.PIN, instance, Chat(NUMBER)))
        query = {"id": self.text(), "from": presser, "chat_instance": "1", "message": self.message(), "data": data}
        if self.chance.random() < 0.5:
            query["data"] = self.text()
        return query if self.chance.random() < 0.7 else self.spoilt({**query, "inline_message_id": self.text()})


def is_plain_command(update: Json) -> bool:
    """Whether an update is an operator's own new message, without the bot's code."""
    message = update.get("message")
    if not isinstance(message, dict) or not isinstance(message.get("from"), dict):
        return False
    sender, room = message["from"], message.get("chat")
    marked = any(message.get(name) for name, _ in SUSPICIOUS)
    speaks = isinstance(room, dict) and room.get("type") != "channel" and not marked
    return bool(speaks and sender.get("id") in list(OPERATORS) and not sender.get("is_bot"))


def assert_telegram_takes_it(server: TelegramServer) -> None:
    """What the bot sent is nothing that Telegram would refuse, whatever the chat."""
    for call in server.calls:
        if call.method in ("sendMessage", "editMessageText"):
            content(call.params)
        assert call.method != "answerCallbackQuery" or utf16(str(call.params.get("text", ""))) <= 200


async def test_10000_updates_of_any_shape_do_no_harm(stage: Stage) -> None:
    stage.ryze.limit = 1000
    stage.ryze.instances["board"] = Instance("token-of-board")
    stage.settings["instances"]["board"] = {"token": "token-of-board"}
    pushed = Fuzz().updates(HOW_MANY)
    for room in ROOMS:
        stage.telegram.add_chat(room)
    taken = sum(bool(stage.telegram.push(update)) for update in pushed.values())
    plain = {number: update for number, update in pushed.items() if is_plain_command(update)}
    process = await stage.start()
    try:
        await stage.telegram.wait_for(lambda: not stage.telegram.pending, timeout=120, what="the end")
        assert "Unpinned" in (await stage.say("/unpin +5511988888888"))["text"]
    finally:
        process.terminate()
        assert await process.wait() == 0
    made = [(str(call.number), call.instance) for call in stage.ryze.calls[:-1]]
    assert [call for call in made if call[0][:13] not in plain] == []
    for number, instance in made:
        assert OPERATORS[plain[number[:13]]["message"]["from"]["id"]] == instance
    assert len(made) > 100
    assert taken > HOW_MANY * 0.9
    assert_telegram_takes_it(stage.telegram)
    # Every line is a record's or a traceback's, and none is one that an update wrote.
    lines = stage.log.removesuffix("\n").split("\n")
    assert [line for line in lines if not LINE.match(line) or line.startswith(FORGED[:30])] == []
    assert len(stage.log.splitlines()) == len(lines)


async def test_the_webhook_takes_updates_of_any_shape_and_no_other_bytes(stage: Stage) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    stage.environ |= {"WEBHOOK_URL": url, "PORT": str(port), "WEBHOOK_SECRET": SECRET}
    statuses: dict[str, set[int]] = {"updates": set(), "bytes": set()}
    fuzz = Fuzz()
    async with stage.bot(), httpx.AsyncClient(trust_env=False, timeout=60, headers=HEADERS) as client:
        await stage.telegram.wait_for(lambda: stage.telegram._webhook, what="the webhook to be set")
        for place, update in enumerate(fuzz.updates(500).values()):
            body = json.dumps({**update, "update_id": place})
            statuses["updates"].add((await client.post(url, content=body)).status_code)
            statuses["bytes"].add((await client.post(url, content=fuzz.chance.randbytes(place))).status_code)
        assert "Unpinned" in (await stage.say("/unpin +5511988888888"))["text"]
    assert statuses == {"updates": {200}, "bytes": {400}}
    assert_telegram_takes_it(stage.telegram)
