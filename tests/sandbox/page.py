"""The demo's page on loopback: a chat with the bot, the phone that it changes, and switches for what can go wrong.

It shows what the stand-ins hold and asks them for what a person does; the bot knows nothing of it.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from socket import create_server
from typing import Self

import yaml
from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler

from tests.sandbox.server import Json
from tests.sandbox.stage import PATIENCE, TOKENS, Demo, DemoError, Person

PORT = 8765  # if it is free
SLOW = 4.0  # seconds that a slow instance takes
TYPING = 5.0  # seconds for which Telegram shows an action
LOOK = 0.05  # seconds between two looks at whether anything changed
LANGUAGES = ("en", "pt-BR", "es")
HERE = Path(__file__).parent
# What each instance's phone knows; under a language is what was said last.
PHONES: dict[str, list[Json]] = {
    instance: [dict(zip(("name", "jid", "number", "when", *LANGUAGES), chat, strict=True)) for chat in chats]
    for instance, chats in yaml.safe_load((HERE / "phones.yaml").read_text(encoding="utf-8")).items()
}


class Page:
    """An async context manager that serves the page, on `port` or, if that is taken, on a free one."""

    def __init__(self, demo: Demo, people: Sequence[Person], *, port: int = PORT) -> None:
        self.demo = demo
        self.people = {person.telegram_id: person for person in people}
        self.port = port
        self._slow: set[str] = set()  # instances
        demo.ryze.delay = lambda call: SLOW if call.instance in self._slow else 0.0

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
        routes = [(path, handler, {"page": self}) for path, handler in HANDLERS.items()]
        self._server = HTTPServer(Application(routes, log_function=lambda _: None))
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
            "bot": {**telegram.me, "running": self.demo.running},
            "waiting": len(telegram.pending),
            "switches": {"down": not ryze.listener, "drops": ryze.drops_oldest, "killed": not self.demo.running},
            "people": [
                {**asdict(person), "menus": {language: self._menu(number, language) for language in LANGUAGES}}
                for number, person in self.people.items()
            ],
            "chats": {number: self._chat(number) for number in self.people},
            "phones": {name: self._phone(name) for name in PHONES},
            "requests": [
                {"instance": call.instance, "number": call.number, "pin": call.pin, "status": call.status}
                for call in ryze.calls[-12:]
            ],
        }

    def _menu(self, person: int, language: str) -> list[Json]:
        """A private chat's command menu: its own, or everybody's; in the language, or in no special one."""
        for scope in (("chat", person, None), ("default", None, None)):
            for code in (language[:2], ""):
                if menu := self.demo.telegram.commands.get((*scope, code)):
                    return menu
        return []

    def _chat(self, person: int) -> Json:
        telegram = self.demo.telegram
        messages = [
            {**message, "reactions": telegram.reactions.get((person, message["message_id"]), [])}
            for message in telegram.messages(person)[-100:]
        ]
        return {"messages": messages, "typing": self._typing(person)}

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
        ryze = self.demo.ryze
        instance, known = ryze.instances[name], {chat["jid"]: chat for chat in PHONES[name]}
        pinned = [
            {"name": "", "jid": jid, "number": f"+{jid.partition('@')[0]}", **known.pop(jid, {}), "pinned": True}
            for jid in instance.pinned
        ]
        switches = {
            "disconnected": not instance.connected,
            "token": instance.token != TOKENS[name],
            "limit": TOKENS[name] in ryze.used_up,
            "slow": name in self._slow,
        }
        return {"chats": [*pinned, *known.values()], "places": ryze.max_pins, "switches": switches}

    # What a person does

    async def act(self, name: str, asked: Json) -> Json:
        """Do what the page asks for.

        Raises:
            DemoError, LookupError, TypeError, ValueError: it makes no sense, or the bot did not start.
        """
        telegram = self.demo.telegram
        user = {**self.people[asked["person"]].user, "language_code": asked["language"].lower()}
        if name == "say":
            telegram.message(user, asked["text"].strip())
        elif name == "contact":
            telegram.message(user, None, contact=asked["contact"])
        elif name == "press":
            query = telegram.press(user, {"chat": user, "message_id": asked["message"]}, asked["data"])
            with suppress(AssertionError):
                await telegram.wait_for(lambda: query in telegram.callback_answers, PATIENCE)
            return {"alert": telegram.callback_answers.get(query, {}).get("text")}
        else:
            await self._switch(asked["switch"], asked["instance"], on=asked["on"])
        return {}

    async def _switch(self, name: str, instance: str, *, on: bool) -> None:
        ryze = self.demo.ryze
        match name:
            case "killed":
                await (self.demo.kill() if on else self.demo.start())
            case "down":
                await (ryze.down() if on else ryze.up())
            case "drops":
                ryze.drops_oldest = on
            case "disconnected":
                ryze.instances[instance].connected = not on
            case "token":
                ryze.instances[instance].token = "another-token" if on else TOKENS[instance]
            case "limit":
                (ryze.used_up.add if on else ryze.used_up.discard)(TOKENS[instance])
            case "slow":
                (self._slow.add if on else self._slow.discard)(instance)
            case _:
                raise LookupError(name)


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
