"""The bot as a process, with real signals: whatever ends it, no command is lost, and it is gone in time.

Every process here logs at DEBUG, its secrets are canaries, and none of them may be in the log.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from asyncio.subprocess import Process
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ANA, Stage
from tests.sandbox.ryze import Instance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sandbox.server import Json

CANARY = "canary"
PATCHED = "import sys; from bot.__main__ import main; from bot import app, polling, watchdog; {}; sys.exit(main())"


class Host:
    """What starts the bot's processes on a stage, and ends those that a test leaves."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.telegram = stage.telegram
        self.ryze = stage.ryze
        self.processes: list[Process] = []
        stage.telegram.token = f"123456:{CANARY}-bot-token"
        stage.environ |= {
            "TELEGRAM_BOT_TOKEN": stage.telegram.token,
            "LOG_LEVEL": "DEBUG",
            "HTTPS_PROXY": f"http://proxy:{CANARY}-proxy-password@127.0.0.1:9",
        }
        self.team()

    def team(self, size: int = 2) -> list[int]:
        """Operators with an instance each; the first is Ana."""
        operators = [ANA + number for number in range(size)]
        names = [f"instance{number}" for number in range(size)]
        self.ryze.instances = {name: Instance(f"{CANARY}-token-of-{name}") for name in names}
        self.stage.settings |= {
            "instances": {name: {"token": instance.token} for name, instance in self.ryze.instances.items()},
            "operators": [
                {"telegram_id": operator, "name": f"Operator {operator}", "instance": name}
                for operator, name in zip(operators, names, strict=True)
            ],
        }
        return operators

    async def start(self, **environ: str) -> Process:
        process = await self.stage.start(**environ)
        self.processes.append(process)
        return process

    async def start_patched(self, change: str) -> Process:
        """Start a process in which a threshold is another."""
        with (self.stage.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", PATCHED.format(change), "run", "--config", str(self.stage.write())),
                env={**os.environ, **self.stage.environ},
                stderr=log,
            )
        self.processes.append(process)
        return process

    async def polls(self) -> None:
        """Wait until a process is at rest: all is confirmed, and Telegram holds a request."""
        await self.telegram.wait_for(
            lambda: not self.telegram.pending and self.telegram._waiter is not None, what="a process at rest"
        )

    async def logs(self, part: str, times: int = 1) -> None:
        await self.telegram.wait_for(lambda: self.stage.log.count(part) >= times, what=f"{part!r} in the log")

    def asked(self) -> int:
        return sum(call.method == "getUpdates" for call in self.telegram.calls)

    def answered(self) -> dict[tuple[int, int], int]:
        """How often each message was answered, by its chat and its id."""
        counts: defaultdict[tuple[int, int], int] = defaultdict(int)
        for sent in self.telegram.sent():
            if message := sent.get("reply_to_message"):
                counts[message["chat"]["id"], message["message_id"]] += 1
        return counts

    def pinned(self, number: int) -> list[str]:
        return self.ryze.instances[f"instance{number}"].pinned


@pytest.fixture
async def host(stage: Stage) -> AsyncIterator[Host]:
    host = Host(stage)
    yield host
    for process in host.processes:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = stage.log.splitlines()
    assert [line for line in lines if CANARY in line.lower()] == []
    assert [line for line in lines if line.startswith(("Traceback", "  | Traceback"))] == []


async def stop(process: Process, within: float = 20) -> float:
    """Send SIGTERM, see the process leave with status 0 in time, and give the seconds that it took."""
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(within):
        assert await process.wait() == 0
    return time.monotonic() - begun


async def end(process: Process, within: float = 60) -> int:
    """Wait for a process to end by itself."""
    async with asyncio.timeout(within):
        return await process.wait()


def key(message: Json) -> tuple[int, int]:
    return message["chat"]["id"], message["message_id"]


def key_of(update: Json) -> tuple[int, int]:
    return key(update["message"])


# Nothing is lost


async def test_24_commands_survive_kill_9_in_their_midst(host: Host) -> None:
    """All are answered, in order for each instance, and the last one's state holds."""
    operators = host.team(3)
    host.ryze.delay = lambda _: 0.02 if len(host.ryze.calls) <= 12 else 600
    process = await host.start()
    await host.polls()
    messages = [
        host.telegram.message(operator, f"/{'unpin' if number % 2 else 'pin'} +55119999900{number // 4:02}")
        for number in range(8)
        for operator in operators
    ]
    await host.telegram.wait_for(lambda: len(host.answered()) == 12, what="half of the answers")
    process.kill()
    await process.wait()
    host.ryze.delay = 0.02
    await host.start()
    await host.telegram.wait_for(lambda: len(host.answered()) == 24, what="all 24 answers")
    await host.polls()
    for number, operator in enumerate(operators):
        mine = [key(message) for message in messages if message["chat"]["id"] == operator]
        seen = [key(sent["reply_to_message"]) for sent in host.telegram.sent(operator)]
        assert list(dict.fromkeys(seen)) == mine
        assert host.pinned(number) == []
        calls = [call for call in host.ryze.calls if call.instance == f"instance{number}"]
        assert [(call.number, call.pin) for call in calls[-2:]] == [("5511999990001", True), ("5511999990001", False)]


async def test_200_commands_survive_8_restarts_at_random(host: Host) -> None:
    """None is lost, SIGTERM has nothing answered twice, and `kill -9` no more than what was not confirmed."""
    seed = 20261122
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    operators = host.team(5)
    host.ryze.delay = lambda _: chance.uniform(0, 0.03)
    still = "polling.STILL = 0.5"  # no other process is at the same updates here
    endings = [signal.SIGKILL, signal.SIGTERM] * 4
    chance.shuffle(endings)
    last: dict[int, tuple[str, bool]] = {}
    twice_at_most = 0

    def give(count: int) -> None:
        for _ in range(count):
            operator, pin, chat = (
                chance.choice(operators),
                chance.random() < 0.5,
                f"55119999900{chance.randrange(3):02}",
            )
            host.telegram.message(operator, f"/{'pin' if pin else 'unpin'} +{chat}")
            last[operator] = chat, pin

    def unconfirmed_but_answered() -> int:
        answered = host.answered()
        return sum(key_of(host.telegram._updates[update].update) in answered for update in host.telegram.pending)

    process = await host.start_patched(still)
    await host.polls()
    for ending in endings:
        before, some = len(host.answered()), chance.randrange(3, 20)
        give(22)
        await host.telegram.wait_for(lambda before=before, some=some: len(host.answered()) >= before + some)  # type: ignore[misc]
        give(3)
        process.send_signal(ending)
        assert await end(process, 20) == (0 if ending is signal.SIGTERM else -signal.SIGKILL)
        if ending is signal.SIGTERM:
            assert unconfirmed_but_answered() == 0
        else:
            twice_at_most += unconfirmed_but_answered()
        process = await host.start_patched(still)
    await host.telegram.wait_for(lambda: len(host.answered()) == 200, timeout=60, what="all 200 answers")
    await host.polls()
    await stop(process)
    assert sum(host.answered().values()) - 200 <= twice_at_most <= 4 * 100
    for number, operator in enumerate(operators):
        chat, pin = last[operator]
        assert (f"{chat}@s.whatsapp.net" in host.pinned(number)) is pin


async def test_two_processes_that_overlap_in_a_deploy_do_not_do_the_work_twice(host: Host) -> None:
    """21 pins and unpins of one chat: all are answered, the last one holds, and hardly any is answered twice."""
    host.ryze.delay = 0.25
    old = await host.start()
    await host.polls()
    for number in range(21):
        host.telegram.message(ANA, f"/{'unpin' if number % 2 else 'pin'} +5511999999999")
    await host.telegram.wait_for(lambda: len(host.answered()) >= 2, what="the first answers")
    new = await host.start()
    await host.telegram.wait_for(
        lambda: sum(call.method == "getMe" for call in host.telegram.calls) == 2, what="the new process"
    )
    asked = host.asked()
    await host.telegram.wait_for(lambda: host.asked() >= asked + 2, what="both to ask")
    await stop(old)
    await host.telegram.wait_for(lambda: len(host.answered()) == 21, what="all 21 answers")
    await host.polls()
    assert sum(host.answered().values()) - 21 <= 3
    assert host.pinned(0) == ["5511999999999@s.whatsapp.net"]
    await stop(new)


async def test_commands_to_two_overlapping_processes_at_rest_are_all_answered(host: Host) -> None:
    host.telegram.conflict_pause = 0.1
    old = await host.start()
    await host.polls()
    new = await host.start()
    await host.logs("another process is polling with the same token")
    for number in range(6):
        host.telegram.message(ANA, f"/{'unpin' if number % 2 else 'pin'} +5511999999999")
    await host.telegram.wait_for(lambda: len(host.answered()) == 6, what="all answers")
    await stop(old)
    await host.polls()
    assert host.pinned(0) == []
    assert sum(host.answered().values()) - 6 <= 3
    await stop(new)


# SIGTERM


async def test_sigterm_at_rest(host: Host) -> None:
    process = await host.start()
    host.telegram.message(ANA, "/help")
    await host.telegram.wait_for(host.answered, what="an answer")
    await host.polls()
    asked = host.asked()
    assert await stop(process) < 5  # it is a third of a second on an idle machine
    assert host.asked() <= asked + 1
    assert host.telegram.pending == []


async def test_sigterm_while_busy_finishes_and_confirms_what_has_begun_and_leaves_the_rest(host: Host) -> None:
    process = await host.start()
    await host.polls()
    host.ryze.delay = 1.5
    first, second, third = [host.telegram.message(ANA, f"/pin +551199999900{number}") for number in range(3)]
    other = host.telegram.message(ANA + 1, "/pin +5511999999999")
    await host.telegram.wait_for(lambda: len(host.ryze.calls) == 2, what="two calls")
    await stop(process)
    # The other instance's command had begun, so all before it were finished too.
    assert set(host.answered()) == {key(first), key(second), key(third), key(other)}
    assert host.telegram.pending == []


async def test_sigterm_leaves_commands_that_wait_for_their_lane_at_telegram(host: Host) -> None:
    process = await host.start()
    await host.polls()
    host.ryze.delay = 5
    first, *later = [host.telegram.message(ANA, f"/pin +551199999900{number}") for number in range(3)]
    await host.telegram.wait_for(lambda: host.ryze.calls, what="the first call")
    asked = host.asked()
    await host.telegram.wait_for(lambda: host.asked() > asked, what="the later ones to be fetched")
    await stop(process)
    assert set(host.answered()) == {key(first)}
    assert len(host.telegram.pending) == len(later)
    assert len(host.ryze.calls) == 1
    host.ryze.delay = 0
    await host.start()
    await host.telegram.wait_for(lambda: len(host.answered()) == 3, what="the later ones")
    assert set(host.answered().values()) == {1}


@pytest.mark.parametrize("gap", [0.01, 0.05, 0.3])
async def test_sigterm_again_and_again_loses_nothing(host: Host, gap: float) -> None:
    process = await host.start()
    await host.polls()
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


async def test_a_flood_of_sigterms_loses_nothing_and_says_nothing(host: Host) -> None:
    process = await host.start()
    await host.polls()
    host.ryze.delay = 1
    message = host.telegram.message(ANA, "/pin +5511999999999")
    await host.telegram.wait_for(lambda: host.ryze.calls, what="the call")

    def flood() -> None:
        with suppress(ProcessLookupError):
            for _ in range(200_000):
                os.kill(process.pid, signal.SIGTERM)

    await asyncio.to_thread(flood)
    assert await end(process) == 0
    assert host.answered() == {key(message): 1}
    assert "Exception ignored" not in host.stage.log


async def test_ctrl_c_is_a_stop_too(host: Host) -> None:
    process = await host.start()
    await host.polls()
    process.send_signal(signal.SIGINT)
    assert await end(process) == 0


@pytest.mark.parametrize("method", ["getMe", "getUpdates", "*"])
async def test_sigterm_while_telegram_hangs(host: Host, method: str) -> None:
    hanging = host.telegram.fault(method, hang=True, times=None)
    process = await host.start()
    await host.telegram.wait_for(lambda: hanging.hits, what="a call that hangs")
    await stop(process)


async def test_sigterm_while_an_answer_hangs_leaves_the_command_to_the_next_process(host: Host) -> None:
    process = await host.start()
    await host.polls()
    hanging = host.telegram.fault("*", hang=True, times=None)
    host.telegram.message(ANA, "/pin +5511999999999")
    await host.telegram.wait_for(lambda: hanging.hits, what="a call that hangs")
    await stop(process)
    assert len(host.telegram.pending) == 1
    hanging.stop()
    await host.start()
    await host.telegram.wait_for(lambda: len(host.answered()) == 1, what="the answer")


async def test_sigterm_in_flood_control(host: Host) -> None:
    """Told to leave Telegram alone for ten minutes, it can neither ask nor answer, and still leaves in time."""
    process = await host.start()
    await host.polls()
    host.telegram.fault("sendMessage", status=429, retry_after=600, times=None)
    flood = host.telegram.fault("getUpdates", status=429, retry_after=600, times=None)
    host.telegram.message(ANA, "/pin +5511999999999")
    await host.telegram.wait_for(lambda: host.ryze.calls and flood.hits, what="flood control")
    await stop(process)
    assert len(host.telegram.pending) == 1


@pytest.mark.parametrize("description", [None, "Conflict: can't use getUpdates method while webhook is active"])
async def test_sigterm_in_a_conflict(host: Host, description: str | None) -> None:
    conflict = host.telegram.fault("getUpdates", status=409, description=description, times=None)
    process = await host.start()
    await host.telegram.wait_for(lambda: conflict.hits >= 2, what="conflicts")
    await stop(process)


async def test_sigterm_while_a_backlog_is_left_alone(host: Host) -> None:
    host.telegram.message(ANA, "/pin +5511999999999")
    process = await host.start()
    await host.telegram.wait_for(lambda: host.asked() >= 1, what="the first look")
    assert await stop(process) < 10
    assert len(host.telegram.pending) == 1
    assert host.ryze.calls == []


# Telegram away


async def test_telegram_down_at_the_start_is_waited_for_with_a_line_when_it_is_back(host: Host) -> None:
    await host.telegram.down()
    await host.start()
    await host.logs("Telegram can't be reached")
    await host.logs("getMe: ", 3)
    await host.telegram.up()
    message = host.telegram.message(ANA, "/pin +5511999999999")
    await host.telegram.answer(message)
    assert host.stage.log.count("Telegram can't be reached") == 1
    assert host.stage.log.count("Telegram is back") == 1


async def test_telegram_going_away_and_coming_back_is_a_line_each(host: Host) -> None:
    await host.start()
    await host.polls()
    await host.telegram.down()
    await host.logs("getUpdates: ", 3)
    await host.telegram.up()
    message = host.telegram.message(ANA, "/pin +5511999999999")
    await host.telegram.answer(message)
    await host.logs("Telegram is back")
    assert host.stage.log.count("Telegram can't be reached") == 1
    assert host.stage.log.count("Telegram is back") == 1


async def test_sigterm_while_telegram_is_down_at_the_start(host: Host) -> None:
    await host.telegram.down()
    process = await host.start()
    await host.logs("Telegram can't be reached")
    assert await stop(process) < 5


async def test_sigterm_while_a_proxy_is_down(host: Host) -> None:
    proxy = f"http://proxy:{CANARY}-proxy-password@127.0.0.1:9"
    process = await host.start(HTTP_PROXY=proxy, NO_PROXY="")
    await host.logs("Telegram can't be reached")
    await stop(process)


async def test_cosmetic_calls_that_fail_in_any_way_stop_nothing(host: Host) -> None:
    broken = host.telegram.fault("setMyShortDescription", body=b'{"ok":true}', times=None)
    host.telegram.fault("setMyCommands", body=b"{}", times=None)
    await host.start()
    await host.telegram.wait_for(lambda: broken.hits >= 2, what="a cosmetic call to be tried again")
    message = host.telegram.message(ANA, "/pin +5511999999999")
    await host.telegram.answer(message)


# A process that cannot go on


async def test_a_missing_token_is_a_configuration_error(host: Host) -> None:
    process = await host.start(TELEGRAM_BOT_TOKEN="")
    assert await end(process) == 78
    assert host.stage.log.startswith("TELEGRAM_BOT_TOKEN: ")


async def test_a_configuration_error_ends_the_process_with_status_78(host: Host) -> None:
    host.stage.settings["operators"][0]["instance"] = "instance7"
    process = await host.start()
    assert await end(process) == 78
    assert "operators[0].instance: no such instance" in host.stage.log


async def test_a_token_that_telegram_rejects_ends_the_process_with_a_clear_line(host: Host) -> None:
    host.telegram.token = "654321:another"
    process = await host.start()
    assert await end(process) == 77
    assert "ERROR bot.app Telegram rejects the bot's token" in host.stage.log


async def test_a_token_that_is_rejected_for_a_minute_ends_the_process_with_a_clear_line(host: Host) -> None:
    process = await host.start_patched("polling.REJECTED_FOR = 1")
    await host.polls()
    host.telegram.fault("getUpdates", status=401, times=None)
    host.telegram.close_connections()
    assert await end(process) == 77
    assert "ERROR bot.app Telegram rejects the bot's token" in host.stage.log


async def test_a_deaf_process_ends_with_a_line(host: Host) -> None:
    process = await host.start_patched("watchdog.LIMIT = 5; polling.SLACK = 1000")
    await host.polls()
    host.telegram.fault("getUpdates", hang=True, times=None)
    host.telegram.close_connections()
    assert await end(process) == 70
    assert "CRITICAL bot.watchdog an attempt to hear from Telegram has not ended for " in host.stage.log


async def test_a_process_that_cannot_reach_telegram_is_not_deaf(host: Host) -> None:
    process = await host.start_patched("watchdog.LIMIT = 5; polling.LONG_POLL = 1; polling.LONGEST_PAUSE = 1")
    await host.polls()
    begun = time.monotonic()
    await host.telegram.down()
    await host.telegram.wait_for(lambda: time.monotonic() - begun > 8, what="longer than the limit")
    await host.telegram.up()
    message = host.telegram.message(ANA, "/pin +5511999999999")
    await host.telegram.answer(message)
    assert process.returncode is None


async def test_a_stop_that_hangs_is_cut_short(host: Host) -> None:
    process = await host.start_patched("app.STOPPING = 1")
    await host.polls()
    host.ryze.delay = 600
    host.telegram.message(ANA, "/pin +5511999999999")
    await host.telegram.wait_for(lambda: host.ryze.calls, what="the call")
    process.send_signal(signal.SIGTERM)
    assert await end(process) == 70
    assert "the stop has not ended for 1 s" in host.stage.log
    assert len(host.telegram.pending) == 1


@pytest.mark.parametrize(
    "environ",
    [
        {"HTTP_PROXY": f"carrier-pigeon://x:{CANARY}-proxy-password@127.0.0.1"},
        {"ALL_PROXY": f"socks5://x:{CANARY}-proxy-password@127.0.0.1:1"},
        {"SSL_CERT_FILE": "/nowhere/at/all.pem"},
    ],
)
async def test_an_environment_that_cannot_work_is_told_in_a_line(host: Host, environ: dict[str, Any]) -> None:
    process = await host.start(**environ)
    assert await end(process) == 78
    assert "ERROR bot.app the environment's proxy or certificates can't be used" in host.stage.log
