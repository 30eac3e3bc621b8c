"""What an admin's monitoring sees, read over HTTP as Prometheus does."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot import __version__
from tests.conftest import ANA, BIA, Stage
from tests.test_webhook import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Samples = dict[str, float]


class Monitoring:
    """A client that asks the bot of a stage."""

    def __init__(self, stage: Stage, client: httpx.AsyncClient) -> None:
        self.stage = stage
        self.client = client
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        stage.environ["METRICS_PORT"] = str(self.port)

    async def samples(self) -> Samples:
        """Every sample that is not zero, by its name and labels."""
        answer = await self.client.get(f"{self.base}/metrics")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        found: defaultdict[str, float] = defaultdict(float)
        for family in text_string_to_metric_families(answer.text):
            assert family.documentation
            for sample in family.samples:
                if sample.value:
                    labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                    found[f"{sample.name.removeprefix('ryze_pin_bot_')}{{{labels}}}".removesuffix("{}")] = sample.value
        return found

    async def until(self, condition: Callable[[Samples], bool]) -> Samples:
        """Ask until what is seen is as it should be."""
        async with asyncio.timeout(30):
            while True:
                if condition(seen := await self.samples()):
                    return seen
                await asyncio.sleep(0.02)

    async def health(self) -> tuple[int, str]:
        answer = await self.client.get(f"{self.base}/healthz")
        return answer.status_code, answer.text

    async def becomes(self, status: int, reason: str) -> None:
        async with asyncio.timeout(60):
            while True:
                if await self.health() == (status, f"{reason}\n"):
                    return
                await asyncio.sleep(0.05)


@pytest.fixture
async def monitoring(stage: Stage) -> AsyncIterator[Monitoring]:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        yield Monitoring(stage, client)


def webhook(stage: Stage) -> None:
    port = free_port()
    stage.environ |= {"WEBHOOK_URL": f"http://127.0.0.1:{port}/hook", "PORT": str(port)}


@pytest.mark.parametrize("hooked", [False, True])
async def test_commands_are_counted_by_action_instance_and_outcome(
    stage: Stage,
    monitoring: Monitoring,
    hooked: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    if hooked:
        webhook(stage)
    async with stage.bot():
        for text in ("/pin +5511999999999", "/pin +5511999999998", "/unpin +5511999999998", "/help", "/pin nonsense"):
            await stage.telegram.answer(stage.telegram.message(ANA, text))
        stage.ryze.instances["support"].connected = False
        await stage.telegram.answer(stage.telegram.message(BIA, "/pin +5511999999999"))
        seen = await monitoring.until(lambda seen: seen["answer_seconds_count"] == 4)
    counted = {name: value for name, value in seen.items() if name.startswith("commands_total")}
    assert counted == {
        "commands_total{action=pin,instance=sales,outcome=pinned}": 2,
        "commands_total{action=unpin,instance=sales,outcome=unpinned}": 1,
        "commands_total{action=pin,instance=support,outcome=not_connected}": 1,
    }
    assert seen["ryze_seconds_count"] == 4
    assert 0 < seen["ryze_seconds_sum"] < seen["answer_seconds_sum"]
    assert seen["answer_seconds_bucket{le=+Inf}"] == 4
    assert seen["budget_left{instance=sales}"] == 97
    assert seen[f"build_info{{version={__version__}}}"] == 1


async def test_the_time_to_the_answer_holds_the_wait_and_that_of_the_call_does_not(
    stage: Stage, monitoring: Monitoring
) -> None:
    webhook(stage)  # which has both come at once
    stage.settings["operators"][1]["instance"] = "sales"
    stage.ryze.delay = 0.6
    async with stage.bot():
        for operator in (ANA, BIA):
            stage.telegram.message(operator, "/pin +5511999999999")
        seen = await monitoring.until(lambda seen: seen["answer_seconds_count"] == 2)
    assert seen["ryze_seconds_bucket{le=0.5}"] == 0
    assert 1.2 <= seen["ryze_seconds_sum"] < seen["answer_seconds_sum"]
    assert seen["answer_seconds_sum"] >= 1.8


async def test_what_waits_is_shown_by_instance_until_it_is_done(stage: Stage, monitoring: Monitoring) -> None:
    stage.settings["operators"][1]["instance"] = "sales"
    hanging = stage.ryze.fault(hang=True, times=None)
    async with stage.bot():
        for operator in (ANA, BIA):
            stage.telegram.message(operator, "/pin +5511999999999")
        seen = await monitoring.until(lambda seen: seen["waiting{instance=sales}"] == 2)
        assert seen["unfinished_updates"] == 2
        assert seen["waiting{instance=support}"] == 0
        assert seen["budget_left{instance=sales}"] == 99
        assert seen["budget_left{instance=support}"] == 100
        hanging.stop()
        await monitoring.until(lambda seen: not seen["waiting{instance=sales}"] and not seen["unfinished_updates"])


async def test_commands_that_are_not_run_have_no_call_to_time(stage: Stage, monitoring: Monitoring) -> None:
    async with stage.bot():
        late = stage.telegram.message(ANA, "/pin +5511999999999", date=1_700_000_000)
        await stage.telegram.answer(late)
        seen = await monitoring.until(lambda seen: seen["answer_seconds_count"] == 1)
    assert seen["commands_total{action=pin,instance=sales,outcome=late}"] == 1
    assert seen["ryze_seconds_count"] == 0


async def test_a_failure_that_never_happened_is_zero_so_that_its_first_time_is_an_increase(
    stage: Stage, monitoring: Monitoring
) -> None:
    async with stage.bot():
        text = (await monitoring.client.get(f"{monitoring.base}/metrics")).text
    for line in (
        'ryze_pin_bot_commands_total{action="pin",instance="support",outcome="not_connected"} 0.0',
        'ryze_pin_bot_commands_total{action="unpin",instance="sales",outcome="token_refused"} 0.0',
    ):
        assert line in text.splitlines()
    assert "_created" not in text


async def test_the_time_since_telegram_was_heard_grows_while_it_is_away_and_then_falls(
    stage: Stage, monitoring: Monitoring
) -> None:
    async with stage.bot():
        await monitoring.becomes(200, "updates can be taken")
        await stage.telegram.down()
        await monitoring.until(lambda seen: seen["last_heard_seconds"] > 1.5)
        await monitoring.becomes(503, "Telegram can't be reached")
        await stage.telegram.up()
        await monitoring.becomes(200, "updates can be taken")
        await monitoring.until(lambda seen: seen["last_heard_seconds"] < 1.5)


async def test_the_time_since_the_webhook_was_called_falls_with_a_call(stage: Stage, monitoring: Monitoring) -> None:
    webhook(stage)
    async with stage.bot():
        await monitoring.until(lambda seen: seen["last_heard_seconds"] > 1)
        await stage.telegram.answer(stage.telegram.message(ANA, "/help"))
        assert (await monitoring.samples())["last_heard_seconds"] < 1


@pytest.mark.parametrize("hooked", [False, True])
async def test_until_updates_can_be_taken_the_health_says_why_not(
    stage: Stage,
    monitoring: Monitoring,
    hooked: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    if hooked:
        webhook(stage)
    hanging = stage.telegram.fault("getMe", hang=True, times=None)
    process = await stage.start()
    try:
        await stage.telegram.wait_for(lambda: hanging.hits, what="a bot that starts")
        await monitoring.becomes(503, "starting")
        assert (await monitoring.samples())["build_info{version=" + __version__ + "}"] == 1
        hanging.stop()
        await monitoring.becomes(200, "updates can be taken")
    finally:
        process.terminate()
        assert await process.wait() == 0


async def test_the_metrics_are_on_this_machine_alone_unless_told_otherwise(
    stage: Stage, monitoring: Monitoring
) -> None:
    elsewhere = monitoring.base.replace("127.0.0.1", "127.0.0.2")  # as loopback as the other, on Linux
    async with stage.bot():
        assert (await monitoring.health())[0] == 200
        with pytest.raises(httpx.ConnectError):
            await monitoring.client.get(f"{elsewhere}/metrics")
    stage.environ["METRICS_HOST"] = "0.0.0.0"  # noqa: S104 - that it is not so by itself is what is shown
    stage.telegram.calls.clear()
    async with stage.bot():
        assert (await monitoring.client.get(f"{elsewhere}/metrics")).status_code == 200


async def test_without_their_port_there_are_no_metrics(stage: Stage) -> None:
    """Polling, the bot then listens nowhere at all."""
    process = await stage.start()
    try:
        await stage.telegram.wait_for(
            lambda: any(call.method == "getUpdates" for call in stage.telegram.calls), what="a bot that polls"
        )
        assert listening(process.pid) == set()
    finally:
        process.terminate()
        assert await process.wait() == 0


def listening(pid: int) -> set[str]:
    """The inodes of a process's sockets that listen."""
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                listening.add(fields[9])
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return listening & {found[1] for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}
