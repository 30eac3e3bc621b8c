"""The demo's page on loopback: a chat with the bot, the phone that it changes, and switches for what can go wrong.

It shows what the stand-ins hold and asks them for what a person does; the bot knows nothing of it.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from socket import create_server
from typing import Self

import yaml
from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler

from tests.sandbox.ryze import Call
from tests.sandbox.server import Json
from tests.sandbox.stage import TOKENS, Demo, DemoError, Person

PORT = 8765  # if it is free
SLOW = 4.0  # seconds that a slow instance takes
TYPING = 5.0  # seconds for which Telegram shows an action
LOOK = 0.05  # seconds between two looks at whether anything changed
LANGUAGES = {"en": "en", "pt-BR": "pt-br", "es": "es"}  # the page's, and Telegram's code of each
HERE = Path(__file__).parent


def _contact(name: str, jid: str, number: str, when: str = "", *said: str) -> Json:
    """A chat on a phone; `phones.yaml` says what is what."""
    last = dict(zip(LANGUAGES, said, strict=False))
    return {"name": name, "jid": jid, "number": number, "when": when, "last": last}


PHONES: dict[str, dict[str, Json]] = {
    instance: {row[1]: _contact(*row) for row in rows}
    for instance, rows in yaml.safe_load((HERE / "phones.yaml").read_text(encoding="utf-8")).items()
}


class Page:
    """An async context manager that serves the page, on `port` or, if that is taken, on a free one."""

    def __init__(self, demo: Demo, people: Sequence[Person], *, port: int = PORT) -> None:
        self.demo = demo
        self.people = {person.telegram_id: person for person in people}
        self.port = port
        self.presses: dict[str, int] = {}  # who pressed, by query
        self._boot = time.time()
        self._down = False
        self._switched: dict[str, set[str]] = {name: set() for name in PHONES}
        self._seen = {name: list(chats) for name, chats in PHONES.items()}
        self._switching = asyncio.Lock()
        routes = [(path, handler, {"page": self}) for path, handler in HANDLERS.items()]
        self._application = Application(routes, log_function=lambda _: None)
        demo.ryze.delay = self._delay

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def __aenter__(self) -> Self:
        try:
            listening = create_server(("127.0.0.1", self.port))
        except OSError:
            listening = create_server(("127.0.0.1", 0))
        listening.settimeout(0)
        self.port = listening.getsockname()[1]
        self._server = HTTPServer(self._application)
        self._server.add_socket(listening)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.stop()
        await self._server.close_all_connections()

    # What is to be seen

    def state(self) -> Json:
        """All that the page shows, as JSON; small enough to be sent again whenever any of it changes."""
        telegram, ryze = self.demo.telegram, self.demo.ryze
        return {
            "boot": self._boot,
            "bot": {**telegram.me, "running": self.demo.running},
            "waiting": len(telegram.pending),
            "switches": {"down": self._down, "drops": ryze.drops_oldest, "killed": not self.demo.running},
            "people": [
                {"id": number, "name": person.name, "instances": person.instances, "menus": self._menus(number)}
                for number, person in self.people.items()
            ],
            "chats": {number: self._chat(number) for number in self.people},
            "phones": {name: self._phone(name) for name in PHONES},
            "answers": [
                {"query": query, "person": person, "text": str(telegram.callback_answers[query].get("text") or "")}
                for query, person in self.presses.items()
                if query in telegram.callback_answers
            ],
            "requests": [
                {"instance": call.instance, "number": call.number, "pin": call.pin, "status": call.status}
                for call in ryze.calls[-12:]
            ],
        }

    def _menus(self, person: int) -> dict[str, list[Json]]:
        """A private chat's command menu by language: its own, or everybody's; in the language, or in no special one."""
        commands = self.demo.telegram.commands
        menus: dict[str, list[Json]] = {}
        for language in LANGUAGES:
            codes = (language[:2], "")
            keys = [
                *(("chat", person, None, code) for code in codes),
                *(("default", None, None, code) for code in codes),
            ]
            menus[language] = next((commands[key] for key in keys if key in commands), [])
        return menus

    def _chat(self, person: int) -> Json:
        messages = self.demo.telegram.messages(person)[-200:]
        return {"messages": [self._message(message) for message in messages], "typing": self._typing(person)}

    def _message(self, message: Json) -> Json:
        kept = ("message_id", "date", "edit_date", "text", "entities", "contact")
        shown: Json = {name: message[name] for name in kept if name in message}
        shown["mine"] = message["from"]["id"] != self.demo.telegram.me["id"]
        shown["keyboard"] = message.get("reply_markup", {}).get("inline_keyboard", [])
        shown["reactions"] = self.demo.telegram.reactions.get((message["chat"]["id"], message["message_id"]), [])
        if replied := message.get("reply_to_message"):
            text = replied.get("text") or replied["contact"]["first_name"]
            shown["reply_to"] = {"name": replied["from"]["first_name"], "text": text}
        return shown

    def _typing(self, person: int) -> bool:
        """Whether “typing…” shows: for some seconds, or until the bot's next message."""
        for call in reversed(self.demo.telegram.calls):
            if call.at < time.monotonic() - TYPING or not self.demo.running:
                return False
            if call.params.get("chat_id") == person and call.status == 200:
                return call.method == "sendChatAction"
        return False

    def _phone(self, name: str) -> Json:
        """An instance's chat list as WhatsApp orders it: what is pinned, newest first, then the rest."""
        pinned, seen = self.demo.ryze.instances[name].pinned, self._seen[name]
        seen += [jid for jid in pinned if jid not in seen]
        chats = []
        for jid in [*pinned, *(jid for jid in seen if jid not in pinned)]:
            contact = PHONES[name].get(jid) or _contact("", jid, f"+{jid.partition('@')[0]}")
            chats.append({**contact, "pinned": jid in pinned})
        return {"chats": chats, "places": self.demo.ryze.max_pins, "switches": sorted(self._switched[name])}

    # What a person does

    async def act(self, name: str, asked: Json) -> Json:
        """Do what the page asks for.

        Raises:
            DemoError, LookupError, TypeError, ValueError: it makes no sense, or the bot did not start.
        """
        if name == "switch":
            async with self._switching:
                await self._switch(asked["name"], asked["instance"], on=asked["on"])
            return {}
        act = {"say": self._say, "contact": self._share, "press": self._press}[name]
        return act({**self.people[asked["person"]].user, "language_code": LANGUAGES[asked["language"]]}, asked)

    def _say(self, user: Json, asked: Json) -> Json:
        self.demo.telegram.message(user, asked["text"].strip())
        return {}

    def _share(self, user: Json, asked: Json) -> Json:
        contact = {**PHONES["sales"], **PHONES["support"]}[asked["jid"]]
        card = {"phone_number": contact["jid"].partition("@")[0], "first_name": contact["name"]}
        self.demo.telegram.message(user, None, contact=card)
        return {}

    def _press(self, user: Json, asked: Json) -> Json:
        shown = {message["message_id"]: message for message in self.demo.telegram.messages(user["id"])}
        query = self.demo.telegram.press(user, shown[asked["message"]], asked["data"])
        self.presses[query] = user["id"]
        return {"query": query}

    async def _switch(self, name: str, instance: str, *, on: bool) -> None:
        ryze = self.demo.ryze
        if name == "killed":
            await (self.demo.kill() if on else self.demo.start())
        elif name == "down":
            await (ryze.down() if on else ryze.up())
            self._down = on
        elif name == "drops":
            ryze.drops_oldest = on
        else:
            switched = self._switched[instance]
            (switched.add if on else switched.discard)(name)
            ryze.instances[instance].connected = "disconnected" not in switched
            ryze.instances[instance].token = "another-token" if "token" in switched else TOKENS[instance]
            ryze.used_up = {TOKENS[limited] for limited, names in self._switched.items() if "limit" in names}

    def _delay(self, call: Call) -> float:
        return SLOW if "slow" in self._switched.get(call.instance or "", ()) else 0.0


class _Handler(RequestHandler):
    def initialize(self, page: Page) -> None:
        self.page = page

    def prepare(self) -> None:
        """Let nobody in but this page: another site's name may point here, and its forms may be posted here."""
        ours = {f"{host}:{self.page.port}" for host in ("127.0.0.1", "localhost")}
        host, origin = self.request.host, self.request.headers.get("Origin")
        if host not in ours or (self.request.method == "POST" and origin != f"http://{host}"):
            self.set_status(403)
            self.finish("This page is for this machine's own browser.\n")


class _Html(_Handler):
    def get(self) -> None:
        self.finish((HERE / "page.html").read_text(encoding="utf-8"))


class _Events(_Handler):
    """The state as server-sent events: complete at first, and again after every change."""

    left = False

    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.write("retry: 500\n\n")
        last = ""
        with suppress(StreamClosedError):
            while not self.left:
                if (state := json.dumps(self.page.state())) != last:
                    last = state
                    self.write(f"data: {state}\n\n")
                    await self.flush()
                await asyncio.sleep(LOOK)

    def on_connection_close(self) -> None:
        self.left = True


class _Acts(_Handler):
    async def post(self, name: str) -> None:
        try:
            self.finish(await self.page.act(name, json.loads(self.request.body)))
        except (DemoError, LookupError, TypeError, ValueError) as error:
            self.set_status(400)
            self.finish({"error": str(error)})


HANDLERS: dict[str, type[_Handler]] = {"/": _Html, "/events": _Events, "/do/(.*)": _Acts}
