"""`python -m tests.soak`: minutes of mixed traffic on the real bot, with faults to order, and a count at the end.

Every operator sends one command after another and waits for its answer; meanwhile the bot is killed, stopped and
replaced, both services fail in every way that they know, strangers knock and one operator floods. Nothing may be lost
and nothing be wrong: each command gets its answer, and what the last answer of a chat says is the state at Ryze.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.sandbox.ryze import Call, RyzeServer
from tests.sandbox.telegram import TelegramServer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.sandbox.server import Json

ROOT = Path(__file__).parents[1]
OPERATORS, INSTANCES = 30, 20  # ten operators share an instance with another one
FIRST, FIRST_STRANGER = 1_000, 9_000
PATIENCE = 150.0  # seconds within which whatever happens a command has its answer: 90 in a queue, and the restarts
THEIRS = "4420"  # how the numbers begin that strangers try to pin
Key = tuple[int, int]  # a message, by its chat and its id


class Telegram(TelegramServer):
    """Keeps the answers to each message, and tells of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.answers_to: defaultdict[Key, list[str]] = defaultdict(list)
        self.came: defaultdict[Key, asyncio.Event] = defaultdict(asyncio.Event)

    def _send_message(self, params: Json) -> Json:
        message = super()._send_message(params)
        if replied := message.get("reply_to_message"):
            key = replied["chat"]["id"], replied["message_id"]
            self.answers_to[key].append(message["text"])
            self.came[key].set()
        return message


class Soak:
    """The traffic, the faults and the count."""

    def __init__(
        self, telegram: Telegram, ryze: RyzeServer, folder: Path, seconds: float, chance: random.Random
    ) -> None:
        self.telegram = telegram
        self.ryze = ryze
        self.folder = folder
        self.until = time.monotonic() + seconds
        self.chance = chance
        self.sent: list[Key] = []
        self.wrong: list[str] = []
        self.happened: Counter[str] = Counter()
        self.calm = asyncio.Event()  # the faults are over
        self.bot: asyncio.subprocess.Process | None = None

    async def run(self) -> bool:
        """Let it all happen, then print the count; tells whether nothing was lost or wrong."""
        self.bot = await self.start()
        troubles = [asyncio.create_task(trouble) for trouble in (self.restarts(), self.faults(), self.strangers())]
        try:
            async with asyncio.TaskGroup() as people:
                for operator in range(OPERATORS):
                    people.create_task(self.operator(operator))
                people.create_task(self.flood())
                people.create_task(self.report(troubles))
        finally:
            for trouble in troubles:
                trouble.cancel()
            for outcome in await asyncio.gather(*troubles, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome
            await self.stop(self.bot, signal.SIGTERM)
        return self.count()

    # The bot

    async def start(self) -> asyncio.subprocess.Process:
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TELEGRAM_BOT_TOKEN": self.telegram.token}
        with (self.folder / "log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", "run", "--config", "bot.yaml"), env=environ, cwd=self.folder, stderr=log
            )

    async def stop(self, bot: asyncio.subprocess.Process, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            bot.send_signal(number)
        try:
            async with asyncio.timeout(25):
                status = await bot.wait()
        except TimeoutError:
            self.wrong.append(f"{number.name} did not end the bot within 25 s")
            bot.kill()
            await bot.wait()
        else:
            if status not in (0, -number):
                self.wrong.append(f"the bot ended with status {status}")

    async def restarts(self) -> None:
        """End the bot now and then: killed, told to stop, or replaced by one that is started before it ends."""
        while True:
            await asyncio.sleep(self.chance.uniform(6, 14))
            assert self.bot is not None
            if self.bot.returncode is not None:
                self.wrong.append(f"the bot ended by itself with status {self.bot.returncode}")
            how = self.chance.choice(["kill -9", "SIGTERM", "deploy"])
            self.happened[how] += 1
            old = self.bot
            if how == "deploy":
                self.bot = await self.start()
                await asyncio.sleep(self.chance.uniform(0.5, 3))
                await self.stop(old, signal.SIGTERM)
            else:
                await self.stop(old, signal.SIGKILL if how == "kill -9" else signal.SIGTERM)
                await asyncio.sleep(self.chance.choice([0.0, 1.0]))
                self.bot = await self.start()

    # The services' faults

    async def faults(self) -> None:
        """Have Telegram and Ryze fail, one way after another, and often at once."""
        ways: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = [
            *((f"Telegram: {name}", self.telegram_fails(how)) for name, how in TELEGRAM_FAULTS.items()),
            *((f"Ryze: {name}", self.ryze_fails(how)) for name, how in RYZE_FAULTS.items()),
        ]
        async with asyncio.TaskGroup() as tasks:
            while True:
                name, way = self.chance.choice(ways)
                self.happened[name] += 1
                tasks.create_task(way())
                await asyncio.sleep(self.chance.uniform(0.5, 4))

    def telegram_fails(self, how: dict[str, Any]) -> Callable[[], Coroutine[Any, Any, None]]:
        async def fail() -> None:
            # To getMe these would say that the token is wrong: the bot's answer to that is to end.
            others = [] if how.get("status") in (401, 404) else ["*"]
            method = self.chance.choice(["getUpdates", "sendMessage", "sendMessage", *others])
            fault = self.telegram.fault(method, times=self.chance.randint(1, 4), **how)
            await asyncio.sleep(self.chance.uniform(1, 4))
            fault.stop()

        return fail

    def ryze_fails(self, how: dict[str, Any]) -> Callable[[], Coroutine[Any, Any, None]]:
        async def fail() -> None:
            fault = self.ryze.fault(times=self.chance.randint(1, 5), **how)
            await asyncio.sleep(self.chance.uniform(1, 4))
            fault.stop()

        return fail

    # People

    async def operator(self, number: int) -> None:
        """Send a command, sometimes two at once, wait for the answers, compare them with Ryze, and again."""
        person, chat = FIRST + number, f"5511{900_000_000 + number}"
        pin = True
        while time.monotonic() < self.until:
            await asyncio.sleep(self.chance.uniform(0, 3))
            if self.chance.random() < 0.1:
                await self.command(person, chat, pin=not pin)  # overtaken, it would decide the state
            await self.settle(number, chat, pin=pin)
            pin = not pin
        await self.calm.wait()
        await self.settle(number, chat, pin=pin)

    async def command(self, person: int, chat: str, *, pin: bool) -> Key:
        message = self.telegram.message(person, f"/{'pin' if pin else 'unpin'} {chat}")
        key = person, message["message_id"]
        self.sent.append(key)
        return key

    async def settle(self, number: int, chat: str, *, pin: bool) -> None:
        """Send a chat's last command for now, wait for its answer, and compare it with the state at Ryze."""
        key = await self.command(FIRST + number, chat, pin=pin)
        try:
            async with asyncio.timeout(PATIENCE):
                await self.telegram.came[key].wait()
        except TimeoutError:
            return  # it counts as lost
        answer = self.telegram.answers_to[key][0]
        if not answer.startswith("📌" if pin else "✅"):
            return  # a refusal, or doubt: no claim about the state
        pins = self.ryze.instances[instance(number)].pinned
        try:
            # Not at once, since a restarted bot may just be repeating the two latest commands, in their order.
            await self.ryze.wait_for(lambda: (f"{chat}@s.whatsapp.net" in pins) is pin, 15)
        except AssertionError:
            self.wrong.append(f"{chat}: “{answer.splitlines()[0]}”, and at Ryze it is not so")

    async def flood(self) -> None:
        """Have one operator send many commands at once, now and then."""
        while time.monotonic() < self.until:
            await asyncio.sleep(self.chance.uniform(10, 20))
            self.happened["flood"] += 1
            keys = [await self.command(FIRST, "5511988887777", pin=bool(i % 2)) for i in range(25)]
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    for key in keys:
                        await self.telegram.came[key].wait()

    async def strangers(self) -> None:
        """Knock in every way that must not let anyone in."""
        while True:
            await asyncio.sleep(self.chance.uniform(0.1, 1))
            self.happened["stranger"] += 1
            person, text = FIRST_STRANGER + self.chance.randrange(50), f"/pin {THEIRS}{self.chance.randrange(10**8):08}"
            forged = self.chance.choice(
                [
                    {},
                    {"chat": {"id": -100_500, "type": "supergroup", "title": "Team"}},
                    {"sender_chat": {"id": -100_500, "type": "supergroup", "title": "Team"}},
                    {"forward_origin": {"type": "hidden_user", "sender_user_name": "Ana", "date": 1}},
                ]
            )
            operators = FIRST + self.chance.randrange(OPERATORS)
            self.telegram.message(operators if "forward_origin" in forged else person, text, **forged)

    # The end

    async def report(self, troubles: list[asyncio.Task[None]]) -> None:
        """Say now and then how far it is; when the time is over, end the faults."""
        while time.monotonic() < self.until:
            await asyncio.sleep(min(10, max(0.1, self.until - time.monotonic())))
            answered = sum(key in self.telegram.answers_to for key in self.sent)
            print(f"{len(self.sent)} sent, {answered} answered, {len(self.wrong)} wrong …", file=sys.stderr, flush=True)
            if failed := [task for task in troubles if task.done()]:
                await failed[0]
        troubles[1].cancel()
        with suppress(asyncio.CancelledError):
            await troubles[1]
        for server in (self.telegram, self.ryze):
            for fault in server._faults:
                fault.stop()
        self.calm.set()

    def count(self) -> bool:
        lost = [key for key in self.sent if not self.telegram.answers_to[key]]
        twice = sum(len(self.telegram.answers_to[key]) > 1 for key in self.sent)
        strangers = [call for call in self.ryze.calls if str(call.number).startswith(THEIRS)]
        self.wrong += [f"a stranger's command reached Ryze: {call.number}" for call in strangers]
        lines = (self.folder / "log").read_text(encoding="utf-8").splitlines()
        self.wrong += [f"in the log: {line}" for line in lines if "Traceback" in line or " ERROR " in line]
        print(", ".join(f"{times} × {what}" for what, times in sorted(self.happened.items())))
        for what in [*self.wrong, *(f"no answer to {key}" for key in lost)][:20]:
            print(what)
        print(
            f"sent {len(self.sent)}, answered {len(self.sent) - len(lost)}, answered twice {twice}, "
            f"lost {len(lost)}, wrong state {len(self.wrong)}"
        )
        return not lost and not self.wrong


TELEGRAM_FAULTS: dict[str, dict[str, Any]] = {
    "429": {"status": 429, "retry_after": 1},
    "500": {"status": 500},
    "502": {"status": 502, "body": b"<html>Bad Gateway</html>"},
    "401": {"status": 401},
    "404": {"status": 404},
    "409": {"status": 409},
    "hangs": {"hang": True},
    "is slow": {"delay": 1.0},
    "drops before": {"drop": "before"},
    "drops after": {"drop": "after"},
    "drops amid": {"drop": "mid"},
    "is no HTTP": {"raw": b"\0\0\0\0\r\n\r\n"},
}
# A delay longer than a command's life would have Ryze do it after a later one: nobody could prevent that.
RYZE_FAULTS: dict[str, dict[str, Any]] = {
    "429": {"status": 429, "message": "Rate limit exceeded. Try again later."},
    "429 of WhatsApp": {"status": 429, "message": "rate-overlimit"},
    "500": {"message": "failed to pin chat: context deadline exceeded"},
    "502": {"status": 502, "body": b"<html>Bad Gateway</html>"},
    "503": {"status": 503, "body": b"<html>Service Unavailable</html>"},
    "not connected": {"status": 503, "message": "Instance is not connected to WhatsApp"},
    "out of sync": {"message": "server returned error updating app state: conflict (409)"},
    "hangs": {"hang": True},
    "does it and hangs": {"hang": True, "done": True},
    "drops before": {"drop": "before"},
    "drops after": {"drop": "after"},
    "drops amid": {"drop": "mid"},
    "is no HTTP": {"raw": b"SSH-2.0-OpenSSH\r\n"},
    "is no JSON": {"status": 200, "body": b"OK"},
    "redirects": {"status": 302, "headers": {"Location": "https://example.com/"}},
    "drips": {"drip": 0.5},
}


def instance(operator: int) -> str:
    return f"instance-{operator % INSTANCES}"


async def soak(seconds: float, seed: int) -> bool:
    """Soak the bot for so many seconds; tells whether nothing was lost or wrong."""
    tokens = {instance(number): f"token-of-{instance(number)}" for number in range(INSTANCES)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Telegram() as telegram, RyzeServer(tokens) as ryze:

            def delay(_: Call) -> float:
                return chance.choice([0.0, 0.0, 0.05, 0.2])

            chance = random.Random(seed)  # noqa: S311 - guards nothing
            ryze.delay = delay
            ryze.max_pins = 10
            settings = {
                "telegram": {"api_url": telegram.url},
                "ryze": {"base_url": ryze.url},
                "instances": {instance: {"token": token} for instance, token in tokens.items()},
                "operators": [
                    {"telegram_id": FIRST + number, "instance": instance(number)} for number in range(OPERATORS)
                ],
            }
            (folder / "bot.yaml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
            return await Soak(telegram, ryze, folder, seconds, chance).run()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="to repeat a run's chances")  # noqa: S311
    options = parser.parse_args()
    print(f"{options.minutes:g} minutes, seed {options.seed}", flush=True)
    sys.exit(0 if asyncio.run(soak(options.minutes * 60, options.seed)) else 1)


if __name__ == "__main__":
    main()
