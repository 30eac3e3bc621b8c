"""The stand-ins keep the semantics that the other tests rely on."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.netutil import bind_sockets

from tests.sandbox.entities import bot_commands, parse_html
from tests.sandbox.ryze import RyzeServer
from tests.sandbox.server import Json
from tests.sandbox.telegram import TelegramServer

ANA = 111
TEAM: Json = {"id": -100123, "type": "supergroup", "title": "Team"}


class Bot:
    """A bot that does just what a test says."""

    def __init__(self, telegram: TelegramServer, http: httpx.AsyncClient) -> None:
        self.base = f"{telegram.url}/bot{telegram.token}"
        self.http = http

    async def raw(self, method: str, **params: object) -> httpx.Response:
        body = json.dumps(params)  # httpx itself would not send half a surrogate pair
        return await self.http.post(f"{self.base}/{method}", content=body, headers={"Content-Type": "application/json"})

    async def ok(self, method: str, **params: object) -> Any:  # noqa: ANN401 - a result is any JSON
        answer = (await self.raw(method, **params)).json()
        assert answer["ok"], answer
        return answer["result"]

    async def refused(self, method: str, **params: object) -> str:
        answer = await self.raw(method, **params)
        envelope = answer.json()
        assert not envelope["ok"]
        assert envelope["error_code"] == answer.status_code
        return f"{answer.status_code} {envelope['description']}"

    async def ids(self, **params: object) -> list[int]:
        return [update["update_id"] for update in await self.ok("getUpdates", **params)]


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramServer]:
    async with TelegramServer() as server:
        server.webhook_backoff = server.conflict_pause = 0.05
        yield server


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def bot(telegram: TelegramServer, http: httpx.AsyncClient) -> Bot:
    return Bot(telegram, http)


# getUpdates


async def test_updates_stay_until_a_later_offset_confirms_them(telegram: TelegramServer, bot: Bot) -> None:
    first = telegram.next_update_id
    for number in range(3):
        telegram.message(ANA, f"/pin {number}")
    assert await bot.ids() == [first, first + 1, first + 2]
    assert await bot.ids(offset=first) == [first, first + 1, first + 2]
    assert await bot.ids(offset=first + 1, limit=1) == [first + 1]
    assert telegram.pending == [first + 1, first + 2]
    assert await bot.ids(offset=-1) == [first + 2]
    assert telegram.pending == [first + 2]


async def test_the_same_offset_again_at_once_gets_one_update_only(telegram: TelegramServer, bot: Bot) -> None:
    now = 100.0
    telegram.clock = lambda: now
    first = telegram.push({"poll": {}})
    telegram.push({"poll": {}})
    assert len(await bot.ids(offset=first)) == 2
    assert len(await bot.ids(offset=first)) == 1
    now += 0.5
    assert len(await bot.ids(offset=first)) == 2


async def test_the_same_offset_again_within_three_seconds_is_held_for_three(telegram: TelegramServer, bot: Bot) -> None:
    telegram.clock = lambda: 100.0
    assert await bot.ids(offset=5) == []
    begin = time.monotonic()
    assert await bot.ids(offset=5) == []
    assert time.monotonic() - begin >= 2.9
    held = asyncio.create_task(bot.ids(offset=5, timeout=20))
    update_id = telegram.push({"poll": {}})
    assert await held == [update_id]


async def test_a_new_call_ends_an_older_one_only_while_that_waits(telegram: TelegramServer, bot: Bot) -> None:
    older = asyncio.create_task(bot.refused("getUpdates", timeout=30))
    await telegram.wait_for(lambda: telegram.calls)
    newer = asyncio.create_task(bot.ids(offset=1, timeout=30))
    assert (await older).startswith("409 Conflict: terminated by other getUpdates request; make sure")
    update_id = telegram.push({"poll": {}})
    assert await newer == [update_id]
    both = await asyncio.gather(bot.ids(timeout=30), bot.ids(offset=update_id, timeout=30))
    assert list(both) == [[update_id]] * 2


async def test_ids_may_restart_lower_and_a_far_offset_then_starts_at_the_head(
    telegram: TelegramServer, bot: Bot
) -> None:
    old = telegram.push({"poll": {}})
    assert await bot.ids(offset=old + 1) == []
    telegram.next_update_id = 50
    assert telegram.push({"poll": {}}) == 50
    assert await bot.ids(offset=old + 1, timeout=30) == [50]


async def test_allowed_updates_are_honoured_and_remembered(telegram: TelegramServer, bot: Bot) -> None:
    assert telegram.push({"message_reaction": {}}) == 0
    await bot.ids(allowed_updates=["callback_query"])
    await bot.ids(offset=1)
    telegram.message(ANA, "/pin 1")
    telegram.press(ANA, telegram.message(ANA, "hi"), "data")
    assert len(telegram.pending) == 1
    await bot.ids(offset=2, allowed_updates=[])
    telegram.message(ANA, "/pin 1")
    assert len(telegram.pending) == 2


# Messages


async def test_every_way_to_send_parameters_is_understood(telegram: TelegramServer, bot: Bot) -> None:
    asked = telegram.message(ANA, "/pin 1")
    url = f"{bot.base}/SENDmessage"
    form = {"chat_id": str(ANA), "text": "hi", "reply_parameters": json.dumps({"message_id": asked["message_id"]})}
    await bot.http.post(url, data=form)
    await bot.http.post(url, files={name: (None, value) for name, value in form.items()})
    await bot.http.get(url, params=form)
    await bot.http.post(url, json={"chat_id": ANA, "text": "hi", "reply_parameters": {"message_id": 1}})
    assert [call.params for call in telegram.calls] == [telegram.calls[-1].params] * 4
    assert [answer["text"] for answer in await telegram.answers(asked, count=4)] == ["hi"] * 4


async def test_a_wrong_token_and_an_unknown_method_are_refused(bot: Bot) -> None:
    assert await bot.refused("sendBitcoin") == "404 Not Found: method not found"
    bot.base += "x"
    assert await bot.refused("getMe") == "401 Unauthorized"


@pytest.mark.parametrize(
    ("params", "refusal"),
    [
        ({"text": "  "}, "400 Bad Request: message text is empty"),
        ({"text": "<b></b>", "parse_mode": "HTML"}, "400 Bad Request: message text is empty"),
        ({"text": "💬" * 2049}, "400 Bad Request: message is too long"),
        ({"text": "<b>x", "parse_mode": "HTML"}, "400 Bad Request: can't parse entities: Can't find end tag"),
        (
            {"text": "é<x>", "parse_mode": "html"},
            '400 Bad Request: can\'t parse entities: Unsupported start tag "x" at',
        ),
        ({"text": "a<3", "parse_mode": "HTML"}, "400 Bad Request: can't parse entities: Unclosed start tag at byte"),
        ({"text": "x", "parse_mode": "Org"}, "400 Bad Request: unsupported parse_mode"),
        ({"text": "x\ud83d"}, "400 Bad Request: strings must be encoded in UTF-8"),
        ({"reply_parameters": {"message_id": 9}}, "400 Bad Request: message to be replied not found"),
        ({"chat_id": 999}, "400 Bad Request: chat not found"),
        ({"chat_id": 222}, "403 Forbidden: bot was blocked by the user"),
        ({"message_thread_id": 9}, "400 Bad Request: message thread not found"),
        ({"chat_id": -100123, "message_thread_id": 7}, "400 Bad Request: TOPIC_CLOSED"),
    ],
)
async def test_send_message_refuses_what_telegram_refuses(
    telegram: TelegramServer, bot: Bot, params: Json, refusal: str
) -> None:
    for user in (ANA, 222):
        telegram.message(user, "hi")
    telegram.message(ANA, "hi", chat=TEAM, message_thread_id=7, is_topic_message=True)
    telegram.blocked.add(222)
    telegram.closed_topics.add((TEAM["id"], 7))
    got = await bot.refused("sendMessage", **{"chat_id": ANA, "text": "x", **params})
    assert got.startswith(refusal)
    assert telegram.sent() == []


async def test_a_group_that_became_a_supergroup_says_where_it_went(telegram: TelegramServer, bot: Bot) -> None:
    telegram.message(ANA, "hi", chat={"id": -55, "type": "group", "title": "Team"})
    new_id = telegram.migrate(-55)
    answer = (await bot.raw("sendMessage", chat_id=-55, text="x")).json()
    assert answer["parameters"] == {"migrate_to_chat_id": new_id}
    await bot.ok("sendMessage", chat_id=new_id, text="x")


@pytest.mark.parametrize(("size", "fine"), [(0, False), (1, True), (64, True), (65, False)])
async def test_callback_data_has_1_to_64_bytes(telegram: TelegramServer, bot: Bot, size: int, fine: bool) -> None:  # noqa: FBT001 - a table's column
    telegram.add_chat(ANA)
    keyboard = {"inline_keyboard": [[{"text": "Go", "callback_data": "x" * size}]]}
    answer = await bot.raw("sendMessage", chat_id=ANA, text="x", reply_markup=keyboard)
    assert answer.json().get("description") == (None if fine else "Bad Request: BUTTON_DATA_INVALID")


async def test_html_is_stored_as_text_with_entities_in_utf16_units(telegram: TelegramServer, bot: Bot) -> None:
    telegram.add_chat(ANA)
    html = '\n💬 <b>a &amp; <i>b</i></b> &lt;<a href="http://x/?a&amp;b">c</a> & <pre><code class="x">d</code></pre> '
    message = await bot.ok("sendMessage", chat_id=ANA, text=html, parse_mode="HTML")
    assert message["text"] == "💬 a & b <c & d"
    assert message["entities"][:3] == [
        {"type": "bold", "offset": 3, "length": 5},
        {"type": "italic", "offset": 7, "length": 1},
        {"type": "text_link", "url": "http://x/?a&b", "offset": 10, "length": 1},
    ]
    assert telegram.sent(ANA) == [message]


@pytest.mark.parametrize("html", ["</b>", "<b><i>x</b></i>", "<b", "</b", "<a href='x>y</a>"])
def test_bad_markup_is_an_error(html: str) -> None:
    with pytest.raises(ValueError, match=r"at byte offset \d+"):
        parse_html(html)


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("/pin 55", ["/pin"]),
        ("💬 /pin@ryze_pin_bot 55", ["/pin@ryze_pin_bot"]),
        ("/pin5511 then /unpin", ["/pin5511", "/unpin"]),
        ("a/pin //pin /pin/ /é", []),
    ],
)
def test_bot_commands_are_found_as_telegram_finds_them(text: str, commands: list[str]) -> None:
    units = text.encode("utf-16-le")
    spans = [(found["offset"] * 2, (found["offset"] + found["length"]) * 2) for found in bot_commands(text)]
    assert [units[start:stop].decode("utf-16-le") for start, stop in spans] == commands


async def test_a_message_can_be_of_any_shape(telegram: TelegramServer) -> None:
    message = telegram.message(ANA, None, chat=TEAM, sticker={"emoji": "x"}, **{"from": None})
    assert message.keys() == {"message_id", "chat", "date", "sticker"}
    edited = telegram.edit(telegram.message(ANA, "/pin 1"), "/pin 2")
    assert edited["text"] == "/pin 2"
    assert edited["edit_date"]
    assert edited["entities"]


async def test_messages_are_edited_and_deleted(telegram: TelegramServer, bot: Bot) -> None:
    asked = telegram.message(ANA, "/pin 1")
    keyboard = {"inline_keyboard": [[{"text": "Unpin", "callback_data": "u"}]]}
    sent = await bot.ok("sendMessage", chat_id=ANA, text="x", reply_markup=keyboard)
    where = {"chat_id": ANA, "message_id": sent["message_id"]}
    assert telegram.button(sent, "Unp") == "u"
    assert "message is not modified" in await bot.refused("editMessageText", **where, text="x", reply_markup=keyboard)
    edited = await bot.ok("editMessageText", **where, text="x")
    assert "reply_markup" not in edited
    await bot.ok("editMessageReplyMarkup", **where, reply_markup=keyboard)
    assert telegram.sent(ANA)[0]["reply_markup"] == keyboard
    theirs = {"chat_id": ANA, "message_id": asked["message_id"], "text": "y"}
    assert await bot.refused("editMessageText", **theirs) == "400 Bad Request: message can't be edited"
    await bot.ok("deleteMessage", **where)
    assert telegram.sent(ANA) == []
    assert await bot.refused("deleteMessage", **where) == "400 Bad Request: message to delete not found"
    assert await bot.refused("editMessageText", **where, text="y") == "400 Bad Request: message to edit not found"


async def test_a_reply_survives_the_message_it_replies_to_if_asked(telegram: TelegramServer, bot: Bot) -> None:
    asked = telegram.message(ANA, "/pin 1", chat=TEAM, message_thread_id=7, is_topic_message=True)
    reply = {"message_id": asked["message_id"], "allow_sending_without_reply": True}
    sent = await bot.ok("sendMessage", chat_id=TEAM["id"], text="x", reply_parameters=reply)
    assert (sent["reply_to_message"]["text"], sent["message_thread_id"]) == ("/pin 1", 7)
    telegram.delete(asked)
    sent = await bot.ok("sendMessage", chat_id=TEAM["id"], text="x", reply_parameters=reply)
    assert "reply_to_message" not in sent


async def test_a_press_carries_the_whole_message_and_is_answered_in_time(telegram: TelegramServer, bot: Bot) -> None:
    asked = telegram.message(ANA, "/pin 1")
    reply = {"message_id": asked["message_id"]}
    sent = await bot.ok("sendMessage", chat_id=ANA, text="x", reply_parameters=reply)
    query_id = telegram.press(222, sent, "any data")
    query = (await bot.ok("getUpdates"))[-1]["callback_query"]
    assert (query["id"], query["from"]["id"], query["data"]) == (query_id, 222, "any data")
    assert query["message"]["reply_to_message"]["text"] == "/pin 1"
    await bot.ok("answerCallbackQuery", callback_query_id=query_id, text="done")
    assert telegram.callback_answers[query_id]["text"] == "done"
    telegram.expire(query_id)
    assert "query is too old" in await bot.refused("answerCallbackQuery", callback_query_id=query_id)


async def test_menus_and_descriptions_are_kept(telegram: TelegramServer, bot: Bot) -> None:
    commands = [{"command": "pin", "description": "Pin a chat"}]
    scope = {"type": "chat", "chat_id": ANA}
    assert "chat not found" in await bot.refused("setMyCommands", commands=commands, scope=scope)
    telegram.add_chat(ANA)
    await bot.ok("setMyCommands", commands=commands, scope=scope, language_code="pt")
    assert telegram.commands == {("chat", ANA, None, "pt"): commands}
    assert await bot.ok("getMyCommands") == []
    bad = [{"command": "Pin!", "description": "x"}]
    assert await bot.refused("setMyCommands", commands=bad) == "400 Bad Request: BOT_COMMAND_INVALID"
    await bot.ok("setMyShortDescription", short_description="Pins chats")
    assert telegram.descriptions == {("short_description", ""): "Pins chats"}
    assert (await bot.ok("getChat", chat_id=ANA))["type"] == "private"
    assert await bot.ok("sendChatAction", chat_id=ANA, action="typing")


# Webhook


class Hook:
    """A webhook that answers what a test says."""

    def __init__(self) -> None:
        self.got: list[tuple[int, str]] = []
        self.status: Callable[[int], int] = lambda _: 200
        sockets = bind_sockets(0, "127.0.0.1")
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/hook"
        self.server = HTTPServer(self.take)
        self.server.add_sockets(sockets)

    def take(self, request: HTTPServerRequest) -> None:
        update_id = json.loads(request.body)["update_id"]
        self.got.append((update_id, request.headers.get("X-Telegram-Bot-Api-Secret-Token", "")))
        if status := self.status(update_id):
            assert request.connection is not None
            start = ResponseStartLine("", status, "as told")
            request.connection.write_headers(start, HTTPHeaders({"Content-Length": "0"}), b"")
            request.connection.finish()


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    hook = Hook()
    yield hook
    hook.server.stop()
    await hook.server.close_all_connections()


async def test_a_webhook_gets_each_chats_updates_in_order_until_taken(
    telegram: TelegramServer, bot: Bot, hook: Hook
) -> None:
    hook.status = lambda _: 500
    first = telegram.next_update_id
    asked = [telegram.message(user, "hi") for user in (ANA, ANA, 222)]
    telegram.press(ANA, asked[0], "data")
    await bot.ok("setWebhook", url=hook.url, secret_token="s3cret", max_connections=10)
    assert (await bot.refused("getUpdates")).startswith("409 Conflict: can't use getUpdates method while webhook is")
    await telegram.wait_for(lambda: len(hook.got) >= 6)
    assert {update_id for update_id, _ in hook.got} == {first, first + 2, first + 3}
    hook.status = lambda _: 204
    await telegram.wait_for(lambda: not telegram.pending)
    ids = [update_id for update_id, _ in hook.got]
    assert ids.index(first + 1) > len(ids) - ids[::-1].index(first) - 1
    assert {secret for _, secret in hook.got} == {"s3cret"}
    assert {delivery.status for delivery in telegram.deliveries} == {500, 204}


async def test_a_webhook_that_does_not_answer_gets_the_update_again(
    telegram: TelegramServer, bot: Bot, hook: Hook
) -> None:
    telegram.webhook_timeout = 0.1
    hook.status = lambda _: 0 if len(hook.got) < 3 else 200
    await bot.ok("setWebhook", url=hook.url)
    telegram.message(ANA, "hi")
    await telegram.wait_for(lambda: not telegram.pending)
    assert len(hook.got) >= 3
    assert (await bot.ok("getWebhookInfo"))["last_error_message"]


async def test_what_a_webhook_did_not_take_stays_for_get_updates(
    telegram: TelegramServer, bot: Bot, hook: Hook
) -> None:
    waiting = asyncio.create_task(bot.refused("getUpdates", timeout=30))
    await telegram.wait_for(lambda: telegram.calls)
    now = 100.0
    telegram.clock = lambda: now
    assert "https url" in (await bot.refused("setWebhook", url="http://example.org/")).lower()
    assert (await bot.refused("setWebhook", url=hook.url)).startswith("429")
    now += telegram.webhook_interval
    hook.status = lambda _: 403
    await bot.ok("setWebhook", url=hook.url)
    assert await waiting == "409 Conflict: terminated by setWebhook request"
    telegram.message(ANA, "hi")
    await telegram.wait_for(lambda: hook.got)
    await bot.ok("deleteWebhook")
    assert await bot.ids() == telegram.pending != []
    await bot.ok("deleteWebhook", drop_pending_updates=True)
    assert telegram.pending == []


# Faults


async def test_telegram_fails_to_order(telegram: TelegramServer, bot: Bot) -> None:
    telegram.add_chat(ANA)
    telegram.fault("sendMessage", status=429, retry_after=3, when=lambda params: params["text"] == "x")
    assert await bot.ok("sendMessage", chat_id=ANA, text="y")
    assert (await bot.raw("sendMessage", chat_id=ANA, text="x")).json() == {
        "ok": False,
        "error_code": 429,
        "description": "Too Many Requests: retry after 3",
        "parameters": {"retry_after": 3},
    }
    telegram.fault("sendMessage", drop="before")
    telegram.fault("sendMessage", drop="after")
    for _ in range(2):
        with pytest.raises(httpx.RemoteProtocolError):
            await bot.raw("sendMessage", chat_id=ANA, text="x")
    assert [message["text"] for message in telegram.sent()] == ["y", "x"]
    forever = telegram.fault("*", status=500, times=None)
    assert [await bot.refused("getMe") for _ in range(3)] == ["500 Internal Server Error"] * 3
    forever.stop()
    assert await bot.ok("getMe")
    hanging = telegram.fault("getMe", hang=True)
    asked = asyncio.create_task(bot.raw("getMe"))
    await telegram.wait_for(lambda: hanging.hits)
    assert telegram.calls[-1].status is None
    hanging.stop()
    with pytest.raises(httpx.RemoteProtocolError):
        await asked


async def test_a_server_that_is_down_refuses_and_comes_back_as_it_was(telegram: TelegramServer, bot: Bot) -> None:
    polling = asyncio.create_task(bot.raw("getUpdates", timeout=30))
    await telegram.wait_for(lambda: telegram.calls)
    await telegram.down()
    with pytest.raises(httpx.RemoteProtocolError):
        await polling
    with pytest.raises(httpx.ConnectError):
        await bot.raw("getMe")
    update_id = telegram.push({"poll": {}})
    await telegram.up()
    assert await bot.ids(offset=1) == [update_id]
    assert telegram.connections == 2
    assert {call.connection for call in telegram.calls} == {1, 2}


async def test_waiting_in_vain_names_what_for_and_the_last_calls(telegram: TelegramServer, bot: Bot) -> None:
    await bot.ok("getMe")
    with pytest.raises(AssertionError, match=r"not within 0\.1 s: a wonder(?s:.*)getMe"):
        await telegram.wait_for(lambda: False, timeout=0.1, what="a wonder")


# Ryze


async def pin(http: httpx.AsyncClient, ryze: RyzeServer, number: object = "5511999999999", **changes: Any) -> str:  # noqa: ANN401 - a request's parts
    """Asks for a pin, changed as told; returns the status and what was said."""
    parts: dict[str, Any] = {
        "method": "POST",
        "url": f"{ryze.url}/api/chat/pinChat/sales",
        "headers": {"token": "token-sales"},
        "json": {"number": number, "pin": True},
    } | changes
    answer = await http.request(**parts)
    envelope = answer.json()
    assert envelope["success"] is answer.is_success
    assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= answer.headers.keys()
    return f"{answer.status_code} {envelope.get('message') or envelope['error']['message']}"


@pytest.fixture
async def ryze() -> AsyncIterator[RyzeServer]:
    tokens = {"sales": "token-sales", "a b/c": "token-odd"}
    async with RyzeServer(tokens, account_token="token-account") as server:
        yield server


async def test_the_success_answer_is_the_contracts(ryze: RyzeServer, http: httpx.AsyncClient) -> None:
    ryze.resolve["5511988887777"] = "551188887777@s.whatsapp.net"
    request: Json = {"json": {"number": "5511988887777", "pin": True}, "headers": {"Authorization": "Bearer token-odd"}}
    answer = await http.post(f"{ryze.url}/api/chat/pinChat/a%20b%2Fc", **request)
    assert answer.json() == {
        "success": True,
        "message": "Chat pinned successfully",
        "chat_jid": "551188887777@s.whatsapp.net",
        "pinned": True,
    }
    assert ryze.instances["a b/c"].pinned == ["551188887777@s.whatsapp.net"]
    call = ryze.calls[0]
    assert (call.instance, call.token, call.number, call.pin, call.status) == (
        "a b/c",
        "token-odd",
        "5511988887777",
        True,
        200,
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "GET"}, "405 Method Not Allowed"),
        ({"url": "/api/chat/pin/sales"}, "404 Cannot POST /api/chat/pin/sales"),
        ({"url": "/api/chat/pinChat/a/b"}, "404 Cannot POST /api/chat/pinChat/a/b"),
        ({"url": "/api/chat/pinChat/%20"}, "400 Instance name is required"),
        ({"url": "/api/chat/pinChat/other"}, "404 Instance not found"),
        ({"headers": {}}, "401 Missing token in header"),
        ({"headers": {"token": "x"}}, "401 Invalid token"),
        ({"headers": {"token": "token-odd"}}, "403 Token does not belong to this instance"),
        ({"headers": {"token": "token-account"}}, "200 Chat pinned successfully"),
        ({"json": None, "data": {"number": "5511999999999"}}, "400 Invalid request body: Content-Type must be"),
        ({"json": [1]}, "400 Invalid request body: an object"),
        ({"json": {"pin": True}}, "400 Number is required"),
        ({"json": {"number": 5511999999999, "pin": True}}, "400 Invalid request body: number must be a string"),
        ({"json": {"number": "5511999999999", "pin": 1}}, "400 Invalid request body: pin must be a boolean"),
        ({"json": {"number": "+5511999999999", "pin": True}}, "400 Invalid request body: number is neither"),
        ({"json": {"number": "1-2@g.us", "pin": False}}, "200 Chat unpinned successfully"),
    ],
)
async def test_ryze_is_strict_about_the_contract(
    ryze: RyzeServer, http: httpx.AsyncClient, changes: Json, said: str
) -> None:
    if "url" in changes:
        changes = changes | {"url": ryze.url + changes["url"]}
    assert (await pin(http, ryze, **changes)).startswith(said)


async def test_three_chats_are_pinned_and_a_fourth_is_refused(ryze: RyzeServer, http: httpx.AsyncClient) -> None:
    numbers = [f"551199999999{last}" for last in range(4)]
    for number in (*numbers[:3], numbers[0]):
        assert await pin(http, ryze, number) == "200 Chat pinned successfully"
    assert "maximum of 3" in await pin(http, ryze, numbers[3])
    unpin = {"json": {"number": numbers[0], "pin": False}}
    assert [await pin(http, ryze, **unpin) for _ in range(2)] == ["200 Chat unpinned successfully"] * 2
    await pin(http, ryze, numbers[3])
    assert ryze.instances["sales"].pinned == [f"{numbers[last]}@s.whatsapp.net" for last in (3, 2, 1)]
    ryze.instances["sales"].connected = False
    assert await pin(http, ryze, numbers[3]) == "503 Instance is not connected to WhatsApp"


async def test_requests_are_limited_by_window_and_token(http: httpx.AsyncClient) -> None:
    now = 1_000_000_010.0
    async with RyzeServer(limit=2, clock=lambda: now) as ryze:
        said = [await pin(http, ryze) for _ in range(3)]
        assert said[2] == "429 Rate limit exceeded. Try again later."
        assert [call.remaining for call in ryze.calls] == [1, 0, -1]
        answer = await http.post(f"{ryze.url}/api/chat/pinChat/sales", headers={"token": "other"})
        assert answer.headers["X-RateLimit-Remaining"] == "1"
        reset = int(answer.headers["X-RateLimit-Reset"])
        assert 0 < reset - now <= 60
        now = float(reset)
        assert await pin(http, ryze) == "200 Chat pinned successfully"


async def test_ryze_fails_to_order(ryze: RyzeServer, http: httpx.AsyncClient) -> None:
    url = f"{ryze.url}/api/chat/pinChat/sales"
    asked: Json = {"json": {"number": "5511999999999", "pin": True}, "headers": {"token": "token-sales"}}
    ryze.fault(status=502, body=b"<html>")
    answer = await http.post(url, **asked)
    assert (answer.status_code, answer.text, answer.headers["Content-Type"]) == (502, "<html>", "text/html")
    ryze.fault(status=429, message="rate-overlimit")
    assert await pin(http, ryze) == "429 rate-overlimit"
    ryze.fault(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
    ryze.fault(drop="mid", when=lambda call: call.pin is True)
    for _ in range(2):
        with pytest.raises(httpx.RemoteProtocolError):
            await pin(http, ryze)
    assert len(ryze.instances["sales"].pinned) == 1
    ryze.fault(status=502, body=b"{}", done=True)
    await http.post(url, json={"number": "5511999999999", "pin": False}, headers={"token": "token-sales"})
    assert ryze.instances["sales"].pinned == []
    ryze.fault(drip=0.0001)
    assert await pin(http, ryze) == "200 Chat pinned successfully"
    ryze.delay = lambda _: 30
    ryze.fault(hang=True, drop="after")
    with pytest.raises(httpx.TimeoutException):
        await pin(http, ryze, timeout=0.1)


async def test_calls_of_an_instance_that_overlap_are_noticed(ryze: RyzeServer, http: httpx.AsyncClient) -> None:
    ryze.delay = 30
    calls = [asyncio.create_task(pin(http, ryze)) for _ in range(2)]
    await ryze.wait_for(lambda: ryze.instances["sales"].most_at_once == 2)
    assert ryze.instances["a b/c"].most_at_once == 0
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
