"""`python -m tests.soak`: minutes of mixed traffic on the real bot, with faults to order, and a count at the end.

Every operator sends one command after another and waits for its answer; meanwhile the bot is killed, stopped and
replaced, both services fail in every way that they know, strangers knock and one operator floods. Nothing may be lost
and nothing be wrong: each command gets its answer, and what the last answer of a chat says is the state at Ryze.
"""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.sandbox.ryze import RyzeServer
from tests.sandbox.server import Fault, Json
from tests.sandbox.stage import configure, start_program
from tests.sandbox.telegram import TelegramServer

OPERATORS, INSTANCES = 30, 20  # ten operators share an instance with another one
FIRST, FIRST_STRANGER = 1_000, 9_000
PATIENCE = 150.0  # seconds within which whatever happens a command has its answer: 90 in a queue, and the restarts
THEIRS = "4420"  # how the numbers begin that strangers try to pin


@dataclass
class Soak:
    """The traffic, the faults and the count."""

    telegram: TelegramServer
    ryze: RyzeServer
    folder: Path
    until: float
    chance: random.Random
    sent: list[Json] = field(default_factory=list)  # the operators' commands
    wrong: list[str] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    calm: asyncio.Event = field(default_factory=asyncio.Event)  # the faults are over

    async def run(self) -> bool:
        """Let it all happen, then print the count; tells whether nothing was lost or wrong."""
        self.bot = await start_program(self.telegram.token, self.folder)
        try:
            async with asyncio.TaskGroup() as group:
                disturbances = [group.create_task(way) for way in (self.faults(), self.restarts(), self.strangers())]
                async with asyncio.TaskGroup() as people:
                    for way in (*map(self.operator, range(OPERATORS)), self.flood(), self.report(disturbances[0])):
                        people.create_task(way)
                for disturbance in disturbances:
                    disturbance.cancel()
        finally:
            await self.stop(self.bot, signal.SIGTERM)
        return self.count()

    # The bot

    async def stop(self, bot: asyncio.subprocess.Process, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            bot.send_signal(number)
        with suppress(TimeoutError):
            await asyncio.wait_for(bot.wait(), 25)
        if bot.returncode not in (0, -number):
            self.wrong.append(f"after {number.name} the bot's status is {bot.returncode}")
            if bot.returncode is None:
                bot.kill()
                await bot.wait()

    async def restarts(self) -> None:
        """End the bot now and then: killed, told to stop, or replaced by one that is started before it ends."""
        while True:
            await asyncio.sleep(self.chance.uniform(6, 14))
            if self.bot.returncode is not None:
                self.wrong.append(f"the bot ended by itself with status {self.bot.returncode}")
            how = self.chance.choice(["kill -9", "SIGTERM", "deploy", "reload"])
            self.happened[how] += 1
            old = self.bot
            if how == "reload":
                old.send_signal(signal.SIGHUP)
                continue
            if how != "deploy":
                await self.stop(old, signal.SIGKILL if how == "kill -9" else signal.SIGTERM)
                await asyncio.sleep(self.chance.choice([0.0, 1.0]))
            self.bot = await start_program(self.telegram.token, self.folder)
            if how == "deploy":
                await asyncio.sleep(self.chance.uniform(0.5, 3))
                await self.stop(old, signal.SIGTERM)

    async def faults(self) -> None:
        """Have Telegram and Ryze fail, one way after another, and often at once."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                service = self.chance.choice(list(FAULTS))
                name, order = self.chance.choice(list(FAULTS[service].items()))
                self.happened[f"{service}: {name}"] += 1
                tasks.create_task(self.fail(service, {**order, "times": self.chance.randint(1, 5)}))
                await asyncio.sleep(self.chance.uniform(0.5, 4))

    async def fail(self, service: str, order: Json) -> None:
        fault: Fault[Any]
        if service == "Ryze":
            fault = self.ryze.fault(**order)
        else:
            fault = self.telegram.fault(self.chance.choice(["getUpdates", "sendMessage", "*"]), **order)
        try:
            await asyncio.sleep(self.chance.uniform(1, 4))
        finally:
            fault.stop()

    # People

    async def operator(self, number: int) -> None:
        """Send a command, sometimes two at once, wait for the answers, compare them with Ryze, and again."""
        person, chat = FIRST + number, f"5511{900_000_000 + number}"
        pin = True
        while time.monotonic() < self.until:
            await asyncio.sleep(self.chance.uniform(0, 3))
            if self.chance.random() < 0.1:
                self.command(person, chat, pin=not pin)  # overtaken, it would decide the state
            await self.settle(number, chat, pin=pin)
            pin = not pin
        await self.calm.wait()
        await self.settle(number, chat, pin=pin)

    def command(self, person: int, chat: str, *, pin: bool) -> Json:
        self.sent.append(self.telegram.message(person, f"/{'pin' if pin else 'unpin'} {chat}"))
        return self.sent[-1]

    async def settle(self, number: int, chat: str, *, pin: bool) -> None:
        """Send a chat's last command for now, wait for its answer, and compare it with the state at Ryze."""
        try:
            answer = str((await self.telegram.answer(self.command(FIRST + number, chat, pin=pin), PATIENCE))["text"])
        except AssertionError:
            return  # it counts as lost
        if not answer.startswith("📌" if pin else "✅"):
            return  # a refusal, or doubt: no claim about the state
        pins = self.ryze.instances[instance(number)].pinned
        try:  # not at once, since a restarted bot may just be repeating the two latest commands, in their order
            await self.ryze.wait_for(lambda: (f"{chat}@s.whatsapp.net" in pins) is pin, 15)
        except AssertionError:
            self.wrong.append(f"{chat}: “{answer.splitlines()[0]}”, and at Ryze it is not so")

    async def flood(self) -> None:
        """Have one operator send many commands at once, now and then."""
        while time.monotonic() < self.until:
            await asyncio.sleep(self.chance.uniform(10, 20))
            self.happened["flood"] += 1
            messages = [self.command(FIRST, "5511988887777", pin=bool(i % 2)) for i in range(25)]
            answers = [self.telegram.answer(message, PATIENCE) for message in messages]
            await asyncio.gather(*answers, return_exceptions=True)

    async def strangers(self) -> None:
        """Knock in every way that must not let anyone in."""
        while True:
            await asyncio.sleep(self.chance.uniform(0.1, 1))
            self.happened["stranger"] += 1
            person, text = FIRST_STRANGER + self.chance.randrange(50), f"/pin {THEIRS}{self.chance.randrange(10**8):08}"
            team = {"id": -100_500, "type": "supergroup", "title": "Team"}
            forward = {"forward_origin": {"type": "hidden_user", "sender_user_name": "Ana", "date": 1}}
            forged = self.chance.choice([{}, {"chat": team}, {"sender_chat": team}, forward])
            operator = FIRST + self.chance.randrange(OPERATORS)
            self.telegram.message(operator if forged is forward else person, text, **forged)

    # The end

    async def report(self, faults: asyncio.Task[None]) -> None:
        """Say now and then how far it is; when the time is over, end the faults."""
        while time.monotonic() < self.until:
            await asyncio.sleep(min(10, max(0.1, self.until - time.monotonic())))
            answered = sum(bool(self.telegram.replies(message)) for message in self.sent)
            print(f"{len(self.sent)} sent, {answered} answered, {len(self.wrong)} wrong …", file=sys.stderr, flush=True)
        faults.cancel()
        self.calm.set()

    def count(self) -> bool:
        """Print what happened and the line that counts; tells whether nothing was lost or wrong."""
        lost = [message for message in self.sent if not self.telegram.replies(message)]
        twice = sum(len(self.telegram.replies(message)) > 1 for message in self.sent)
        strangers = [call for call in self.ryze.calls if str(call.number).startswith(THEIRS)]
        self.wrong += [f"a stranger's command reached Ryze: {call.number}" for call in strangers]
        lines = (self.folder / "log").read_text(encoding="utf-8").splitlines()
        self.wrong += [f"in the log: {line}" for line in lines if "Traceback" in line or " ERROR " in line]
        print(", ".join(f"{times} × {what}" for what, times in sorted(self.happened.items())))
        print(*[*self.wrong, *(f"no answer to {message}" for message in lost)][:20], sep="\n")
        print(
            f"sent {len(self.sent)}, answered {len(self.sent) - len(lost)}, answered twice {twice}, "
            f"lost {len(lost)}, wrong state {len(self.wrong)}"
        )
        return not lost and not self.wrong


COMMON: dict[str, Json] = {
    "502": {"status": 502, "body": b"<html>Bad Gateway</html>"},
    "hangs": {"hang": True},
    "drops before": {"drop": "before"},
    "drops after": {"drop": "after"},
    "drops amid": {"drop": "mid"},
}
FAULTS: dict[str, dict[str, Json]] = {
    "Telegram": COMMON
    | {
        "429": {"status": 429, "retry_after": 1},
        # A process's first calls have neither parameter: to them it would say that the token is wrong for good.
        "401": {"status": 401, "when": lambda params: "offset" in params or "text" in params},
        "409": {"status": 409},
        "is slow": {"delay": 1.0},
        "is no HTTP": {"raw": b"\0\0\0\0\r\n\r\n"},
    },
    # A delay longer than a command's life would have Ryze do it after a later one: nobody could prevent that.
    "Ryze": COMMON
    | {
        "429": {"status": 429, "message": "Rate limit exceeded. Try again later."},
        "500": {"message": "failed to pin chat: context deadline exceeded"},
        "not connected": {"status": 503, "message": "Instance is not connected to WhatsApp"},
        "out of sync": {"message": "server returned error updating app state: conflict (409)"},
        "does it and hangs": {"drop": "after", "hang": True},
        "drips": {"drip": 0.5},
    },
}


def instance(operator: int) -> str:
    return f"instance-{operator % INSTANCES}"


async def soak(seconds: float, seed: int) -> bool:
    """Soak the bot for so many seconds; tells whether nothing was lost or wrong."""
    tokens = {instance(number): f"token-of-{instance(number)}" for number in range(INSTANCES)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with TelegramServer() as telegram, RyzeServer(tokens) as ryze:
            chance = random.Random(seed)  # noqa: S311 - guards nothing
            ryze.delay = lambda _: chance.choice([0.0, 0.0, 0.05, 0.2])
            ryze.max_pins = 10
            team: list[Json] = [{"telegram_id": FIRST + n, "instance": instance(n)} for n in range(OPERATORS)]
            configure(folder, telegram, ryze, team)
            return await Soak(telegram, ryze, folder, time.monotonic() + seconds, chance).run()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="to repeat a run's chances")  # noqa: S311
    options = parser.parse_args()
    print(f"{options.minutes:g} minutes, seed {options.seed}", flush=True)
    sys.exit(0 if asyncio.run(soak(options.minutes * 60, options.seed)) else 1)


if __name__ == "__main__":
    main()
