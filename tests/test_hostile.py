"""10,000 updates of any shape and text, through the stand-in for Telegram, at the bot as a process of its own."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import httpx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bot.buttons import Action, Press, instance_hash, pack
from bot.chats import Chat
from tests.conftest import ANA, BIA, STRANGER, Stage
from tests.sandbox import telegram as sandbox
from tests.sandbox.entities import utf16
from tests.test_webhook import JSON, SECRET, SECRET_HEADER, free_port

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from tests.sandbox.server import Json

HOW_MANY = 10_000
OPERATORS = {ANA: "sales", BIA: "support"}
GROUP, CHANNEL, FORUM = -1001000000001, -1001000000002, -1001000000003
NUMBER = "5511970000000"  # each update gets one of its own in its place, by which its calls are known
FORGED = "2026-11-22T14:05:01.123Z INFO bot.forged attempt operator=111"
# What makes a message another's, an older one's or a program's: with any of these it never acts.
NOT_PLAIN = (
    *("forward_origin", "forward_from", "forward_from_chat", "forward_sender_name", "forward_date", "via_bot"),
    *("sender_chat", "sender_business_bot", "is_automatic_forward", "edit_date"),
)

NASTY = (
    *("<b>", "</b>", "</i>", "<pre>", "&amp;", "&", "<", ">", '"', "%s%n", "{0}", "{chat}", "${TELEGRAM_BOT_TOKEN}"),
    *("\n", "\r\n", "\r", "\t", "\x00", "\x1b[2J", "\x85", "\u2028", "\u2029", "\u200b", "\u200f", "\u202e", "\u2067"),
    *("\ud83d", "\udc00", "\ufffe", "📌", "é", "ﷺ", "a" * 5000, "\u202e" * 500, "\n" * 300, "9" * 60, f"\n{FORGED}\n"),
    *("/pin", "/unpin", "/pin@ryze_pin_bot", "/pins", "/id", "/", "@", "@g.us", "wa.me/", "tel:", "+", ",", "sales"),
    *(NUMBER, f"+{NUMBER}", f"{NUMBER}@s.whatsapp.net", f"{NUMBER}@lid"),
)
texts: SearchStrategy[str] = st.one_of(
    st.sampled_from(
        [f"/pin {NUMBER}", f"/unpin +{NUMBER}", f"/pin\n{NUMBER}", f"/pin support {NUMBER}", "/pin", "/help"]
    ),
    st.lists(st.sampled_from(NASTY), max_size=6).map(" ".join),
    st.lists(st.sampled_from(NASTY), max_size=6).map("".join),
    st.lists(st.sampled_from(NASTY), max_size=4).map(lambda parts: f"/pin {NUMBER} {''.join(parts)}"),
    st.text(st.characters(), max_size=40),
    st.text(st.characters(), max_size=20).map(lambda text: f"/pin {text}"),
    st.text(st.characters(), min_size=1, max_size=5).map(lambda text: (text * 5000)[:5000]),
)
garbage: SearchStrategy[Any] = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False)),
    st.sampled_from(["", [], {}, [[]], [{}], {"id": None}, {"id": ANA}, [ANA], str(ANA), 10**400]),
    texts,
)


def shaped(required: Json, **optional: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """An object of this shape, mostly; now and then with a field that is not what it should be."""
    good = st.fixed_dictionaries(required, optional=optional)
    names = [*required, *optional]
    spoilt = st.builds(lambda whole, name, value: {**whole, name: value}, good, st.sampled_from(names), garbage)
    return st.one_of(good, good, good, good, spoilt)


people = shaped(
    {
        "id": st.sampled_from([ANA, BIA, STRANGER, 0, -1, 136817688, 1087968824, 777000]) | st.integers(1, 2**52),
        "is_bot": st.sampled_from([False, False, False, True]),
        "first_name": texts,
    },
    last_name=texts,
    username=texts,
    language_code=st.sampled_from(["en", "pt-br", "xx"]) | texts,
)
operators = st.sampled_from([{"id": user, "is_bot": False, "first_name": "O"} for user in OPERATORS])
rooms = st.sampled_from(
    [
        *({"id": user, "type": "private"} for user in (ANA, BIA, STRANGER)),
        {"id": GROUP, "type": "supergroup", "title": "<b>Team</b>\n"},
        {"id": FORUM, "type": "supergroup", "title": "Forum", "is_forum": True},
        {"id": CHANNEL, "type": "channel", "title": "News"},
    ]
)
origins = st.sampled_from(
    [
        {"type": "user", "date": 1, "sender_user": {"id": ANA, "is_bot": False, "first_name": "A"}},
        {"type": "hidden_user", "date": 1, "sender_user_name": "A"},
    ]
)
contents: dict[str, SearchStrategy[Any]] = {
    "text": texts,
    "caption": texts,
    "contact": shaped({"phone_number": st.just(NUMBER) | texts, "first_name": texts}, user_id=garbage, vcard=texts),
    "quote": shaped({"text": texts, "position": st.just(0)}),
    "entities": st.lists(
        shaped({"type": st.just("bot_command") | texts, "offset": st.integers(-5, 9), "length": st.integers(-5, 9000)}),
        max_size=2,
    ),
    "is_topic_message": st.booleans(),
    "message_thread_id": st.integers(1, 3),
    "new_chat_members": st.lists(people, max_size=2),
    "has_protected_content": st.booleans(),
}
rare: dict[str, SearchStrategy[Any]] = {
    "forward_origin": origins,
    "forward_date": st.just(1),
    "via_bot": people,
    "sender_chat": rooms,
    "sender_business_bot": people,
    "is_automatic_forward": st.just(value=True),
    "edit_date": st.just(int(time.time())),
    "pinned_message": garbage,
}


def messages(sender: SearchStrategy[Any]) -> SearchStrategy[Any]:
    frame = {
        "message_id": st.integers(1, 10**6),
        "from": sender,
        "chat": rooms,
        "date": st.just(int(time.time())),
        "text": texts,
    }
    plain = st.fixed_dictionaries(frame)
    replied = shaped(frame, **contents)
    full = shaped(frame, **contents, reply_to_message=replied)
    odd = st.builds(lambda whole, name, value: {**whole, name: value}, full, st.sampled_from(list(rare)), garbage)
    dressed = st.sampled_from(list(rare)).flatmap(
        lambda name: st.builds(lambda whole, value: {**whole, name: value}, plain, rare[name])
    )
    return st.one_of(plain, full, odd, dressed)


anybodys = messages(people) | messages(operators)
# A real button of an instance that is not the presser's, and data that no button has.
BUTTONS = {name: pack(Press(Action.PIN, instance_hash(name), Chat(NUMBER))) for name in ("sales", "board")}
presses = st.one_of(
    *(
        shaped(
            {"id": texts, "from": sender, "chat_instance": texts, "data": data},
            message=anybodys,
            inline_message_id=texts,
        )
        for sender, data in (
            (people.filter(lambda person: person["id"] not in OPERATORS), st.just(BUTTONS["sales"])),
            (operators, st.just(BUTTONS["board"]) | texts),
            (people, texts | garbage),
        )
    )
)
# A stand-in gives only what it is asked for; a field of such a kind, if empty, has it give the rest as well.
updates = st.one_of(
    *(st.fixed_dictionaries({"message": anybodys}) for _ in range(4)),
    st.fixed_dictionaries({"edited_message": anybodys}),
    st.fixed_dictionaries({"callback_query": presses}),
    st.fixed_dictionaries({"message": garbage, "channel_post": anybodys}),
    st.fixed_dictionaries({"message": st.none(), "edited_channel_post": anybodys, "my_chat_member": garbage}),
    st.fixed_dictionaries({"message": st.none(), "business_message": anybodys, "inline_query": garbage}),
    st.dictionaries(st.sampled_from(["message", "edited_message", "callback_query", "poll", "new_kind"]), garbage),
)


def drawn(strategy: SearchStrategy[Any], count: int) -> list[Any]:
    """So many values, the same each time."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: object) -> None:
        found.append(value)

    collect()
    return found


def generated(count: int) -> list[Json]:
    """So many updates, each with a number of its own in place of `NUMBER`."""
    found = drawn(updates, count)
    return [json.loads(json.dumps(update).replace(NUMBER, numbered(place))) for place, update in enumerate(found)]


def numbered(place: int) -> str:
    return f"551197{place:07}"


def is_plain_command(update: Json) -> bool:
    """Whether an update is an operator's own new message, judged without any of the bot's code."""
    message = update.get("message")
    if not isinstance(message, dict) or not isinstance(message.get("from"), dict):
        return False
    sender, room = message["from"], message.get("chat")
    speaks = isinstance(room, dict) and room.get("type") != "channel" and not any(message.get(key) for key in NOT_PLAIN)
    return bool(speaks and sender.get("id") in OPERATORS and not sender.get("is_bot"))


def known(server: sandbox.TelegramServer, update: Json) -> None:
    """Have the stand-in know the chat and the message, as Telegram would; as a message without oddities."""
    for body in (update.get("message"), update.get("edited_message"), update.get("channel_post")):
        room = body.get("chat") if isinstance(body, dict) else None
        if isinstance(room, dict) and type(room.get("id")) is int and room["id"]:
            kept = server.add_chat({"id": room["id"]})
            kept.topics |= {1, 2, 3}
            number = body["message_id"]
            kept.messages[number if type(number) is int else 0] = {"message_id": 1, "chat": kept.info, "date": 1}


def faults_of_content(server: sandbox.TelegramServer) -> list[str]:
    """What Telegram would refuse in what the bot sent, whatever the chat."""
    found = []
    for call in server.calls:
        try:
            if call.method in ("sendMessage", "editMessageText"):
                text, _ = sandbox._formatted(call.params)
                sandbox._check_sizes(text, sandbox._markup(call.params))
            elif call.method == "answerCallbackQuery":
                assert utf16(str(call.params.get("text", ""))) <= 200
        except (sandbox.ApiError, AssertionError) as error:
            found.append(f"{error}: {call.params}")
    return found


async def test_10000_updates_of_any_shape_do_no_harm(stage: Stage) -> None:
    stage.ryze.limit = 1000
    stage.ryze.instances["board"] = type(stage.ryze.instances["sales"])("token-of-board")
    stage.settings["instances"]["board"] = {"token": "token-of-board"}
    pushed = generated(HOW_MANY)
    for user in (ANA, BIA, STRANGER):
        stage.telegram.add_chat(user)
    taken = 0
    for update in pushed:
        known(stage.telegram, update)
        taken += bool(stage.telegram.push(update))
    plain = {numbered(place): update for place, update in enumerate(pushed) if is_plain_command(update)}
    process = await stage.start()
    try:
        await stage.telegram.wait_for(lambda: not stage.telegram.pending, timeout=120, what="all to be confirmed")
        message = stage.telegram.message(ANA, "/unpin +5511988888888")
        assert "Unpinned" in (await stage.telegram.answer(message, timeout=60))["text"]
        assert process.returncode is None
    finally:
        if process.returncode is None:
            process.terminate()
        assert await process.wait() == 0
    made = [(call.number, call.instance) for call in stage.ryze.calls[:-1]]
    print(f"{taken} taken, {len(plain)} of operators, {len(made)} calls, {len(stage.telegram.sent())} answers")
    assert [call for call in made if call[0][:13] not in plain] == []
    for number, instance in made:
        assert OPERATORS[plain[number[:13]]["message"]["from"]["id"]] == instance
    assert len(made) > 100
    assert taken > HOW_MANY * 0.9
    assert faults_of_content(stage.telegram) == []
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
    stage.environ |= {"WEBHOOK_URL": f"http://127.0.0.1:{port}", "PORT": str(port), "WEBHOOK_SECRET": SECRET}
    statuses: dict[str, set[int]] = {"updates": set(), "bytes": set()}
    told = {**JSON, SECRET_HEADER: SECRET}

    async with stage.bot(), httpx.AsyncClient(trust_env=False, timeout=60) as client:
        await stage.telegram.wait_for(lambda: stage.telegram._webhook, what="the webhook to be set")
        for place, update in enumerate(generated(500)):
            known(stage.telegram, update)
            body = json.dumps({**update, "update_id": place})
            statuses["updates"].add(
                (await client.post(f"http://127.0.0.1:{port}", content=body, headers=told)).status_code
            )
        for body in drawn(st.binary(max_size=200), 200):
            statuses["bytes"].add(
                (await client.post(f"http://127.0.0.1:{port}", content=body, headers=told)).status_code
            )
        answer = await stage.telegram.answer(stage.telegram.message(ANA, "/unpin +5511988888888"))
        assert "Unpinned" in answer["text"]
    assert statuses == {"updates": {200}, "bytes": {400}}
    assert faults_of_content(stage.telegram) == []
