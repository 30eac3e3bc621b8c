"""`make demo`: the real bot, in a process of its own, against the stand-ins: first a tour, then a talk with you.

Meanwhile a page on loopback shows the same and more.
"""

import asyncio
import os
import re
import shutil
import signal
import sys
import termios
import textwrap
import threading
from contextlib import suppress

from tests.sandbox.page import Page
from tests.sandbox.server import Json
from tests.sandbox.stage import ANA, BRUNO, CARLA, DAVI, EVE, Demo, DemoError, Person, started

QUIT = "/quit"
KILLED = "(the bot was killed on the page, and answers once it is started again)"
PRESS = "👆 "  # what follows begins the label of the button to press


ONE_TOO_MANY = "On some phones a fourth goes through, and the oldest is silently gone"
TOUR = (
    ("Pin a chat: the number as it was pasted", ANA, ["/pin Padaria Aurora: +55 (11) 99999-9999"]),
    ("Brazil or Peru? One tap corrects it", BRUNO, ["/pin 51987654321", f"{PRESS}Meant 🇵🇪 +51 987 654 321"]),
    ("An area code is missing", ANA, ["/pin 97777-6666"]),
    ("A stranger", EVE, ["/pin 5511999999999"]),
    (
        "WhatsApp pins three chats, and two were pinned on the phone before",
        ANA,
        ["/pin +1 415 555 2671", f"{PRESS}Replace +55 11 99999-9999"],
    ),
    (ONE_TOO_MANY, BRUNO, ["/pin +55 11 98888-7777, +351 912 345 678", "/pin +55 31 99876-5432"]),
    ("An instance that is not connected to WhatsApp", CARLA, ["/pin 5511999999999"]),
    ("An instance whose token is wrong", DAVI, ["/pin 5511999999999"]),
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
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and text else text

    def heading(self, text: str) -> None:
        print(f"\n{self.paint(text, '1')}\n{self.paint('─' * min(len(text), columns()), '2')}", flush=True)

    def said(self, who: str, text: str, code: str) -> None:
        """A label, and the text beside it."""
        for line in text.splitlines():
            for part in textwrap.wrap(line, columns() - 9, break_on_hyphens=False) or [""]:
                beside = self.paint(part, code) if code == "2" else part
                print(f"{self.paint(f'{who:>7}  ', code)}{beside}".rstrip(), flush=True)
                who = ""

    async def play(self, person: Person, text: str) -> None:
        """Send a message, or press the button of this number, and show what comes of it."""
        telegram, query = self.demo.telegram, ""
        self._news(person)  # what the page did before is none
        if text.isdecimal() and 1 <= int(text) <= len(self.buttons):
            message, button = self.buttons[int(text) - 1]
            query = telegram.press(person.user, message, button["callback_data"])
        else:
            message = telegram.message(person.user, text)
        if not await self.demo.until(lambda: not telegram.pending, f"answer {text!r}"):
            self.said("", KILLED, "2")
            return
        for call in self.demo.ryze.calls[self._requests_shown :]:
            what = f"{call.instance}: number {call.number}, pin {str(call.pin).lower()} → {call.status or 'no answer'}"
            self.said("Ryze", what, "2")
        for answer in self._news(person):
            self.said("Bot", answer["text"], "1;32")
            self._offer(answer)
        self.said("Bot", telegram.callback_answers.get(query, {}).get("text", ""), "1;32")
        self.said("Bot", "".join(telegram.reactions.get((person.telegram_id, message["message_id"]), ())), "1;32")
        for instance in person.instances[:1]:
            numbers = [jid.partition("@")[0] for jid in self.demo.ryze.instances[instance].pinned]
            self.said("Phone", f"{instance}: {', '.join(numbers) or 'nothing'} pinned", "2")

    def _news(self, person: Person) -> list[Json]:
        """The bot's messages in a person's chat that were not seen as they are now; from here on they are."""
        self._requests_shown = len(self.demo.ryze.calls)
        news = [message for message in self.demo.telegram.sent(person.telegram_id) if message not in self._shown]
        self._shown += news
        return news

    def _offer(self, message: Json) -> None:
        """Number a message's buttons. The numbers keep their meaning below an answer that has none."""
        rows = message.get("reply_markup", {}).get("inline_keyboard", [])
        buttons = [(message, button) for row in rows for button in row if "callback_data" in button]
        had_them = self.buttons and self.buttons[0][0]["message_id"] == message["message_id"]
        if buttons or had_them:
            self.buttons = buttons
        labels = (f"[{number}] {button['text']}" for number, (_, button) in enumerate(buttons, 1))
        self.said("", "   ".join(labels), "33")


def columns() -> int:
    return min(shutil.get_terminal_size().columns, 80) - 1


def plain(text: str) -> None:
    print(f"\n{textwrap.fill(text, columns())}", flush=True)


async def tour(screen: Screen) -> None:
    """Play what the bot is for, and what may go wrong."""
    for number, (title, person, texts) in enumerate(TOUR, 1):
        screen.heading(f"{number}. {title}")
        screen.demo.ryze.drops_oldest = title == ONE_TOO_MANY
        for text in texts:
            screen.said(person.name, text, "1;36")
            labels = [f"{PRESS}{button['text']}" for _, button in screen.buttons]
            pressed = next((str(place) for place, label in enumerate(labels, 1) if label.startswith(text)), text)
            await screen.play(person, pressed)
    screen.demo.ryze.drops_oldest = False
    screen.buttons = []


async def conversation(screen: Screen, *, terminal: bool) -> None:
    """Send what is typed or piped in as an operator's messages until its end."""
    person, prompt = ANA, ""
    if terminal:
        screen.heading("Your turn")
        with suppress(ImportError):
            __import__("readline")  # gives input() its line editing
        plain(
            f"You are {person.name}, an operator of {person.instances[0]}. Try /pin 11 97777-6666, /unpin, /help or"
            f" anything else; a button's number presses it; {QUIT} or Ctrl-D ends the demo."
        )
        # For `readline`, escapes are marked as having no width.
        prompt = re.sub("\x1b[^m]*m", "\x01\\g<0>\x02", screen.paint(f"{person.name:>7}  ", "1;36"))
    while (line := await read_line(prompt)) is not None and (text := line.strip()) != QUIT:
        if text and not terminal:
            screen.said(person.name, text, "1;36")
        if text:
            await screen.play(person, text)


def read_line(prompt: str) -> asyncio.Future[str | None]:
    """The next line of the standard input; None at its end. It is read in a thread that nothing has to wait for."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str | None] = loop.create_future()

    def read() -> None:
        typed = None
        with suppress(EOFError, OSError, RuntimeError, ValueError):  # its end, or it was closed
            typed = input(prompt)
        with suppress(RuntimeError):  # the demo has ended meanwhile
            loop.call_soon_threadsafe(lambda: None if line.done() else line.set_result(typed))

    if prompt:
        print(flush=True)
    threading.Thread(target=read, daemon=True).start()
    return line


async def run(*, terminal: bool) -> int:
    task = asyncio.current_task()
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel if task else lambda: None)
    plain("The real bot, in a process of its own, over real HTTP; Telegram and Ryze are stand-ins on 127.0.0.1.")
    try:
        async with started() as demo, Page(demo, (ANA, BRUNO, EVE)) as page:
            screen = Screen(demo)
            await tour(screen)
            plain(f"To see it, and to play with it, open {page.url} in a browser.")
            await conversation(screen, terminal=terminal)
    except DemoError as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 1
    plain("That was the demo. README.md tells how to run the bot for your team.")
    return 0


def main() -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script may have started it with Ctrl-C ignored
    terminal = termios.tcgetattr(0) if os.isatty(0) else None
    try:
        return asyncio.run(run(terminal=terminal is not None))
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
