"""10,000 updates of any shape and text, through the stand-in for Telegram, at the bot as a process of its own."""

import json
import random
import re
import time
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bot.conversation.callback_data import Action, Press, instance_hash, pack
from bot.ryze.chats import Chat
from tests.conftest import ANA, BIA, STRANGER, Stage
from tests.sandbox.content import content, utf16
from tests.sandbox.ryze import Instance
from tests.sandbox.server import Json
from tests.sandbox.telegram import TelegramServer
from tests.telegram.test_webhook import HEADERS, SECRET, free_port

HOW_MANY = 10_000
OPERATORS = {ANA: "sales", BIA: "support"}
GROUP, CHANNEL, FORUM = -1001000000001, -1001000000002, -1001000000003
NUMBER = "5511970000000"  # each update gets one of its own in its place, by which its calls are known
FORGED = "2026-11-22T14:05:01.123Z INFO bot.forged attempt operator=111"
FIELDS = ("id", "type", "text", "from", "chat", "date", "message_id", "phone_number", "is_bot", "first_name")

NASTY = (
    *("<b>", "</b>", "</i>", "<pre>", "&amp;", "&", "<", ">", '"', "%s%n", "{0}", "{chat}", "${TELEGRAM_BOT_TOKEN}"),
    *("\n", "\r\n", "\r", "\t", "\x00", "\x1b[2J", "\x85", "\u2028", "\u2029", "\u200b", "\u200f", "\u202e", "\u2067"),
    *("\ud83d", "\udc00", "\ufffe", "📌", "é", "ﷺ", "a" * 5000, "\u202e" * 500, "\n" * 300, "9" * 60, f"\n{FORGED}\n"),
    *("/pin", "/unpin", "/pin@ryze_pin_bot", "/pins", "/id", "/", "@", "@g.us", "wa.me/", "tel:", "+", ",", "sales"),
    *(NUMBER, f"+{NUMBER}", f"{NUMBER}@s.whatsapp.net", f"{NUMBER}@lid"),
)
texts = st.one_of(
    st.text(st.characters(), max_size=40),  # halves of surrogate pairs and all
    st.text(st.characters(), max_size=20).map(lambda text: f"/pin {text}"),
    st.text(st.characters(), min_size=1, max_size=9).map(lambda text: (text * 5000)[:5000]),
    *(st.lists(st.sampled_from(NASTY), max_size=6).map(joint.join) for joint in ("", " ")),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=6,
)


def drawn(strategy: SearchStrategy[Any], count: int) -> list[Any]:
    """So many values, the same each time."""
    found: list[Any] = []
    once = settings(max_examples=count, derandomize=True, database=None, phases=[Phase.generate])

    @given(strategy)
    def collect(value: object) -> None:
        found.append(value)

    settings(once, suppress_health_check=list(HealthCheck))(collect)()
    return found


# With it a number alone is a command.
QUESTION: Json = {"from": {"id": 123456, "is_bot": True, "first_name": "B"}, "text": "Which chat shall I pin on sales?"}
AUTHOR = {"id": ANA, "is_bot": False, "first_name": "A"}
# What makes a message another's, an older one's or a program's: with any of these it never acts.
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
    """Updates put together by chance, out of hypothesis' texts and values; the same each time."""

    def __init__(self) -> None:
        print("seed", seed := 20261122)
        self.chance = random.Random(seed)  # noqa: S311 - not for secrets
        self.texts: list[str] = drawn(texts, 500)
        self.values = drawn(values, 500)

    def updates(self, count: int) -> list[Json]:
        """So many, each with a number of its own in place of `NUMBER`."""
        made = (json.dumps(self.update()) for _ in range(count))
        return [json.loads(update.replace(NUMBER, numbered(place))) for place, update in enumerate(made)]

    def update(self) -> Json:
        """A stand-in gives only what it is asked for; with a field of that kind, be it empty, it gives the rest too."""
        kind = self.chance.randrange(12)
        if kind < 8:
            return {"message": self.message()}
        if kind == 8:
            return {"edited_message": self.message()}
        if kind == 9:
            return {"callback_query": self.press()}
        if kind == 10:
            name = self.chance.choice(["channel_post", "edited_channel_post", "business_message", "guest_message"])
            return {"message": None, name: self.message()}
        names = ["message", "edited_message", "callback_query", "my_chat_member", "new_kind"]
        return {"message": None, **{name: self.value() for name in self.chance.sample(names, self.chance.randrange(4))}}

    def text(self) -> str:
        kind = self.chance.randrange(4)
        if kind == 0:
            whole = ["/pin {}", "/unpin +{}", "/pin\n{}", "/pin support {}", "/pin", "/help", "{}", "/pin {}, {}"]
            return self.chance.choice(whole).replace("{}", NUMBER)
        text = self.chance.choice(self.texts)
        return text if kind < 3 else f"/pin {NUMBER} {text}"

    def value(self) -> object:
        odd: list[object] = ["", [], {}, [[]], [{}], {"id": None}, {"id": ANA}, [ANA], str(ANA), 10**400]
        return self.chance.choice(odd if self.chance.random() < 0.2 else self.values)

    def spoilt(self, whole: Json) -> Json:
        """Now and then with a field that is not what it should be."""
        if self.chance.random() < 0.1:
            whole[self.chance.choice([*sorted(whole), "pinned_message"])] = self.value()
        return whole

    def person(self) -> Json:
        ids = [ANA, BIA, STRANGER, self.chance.randrange(1, 2**52), 0, -1, 136817688, 1087968824, 777000]
        person = {"id": self.chance.choice(ids), "is_bot": self.chance.random() < 0.2, "first_name": self.text()}
        return self.spoilt({**person, "last_name": self.text(), "username": self.text(), "language_code": self.text()})

    def room(self) -> Json:
        number = self.chance.choice([ANA, BIA, STRANGER, GROUP, FORUM, CHANNEL])
        kind = "private" if number > 0 else "channel" if number == CHANNEL else "supergroup"
        return {"id": number, "type": kind, "title": self.text()}

    def message(self, *, reply: bool = True) -> Json:
        operator = {"id": self.chance.choice(sorted(OPERATORS)), "is_bot": False, "first_name": "O"}
        message: Json = {
            "message_id": self.chance.randrange(1, 10**6),
            "from": operator if self.chance.random() < 0.4 else self.person(),
            "chat": self.room(),
            "date": int(time.time()),
            "text": self.text(),
        }
        if reply and self.chance.random() < 0.3:
            message["reply_to_message"] = self.message(reply=False) | self.chance.choice([{}, QUESTION])
        kind = self.chance.randrange(4)
        if kind == 0:
            return message
        if kind == 1:
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
        """Of a real button of an instance that is not the presser's, or with data that no button has."""
        presser = self.person()
        instance = "board" if presser["id"] in (*OPERATORS, True) else "sales"
        data = pack(Press(Action.PIN, instance_hash(instance), Chat(NUMBER)))
        query = {"id": self.text(), "from": presser, "chat_instance": "1", "message": self.message(), "data": data}
        if self.chance.random() < 0.5:
            query["data"] = self.text()
        return query if self.chance.random() < 0.7 else self.spoilt({**query, "inline_message_id": self.text()})


def numbered(place: int) -> str:
    return f"551197{place:07}"


def is_plain_command(update: Json) -> bool:
    """Whether an update is an operator's own new message, judged without any of the bot's code."""
    message = update.get("message")
    if not isinstance(message, dict) or not isinstance(message.get("from"), dict):
        return False
    sender, room = message["from"], message.get("chat")
    marked = any(message.get(name) for name, _ in SUSPICIOUS)
    speaks = isinstance(room, dict) and room.get("type") != "channel" and not marked
    return bool(speaks and sender.get("id") in list(OPERATORS) and not sender.get("is_bot"))


def known(server: TelegramServer, update: Json) -> None:
    """Have the stand-in know the chat and the message, without oddities."""
    for body in (update.get("message"), update.get("edited_message"), update.get("channel_post")):
        if not isinstance(body, dict) or not isinstance(room := body.get("chat"), dict):
            continue
        if type(room.get("id")) is int and room["id"]:
            kept = server.add_chat({"id": room["id"]})
            if type(number := body["message_id"]) is int:
                kept.messages[number] = {"message_id": number, "chat": kept.info, "date": 1}


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
    for user in (ANA, BIA, STRANGER):
        stage.telegram.add_chat(user)
    for update in pushed:
        known(stage.telegram, update)
    taken = sum(bool(stage.telegram.push(update)) for update in pushed)
    plain = {numbered(place): update for place, update in enumerate(pushed) if is_plain_command(update)}
    process = await stage.start()
    try:
        await stage.telegram.wait_for(lambda: not stage.telegram.pending, timeout=120, what="all to be confirmed")
        assert "Unpinned" in (await stage.say("/unpin +5511988888888"))["text"]
    finally:
        process.terminate()
        assert await process.wait() == 0
    made = [(str(call.number), call.instance) for call in stage.ryze.calls[:-1]]
    print(f"{taken} taken, {len(plain)} of operators, {len(made)} calls, {len(stage.telegram.sent())} answers")
    assert [call for call in made if call[0][:13] not in plain] == []
    for number, instance in made:
        assert OPERATORS[plain[number[:13]]["message"]["from"]["id"]] == instance
    assert len(made) > 100
    assert taken > HOW_MANY * 0.9
    assert_telegram_takes_it(stage.telegram)
    assert_well_formed(stage.log)


def assert_well_formed(log: str) -> None:
    """Every line is a record's or a traceback's, and none is one that an update wrote."""
    line = re.compile(
        r"\d{4}-\d\d-\d\dT[\d:.]{12}Z (DEBUG|INFO|WARNING|ERROR) (bot|httpx|httpcore|telegram|asyncio)[.\w]* |  \| "
    )
    assert [text for text in log.removesuffix("\n").split("\n") if not line.match(text)] == []
    assert len(log.splitlines()) == log.count("\n")
    assert [text for text in log.split("\n") if text.startswith(FORGED[:30])] == []


async def test_the_webhook_takes_updates_of_any_shape_and_no_bytes_of_another(stage: Stage) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    stage.environ |= {"WEBHOOK_URL": url, "PORT": str(port), "WEBHOOK_SECRET": SECRET}
    statuses: dict[str, set[int]] = {"updates": set(), "bytes": set()}
    async with stage.bot(), httpx.AsyncClient(trust_env=False, timeout=60) as client:
        await stage.telegram.wait_for(lambda: stage.telegram._webhook, what="the webhook to be set")
        for place, update in enumerate(Fuzz().updates(500)):
            known(stage.telegram, update)
            body = json.dumps({**update, "update_id": place})
            statuses["updates"].add((await client.post(url, content=body, headers=HEADERS)).status_code)
        for body in drawn(st.binary(max_size=200), 200):
            statuses["bytes"].add((await client.post(url, content=body, headers=HEADERS)).status_code)
        assert "Unpinned" in (await stage.say("/unpin +5511988888888"))["text"]
    assert statuses == {"updates": {200}, "bytes": {400}}
    assert_telegram_takes_it(stage.telegram)
