"""The bot as a process, with real signals: whatever ends it, no command is lost, and it is gone in time.

Every process here logs at DEBUG, its secrets are canaries, and none of them may be in the log.
"""

import asyncio
import os
import signal
import socket
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from tests.conftest import ANA, Stage
from tests.sandbox.ryze import Instance
from tests.sandbox.server import Json

CANARY = "canary"
ADMIN = 900


class Host(Stage):
    """A stage, what starts the bot's processes on it, and what they did."""

    def __init__(self, *stage: Any) -> None:  # noqa: ANN401 - as `Stage` takes them
        super().__init__(*stage)
        self.processes: list[Process] = []
        self.telegram.token = f"123456:{CANARY}-bot-token"
        self.environ = {
            "TELEGRAM_BOT_TOKEN": self.telegram.token,
            "LOG_LEVEL": "DEBUG",
            "HTTPS_PROXY": f"http://proxy:{CANARY}-proxy-password@127.0.0.1:9",
        }
        self.team()

    def team(self, size: int = 2) -> list[int]:
        """Operators with an instance each; the first is Ana."""
        operators = [ANA + number for number in range(size)]
        names = [f"instance{number}" for number in range(size)]
        self.ryze.instances = {name: Instance(f"{CANARY}-token-of-{name}") for name in names}
        self.settings |= {
            "instances": {name: {"token": instance.token} for name, instance in self.ryze.instances.items()},
            "operators": [
                {"telegram_id": operator, "name": f"Operator {operator}", "instance": name}
                for operator, name in zip(operators, names, strict=True)
            ],
        }
        return operators

    async def start(self, **environ: str) -> Process:
        self.processes.append(await super().start(**environ))
        return self.processes[-1]

    async def begin(self) -> Process:
        """Start a process, and wait until it is at rest."""
        process = await self.start()
        await self.polls()
        return process

    async def polls(self) -> None:
        """Wait until a process is at rest: all is confirmed, and Telegram holds a request."""
        await self.telegram.wait_for(
            lambda: not self.telegram.pending and self.telegram._waiter is not None, what="a process at rest"
        )

    async def logs(self, part: str, times: int = 1) -> None:
        await self.telegram.wait_for(lambda: self.log.count(part) >= times, what=f"{part!r} in the log")

    async def answers(self, count: int) -> None:
        """Wait until so many messages have been answered."""
        await self.telegram.wait_for(lambda: len(self.answered()) >= count, timeout=60, what=f"{count} answers")

    def count(self, method: str) -> int:
        return sum(call.method == method for call in self.telegram.calls)

    def answered(self) -> Counter[tuple[int, int]]:
        """How often each message was answered, by its chat and its id."""
        return Counter(key(sent["reply_to_message"]) for sent in self.telegram.sent() if "reply_to_message" in sent)


@pytest.fixture
async def host(stage: Stage) -> AsyncIterator[Host]:
    host = Host(stage.telegram, stage.ryze, stage.folder)
    yield host
    for process in host.processes:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = stage.log.splitlines()
    assert [line for line in lines if CANARY in line.lower()] == []
    assert [line for line in lines if line.startswith(("Traceback", "  | Traceback"))] == []


async def end(process: Process, within: float = 60) -> int:
    """Wait for a process to end by itself."""
    async with asyncio.timeout(within):
        return await process.wait()


async def stop(process: Process, number: signal.Signals = signal.SIGTERM) -> None:
    """Send a signal, and see the process leave with status 0 in time."""
    process.send_signal(number)
    assert await end(process, within=20) == 0


def key(message: Json) -> tuple[int, int]:
    return message["chat"]["id"], message["message_id"]


async def test_24_commands_survive_kill_9_in_their_midst(host: Host) -> None:
    operators = host.team(3)
    host.ryze.delay = lambda _: 0.02 if len(host.ryze.calls) <= 12 else 600
    process = await host.begin()
    messages = [
        host.telegram.message(operator, f"/{'unpin' if number % 2 else 'pin'} +55119999900{number // 4:02}")
        for number in range(8)
        for operator in operators
    ]
    await host.answers(12)
    process.kill()
    await process.wait()
    host.ryze.delay = 0.02
    await host.begin()
    assert host.answered().keys() == set(map(key, messages))
    assert host.answered().total() <= 24 + 12  # what was answered and not confirmed is done again
    for name, instance in host.ryze.instances.items():
        assert instance.pinned == []
        calls = [(call.number, call.pin) for call in host.ryze.calls if call.instance == name]
        assert calls[-2:] == [("5511999990001", True), ("5511999990001", False)]


async def test_two_processes_that_overlap_in_a_deploy_do_not_do_the_work_twice(host: Host) -> None:
    """21 pins and unpins of one chat: all are answered, the last one holds, and hardly any is answered twice."""
    host.ryze.delay = 0.25
    first = await host.begin()
    for number in range(21):
        host.telegram.message(ANA, f"/{'unpin' if number % 2 else 'pin'} +5511999999999")
    await host.answers(2)
    second = await host.start()
    await host.telegram.wait_for(lambda: host.count("getMe") == 2, what="the second process")
    asked = host.count("getUpdates")
    await host.telegram.wait_for(lambda: host.count("getUpdates") >= asked + 2, what="both to ask")
    await stop(first)
    await host.answers(21)
    await host.polls()
    assert host.answered().total() - 21 <= 3
    assert host.ryze.instances["instance0"].pinned == ["5511999999999@s.whatsapp.net"]
    await stop(second)


async def test_sigterm_while_busy_finishes_and_confirms_what_has_begun_and_leaves_the_rest(host: Host) -> None:
    process = await host.begin()
    host.ryze.delay = 1.5
    first, second, third = [host.telegram.message(ANA, f"/pin +551199999900{number}") for number in range(3)]
    other = host.telegram.message(ANA + 1, "/pin +5511999999999")
    await host.telegram.wait_for(lambda: len(host.ryze.calls) == 2, what="two calls")
    await stop(process)
    # The other instance's command had begun, so all before it were finished too.
    assert set(host.answered()) == {key(first), key(second), key(third), key(other)}
    assert host.telegram.pending == []


async def test_sigterm_leaves_commands_that_wait_for_their_turn_at_telegram(host: Host) -> None:
    process = await host.begin()
    host.ryze.delay = 5
    first, *later = [host.telegram.message(ANA, f"/pin +551199999900{number}") for number in range(3)]
    await host.telegram.wait_for(lambda: host.ryze.calls, what="the first call")
    asked = host.count("getUpdates")
    await host.telegram.wait_for(lambda: host.count("getUpdates") > asked, what="the later ones to be fetched")
    await stop(process)
    assert set(host.answered()) == {key(first)}
    assert len(host.telegram.pending) == len(later)
    assert len(host.ryze.calls) == 1
    host.ryze.delay = 0
    await host.start()
    await host.answers(3)
    assert set(host.answered().values()) == {1}


@pytest.mark.parametrize("gap", [0.01, 0.3])
async def test_sigterm_again_and_again_changes_nothing(host: Host, gap: float) -> None:
    process = await host.begin()
    host.ryze.delay = 1
    message = host.telegram.message(ANA, "/pin +5511999999999")
    await host.telegram.wait_for(lambda: host.ryze.calls, what="the call")
    while process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)  # unlike `send_signal`, leaves it to asyncio to learn of the end
        await asyncio.sleep(gap)
    assert process.returncode == 0
    assert host.answered() == {key(message): 1}
    assert host.telegram.pending == []


FAULTS: list[tuple[str, Json]] = [
    ("getMe", {"hang": True}),
    ("getUpdates", {"hang": True}),
    ("getUpdates", {"status": 409}),
    ("getUpdates", {"status": 409, "description": "Conflict: can't use getUpdates method while webhook is active"}),
    ("getUpdates", {"status": 429, "retry_after": 600}),
]


@pytest.mark.parametrize(("method", "fault"), FAULTS)
async def test_sigterm_in_trouble_with_telegram(host: Host, method: str, fault: Json) -> None:
    order = host.telegram.fault(method, **fault, times=None)
    process = await host.start()
    await host.telegram.wait_for(lambda: order.hits, what="the fault")
    await stop(process)


@pytest.mark.parametrize("fault", [{"hang": True}, {"status": 429, "retry_after": 600}])
async def test_sigterm_while_an_answer_cannot_be_sent_leaves_it_to_the_next_process(host: Host, fault: Json) -> None:
    process = await host.begin()
    order = host.telegram.fault("*", **fault, times=None)
    host.telegram.message(ANA, "/pin +5511999999999")
    await host.telegram.wait_for(lambda: host.ryze.calls and order.hits, what="the fault")
    await stop(process)
    assert len(host.telegram.pending) == 1
    order.stop()
    await host.start()
    await host.answers(1)


async def test_telegram_down_at_the_start_is_waited_for_and_sigint_is_a_stop_too(host: Host) -> None:
    await host.telegram.down()
    process = await host.start()
    await host.logs("Telegram can't be reached")
    assert process.returncode is None
    await host.telegram.up()
    await host.say("/pin +5511999999999")
    await host.polls()
    await stop(process, signal.SIGINT)


async def test_sighup_in_mid_flood_loses_nothing_does_nothing_twice_and_keeps_the_process(host: Host) -> None:
    host.ryze.delay = 0.05
    process = await host.begin()
    messages = [host.telegram.message(ANA + number % 2, f"/pin +55119999900{number:02}") for number in range(20)]
    for reload in range(2):
        await host.answers(reload * 8 + 4)
        process.send_signal(signal.SIGHUP)
        await host.logs("2 operators, 2 instances", reload + 2)
    await host.answers(20)
    assert host.answered() == dict.fromkeys(map(key, messages), 1)
    assert len(host.ryze.calls) == 20
    assert process.returncode is None
    await stop(process)


async def test_a_changed_configuration_and_a_changed_env_file_count_after_a_reload(host: Host) -> None:
    dotenv = host.folder / ".env"
    host.settings["instances"]["instance0"]["token"] = "${RYZE_TOKEN}"
    dotenv.write_text(f"RYZE_TOKEN={CANARY}-outdated\n")
    process = await host.start()
    assert (await host.say("/pin +5511999999999"))["text"].startswith("❌")
    dotenv.write_text(f"RYZE_TOKEN={CANARY}-token-of-instance0\n")
    host.settings["operators"][1]["instance"] = "instance0"
    host.write()
    process.send_signal(signal.SIGHUP)
    await host.logs("2 operators, 2 instances", 2)
    for operator in (ANA, ANA + 1):
        assert (await host.say("/pin +5511999999999", operator))["text"].startswith("📌")
    assert [call.instance for call in host.ryze.calls] == ["instance0"] * 3
    await stop(process)


async def test_with_a_wrong_configuration_it_goes_on_with_the_one_it_has_and_says_every_mistake(host: Host) -> None:
    host.settings["admins"] = [ADMIN]
    host.telegram.add_chat(ADMIN)
    process = await host.begin()
    host.settings |= {"region": "XX", "operators": [{"telegram_id": "me", "instance": "instance0"}]}
    host.write()
    process.send_signal(signal.SIGHUP)
    (told,) = await host.telegram.wait_for(lambda: host.telegram.sent(ADMIN), what="the admin's message")
    for problem in ("bot.yaml:6: region: ", "telegram_id: write a person's own numeric id"):
        assert problem in told["text"]
        assert f"the configuration is not reloaded: {host.folder}" in host.log
        assert problem in host.log
    assert (await host.say("/pin +5511999999999"))["text"].startswith("📌")
    await stop(process)


@pytest.mark.parametrize("moment", ["reloading: what has begun", "INFO bot.app stopped", "2 operators, 2 instances"])
async def test_sigterm_during_a_reload_ends_it(host: Host, moment: str) -> None:
    process = await host.begin()
    times = host.log.count(moment) + 1
    process.send_signal(signal.SIGHUP)
    while host.log.count(moment) < times:  # noqa: ASYNC110 - the moments are short
        await asyncio.sleep(0)
    await stop(process)
    assert host.log.count("2 operators, 2 instances") <= 2


ENDED: list[tuple[Json, int, str]] = [
    ({"METRICS_PORT": "taken"}, 70, "ERROR bot.app can't listen on "),
    ({"TELEGRAM_BOT_TOKEN": "654321:another"}, 77, "ERROR bot.app Telegram rejects the bot's token"),
    ({"TELEGRAM_BOT_TOKEN": ""}, 78, "TELEGRAM_BOT_TOKEN: "),
    ({"HTTP_PROXY": f"carrier-pigeon://x:{CANARY}-proxy-password@127.0.0.1"}, 78, "the environment's proxy"),
    ({"ALL_PROXY": f"socks5://x:{CANARY}-proxy-password@127.0.0.1:1"}, 78, "the environment's proxy"),
    ({"SSL_CERT_FILE": "/nowhere/at/all.pem"}, 78, "the environment's proxy or certificates can't be used"),
]


@pytest.mark.parametrize(("environ", "status", "says"), ENDED)
async def test_what_it_cannot_run_with_has_a_status(host: Host, environ: Json, status: int, says: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = await host.start(**{name: value.replace("taken", port) for name, value in environ.items()})
        assert await end(process) == status
    assert says in host.log
