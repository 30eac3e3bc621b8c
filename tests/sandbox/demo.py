"""`make demo`: the real bot, in a process of its own, against the stand-ins: first a tour, then a talk with you.

Meanwhile a page on loopback shows the same and more; with `--page-only` there is nothing but the page.
"""

import argparse
import asyncio
import os
import re
import shutil
import signal
import sys
import termios
import textwrap
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.sandbox.page import PORT, Page
from tests.sandbox.server import Json
from tests.sandbox.stage import ANA, BRUNO, CARLA, DAVI, EVE, Demo, DemoError, Person, started

QUIT = "/quit"
KILLED = "(the bot was killed on the page, and answers once it is started again)"
PRESS = "👆 "  # what follows begins the label of the button to press


@dataclass(frozen=True)
class Scene:
    """A step of the tour: who sends or presses what. `drops_oldest` says which world it plays in."""

    title: str
    lines: tuple[tuple[Person, str], ...]
    drops_oldest: bool = False


TOUR = (
    Scene("Pin a chat: the number as it was pasted", ((ANA, "/pin Padaria Aurora: +55 (11) 99999-9999"),)),
    Scene(
        "Brazil or Peru? One tap corrects it",
        ((BRUNO, "/pin 51987654321"), (BRUNO, f"{PRESS}Meant 🇵🇪 +51 987 654 321")),
    ),
    Scene("An area code is missing", ((ANA, "/pin 97777-6666"),)),
    Scene("A stranger", ((EVE, "/pin 5511999999999"),)),
    Scene(
        "WhatsApp pins three chats, and two were pinned on the phone before",
        ((ANA, "/pin +1 415 555 2671"), (ANA, f"{PRESS}Replace +55 11 99999-9999")),
    ),
    Scene(
        "On some phones a fourth goes through, and the oldest is silently gone",
        ((BRUNO, "/pin +55 11 98888-7777, +351 912 345 678"), (BRUNO, "/pin +55 31 99876-5432")),
        drops_oldest=True,
    ),
    Scene("An instance that is not connected to WhatsApp", ((CARLA, "/pin 5511999999999"),)),
    Scene("An instance whose token is wrong", ((DAVI, "/pin 5511999999999"),)),
)


class Screen:
    """Shows the demo in a terminal: eighty columns at most, in colour unless NO_COLOR is set, or in a pipe."""

    def __init__(self, demo: Demo) -> None:
        self.demo = demo
        self.buttons: list[tuple[Json, Json]] = []  # a message and a button of it, by the number that presses it
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._shown: list[Json] = []
        self._requests_shown = 0

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def prompt(self, who: str) -> str:
        """The label of what is typed; its escapes are marked as having no width, for `readline`."""
        return re.sub("\x1b[^m]*m", "\x01\\g<0>\x02", self.paint(f"{who:>7}  ", "1;36"))

    def heading(self, text: str) -> None:
        print(f"\n{self.paint(text, '1')}\n{self.paint('─' * min(len(text), columns()), '2')}", flush=True)

    def said(self, who: str, text: str, code: str) -> None:
        """A label, and the text beside it."""
        for line in text.splitlines():
            for part in textwrap.wrap(line, columns() - 9, break_on_hyphens=False) or [""]:
                painted = self.paint(part, code) if code == "2" else part
                print(f"{self.paint(f'{who:>7}  ', code)}{painted}" if part else "", flush=True)
                who = ""

    async def send(self, person: Person, text: str) -> None:
        """Send a message and show what comes of it."""
        self._news(person)  # what the page did before is none
        telegram = self.demo.telegram
        message = telegram.message(person.user, text)
        key = person.telegram_id, message["message_id"]
        if await self._done(lambda: bool(key in telegram.reactions or telegram.replies(message)), f"answer {text!r}"):
            self._show(person, "".join(telegram.reactions.get(key, ())))

    async def press(self, person: Person, number: int) -> None:
        """Press a button that was shown, and show what comes of it."""
        self._news(person)
        (message, button), telegram = self.buttons[number - 1], self.demo.telegram
        calls = len(telegram.calls)
        query = telegram.press(person.user, message, button["callback_data"])

        def alert() -> str:
            return str(telegram.callback_answers.get(query, {}).get("text", ""))

        def wrote() -> bool:
            return any(call.method == "editMessageText" and call.status for call in telegram.calls[calls:])

        if await self._done(lambda: bool(alert() or wrote()), "answer the button"):
            self._show(person, alert())

    async def _done(self, answered: Callable[[], bool], what: str) -> bool:
        done = await self.demo.until(answered, what)
        if not done:
            self.said("", KILLED, "2")
        return done

    def _show(self, person: Person, more: str) -> None:
        """Show what Ryze was asked, what the bot wrote, and what else it did."""
        for call in self.demo.ryze.calls[self._requests_shown :]:
            what = f"{call.instance}: number {call.number}, pin {str(call.pin).lower()} → {call.status or 'no answer'}"
            self.said("Ryze", what, "2")
        for message in self._news(person):
            self.said("Bot", message["text"], "1;32")
            rows = message.get("reply_markup", {}).get("inline_keyboard", [])
            buttons = [(message, button) for row in rows for button in row if "callback_data" in button]
            # The numbers keep their meaning below an answer without buttons, unless it is the one that had them.
            if buttons or (self.buttons and self.buttons[0][0]["message_id"] == message["message_id"]):
                self.buttons = buttons
            if buttons:
                labels = (f"[{number}] {button['text']}" for number, (_, button) in enumerate(buttons, 1))
                self.said("", "   ".join(labels), "33")
        self.said("Bot", more, "1;32")

    def pins(self, person: Person) -> None:
        """Show which chats are pinned at WhatsApp."""
        for instance in person.instances[:1]:
            numbers = [jid.partition("@")[0] for jid in self.demo.ryze.instances[instance].pinned]
            self.said("Phone", f"{instance}: {', '.join(numbers) or 'nothing'} pinned", "2")

    def _news(self, person: Person) -> list[Json]:
        """The bot's messages in a person's chat that were not seen as they are now; from here on they are."""
        self._requests_shown = len(self.demo.ryze.calls)
        sent = self.demo.telegram.sent(person.telegram_id)
        news = [message for message in sent if message not in self._shown]
        self._shown += news
        return news


def columns() -> int:
    return min(shutil.get_terminal_size().columns, 80) - 1


def plain(text: str) -> None:
    print(textwrap.fill(text, columns()), flush=True)


async def tour(screen: Screen) -> None:
    """Play what the bot is for, and what may go wrong."""
    for number, scene in enumerate(TOUR, 1):
        screen.heading(f"{number}. {scene.title}")
        screen.demo.ryze.drops_oldest = scene.drops_oldest
        for person, text in scene.lines:
            screen.said(person.name, text, "1;36")
            if text.startswith(PRESS):
                labels = [button["text"].startswith(text.removeprefix(PRESS)) for _, button in screen.buttons]
                await screen.press(person, labels.index(True) + 1)
            else:
                await screen.send(person, text)
            screen.pins(person)
    screen.demo.ryze.drops_oldest = False
    screen.buttons = []


async def conversation(screen: Screen, *, terminal: bool) -> None:
    """Send what is typed or piped in as an operator's messages until its end."""
    person = ANA
    if terminal:
        screen.heading("Your turn")
        with suppress(ImportError):
            __import__("readline")  # gives input() its line editing
        plain(
            f"You are {person.name}, an operator of {person.instances[0]}. Try /pin 11 97777-6666, /unpin, /help or"
            f" anything else; a button's number presses it; {QUIT} or Ctrl-D ends the demo."
        )
    prompt = screen.prompt(person.name) if terminal else ""
    while (line := await read_line(prompt)) is not None and (text := line.strip()) != QUIT:
        if not text:
            continue
        if not terminal:
            screen.said(person.name, text, "1;36")
        if text.isdecimal() and 1 <= int(text) <= len(screen.buttons):
            await screen.press(person, int(text))
        else:
            await screen.send(person, text)
        screen.pins(person)


def read_line(prompt: str) -> asyncio.Future[str | None]:
    """The next line of the standard input; None at its end. It is read in a thread that nothing has to wait for."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str | None] = loop.create_future()

    def tell(typed: str | None) -> None:
        if not line.done():
            line.set_result(typed)

    def read() -> None:
        typed = None
        with suppress(EOFError, OSError, RuntimeError, ValueError):  # its end, or it was closed
            typed = input(prompt)
        with suppress(RuntimeError):  # the demo has ended meanwhile
            loop.call_soon_threadsafe(tell, typed)

    if prompt:
        print(flush=True)
    threading.Thread(target=read, daemon=True).start()
    return line


async def run(*, page_only: bool, port: int) -> int:
    task = asyncio.current_task()
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel if task else lambda: None)
    plain(
        "This is the real bot, in a process of its own, over real HTTP; Telegram and Ryze are stand-ins on 127.0.0.1."
    )
    try:
        async with started() as demo, Page(demo, (ANA, BRUNO, EVE), port=port) as page:
            screen, where = Screen(demo), f"To see it, and to play with it, open {page.url} in a browser."
            if page_only:
                plain(where)
                await asyncio.get_running_loop().create_future()  # until a signal
            await tour(screen)
            print()
            plain(where)
            await conversation(screen, terminal=sys.stdin is not None and sys.stdin.isatty())
    except DemoError as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 1
    print()
    plain("That was the demo. README.md tells how to run the bot for your team.")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox.demo", description="The real bot on stand-ins.")
    parser.add_argument("--page-only", action="store_true", help="serve the page until Ctrl-C, without the tour")
    parser.add_argument("--port", type=int, default=PORT, help="the page's, if it is free (default: %(default)s)")
    asked = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script may have started it with Ctrl-C ignored
    terminal = termios.tcgetattr(0) if sys.stdin is not None and sys.stdin.isatty() else None
    try:
        return asyncio.run(run(page_only=asked.page_only, port=asked.port))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(flush=True)
        if terminal:
            termios.tcsetattr(0, termios.TCSANOW, terminal)  # as it was before a line was read, which may still be so
        os._exit(0)  # a thread may still be reading the standard input, over which Python would stumble at its end
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read the transcript has left
        return 0


if __name__ == "__main__":
    sys.exit(main())
