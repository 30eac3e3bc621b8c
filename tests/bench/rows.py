"""What is measured: each function is given a program and gives figures by the name of their row."""

from __future__ import annotations

import asyncio
import random
import statistics
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from tests.bench.stage import Running, running, slow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.bench.programs import Program

Figures = dict[str, float]
MOST_A_MINUTE = 900  # commands of one operator in one window: Ryze lets no token make more than a thousand a minute


@dataclass(frozen=True)
class Scale:
    """How much is measured: seconds for a window, commands one at a time, commands of the long run, rare commands."""

    window: float = 4.0
    singly: int = 100
    many: int = 10_000
    rare: int = 20
    apart: float = 6.0
    rest: float = 60.0
    hang: float = 30.0


QUICK = Scale(window=1.0, singly=10, many=500, rare=3, apart=1.0, rest=3.0, hang=5.0)


async def single(program: Program, folder: Path, scale: Scale) -> Figures:
    """One operator and a Ryze that answers at once: start, memory at rest, time to answer, and what one alone gets."""
    async with running(program, folder, operators=2) as it:
        figures = {"start": it.started * 1000, "memory at rest": it.memory}
        await it.command(0, 0)
        figures["answer, Ryze at 0 ms"] = await _singly(it, scale.singly)
        return figures | await _rate(it, range(1, 2), scale.window, "1 operator, Ryze at 0 ms")


async def at_once(program: Program, folder: Path, scale: Scale) -> Figures:
    """Many operators and a Ryze that answers at once: commands a second and processor time a command."""
    figures: Figures = {}
    for operators in (20, 100):
        async with running(program, folder, operators) as it:
            await it.command(0, 0)
            figures |= await _rate(it, range(operators), scale.window, f"{operators} operators, Ryze at 0 ms")
    return figures


async def with_delay(program: Program, folder: Path, scale: Scale) -> Figures:
    """A Ryze that takes 300 ms: time to answer, commands a second."""
    figures: Figures = {}
    for operators in (1, 20, 100):
        async with running(program, folder, operators, delay=0.3) as it:
            await it.command(0, 0)
            if operators == 1:
                figures["answer, Ryze at 300 ms"] = await _singly(it, max(3, scale.singly // 5))
            named = f"{operators} operator{'s' if operators > 1 else ''}, Ryze at 300 ms"
            figures |= await _rate(it, range(operators), scale.window * 2, named)
    return figures


async def many(program: Program, folder: Path, scale: Scale) -> Figures:
    """Memory after a tenth of the long run and after all of it."""
    async with running(program, folder, operators=100) as it:
        early = it.memory
        for count in range(scale.many // 100):
            await asyncio.gather(*(it.command(operator, count) for operator in range(100)))
            if count == scale.many // 1000:
                early = it.memory
        return {"memory after 1,000 commands": early, "memory after 10,000 commands": it.memory}


async def while_one_hangs(program: Program, folder: Path, scale: Scale) -> Figures:
    """The 99th percentile of 20 operators' answers, one about every 3 s each, while another one's instance hangs."""
    async with running(program, folder, operators=21) as it:
        it.ryze.delay = slow("instance-0", 3600.0)
        stuck = asyncio.create_task(_again_and_again(it, 0))
        await it.ryze.wait_for(lambda: it.ryze.calls)
        times: list[float] = []
        until = perf_counter() + scale.hang

        async def one(operator: int) -> None:
            number = 0
            while perf_counter() < until:
                await asyncio.sleep(random.uniform(0, 2 * scale.hang / 10))  # noqa: S311 - people do not keep time
                times.append(await it.command(operator, number))
                number += 1

        await asyncio.gather(*(one(operator) for operator in range(1, 21)))
        stuck.cancel()
        with suppress(asyncio.CancelledError):
            await stuck
    return {"99th percentile while another instance hangs": statistics.quantiles(times, n=100)[98] * 1000}


async def rare(program: Program, folder: Path, scale: Scale, tls: tuple[Path, Path] | None) -> Figures:
    """The connections that rare commands open; over TLS also their time to answer, and the first one's after a rest."""
    how = " over TLS" if tls else ""
    async with running(program, folder, operators=1, tls=tls) as it:
        times = []
        for number in range(scale.rare):
            await asyncio.sleep(scale.apart)
            times.append(await it.command(0, number))
        opened = it.ryze.connections + it.telegram.connections
        figures = {
            f"connections to Ryze by rare commands{how}": float(it.ryze.connections),
            f"connections in all by rare commands{how}": float(opened),
        }
        if tls:
            figures["answer to a rare command over TLS"] = statistics.median(times) * 1000
            it.close_idle()
            await asyncio.sleep(1)
            figures["answer after an hour at rest over TLS"] = await it.command(0, scale.rare) * 1000
    return figures


async def at_rest(program: Program, folder: Path, scale: Scale) -> Figures:
    """The share of a core that a program uses that has nothing to do."""
    async with running(program, folder) as it:
        await it.command(0, 0)
        await asyncio.sleep(2)
        before = it.cpu
        await asyncio.sleep(scale.rest)
        return {"CPU at rest": (it.cpu - before) / scale.rest * 100}


async def _singly(it: Running, count: int) -> float:
    times = []
    for number in range(1, count + 1):
        await asyncio.sleep(0.05)
        times.append(await it.command(0, number))
    return statistics.median(times) * 1000


async def _rate(it: Running, operators: Iterable[int], window: float, named: str) -> Figures:
    """Let each operator send the next command as soon as the last is answered; commands/s and CPU a command in ms."""
    answered = 0

    async def one(operator: int) -> None:
        nonlocal answered
        for number in range(MOST_A_MINUTE):
            await it.command(operator, number)
            answered += 1

    everyone = [asyncio.create_task(one(operator)) for operator in operators]
    await asyncio.sleep(window / 4)
    begun, count, cpu = perf_counter(), answered, it.cpu
    done, going = await asyncio.wait(everyone, timeout=window)
    for task in done:
        task.result()
    count, cpu, took = answered - count, it.cpu - cpu, perf_counter() - begun
    # What is under way is answered first, so that the next row begins with a program at rest.
    for task in going:
        task.cancel()
    await asyncio.gather(*going, return_exceptions=True)
    await _idle(it)
    return {f"commands/s, {named}": count / took, f"CPU a command, {named}": cpu / max(count, 1) * 1000}


async def _idle(it: Running) -> None:
    """Wait until the program has answered all it was sent."""
    await it.telegram.wait_for(lambda: not it.telegram._asked, 120, "the last answers")


async def _again_and_again(it: Running, operator: int) -> None:
    number = 0
    while True:
        await it.command(operator, number)
        number += 1
