"""`make demo`: the real bot, in a process of its own, against the stand-ins: first a tour, then a talk with you.

Meanwhile a page on loopback shows the same and more; with `--page-only` there is nothing but the page.
"""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.sandbox.page import PORT, Page, Refused
from tests.sandbox.ryze import RyzeServer
from tests.sandbox.server import Json
from tests.sandbox.telegram import TelegramServer

PATIENCE = 30.0  # seconds for one answer
ROOT = Path(__file__).parents[2]
QUIT = "/quit"
WINDOW = 15.0  # seconds of Ryze's rate limit, a minute there: nobody wants to watch a whole one


@dataclass(frozen=True)
class Person:
    """Someone at Telegram; an operator if they have instances, of which the first is the default."""

    telegram_id: int
    name: str
    instances: tuple[str, ...] = ()

    @property
    def instance(self) -> str | None:
        return next(iter(self.instances), None)

    @property
    def user(self) -> Json:
        return {"id": self.telegram_id, "is_bot": False, "first_name": self.name, "language_code": "en"}


ANA = Person(1001, "Ana", ("sales",))
BRUNO = Person(1002, "Bruno", ("support", "sales"))
CARLA = Person(1003, "Carla", ("night",))
DAVI = Person(1004, "Davi", ("warehouse",))
EVE = Person(2001, "Eve")
OPERATORS = (ANA, BRUNO, CARLA, DAVI)
ADMIN = BRUNO
ON_THE_PAGE = (ANA, BRUNO, EVE)

TOKENS = {str(person.instance): f"token-of-{person.instance}" for person in OPERATORS}
WRONG_TOKENS = {DAVI.instance: "token-of-last-year"}
PINNED_ON_THE_PHONE = ["442079460958@s.whatsapp.net", "5521987654321@s.whatsapp.net"]

TOUR: tuple[tuple[str, tuple[tuple[Person, str], ...]], ...] = (
    ("Pin a chat", ((ANA, "/pin 5511999999999"),)),
    ("A number as it was pasted, on another operator's instance", ((BRUNO, "/pin +55 (11) 98888-7777"),)),
    ("A stranger", ((EVE, "/pin 5511999999999"),)),
    (
        "WhatsApp pins three chats, and two were pinned on the phone before",
        (
            (ANA, "/pin +1 415 555 2671"),
            (ANA, "/unpin +55 21 98765-4321"),
            (ANA, "/pin +1 415 555 2671"),
        ),
    ),
    ("An instance that is not connected to WhatsApp", ((CARLA, "/pin 5511999999999"),)),
    ("An instance whose token is wrong", ((DAVI, "/pin 5511999999999"),)),
)


class DemoError(Refused):
    """The demo cannot go on; says why."""


class Screen:
    """Eighty columns at most, in colour on a terminal unless NO_COLOR is set."""

    def __init__(self) -> None:
        self.width = min(shutil.get_terminal_size().columns, 80) - 1
        self.colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def heading(self, text: str) -> None:
        print(f"\n{self.paint(text, '1')}\n{self.paint('─' * min(len(text), self.width), '2')}", flush=True)

    def plain(self, text: str) -> None:
        print(textwrap.fill(text, self.width), flush=True)

    def said(self, who: str, text: str, code: str) -> None:
        """A label, and the text beside it."""
        lines: list[str] = []
        for line in text.splitlines() or [""]:
            lines += textwrap.wrap(line, self.width - 9, break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            label = f"{who if number == 0 else '':>7}  "
            print(
                self.paint(label, code) + (self.paint(line, "2") if code == "2" else line) if line else "", flush=True
            )

    def prompt(self, who: str) -> None:
        print(self.paint(f"\n{who:>7}  ", "1;36"), end="", flush=True)


class Demo:
    """The stand-ins, the bot between them, and what was shown of it so far."""

    def __init__(self, screen: Screen, telegram: TelegramServer, ryze: RyzeServer, folder: Path) -> None:
        self.screen = screen
        self.telegram = telegram
        self.ryze = ryze
        self.folder = folder
        self.log = folder / "bot.log"
        self.bot: asyncio.subprocess.Process | None = None
        self.killed = False
        self.buttons: list[tuple[Json, str]] = []
        self._shown: dict[tuple[int, int], Json] = {}
        self._requests_shown = 0

    @property
    def running(self) -> bool:
        return self.bot is not None and self.bot.returncode is None

    async def start(self) -> None:
        """Starts the bot, unless it runs, and waits until it asks for updates."""
        if self.running:
            return
        calls = len(self.telegram.calls)
        config = self.folder / "bot.yaml"
        config.write_text(self._config(), encoding="utf-8")
        with self.log.open("ab") as log:
            self.bot = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", "run", "--config", str(config)),
                cwd=self.folder,
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for the demo, which then ends the bot as a platform would
            )
        self.killed = False
        await self._until(
            lambda: any(call.method.lower() == "getupdates" for call in self.telegram.calls[calls:]), "start"
        )

    async def kill(self) -> None:
        """Ends the bot by SIGKILL, as a crash would: it has no time for anything."""
        if self.bot is not None and self.running:
            self.killed = True
            self.bot.kill()
            await self.bot.wait()

    async def stop(self) -> None:
        """Ends the bot by SIGTERM.

        Raises:
            DemoError: it did not leave, or not with status 0.
        """
        if self.bot is None or not self.running:
            return
        self.bot.terminate()
        try:
            async with asyncio.timeout(PATIENCE):
                status = await self.bot.wait()
        except TimeoutError:
            self.bot.kill()
            await self.bot.wait()
            raise DemoError(f"The bot did not end within {PATIENCE:g} s of SIGTERM.") from None
        if status:
            raise DemoError(f"The bot ended with status {status}.")

    async def say(self, person: Person, text: str) -> None:
        """Sends a message and shows what comes of it; what the page did before is no news here."""
        self._catch_up(person)
        before = set(self._shown)
        message = self.telegram.message(person.user, text)

        def answered() -> bool:
            asked = message["message_id"]
            return any(
                (sent["chat"]["id"], sent["message_id"]) not in before
                and sent["message_id"] > asked == sent.get("reply_to_message", message)["message_id"]
                for sent in self.telegram.sent(person.telegram_id)
            )

        await self._until(answered, f"answer {text!r}")
        self.show(person)

    async def press(self, person: Person, number: int) -> None:
        """Presses a button that was shown and shows what comes of it."""
        self._catch_up(person)
        message, data = self.buttons[number - 1]
        query_id = self.telegram.press(person.user, message, data)
        await self._until(lambda: query_id in self.telegram.callback_answers, "answer the button")
        if self.killed:
            return
        alert = str(self.telegram.callback_answers[query_id].get("text", ""))
        if alert:
            self.screen.said("Bot", alert, "1;32")
        else:
            with suppress(AssertionError):
                await self.telegram.wait_for(lambda: self._news(person), PATIENCE / 2)
        if not self.show(person) and not alert:
            self.screen.said("", "(nothing changed)", "2")

    def show(self, person: Person) -> bool:
        """Shows what Ryze was asked and what the bot wrote since; whether there was any of the latter."""
        for call in self.ryze.calls[self._requests_shown :]:
            what = f"{call.instance}: number {call.number}, pin {str(call.pin).lower()} → {call.status or 'no answer'}"
            self.screen.said("Ryze", what, "2")
        self._requests_shown = len(self.ryze.calls)
        news = self._news(person)
        for message in news:
            self._shown[message["chat"]["id"], message["message_id"]] = message
            self.screen.said("Bot", message["text"], "1;32")
            keyboard = message.get("reply_markup", {}).get("inline_keyboard", [])
            pressable = [button for row in keyboard for button in row if "callback_data" in button]
            self.buttons = [(message, button["callback_data"]) for button in pressable]
            labels = (f"[{number}] {button['text']}" for number, button in enumerate(pressable, 1))
            if pressable:
                self.screen.said("", "   ".join(labels), "33")
        return bool(news)

    def pins(self, person: Person) -> None:
        """Shows which chats are pinned at WhatsApp."""
        if person.instance is not None:
            numbers = [jid.partition("@")[0] for jid in self.ryze.instances[person.instance].pinned]
            self.screen.said("Phone", f"{person.instance}: {', '.join(numbers) or 'nothing'} pinned", "2")

    def tail(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-15:])

    def _news(self, person: Person) -> list[Json]:
        """The bot's messages in a person's chat that are not shown as they are now."""
        sent = self.telegram.sent(person.telegram_id)
        return [
            message for message in sent if self._shown.get((message["chat"]["id"], message["message_id"])) != message
        ]

    def _catch_up(self, person: Person) -> None:
        for message in self._news(person):
            self._shown[message["chat"]["id"], message["message_id"]] = message
        self._requests_shown = len(self.ryze.calls)

    async def _until(self, done: Callable[[], bool], what: str) -> None:
        bot = self.bot

        def over() -> bool:
            return done() or (bot is not None and bot.returncode is not None)

        try:
            await self.telegram.wait_for(over, PATIENCE)
        except AssertionError:
            raise DemoError(f"The bot did not {what} within {PATIENCE:g} s.") from None
        if not done() and self.killed:
            self.screen.said("", "(the bot was killed on the page, and answers once it is started again)", "2")
        elif not done() and bot is not None:
            raise DemoError(f"The bot did not {what}: it ended with status {bot.returncode}.")

    def _config(self) -> str:
        lines = ["telegram:", f"  api_url: {self.telegram.url}", "ryze:", f"  base_url: {self.ryze.url}"]
        lines += ["region: BR", "instances:"]
        for name in TOKENS:
            lines += [f"  {name}:", f"    token: ${{RYZE_{name.upper()}_TOKEN}}"]
        lines += [f"admins: [{ADMIN.telegram_id}]", "operators:"]
        for person in OPERATORS:
            lines += [f"  - telegram_id: {person.telegram_id}", f"    name: {person.name}"]
            lines += [f"    instances: [{', '.join(person.instances)}]"]
        return "\n".join(lines) + "\n"

    def _environment(self) -> dict[str, str]:
        """The environment without what a real bot of this machine may be told by it."""
        ours = ("BOT_", "WEBHOOK_", "METRICS_", "RYZE_", "TELEGRAM_", "DATABASE_URL", "PORT", "LOG_LEVEL")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(ours) and not name.lower().endswith("_proxy")
        }
        tokens = {f"RYZE_{name.upper()}_TOKEN": WRONG_TOKENS.get(name, token) for name, token in TOKENS.items()}
        return {**kept, **tokens, "TELEGRAM_BOT_TOKEN": self.telegram.token, "PYTHONPATH": str(ROOT)}


@asynccontextmanager
async def started(screen: Screen) -> AsyncIterator[Demo]:
    """The demo with its bot at work."""
    with tempfile.TemporaryDirectory(prefix="ryze-pin-bot-demo-") as folder:
        async with TelegramServer() as telegram, RyzeServer(TOKENS, window=WINDOW) as ryze:
            for person in (*OPERATORS, EVE):
                telegram.add_chat(person.user)
            ryze.instances["night"].connected = False
            ryze.instances["sales"].pinned = list(PINNED_ON_THE_PHONE)
            demo = Demo(screen, telegram, ryze, Path(folder))
            try:
                await demo.start()
                yield demo
                await demo.stop()
            except DemoError as error:
                log = textwrap.indent(demo.tail(), "  ") or "  empty"
                raise DemoError(f"{error}\nThe end of its log:\n{log}") from None
            finally:
                with suppress(DemoError):
                    await demo.stop()


async def tour(demo: Demo) -> None:
    """Plays what the bot is for, and what may go wrong."""
    for number, (title, lines) in enumerate(TOUR, 1):
        demo.screen.heading(f"{number}. {title}")
        for person, text in lines:
            demo.screen.said(person.name, text, "1;36")
            await demo.say(person, text)
            demo.pins(person)


async def conversation(demo: Demo, *, terminal: bool) -> None:
    """Sends what is typed or piped in as an operator's messages until its end."""
    screen, person = demo.screen, ANA
    lines = _stdin_lines()
    begun = False
    if terminal:
        screen.heading("Your turn")
        screen.plain(
            f"You are {person.name}, an operator of {person.instance}. Try /pin 11 97777-6666, /unpin, /help or"
            f" anything else; a button's number presses it; {QUIT} or Ctrl-D ends the demo."
        )
    while True:
        if terminal:
            screen.prompt(person.name)
        line = await lines.get()
        if line is None and terminal:
            print()
        if line is None or line.strip() == QUIT:
            return
        text = line.strip()
        if not text:
            continue
        if not terminal:
            if not begun:
                screen.heading(f"From the standard input, as {person.name}")
            screen.said(person.name, text, "1;36")
        begun = True
        if text.isdecimal() and 1 <= int(text) <= len(demo.buttons):
            await demo.press(person, int(text))
        else:
            await demo.say(person, text)
        demo.pins(person)


def _stdin_lines() -> asyncio.Queue[str | None]:
    """Lines of the standard input, and None at its end.

    A thread reads them, because not everything that can be a standard input can be polled; a daemon, and below
    Python's buffers, because nothing may have to wait for it when the demo ends.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        rest = b""
        with suppress(OSError, RuntimeError):  # closed, or the loop is
            while chunk := os.read(0, 65536):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    loop.call_soon_threadsafe(lines.put_nowait, line.decode("utf-8", "replace"))
        with suppress(RuntimeError):
            if rest:
                loop.call_soon_threadsafe(lines.put_nowait, rest.decode("utf-8", "replace"))
            loop.call_soon_threadsafe(lines.put_nowait, None)

    if sys.stdin is None:  # closed, and its number may be another file's by now
        lines.put_nowait(None)
    else:
        threading.Thread(target=read, daemon=True).start()
    return lines


async def run(*, page_only: bool, port: int) -> int:
    task = asyncio.current_task()
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel if task else lambda: None)
    screen = Screen()
    terminal = sys.stdin is not None and sys.stdin.isatty()
    screen.plain(
        "This is the real bot, in a process of its own, over real HTTP; Telegram and Ryze are stand-ins on 127.0.0.1."
    )
    try:
        async with started(screen) as demo, Page(demo, ON_THE_PAGE, port=port) as page:
            screen.plain(f"To see it, and to play with it, open {page.url} in a browser.")
            if page_only:
                await asyncio.get_running_loop().create_future()  # until a signal
            await tour(demo)
            demo.buttons = []
            await conversation(demo, terminal=terminal)
    except DemoError as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 1
    print()
    screen.plain("That was the demo. README.md tells how to run the bot for your team.")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox.demo", description="The real bot on stand-ins.")
    parser.add_argument("--page-only", action="store_true", help="serve the page until Ctrl-C, without the tour")
    parser.add_argument("--port", type=int, default=PORT, help="the page's, if it is free (default: %(default)s)")
    asked = parser.parse_args()
    try:
        return asyncio.run(run(page_only=asked.page_only, port=asked.port))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(flush=True)
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read the transcript has left
        return 0


if __name__ == "__main__":
    sys.exit(main())
