"""A stand-in for Telegram's Bot API server that keeps the real one's semantics.

Of formatting it knows `parse_mode` HTML, of keyboards inline ones, of the bot's messages those of text.
"""

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import responses
from inspect import isawaitable
from itertools import count
from typing import Any

from tornado.httputil import HTTPServerRequest

from tests.sandbox.content import bot_commands, content, utf16
from tests.sandbox.server import ApiError, Fault, Json
from tests.sandbox.updates import CONFLICT, Call, UpdatesServer

__all__ = ["Call", "TelegramServer"]

User = int | Json

_UNCHANGED = (
    "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a "
    "current content and reply markup of the message"
)
# Parameters that are text even if they look like JSON, as "1" does.
_TEXTS = {"text", "callback_query_id", "url", "secret_token", "language_code", "short_description"}


@dataclass
class _Chat:
    info: Json
    messages: dict[int, Json] = field(default_factory=dict)


class TelegramServer(UpdatesServer):
    """Telegram, for one bot. `url` is what the bot takes as `telegram.api_url`.

    What a test may set: `token`, `blocked` (users who blocked the bot), `webhook_backoff` (seconds before the second
    attempt), `clock` (seconds, by which a repeated `getUpdates` is known), `next_update_id`.

    What it keeps: `callback_answers` by query, `commands` by scope, `descriptions` by language, `reactions` (emoji) by
    chat and message.
    """

    def __init__(self) -> None:
        super().__init__()
        self.token = "123456:sandbox-bot-token"
        self.me = {"id": 123456, "is_bot": True, "first_name": "Ryze Pin", "username": "ryze_pin_bot"}
        self.blocked: set[int] = set()
        self.callback_answers: dict[str, Json] = {}
        self.commands: dict[tuple[str, int | None, int | None, str], list[Json]] = {}
        self.descriptions: dict[str, str] = {}
        self.reactions: dict[tuple[int, int], list[str]] = {}
        self._chats: dict[int, _Chat] = {}
        self._migrated: dict[int, int] = {}
        self._replies: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        self._ids = count(1)

    # What people do

    def message(self, user: User, text: str | None, *, chat: User | None = None, **fields: Any) -> Json:  # noqa: ANN401 - a message's fields are JSON
        """Queue a message from a user, in private unless `chat` says otherwise, and return it as the server keeps it.

        The text is None for a message of another kind. `fields` are put over the message; None takes a field away.
        """
        room = self.add_chat(user if chat is None else chat)
        message = self._written(_user(user), room) | _spoken(text) | fields
        message = {name: value for name, value in message.items() if value is not None}
        room.messages[message["message_id"]] = message
        self.push({"message": message})
        return message

    def edit(self, message: Json, text: str) -> Json:
        """Queue a user's edit of their message, and return the message as it is then."""
        edited = {name: value for name, value in message.items() if name not in {"text", "entities"}}
        edited |= {"edit_date": int(time.time()), **_spoken(text)}
        self._chats[message["chat"]["id"]].messages[message["message_id"]] = edited
        self.push({"edited_message": edited})
        return edited

    def delete(self, message: Json) -> None:
        """Delete a message, a user's or the bot's; bots are told nothing of it."""
        self._chats[message["chat"]["id"]].messages.pop(message["message_id"], None)

    def press(self, user: User, message: Json, data: str) -> str:
        """Queue the press of a button with this data, whether there is such a button or not; returns the query's id."""
        query_id = str(next(self._ids))
        deleted = {"chat": message["chat"], "message_id": message["message_id"], "date": 0}
        pressed = {"from": _user(user), "message": self.current(message) or deleted, "data": data}
        self.push({"callback_query": {"id": query_id, "chat_instance": "1", **pressed}})
        return query_id

    def add_chat(self, chat: User) -> _Chat:
        """Make a chat known to the bot without a message: a user who pressed Start, a group it was added to."""
        info: Json = chat if isinstance(chat, dict) else {"id": chat}
        if info["id"] > 0:
            info = {"id": info["id"], "type": "private", "first_name": _user(chat)["first_name"]}
        else:
            info = {"type": "supergroup", "title": "Team", **info}
        return self._chats.setdefault(info["id"], _Chat(info))

    def migrate(self, chat_id: int) -> int:
        """Make a group a supergroup and return its new id."""
        new_id = -1_000_000_000_000 + chat_id
        self.add_chat({**self._chats[chat_id].info, "id": new_id, "type": "supergroup"})
        self._migrated[chat_id] = new_id
        return new_id

    # What is to be seen

    def current(self, message: Json) -> Json | None:
        """The message as it is now; None if it was deleted."""
        return self._chats[message["chat"]["id"]].messages.get(message["message_id"])

    def messages(self, chat_id: int) -> list[Json]:
        """What a chat shows now, everybody's messages, oldest first."""
        return list(self._chats[chat_id].messages.values())

    def sent(self, chat_id: int | None = None) -> list[Json]:
        """The bot's messages that are to be seen now, in one chat or in all, oldest first."""
        chats = [chat for key, chat in self._chats.items() if chat_id in (None, key)]
        own = (message for chat in chats for message in chat.messages.values() if message.get("from") == self.me)
        return sorted(own, key=lambda message: int(message["message_id"]))

    def replies(self, message: Json) -> list[Json]:
        """The bot's messages that reply to the message."""
        shown = self._chats[message["chat"]["id"]].messages
        numbers = self._replies[message["chat"]["id"], message["message_id"]]
        return [shown[number] for number in numbers if number in shown]

    async def answer(self, message: Json, timeout: float = 30.0) -> Json:  # noqa: ASYNC109 - as in wait_for
        """Wait for an answer to the message and return the first."""
        what = f"an answer to {message.get('text')!r}"
        return (await self.wait_for(lambda: self.replies(message), timeout, what))[0]

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
        when: Callable[[Json], bool] = lambda _: True,
        **order: Any,  # noqa: ANN401 - Fault's own fields
    ) -> Fault[Call]:
        """Order a fault of a method ("*": of any), for calls whose parameters satisfy `when`; see `Fault`."""
        if "status" in order and "body" not in order:
            usual = CONFLICT if order["status"] == 409 else responses[order["status"]]
            parameters = {} if retry_after is None else {"retry_after": retry_after}
            failure = self._failure(ApiError(order["status"], description or usual, **parameters))
            order["body"] = json.dumps(failure).encode()
        return self._order(
            Fault(lambda call: method.lower() in ("*", call.method.lower()) and when(call.params), **order)
        )

    # The server

    def _receive(self, request: HTTPServerRequest) -> Call:
        form = {name: values[-1].decode("utf-8", "replace") for name, values in request.arguments.items()}
        params = {name: value if name in _TEXTS else _decoded(value) for name, value in form.items()}
        return Call(request.path.removeprefix(f"/bot{self.token}/"), params)

    async def _perform(self, call: Call) -> Json:
        """Calls what is named after the method: `_send_message` for sendMessage."""
        if call.method == "getUpdates":
            return {"ok": True, "result": await self._get_updates(call)}
        name = re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", call.method)
        method = getattr(self, f"_{name}", None)
        if method is None:
            raise ApiError(404, "Not Found")
        result = method(call.params)
        return {"ok": True, "result": await result if isawaitable(result) else result}

    def _failure(self, error: ApiError) -> Json:
        parameters = {"parameters": error.parameters} if error.parameters else {}
        return {"ok": False, "error_code": error.status, "description": error.description, **parameters}

    # Messages

    def _written(self, sender: Json, room: _Chat) -> Json:
        """A message before it holds anything."""
        return {"message_id": next(self._ids), "from": sender, "chat": room.info, "date": int(time.time())}

    def _get_me(self, _params: Json) -> Json:
        return self.me

    def _send_message(self, params: Json) -> Json:
        shown = content(params)
        room = self._room(params)
        chat_id = room.info["id"]
        replied = self._replied(room, params)
        thread = _integer(params, "message_thread_id")
        if not thread and replied is not None and replied.get("is_topic_message"):
            thread = replied["message_thread_id"]
        message = self._written(self.me, room) | shown
        if thread:
            message |= {"message_thread_id": thread, "is_topic_message": True}
        if replied is not None:
            message["reply_to_message"] = {key: value for key, value in replied.items() if key != "reply_to_message"}
            self._replies[chat_id, replied["message_id"]].append(message["message_id"])
        room.messages[message["message_id"]] = message
        return message

    def _edit_message_text(self, params: Json) -> Json:
        """Puts the new content into a copy, so that who holds the message still has what it was."""
        shown = content(params)
        room, message = self._found(params, "message to edit not found")
        if message.get("from") != self.me:
            raise ApiError(400, "Bad Request: message can't be edited")
        old = {key: message[key] for key in ("text", "entities", "reply_markup") if key in message}
        if shown == old:
            raise ApiError(400, _UNCHANGED)
        kept = {key: value for key, value in message.items() if key not in old}
        edited = {**kept, "edit_date": int(time.time()), **shown}
        room.messages[message["message_id"]] = edited
        return edited

    def _send_chat_action(self, params: Json) -> bool:
        self._room(params)
        return True

    def _answer_callback_query(self, params: Json) -> bool:
        if utf16(str(params.get("text", ""))) > 200:
            raise ApiError(400, "Bad Request: MESSAGE_TOO_LONG")
        self.callback_answers[str(params["callback_query_id"])] = params
        return True

    def _set_message_reaction(self, params: Json) -> bool:
        room, message = self._found(params, "message to react not found")
        self.reactions[room.info["id"], message["message_id"]] = [shown["emoji"] for shown in params["reaction"]]
        return True

    def _room(self, params: Json) -> _Chat:
        chat_id = _integer(params, "chat_id")
        if chat_id in self._migrated:
            text = "Bad Request: group chat was upgraded to a supergroup chat"
            raise ApiError(400, text, migrate_to_chat_id=self._migrated[chat_id])
        if chat_id not in self._chats:
            raise ApiError(400, "Bad Request: chat not found")
        if chat_id in self.blocked:
            raise ApiError(403, "Forbidden: bot was blocked by the user")
        return self._chats[chat_id]

    def _found(self, params: Json, otherwise: str) -> tuple[_Chat, Json]:
        room = self._room(params)
        message = room.messages.get(_integer(params, "message_id"))
        if message is None:
            raise ApiError(400, f"Bad Request: {otherwise}")
        return room, message

    def _replied(self, room: _Chat, params: Json) -> Json | None:
        """The message that the new one replies to."""
        asked = params.get("reply_parameters")
        if asked is None:
            return None
        found = room.messages.get(_integer(asked, "message_id"))
        if found is None and not asked.get("allow_sending_without_reply"):
            raise ApiError(400, "Bad Request: message to be replied not found")
        return found

    # The bot's profile

    def _set_my_commands(self, params: Json) -> bool:
        for command in params["commands"]:
            if not (re.fullmatch(r"[a-z0-9_]{1,32}", command["command"]) and 1 <= len(command["description"]) <= 256):
                raise ApiError(400, "Bad Request: BOT_COMMAND_INVALID")
        self.commands[self._scope(params)] = params["commands"]
        return True

    def _delete_my_commands(self, params: Json) -> bool:
        self.commands.pop(self._scope(params), None)
        return True

    def _scope(self, params: Json) -> tuple[str, int | None, int | None, str]:
        """The key of `commands`: the scope's type, its chat and user if it names them, the language."""
        scope = params.get("scope") or {"type": "default"}
        if scope["type"] == "chat":
            self._room(scope)
        return scope["type"], scope.get("chat_id"), scope.get("user_id"), params.get("language_code", "")

    def _set_my_short_description(self, params: Json) -> bool:
        if len(params["short_description"]) > 120:
            raise ApiError(400, "Bad Request: BOT_SHORT_DESCRIPTION_TOO_LONG")
        self.descriptions[params.get("language_code", "")] = params["short_description"]
        return True


def _user(user: User) -> Json:
    if isinstance(user, dict):
        return {"is_bot": False, "first_name": f"User {user['id']}", **user}
    return {"id": user, "is_bot": False, "first_name": f"User {user}", "language_code": "en"}


def _spoken(text: str | None) -> Json:
    return {} if text is None else {"text": text, "entities": bot_commands(text)}


def _integer(params: Json, name: str) -> int:
    """A parameter, whatever a forged update made of it; 0 if it is no integer."""
    value = params.get(name)
    return value if isinstance(value, int) else 0


def _decoded(value: str) -> object:
    """A parameter as JSON would have it; what is no JSON stays as it is."""
    try:
        return json.loads(value)
    except ValueError:
        return value
