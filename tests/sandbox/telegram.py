"""A stand-in for Telegram's Bot API server that keeps the real one's semantics.

They are those of tdlib/telegram-bot-api (`Client::process_get_updates_query`, `WebhookActor`) and of its update queue
(tdlib/td, `TQueue`). Of formatting it knows `parse_mode` HTML and explicit entities, of keyboards inline ones, of
messages those of text; a bot sends no other here.
"""

import asyncio
import copy
import inspect
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Unpack
from urllib.parse import urlsplit

import httpx
from tornado.httputil import HTTPServerRequest

from tests.sandbox.entities import bot_commands, parse_html, utf16
from tests.sandbox.server import Answer, Fault, Json, LoopbackServer, Order

User = int | Json

_CONFLICT = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
_HOOKED = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
_STALE = "Bad Request: query is too old and response timeout expired or query ID is invalid"
_UNCHANGED = (
    "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a "
    "current content and reply markup of the message"
)
_DESCRIPTIONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden: bot was blocked by the user",
    404: "Not Found",
    409: _CONFLICT,
    500: "Internal Server Error",
    502: "Bad Gateway",
}
# Kinds that a bot gets only if it asks for them, and those that it gets unless it asks for others.
_SHY_KINDS = {"chat_member", "message_reaction", "message_reaction_count"}
_KINDS = _SHY_KINDS | {
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "inline_query",
    "chosen_inline_result",
    "callback_query",
    "shipping_query",
    "pre_checkout_query",
    "purchased_paid_media",
    "poll",
    "poll_answer",
    "my_chat_member",
    "chat_join_request",
    "chat_boost",
    "removed_chat_boost",
}
_JSON_FIELDS = {
    "reply_parameters",
    "reply_markup",
    "entities",
    "link_preview_options",
    "commands",
    "scope",
    "allowed_updates",
}
_INTEGER_FIELDS = {
    "chat_id",
    "message_id",
    "message_thread_id",
    "reply_to_message_id",
    "offset",
    "limit",
    "timeout",
    "max_connections",
}
_BOOLEAN_FIELDS = {
    "disable_notification",
    "protect_content",
    "allow_sending_without_reply",
    "show_alert",
    "drop_pending_updates",
}
_ACTIONS = re.compile(
    r"typing|(upload|record)_(photo|video|voice|document|video_note|audio)|choose_sticker|find_location"
)
_MAX_TIMEOUT = 50
_MAX_QUEUE = 100_000


@dataclass(eq=False)
class Call:
    """One call of the bot. `at` is `time.monotonic()`; `status` is None while nothing was answered."""

    method: str
    params: Json
    at: float
    connection: int
    authorized: bool = True
    status: int | None = None


@dataclass(eq=False)
class Delivery:
    """One attempt to deliver an update to the webhook. `status` is None if there was no answer in time."""

    update_id: int
    at: float
    status: int | None = None


class ApiError(Exception):
    """What the server answers instead of a result."""

    def __init__(self, status: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.parameters = parameters


@dataclass
class _Chat:
    info: Json
    messages: dict[int, Json] = field(default_factory=dict)
    ids: Iterator[int] = field(default_factory=lambda: count(1))
    topics: set[int] = field(default_factory=set)


@dataclass
class _Pending:
    update: Json
    queue: object


@dataclass(eq=False)
class _Webhook:
    url: str
    secret: str
    slots: asyncio.Semaphore
    max_connections: int
    client: httpx.AsyncClient
    workers: dict[object, asyncio.Task[None]] = field(default_factory=dict)
    error: Json = field(default_factory=dict)


class TelegramServer(LoopbackServer[Call]):
    """Telegram, for one bot. `url` is what the bot takes as `telegram.api_url`.

    What a test may set: `blocked` (users who blocked the bot), `closed_topics` ((chat id, thread id) pairs),
    `webhook_timeout` (seconds), `webhook_backoff` (seconds before the second attempt), `webhook_interval` (seconds that
    must lie between two `setWebhook`), `conflict_pause` (seconds by which the second 409 in a row is held back),
    `clock` (seconds, by which a repeated `getUpdates` or `setWebhook` is known), `next_update_id`.
    """

    def __init__(
        self,
        token: str = "123456:sandbox-bot-token",  # noqa: S107 - invented
        *,
        username: str = "ryze_pin_bot",
        bot_id: int = 123456,
        **listening: Any,  # noqa: ANN401 - LoopbackServer's own arguments
    ) -> None:
        super().__init__(**listening)
        self.token = token
        self.me = {"id": bot_id, "is_bot": True, "first_name": "Ryze Pin", "username": username}
        self.blocked: set[int] = set()
        self.closed_topics: set[tuple[int, int]] = set()
        self.callback_answers: dict[str, Json] = {}
        self.commands: dict[tuple[str, int | None, int | None, str], list[Json]] = {}
        self.descriptions: dict[tuple[str, str], str] = {}
        self.deliveries: list[Delivery] = []
        self.webhook_timeout = 50.0
        self.webhook_backoff = 1.0
        self.webhook_interval = 1.0
        self.conflict_pause = 3.0
        self.clock = time.monotonic
        self._chats: dict[int, _Chat] = {}
        self._migrated: dict[int, int] = {}
        self._outbox: list[tuple[int, int]] = []
        self._queries: set[str] = set()
        self._query_ids = count(4_000_000_001)
        self._updates: dict[int, _Pending] = {}
        self._next_update_id = 730_000_001
        self._allowed = _KINDS - _SHY_KINDS
        self._waiter: asyncio.Future[str | None] | None = None
        self._last_offset, self._last_asked = -1, float("-inf")
        self._next_conflict = self._next_webhook = float("-inf")
        self._webhook: _Webhook | None = None
        handlers = (
            self._get_me,
            self._set_webhook,
            self._delete_webhook,
            self._get_webhook_info,
            self._send_message,
            self._edit_message_text,
            self._edit_message_reply_markup,
            self._delete_message,
            self._send_chat_action,
            self._answer_callback_query,
            self._set_my_commands,
            self._get_my_commands,
            self._delete_my_commands,
            self._set_my_description,
            self._set_my_short_description,
            self._get_chat,
            self._log_out,
            self._close,
        )
        self._handlers: dict[str, Callable[[Json], object]] = {
            handler.__name__.replace("_", ""): handler for handler in handlers
        }

    # What people do

    def message(self, user: User, text: str | None, *, chat: User | None = None, **fields: Any) -> Json:  # noqa: ANN401 - a message's fields are JSON
        """Queues a message from a user: in private unless `chat` says otherwise.

        Args:
            user: an id, or a whole user.
            text: None for a message of another kind; `fields` say which.
            chat: an id of a chat seen before, or a chat.
            fields: put over the message; None takes a field away.

        Returns:
            The message, as the server keeps it.
        """
        sender = _user(user)
        room = self.add_chat(sender["id"] if chat is None else chat, sender)
        message: Json = {"message_id": next(room.ids), "from": sender, "chat": room.info, "date": int(time.time())}
        message |= _spoken(text)
        message = {name: value for name, value in {**message, **fields}.items() if value is not None}
        if message.get("is_topic_message"):
            room.topics.add(message["message_thread_id"])
        room.messages[message["message_id"]] = message
        self.push({"message": message})
        return message

    def edit(self, message: Json, text: str) -> Json:
        """Queues a user's edit of their message, and returns the message as it is then."""
        edited = {name: value for name, value in message.items() if name not in {"text", "entities"}}
        edited |= {"edit_date": int(time.time()), **_spoken(text)}
        self._chats[message["chat"]["id"]].messages[message["message_id"]] = edited
        self.push({"edited_message": edited})
        return edited

    def delete(self, message: Json) -> None:
        """Deletes a message, a user's or the bot's; bots are told nothing of it."""
        self._chats[message["chat"]["id"]].messages.pop(message["message_id"], None)

    def press(self, user: User, message: Json, data: str) -> str:
        """Queues the press of a button with this data, be there such a button or not; returns the query's id."""
        chat_id, message_id = message["chat"]["id"], message["message_id"]
        now = self._chats[chat_id].messages.get(message_id)
        query_id = str(next(self._query_ids))
        self._queries.add(query_id)
        query = {
            "id": query_id,
            "from": _user(user),
            "message": now or {"chat": message["chat"], "message_id": message_id, "date": 0},
            "chat_instance": str(-chat_id),
            "data": data,
        }
        self.push({"callback_query": query})
        return query_id

    def expire(self, query_id: str) -> None:
        """Makes a press too old to be answered."""
        self._queries.discard(query_id)

    def add_chat(self, chat: User, user: Json | None = None) -> _Chat:
        """Makes a chat known to the bot without a message: a user who pressed Start, a group it was added to."""
        info = dict(chat) if isinstance(chat, dict) else {"id": chat}
        known = self._chats.get(info["id"])
        if known is None:
            if info["id"] > 0:
                person = user if user is not None and user["id"] == info["id"] else _user(info["id"])
                names = {key: person[key] for key in ("first_name", "last_name", "username") if key in person}
                info = Json(type="private") | names | info
            else:
                info = Json(type="supergroup", title="Team") | info
            known = self._chats[info["id"]] = _Chat(info)
        return known

    def migrate(self, chat_id: int) -> int:
        """Makes a group a supergroup and returns its new id."""
        new_id = -1_000_000_000_000 + chat_id
        self.add_chat({**self._chats[chat_id].info, "id": new_id, "type": "supergroup"})
        self._migrated[chat_id] = new_id
        return new_id

    def push(self, update: Json) -> int:
        """Queues an update, whatever it holds, and returns its id: 0 if the bot did not ask for its kind."""
        if (kinds := _KINDS & update.keys()) and not kinds & self._allowed:
            return 0
        update_id = self._next_update_id
        self._next_update_id += 1
        whole = {"update_id": update_id, **update}
        self._updates[update_id] = _Pending(copy.deepcopy(whole), _webhook_queue(whole))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
            self._waiter = None
        self._deliver()
        self._notify()
        return update_id

    @property
    def next_update_id(self) -> int:
        return self._next_update_id

    @next_update_id.setter
    def next_update_id(self, value: int) -> None:
        if self._updates and value < self._next_update_id:
            raise ValueError("ids restart lower only when no update is pending")
        self._next_update_id = value

    # What is to be seen

    @property
    def pending(self) -> list[int]:
        """The ids of the updates that are not confirmed."""
        return list(self._updates)

    def current(self, message: Json) -> Json | None:
        """The message as it is now; None if it was deleted."""
        return self._chats[message["chat"]["id"]].messages.get(message["message_id"])

    def messages(self, chat_id: int) -> list[Json]:
        """What a chat shows now, everybody's messages, oldest first."""
        return list(self._chats[chat_id].messages.values())

    def sent(self, chat_id: int | None = None) -> list[Json]:
        """The bot's messages that are to be seen now, in one chat or in all, oldest first."""
        shown = (self._chats[chat].messages.get(number) for chat, number in self._outbox if chat_id in (None, chat))
        return [message for message in shown if message is not None]

    async def answers(self, message: Json, count: int = 1, timeout: float = 30.0) -> list[Json]:  # noqa: ASYNC109 - as in wait_for
        """Waits until so many of the bot's messages reply to the message; returns all of them."""
        chat_id, message_id = message["chat"]["id"], message["message_id"]

        def replies() -> list[Json]:
            return [
                sent for sent in self.sent(chat_id) if sent.get("reply_to_message", {}).get("message_id") == message_id
            ]

        what = f"{count} answer(s) to {message.get('text')!r}"
        await self.wait_for(lambda: len(replies()) >= count, timeout, what)
        return replies()

    async def answer(self, message: Json, timeout: float = 30.0) -> Json:  # noqa: ASYNC109 - as in wait_for
        """The first answer to the message."""
        return (await self.answers(message, 1, timeout))[0]

    def button(self, message: Json, label_part: str) -> str:
        """The callback data of the message's first button with this in its label."""
        buttons = [button for row in message.get("reply_markup", {}).get("inline_keyboard", []) for button in row]
        for button in buttons:
            if label_part in button["text"] and "callback_data" in button:
                return str(button["callback_data"])
        raise AssertionError(f"no button {label_part!r} among {[button['text'] for button in buttons]}")

    def fault(
        self,
        method: str,
        *,
        description: str | None = None,
        retry_after: int | None = None,
        when: Callable[[Json], bool] | None = None,
        **order: Unpack[Order],
    ) -> Fault[Call]:
        """Orders a fault of a method ("*": of any), for calls whose parameters satisfy `when`; see `Fault`."""
        if "status" in order and "body" not in order:
            status = order["status"]
            parameters = {} if retry_after is None else {"retry_after": retry_after}
            usual = f"Too Many Requests: retry after {retry_after}" if status == 429 else _DESCRIPTIONS.get(status, "")
            order["body"] = _failure(ApiError(status, description or usual, **parameters)).body
            if retry_after is not None:
                order["headers"] = {"Retry-After": str(retry_after), **order.get("headers", {})}

        def hit(call: Call) -> bool:
            return method.lower() in ("*", call.method.lower()) and (when is None or when(call.params))

        return self._order(Fault(hit, **order))

    # The server

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        await self._unhook()
        await super().__aexit__(kind, *rest)

    def _receive(self, request: HTTPServerRequest, connection: int) -> Call:
        found = re.fullmatch(r"/bot([^/]+)/([A-Za-z]+)", request.path)
        params: Json = {name: values[-1].decode("utf-8", "replace") for name, values in request.arguments.items()}
        if request.headers.get("Content-Type", "").startswith("application/json"):
            try:
                params |= json.loads(request.body or b"{}")
            except (ValueError, TypeError):
                params["__broken__"] = True
        decoded = {name: _decoded(name, value) for name, value in params.items()}
        method, authorized = (found[2], found[1] == self.token) if found else ("", True)
        return Call(method, decoded, time.monotonic(), connection, authorized)

    async def _perform(self, call: Call, gone: asyncio.Future[None]) -> Answer:
        try:
            return Answer.of(200, {"ok": True, "result": await self._result(call, gone)})
        except ApiError as error:
            return _failure(error)

    def _excuse(self, call: Call, fault: Fault[Call]) -> Answer:  # noqa: ARG002 - a fault has its whole body here
        status = fault.status or 200
        body = fault.body or b""
        kind = "application/json" if body.startswith(b"{") else "text/html"
        return Answer(status, body, {"Content-Type": kind, **fault.headers})

    async def _result(self, call: Call, gone: asyncio.Future[None]) -> object:
        if not call.authorized:
            raise ApiError(401, "Unauthorized")
        if not call.method:
            raise ApiError(404, "Not Found")
        if "__broken__" in call.params:
            raise ApiError(400, "Bad Request: can't parse the request's JSON")
        if call.method.lower() == "getupdates":
            return await self._get_updates(call.params, gone)
        handler = self._handlers.get(call.method.lower())
        if handler is None:
            raise ApiError(404, "Not Found: method not found")
        result = handler(call.params)
        return await result if inspect.isawaitable(result) else result

    # Updates by getUpdates

    async def _get_updates(self, params: Json, gone: asyncio.Future[None]) -> list[Json]:
        if self._webhook is not None:
            raise await self._conflict(_HOOKED)
        offset = _integer(params, "offset", 0)
        limit = min(max(_integer(params, "limit", 100), 1), 100)
        timeout = min(max(_integer(params, "timeout", 0), 0), _MAX_TIMEOUT)
        self._allow(params)
        now = self.clock()
        if offset == self._last_offset and now < self._last_asked + 3:
            timeout = max(timeout, 3)
            limit = 1 if now < self._last_asked + 0.5 else limit
        self._last_offset, self._last_asked = offset, now
        updates = self._read(offset, limit)
        if updates or not timeout:
            return updates
        if self._waiter is not None:
            self._waiter.set_result(_CONFLICT)
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        await asyncio.wait({waiter, gone}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._waiter is waiter:
            self._waiter = None
        if waiter.done() and (reason := waiter.result()):
            raise await self._conflict(reason)
        return [] if gone.done() else self._read(offset, limit)

    def _read(self, offset: int, limit: int) -> list[Json]:
        """Forgets what comes before the offset, and reads from it on."""
        head, tail = next(iter(self._updates), self._next_update_id), self._next_update_id
        if offset <= 0:
            offset = max(offset + tail if offset < 0 else offset, head)
        if not head - _MAX_QUEUE <= offset <= tail + 10:
            offset = head
        for update_id in [known for known in self._updates if known < offset]:
            del self._updates[update_id]
        return [pending.update for pending in self._updates.values()][:limit]

    def _allow(self, params: Json) -> None:
        asked = params.get("allowed_updates")
        if isinstance(asked, list):
            self._allowed = _KINDS & set(asked) or _KINDS - _SHY_KINDS

    async def _conflict(self, reason: str) -> ApiError:
        """The 409, at once or, when one was given just before, after a pause."""
        now = time.monotonic()
        if now >= self._next_conflict:
            self._next_conflict = now + self.conflict_pause
        else:
            await asyncio.sleep(self.conflict_pause)
        return ApiError(409, reason)

    # Updates by webhook

    async def _set_webhook(self, params: Json) -> bool:
        url = str(params.get("url", ""))
        if not url:
            return await self._delete_webhook(params)
        now = self.clock()
        if now < self._next_webhook:
            raise ApiError(429, "Too Many Requests: retry after 1", retry_after=1)
        self._next_webhook = now + self.webhook_interval
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
            raise ApiError(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        secret = str(params.get("secret_token", ""))
        if not re.fullmatch(r"[A-Za-z0-9_-]{0,256}", secret):
            raise ApiError(400, "Bad Request: secret token contains unallowed characters")
        if self._waiter is not None:
            self._waiter.set_result("Conflict: terminated by setWebhook request")
            self._waiter = None
        most = min(max(_integer(params, "max_connections", 40), 1), 100)
        hook, drop = self._webhook, bool(params.get("drop_pending_updates"))
        if hook is not None and (hook.url, hook.secret, hook.max_connections, drop) == (url, secret, most, False):
            self._allow(params)
            return True  # "Webhook is already set": what is under way goes on
        await self._unhook()
        if drop:
            self._updates.clear()
        self._allow(params)
        client = httpx.AsyncClient(trust_env=False, timeout=None, limits=httpx.Limits(max_connections=most))  # noqa: S113 - bounded as a whole
        self._webhook = _Webhook(url, secret, asyncio.Semaphore(most), most, client)
        self._deliver()
        return True

    async def _delete_webhook(self, params: Json) -> bool:
        await self._unhook()
        if params.get("drop_pending_updates"):
            self._updates.clear()
        return True

    def _get_webhook_info(self, _params: Json) -> Json:
        hook = self._webhook
        info: Json = {"url": "", "has_custom_certificate": False, "pending_update_count": len(self._updates)}
        if hook is not None:
            info |= {"url": hook.url, "max_connections": hook.max_connections, **hook.error}
        if self._allowed != _KINDS - _SHY_KINDS:
            info["allowed_updates"] = sorted(self._allowed)
        return info

    async def _unhook(self) -> None:
        hook, self._webhook = self._webhook, None
        if hook is not None:
            workers = list(hook.workers.values())
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await hook.client.aclose()

    def _deliver(self) -> None:
        """Starts a worker for each queue that has updates and none."""
        hook = self._webhook
        if hook is None:
            return
        for queue in {pending.queue for pending in self._updates.values()} - hook.workers.keys():
            hook.workers[queue] = asyncio.get_running_loop().create_task(self._work(hook, queue))

    async def _work(self, hook: _Webhook, queue: object) -> None:
        """Delivers a queue's updates one after another, each until it is taken."""
        try:
            fails = 0
            while (update := self._first(queue)) is not None:
                async with hook.slots:
                    pause = await self._post(hook, update)
                self._notify()
                if pause is None:
                    self._updates.pop(update["update_id"], None)
                    fails = 0
                else:
                    await asyncio.sleep(pause or self.webhook_backoff * 2**fails)
                    fails += 1
        finally:
            del hook.workers[queue]

    def _first(self, queue: object) -> Json | None:
        return next((pending.update for pending in self._updates.values() if pending.queue == queue), None)

    async def _post(self, hook: _Webhook, update: Json) -> float | None:
        """Posts an update. Returns None if it was taken, else the seconds that the answer asks to wait, or 0."""
        delivery = Delivery(update["update_id"], time.monotonic())
        self.deliveries.append(delivery)
        headers = {"Content-Type": "application/json"}
        if hook.secret:
            headers["X-Telegram-Bot-Api-Secret-Token"] = hook.secret
        try:
            async with asyncio.timeout(self.webhook_timeout):
                answer = await hook.client.post(hook.url, content=json.dumps(update), headers=headers)
        except (httpx.HTTPError, TimeoutError) as error:
            reason, pause = str(error) or "Read timeout expired", 0.0
        else:
            delivery.status = answer.status_code
            if answer.is_success:
                return None
            reason = f"Wrong response from the webhook: {answer.status_code} {answer.reason_phrase}"
            asked = answer.headers.get("Retry-After", "")
            pause = float(asked) if asked.isdecimal() else 0.0
        hook.error = {"last_error_date": int(time.time()), "last_error_message": reason}
        return pause

    # Messages

    def _get_me(self, _params: Json) -> Json:
        rights = (
            "can_join_groups",
            "can_read_all_group_messages",
            "supports_inline_queries",
            "can_connect_to_business",
        )
        return {**self.me, **dict.fromkeys(rights, False), "can_join_groups": True, "has_main_web_app": False}

    def _send_message(self, params: Json) -> Json:
        text, entities = _formatted(params)
        markup = _markup(params)
        room = self._room(params)
        chat_id = room.info["id"]
        replied = self._replied(room, params)
        thread = params.get("message_thread_id")
        if thread is not None and thread not in room.topics:
            raise ApiError(400, "Bad Request: message thread not found")
        if thread is None and replied is not None and replied.get("is_topic_message"):
            thread = replied["message_thread_id"]
        _check_sizes(text, markup)
        if (chat_id, thread) in self.closed_topics:
            raise ApiError(400, "Bad Request: TOPIC_CLOSED")
        message: Json = {
            "message_id": next(room.ids),
            "from": self.me,
            "chat": room.info,
            "date": int(time.time()),
            "text": text,
        }
        if thread is not None:
            message |= {"message_thread_id": thread, "is_topic_message": True}
        if replied is not None:
            message["reply_to_message"] = {key: value for key, value in replied.items() if key != "reply_to_message"}
        message |= _present(entities=entities, reply_markup=markup)
        room.messages[message["message_id"]] = message
        self._outbox.append((chat_id, message["message_id"]))
        return message

    def _edit_message_text(self, params: Json) -> Json:
        text, entities = _formatted(params)
        markup = _markup(params)
        room, message = self._own(params)
        _check_sizes(text, markup)
        return _edited(room, message, Json(text=text) | _present(entities=entities, reply_markup=markup))

    def _edit_message_reply_markup(self, params: Json) -> Json:
        markup = _markup(params)
        room, message = self._own(params)
        _check_sizes(message["text"], markup)
        kept: Json = {key: message[key] for key in ("text", "entities") if key in message}
        return _edited(room, message, {**kept, **_present(reply_markup=markup)})

    def _delete_message(self, params: Json) -> bool:
        room = self._room(params)
        if room.messages.pop(_integer(params, "message_id", 0), None) is None:
            raise ApiError(400, "Bad Request: message to delete not found")
        return True

    def _send_chat_action(self, params: Json) -> bool:
        room = self._room(params)
        if not _ACTIONS.fullmatch(str(params.get("action"))):
            raise ApiError(400, "Bad Request: wrong parameter action in request")
        if "message_thread_id" in params and params["message_thread_id"] not in room.topics:
            raise ApiError(400, "Bad Request: message thread not found")
        return True

    def _answer_callback_query(self, params: Json) -> bool:
        query_id = str(params.get("callback_query_id"))
        if query_id not in self._queries:
            raise ApiError(400, _STALE)
        if utf16(str(params.get("text", ""))) > 200:
            raise ApiError(400, "Bad Request: MESSAGE_TOO_LONG")
        self.callback_answers[query_id] = params
        return True

    def _room(self, params: Json) -> _Chat:
        chat_id = params.get("chat_id", "")
        if chat_id == "":
            raise ApiError(400, "Bad Request: chat_id is empty")
        if chat_id in self._migrated:
            text = "Bad Request: group chat was upgraded to a supergroup chat"
            raise ApiError(400, text, migrate_to_chat_id=self._migrated[chat_id])
        if chat_id not in self._chats:
            raise ApiError(400, "Bad Request: chat not found")
        if chat_id in self.blocked:
            raise ApiError(403, "Forbidden: bot was blocked by the user")
        return self._chats[chat_id]

    def _replied(self, room: _Chat, params: Json) -> Json | None:
        """The message that the new one replies to, asked for in the present way or in the deprecated one."""
        asked = params.get("reply_parameters", {})
        if not isinstance(asked, dict):
            raise ApiError(400, "Bad Request: can't parse reply parameters JSON object")
        number = asked.get("message_id", params.get("reply_to_message_id"))
        if number is None:
            return None
        if not isinstance(number, int | str):
            raise ApiError(400, "Bad Request: can't parse reply parameters JSON object")
        found = room.messages.get(int(number) if str(number).isdecimal() else 0)
        lenient = asked.get("allow_sending_without_reply", params.get("allow_sending_without_reply"))
        if found is None and not lenient:
            raise ApiError(400, "Bad Request: message to be replied not found")
        return found

    def _own(self, params: Json) -> tuple[_Chat, Json]:
        room = self._room(params)
        message = room.messages.get(_integer(params, "message_id", 0))
        if message is None:
            raise ApiError(400, "Bad Request: message to edit not found")
        if message.get("from") != self.me:
            raise ApiError(400, "Bad Request: message can't be edited")
        return room, message

    # The bot's profile

    def _set_my_commands(self, params: Json) -> bool:
        commands = params.get("commands")
        if not isinstance(commands, list) or not all(isinstance(command, dict) for command in commands):
            raise ApiError(400, "Bad Request: can't parse list of bot commands JSON object")
        if len(commands) > 100:
            raise ApiError(400, "Bad Request: BOT_COMMANDS_TOO_MUCH")
        for command in commands:
            if not re.fullmatch(r"[a-z0-9_]{1,32}", str(command.get("command", "")).removeprefix("/")):
                raise ApiError(400, "Bad Request: BOT_COMMAND_INVALID")
            if not 1 <= len(str(command.get("description", ""))) <= 256:
                raise ApiError(400, "Bad Request: BOT_COMMAND_DESCRIPTION_INVALID")
        self.commands[self._scope(params)] = commands
        return True

    def _get_my_commands(self, params: Json) -> list[Json]:
        return self.commands.get(self._scope(params), [])

    def _delete_my_commands(self, params: Json) -> bool:
        self.commands.pop(self._scope(params), None)
        return True

    def _scope(self, params: Json) -> tuple[str, int | None, int | None, str]:
        """The key of `commands`: the scope's type, its chat and user if it names them, the language."""
        scope = params.get("scope") or {"type": "default"}
        kind = scope.get("type") if isinstance(scope, dict) else None
        if kind in {"chat", "chat_administrators", "chat_member"}:
            self._room(scope)
        elif kind not in {"default", "all_private_chats", "all_group_chats", "all_chat_administrators"}:
            raise ApiError(400, "Bad Request: can't parse BotCommandScope: unsupported type specified")
        return str(kind), scope.get("chat_id"), scope.get("user_id"), str(params.get("language_code", ""))

    def _set_my_description(self, params: Json) -> bool:
        return self._describe("description", 512, params)

    def _set_my_short_description(self, params: Json) -> bool:
        return self._describe("short_description", 120, params)

    def _describe(self, name: str, most: int, params: Json) -> bool:
        text = str(params.get(name, ""))
        if len(text) > most:
            raise ApiError(400, f"Bad Request: BOT_{name.upper()}_TOO_LONG")
        self.descriptions[name, str(params.get("language_code", ""))] = text
        return True

    def _get_chat(self, params: Json) -> Json:
        gifts = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels")
        return {
            **self._room(params).info,
            "accent_color_id": 0,
            "max_reaction_count": 11,
            "accepted_gift_types": dict.fromkeys(gifts, True),
        }

    def _log_out(self, _params: Json) -> bool:
        return True

    def _close(self, _params: Json) -> bool:
        return True


def _user(user: User) -> Json:
    if isinstance(user, dict):
        return {"is_bot": False, "first_name": f"User {user['id']}", **user}
    return {"id": user, "is_bot": False, "first_name": f"User {user}", "language_code": "en"}


def _spoken(text: str | None) -> Json:
    return {} if text is None else {"text": text, **_present(entities=bot_commands(text))}


def _present(**fields: object) -> Json:
    return {name: value for name, value in fields.items() if value}


def _failure(error: ApiError) -> Answer:
    envelope: Json = {"ok": False, "error_code": error.status, "description": error.description}
    return Answer.of(error.status, envelope | _present(parameters=error.parameters))


def _decoded(name: str, value: object) -> object:
    """A parameter as JSON would have it, however it was sent; what cannot be read stays as it is."""
    if not isinstance(value, str):
        return value
    if name in _BOOLEAN_FIELDS:
        return value.lower() in {"true", "yes", "1"}
    if name in _INTEGER_FIELDS:
        return int(value) if re.fullmatch(r"-?\d{1,18}", value) else value
    if name in _JSON_FIELDS:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _integer(params: Json, name: str, default: int) -> int:
    value = params.get(name)
    return value if isinstance(value, int) else default


def _formatted(params: Json) -> tuple[str, list[Json]]:
    """The plain text and the entities of a message to be sent."""
    source = params.get("text", "")
    if not isinstance(source, str):
        raise ApiError(400, "Bad Request: message text must be a string")
    try:
        source.encode()
    except UnicodeEncodeError as error:
        raise ApiError(400, "Bad Request: strings must be encoded in UTF-8") from error
    mode = str(params.get("parse_mode", "")).lower()
    entities: list[Json] = []
    if mode == "html":
        try:
            source, entities = parse_html(source)
        except ValueError as error:
            raise ApiError(400, f"Bad Request: can't parse entities: {error}") from error
    elif mode:
        raise ApiError(400, "Bad Request: unsupported parse_mode")
    elif isinstance(params.get("entities"), list):
        entities = params["entities"]
    return _trimmed(source, entities)


def _trimmed(source: str, entities: list[Json]) -> tuple[str, list[Json]]:
    """Takes the white space at both ends away, as Telegram does."""
    text = source.strip()
    if not text:
        raise ApiError(400, "Bad Request: message text is empty")
    lead, end = utf16(source[: len(source) - len(source.lstrip())]), utf16(text)
    kept = []
    for entity in entities:
        start = max(entity["offset"] - lead, 0)
        stop = min(entity["offset"] + entity["length"] - lead, end)
        if stop > start:
            kept.append({**entity, "offset": start, "length": stop - start})
    return text, kept


def _markup(params: Json) -> Json | None:
    """The inline keyboard of a message to be sent; keyboards of other kinds leave no trace in a message."""
    markup = params.get("reply_markup")
    if markup in (None, ""):
        return None
    if not isinstance(markup, dict):
        raise ApiError(400, "Bad Request: object expected as reply markup")
    if "inline_keyboard" not in markup:
        return None
    for button in (button for row in markup["inline_keyboard"] for button in row):
        if not isinstance(button.get("text"), str):
            raise ApiError(400, 'Bad Request: can\'t parse inline keyboard button: field "text" must be of type String')
        if not button.keys() - {"text"}:
            raise ApiError(400, "Bad Request: can't parse inline keyboard button: Text buttons are unallowed")
    rows = [row for row in markup["inline_keyboard"] if row]
    return {"inline_keyboard": rows} if rows else None


def _check_sizes(text: str, markup: Json | None) -> None:
    if utf16(text) > 4096:
        raise ApiError(400, "Bad Request: message is too long")
    for button in (button for row in (markup or {}).get("inline_keyboard", []) for button in row):
        if not button["text"].strip():
            raise ApiError(400, "Bad Request: BUTTON_TEXT_INVALID")
        if "callback_data" in button and not 1 <= len(str(button["callback_data"]).encode()) <= 64:
            raise ApiError(400, "Bad Request: BUTTON_DATA_INVALID")


def _edited(room: _Chat, message: Json, content: Json) -> Json:
    """Puts the new content into a copy, so that who holds the message still has what it was."""
    old = {key: message[key] for key in ("text", "entities", "reply_markup") if key in message}
    if content == old:
        raise ApiError(400, _UNCHANGED)
    kept = {key: value for key, value in message.items() if key not in old}
    edited = {**kept, "edit_date": int(time.time()), **content}
    room.messages[message["message_id"]] = edited
    return edited


def _webhook_queue(update: Json) -> object:
    """What must keep its order: a chat's updates, and a user's presses."""
    query = update.get("callback_query")
    if isinstance(query, dict) and isinstance(query.get("from"), dict):
        return "user", str(query["from"].get("id"))
    for body in update.values():
        if isinstance(body, dict) and isinstance(body.get("chat"), dict):
            return "chat", str(body["chat"].get("id"))
    return "update", update["update_id"]
