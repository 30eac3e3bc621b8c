"""The demo's page on loopback: a chat with the bot, the phone that it changes, and switches for what can go wrong.

It shows what the stand-ins hold and asks them for what a person does; the bot knows nothing of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from socket import create_server
from typing import TYPE_CHECKING, Any, Self

import yaml
from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler

from tests.sandbox.server import Fault, Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.sandbox.demo import Demo, Person
    from tests.sandbox.ryze import Call

PORT = 8765  # if it is free
SLOW = 4.0  # seconds that a slow instance takes
TYPING = 5.0  # seconds for which Telegram shows an action
LOOK = 0.05  # seconds between two looks at whether anything changed
MOST_MESSAGES = 200  # of a chat
MOST_REQUESTS = 30
LANGUAGES = {"en": "en", "pt-BR": "pt-br", "es": "es"}  # the page's, and Telegram's code of each
RATE_LIMIT = "Rate limit exceeded. Try again later."  # Ryze's own words
REASONABLE = 4096  # characters of a message


@dataclass(frozen=True)
class Contact:
    """A chat on a phone; `phones.yaml` says what is what."""

    name: str
    jid: str
    number: str
    when: str = ""
    en: str = ""
    pt: str = ""
    es: str = ""

    def shown(self, *, pinned: bool) -> Json:
        last = {"en": self.en, "pt-BR": self.pt, "es": self.es}
        who = {"jid": self.jid, "name": self.name, "number": self.number}
        return {**who, "when": self.when, "last": last, "pinned": pinned}


PHONES = {
    name: tuple(Contact(*map(str, row)) for row in rows)
    for name, rows in yaml.safe_load(Path(__file__).with_name("phones.yaml").read_text(encoding="utf-8")).items()
}


class Refused(Exception):
    """What the page asked for was not done; says why."""


class Page:
    """An async context manager that serves the page, on `port` or, if that is taken, on a free one."""

    def __init__(self, demo: Demo, people: Sequence[Person], *, port: int = PORT) -> None:
        self.demo = demo
        self.people = {person.telegram_id: person for person in people}
        self.port = port
        self._boot = secrets.token_hex(4)
        self.presses: dict[str, tuple[int, int]] = {}
        self._limited: dict[str, Fault[Call]] = {}
        self._slow: set[str] = set()
        self._down = False
        self._tokens = {name: demo.ryze.instances[name].token for name in PHONES}
        self._seen: dict[str, list[str]] = {name: [contact.jid for contact in chats] for name, chats in PHONES.items()}
        self._switching = asyncio.Lock()
        self._server: HTTPServer | None = None
        self.watching: set[asyncio.Event] = set()  # a stream of events each, set when it ends
        demo.ryze.delay = lambda call: SLOW if call.instance in self._slow else 0.0
        self._acts: dict[str, Callable[[Json], Awaitable[Json]]] = {
            "say": self._say,
            "contact": self._contact,
            "press": self._press,
            "switch": self._switch,
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def __aenter__(self) -> Self:
        html = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
        routes = [
            (r"/", _Html, {"page": self, "html": html, "policy": _policy(html)}),
            (r"/events", _Events, {"page": self}),
            (r"/do/([a-z]+)", _Acts, {"page": self}),
        ]
        self._server = HTTPServer(Application(routes, log_function=lambda _: None))  # type: ignore[arg-type] # rules are tuples
        try:
            listening = create_server(("127.0.0.1", self.port))
        except OSError:
            listening = create_server(("127.0.0.1", 0))
        listening.settimeout(0)
        self.port = listening.getsockname()[1]
        self._server.add_socket(listening)
        return self

    async def __aexit__(self, *_: object) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()
            await server.close_all_connections()
        for over in list(self.watching):
            await over.wait()

    @property
    def serving(self) -> bool:
        return self._server is not None

    # What is to be seen

    def state(self) -> Json:
        """All that the page shows, as JSON; small enough to be sent whole whenever any of it changes."""
        ryze = self.demo.ryze
        return {
            "boot": self._boot,
            "bot": {**self.demo.telegram.me, "running": self.demo.running},
            "waiting": len(self.demo.telegram.pending),
            "down": self._down,
            "people": [self._shown_person(person) for person in self.people.values()],
            "chats": {number: self._chat(number) for number in self.people},
            "phones": {name: self._phone(name) for name in PHONES},
            "answers": [
                {"query": query, "person": person, "message": message, **self._words(query)}
                for query, (person, message) in list(self.presses.items())[-20:]
                if query in self.demo.telegram.callback_answers
            ],
            "requests": [
                {"n": n, "instance": call.instance, "number": call.number, "pin": call.pin, "status": call.status}
                for n, call in list(enumerate(ryze.calls))[-MOST_REQUESTS:]
            ],
        }

    def _shown_person(self, person: Person) -> Json:
        menus = {language: self._menu(person.telegram_id, language[:2]) for language in LANGUAGES}
        return {"id": person.telegram_id, "name": person.name, "instances": person.instances, "menus": menus}

    def _menu(self, person: int, language: str) -> list[Json]:
        """The command menu of a private chat, as Telegram chooses it: of the narrowest scope that has one."""
        scopes = (("chat", person), ("all_private_chats", None), ("default", None))
        keys = ((kind, chat, None, code) for kind, chat in scopes for code in (language, ""))
        return next((menu for key in keys if (menu := self.demo.telegram.commands.get(key))), [])

    def _chat(self, person: int) -> Json:
        messages = self.demo.telegram.messages(person)[-MOST_MESSAGES:]
        return {"messages": [self._message(message) for message in messages], "typing": self._typing(person)}

    def _message(self, message: Json) -> Json:
        kept = ("message_id", "date", "edit_date", "text", "entities", "contact")
        shown: Json = {name: message[name] for name in kept if name in message}
        shown["mine"] = message["from"]["id"] != self.demo.telegram.me["id"]
        shown["keyboard"] = message.get("reply_markup", {}).get("inline_keyboard", [])
        if replied := message.get("reply_to_message"):
            shown["reply_to"] = {
                "message_id": replied["message_id"],
                "name": replied["from"]["first_name"],
                "text": replied.get("text") or replied.get("contact", {}).get("first_name", ""),
            }
        return shown

    def _typing(self, person: int) -> bool:
        """Whether “typing…” shows: for some seconds, or until the bot's next message."""
        if not self.demo.running:
            return False
        for call in reversed(self.demo.telegram.calls):
            if call.at < time.monotonic() - TYPING:
                return False
            if call.params.get("chat_id") == person and call.status == 200:
                if call.method.lower() == "sendchataction":
                    return True
                if call.method.lower() in {"sendmessage", "editmessagetext"}:
                    return False
        return False

    def _words(self, query: str) -> Json:
        answer = self.demo.telegram.callback_answers[query]
        return {"text": str(answer.get("text") or ""), "alert": answer.get("show_alert") is True}

    def _phone(self, name: str) -> Json:
        """An instance's chat list as WhatsApp orders it: what is pinned, newest first, then the rest."""
        instance = self.demo.ryze.instances[name]
        known = {contact.jid: contact for contact in PHONES[name]}
        seen = self._seen[name]
        seen += [jid for jid in instance.pinned if jid not in seen]
        chats = []
        for jid in [*instance.pinned, *(jid for jid in seen if jid not in instance.pinned)]:
            bare = jid.removesuffix("@s.whatsapp.net")
            contact = known.get(jid) or Contact("", jid, bare if "@" in bare else f"+{bare}")
            chats.append(contact.shown(pinned=jid in instance.pinned))
        return {
            "chats": chats,
            "most": self.demo.ryze.max_pins,
            "disconnected": not instance.connected,
            "token": instance.token != self._tokens[name],
            "limit": name in self._limited,
            "slow": name in self._slow,
        }

    # What a person does

    async def act(self, name: str, body: bytes) -> Json:
        asked: Any = json.loads(body)
        act = self._acts.get(name)
        if act is None or not isinstance(asked, dict):
            raise Refused("no such act")
        return await act(asked)

    def _user(self, asked: Json) -> Json:
        """Whoever acts, with the language of their Telegram app."""
        person, code = self.people.get(asked.get("person", 0)), LANGUAGES.get(asked.get("language", ""))
        if person is None or code is None:
            raise Refused("no such person or language")
        return {**person.user, "language_code": code}

    def _found(self, chat: int, message_id: object) -> Json:
        for message in self.demo.telegram.messages(chat):
            if message["message_id"] == message_id:
                return message
        raise Refused("no such message")

    async def _say(self, asked: Json) -> Json:
        user, text, fields = self._user(asked), asked.get("text"), Json()
        if not isinstance(text, str) or not text.strip() or len(text) > REASONABLE:
            raise Refused("a message has 1 to 4096 characters")
        if asked.get("reply_to") is not None:
            replied = self._found(user["id"], asked["reply_to"])
            fields["reply_to_message"] = {key: value for key, value in replied.items() if key != "reply_to_message"}
        return {"message_id": self.demo.telegram.message(user, text.strip(), **fields)["message_id"]}

    async def _contact(self, asked: Json) -> Json:
        user = self._user(asked)
        contacts = {contact.jid: contact for chats in PHONES.values() for contact in chats}
        contact = contacts.get(asked.get("jid", ""))
        if contact is None or not contact.number.startswith("+"):
            raise Refused("no such contact")
        card = {"phone_number": contact.jid.partition("@")[0], "first_name": contact.name}
        return {"message_id": self.demo.telegram.message(user, None, contact=card)["message_id"]}

    async def _press(self, asked: Json) -> Json:
        user = self._user(asked)
        message = self._found(user["id"], asked.get("message"))
        query = self.demo.telegram.press(user, message, str(asked.get("data", "")))
        self.presses[query] = user["id"], message["message_id"]
        return {"query": query}

    async def _switch(self, asked: Json) -> Json:
        name, on, instance = asked.get("name"), asked.get("on"), asked.get("instance", "")
        if not isinstance(on, bool):
            raise Refused("a switch is true or false")
        async with self._switching:
            if name == "killed":
                await (self.demo.kill() if on else self.demo.start())
            elif name == "down":
                await (self.demo.ryze.down() if on else self.demo.ryze.up())
                self._down = on
            elif instance in PHONES:
                self._spoil(str(name), instance, on=on)
            else:
                raise Refused("no such instance")
        return {}

    def _spoil(self, name: str, instance: str, *, on: bool) -> None:
        ryze = self.demo.ryze
        if name == "disconnected":
            ryze.instances[instance].connected = not on
        elif name == "token":
            ryze.instances[instance].token = "another-token" if on else self._tokens[instance]
        elif name == "slow":
            (self._slow.add if on else self._slow.discard)(instance)
        elif name == "limit":
            if on and instance not in self._limited:
                self._limited[instance] = ryze.fault(
                    status=429,
                    message=RATE_LIMIT,
                    headers={"X-RateLimit-Remaining": "0"},
                    when=lambda call: call.instance == instance,
                    times=None,
                )
            elif not on and instance in self._limited:
                self._limited.pop(instance).stop()
        else:
            raise Refused("no such switch")


def _policy(html: str) -> str:
    """The Content-Security-Policy that lets just this file's own script and style run, and it talk to us alone."""

    def allowed(tag: str) -> str:
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        hashes = (b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in found)
        return " ".join(f"'sha256-{digest}'" for digest in hashes)

    return (
        f"default-src 'none'; script-src {allowed('script')}; style-src {allowed('style')}; connect-src 'self';"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class _Handler(RequestHandler):
    page: Page

    def initialize(self, page: Page) -> None:
        self.page = page

    def set_default_headers(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.clear_header("Server")

    def prepare(self) -> None:
        """Lets nobody in but this page: another site's name may point here, and its forms may be posted here."""
        ours = {f"{host}:{self.page.port}" for host in ("127.0.0.1", "localhost")}
        host, headers = self.request.host, self.request.headers
        foreign = headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}
        posted = self.request.method == "POST"
        if host not in ours or (posted and (foreign or headers.get("Origin") != f"http://{host}")):
            self.set_status(403)
            self.finish("This page is for this machine's own browser.\n")


class _Html(_Handler):
    def initialize(self, page: Page, html: str = "", policy: str = "") -> None:
        super().initialize(page)
        self.html = html
        self.policy = policy

    def get(self) -> None:
        self.set_header("Content-Security-Policy", self.policy)
        self.finish(self.html)


class _Events(_Handler):
    """The state as server-sent events: whole at first, whole again after every change."""

    left = False

    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.write("retry: 500\n\n")
        over = asyncio.Event()
        self.page.watching.add(over)
        try:
            await self._tell()
        except StreamClosedError:
            pass
        finally:
            self.page.watching.discard(over)
            over.set()

    async def _tell(self) -> None:
        last = ""
        while self.page.serving and not self.left:
            state = json.dumps(self.page.state())
            if state != last:
                last = state
                self.write(f"data: {state}\n\n")
                await self.flush()
            await asyncio.sleep(LOOK)

    def on_connection_close(self) -> None:
        self.left = True


class _Acts(_Handler):
    async def post(self, name: str) -> None:
        try:
            self.finish(await self.page.act(name, self.request.body))
        except (Refused, ValueError, TypeError) as error:
            self.set_status(400)
            self.finish({"error": str(error)})
