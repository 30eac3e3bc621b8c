"""What is measured: each function is given a program and gives figures by the name of their row."""

import asyncio
import statistics
from collections.abc import Iterable
from time import perf_counter

from tests.bench.stage import Program, Running, running

Figures = dict[str, float]
COMMANDS = 900  # of one operator in one window: the bot makes no more than a thousand calls a minute with a token
WINDOW = 4.0  # seconds for which the rate is counted
SINGLY = 100  # commands one at a time
RARE, APART = 20, 6.0  # rare commands, and the seconds between them


async def single(program: Program) -> Figures:
    """Two operators and a Ryze that answers at once: start, memory at rest, time to answer."""
    async with running(program, operators=2) as it:
        figures = {"start (ms)": it.started * 1000, "memory at rest (MiB)": it.memory}
        await it.command(0, 0)
        times = []
        for number in range(1, SINGLY + 1):
            await asyncio.sleep(0.05)
            times.append(await it.command(0, number))
        figures["answer, Ryze at 0 ms (ms)"] = statistics.median(times) * 1000
        return figures | await _rate(it, range(1, 2), WINDOW, "1 operator, Ryze at 0 ms")


async def many(program: Program, delay: float = 0.0) -> Figures:
    """Many operators and a Ryze that takes so many seconds."""
    figures: Figures = {}
    for operators in (20, 100):
        async with running(program, operators, delay) as it:
            await it.command(0, 0)
            window = WINDOW * (2 if delay else 1)
            named = f"{operators} operators, Ryze at {delay * 1000:.0f} ms"
            figures |= await _rate(it, range(operators), window, named)
    return figures


async def rare(program: Program) -> Figures:
    """The connections to Ryze that rare commands open."""
    async with running(program, operators=1) as it:
        for number in range(RARE):
            await asyncio.sleep(APART)
            await it.command(0, number)
        return {f"connections by {RARE} commands {APART:g} s apart": float(it.ryze.connections)}


async def _rate(it: Running, operators: Iterable[int], window: float, named: str) -> Figures:
    """Let each operator send the next command as soon as the last is answered; commands/s and CPU a command in ms."""
    answered = 0

    async def one(operator: int) -> None:
        nonlocal answered
        for number in range(COMMANDS):
            await it.command(operator, number)
            answered += 1

    everyone = [asyncio.create_task(one(operator)) for operator in operators]
    await asyncio.sleep(window / 4)
    begun, count, cpu = perf_counter(), answered, it.cpu
    done, going = await asyncio.wait(everyone, timeout=window)
    for task in done:
        task.result()
    count, cpu, took = answered - count, it.cpu - cpu, perf_counter() - begun
    assert len(it.ryze.calls) >= count, "a program that does not ask Ryze is no comparison"
    # What is under way is answered first, so that the next row begins with a program at rest.
    for task in going:
        task.cancel()
    await asyncio.gather(*going, return_exceptions=True)
    await it.telegram.wait_for(lambda: not it.telegram.waiting, 120, "the last answers")
    return {f"commands/s, {named}": count / took, f"CPU a command, {named} (ms)": cpu / max(count, 1) * 1000}
