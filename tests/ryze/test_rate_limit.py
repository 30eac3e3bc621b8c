"""The rate limit on a virtual clock, against a simulated server with the vendor's fixed window."""

# ruff: noqa: S311 - the dice of a simulation

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from functools import wraps
from math import ceil, floor
from typing import Any

import pytest

from bot.ryze.rate_limit import LIMIT, MAX_LIMIT, UNKNOWN_RESET, WINDOW, RateLimit
from tests.virtual_clock import run

EPOCH = 1_700_000_000.0  # the server's clock when the loop's stands at 0


def on_virtual_clock(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Minutes pass in no time."""

    @wraps(test)
    def wrapped(**values: object) -> None:
        run(test(**values))

    return wrapped


def now() -> float:
    return asyncio.get_running_loop().time()


class Server:
    """Counts requests in fixed windows that begin at random; `spoil` changes its answers' headers."""

    def __init__(self, seed: int, limit: int = LIMIT) -> None:
        self.rng = random.Random(seed)
        self.limit = limit
        self.rounding = (ceil, floor, round)[seed % 3]
        self.phase = self.rng.uniform(0, WINDOW)
        self.used: Counter[int] = Counter()
        self.refusals = 0
        self.rate_limit = RateLimit()
        self.spoil: Callable[[dict[str, str]], dict[str, str]] = lambda headers: headers

    async def command(self, latency: float | None = None) -> float:
        """Wait for a slot and call, again after a refusal; when the last call began."""
        latency = self.rng.uniform(0, 5) if latency is None else latency
        while True:
            await self.rate_limit.take()
            began = now()
            await asyncio.sleep(arrives := self.rng.uniform(0, latency))
            window = floor((now() - self.phase) / WINDOW)
            refused = self.used[window] >= self.limit
            self.used[window] += not refused
            self.refusals += refused
            headers = {
                "date": formatdate(floor(EPOCH + now()), usegmt=True),
                "x-ratelimit-limit": str(self.limit),
                "x-ratelimit-remaining": str(self.limit - self.used[window]),
                "x-ratelimit-reset": str(self.rounding(EPOCH + (window + 1) * WINDOW + self.phase)),
            }
            await asyncio.sleep(latency - arrives)
            self.rate_limit.finish(self.spoil(headers), refused=refused)
            if not refused:
                return began

    async def rush(self, commands: int, latency: float | None = None) -> list[float]:
        """Have so many commands at once; after how many seconds each began, in order."""
        begun = now()
        return sorted(at - begun for at in await asyncio.gather(*(self.command(latency) for _ in range(commands))))


def told(left: str, reset: float | str) -> dict[str, str]:
    """An answer's headers; `reset` in seconds from now, or as it is to be written."""
    written = reset if isinstance(reset, str) else str(EPOCH + now() + reset)
    return {"date": formatdate(EPOCH + now()), "x-ratelimit-remaining": left, "x-ratelimit-reset": written}


async def taken_after(rate_limit: RateLimit) -> float:
    """Seconds until a request may begin."""
    asked = now()
    await rate_limit.take()
    return now() - asked


# Never too many


@pytest.mark.parametrize("latency", [None, 0.0, 0.3, 5.0])
@pytest.mark.parametrize("seed", range(20))
@on_virtual_clock
async def test_350_at_once_begin_within_200_s_and_none_is_refused(seed: int, latency: float | None) -> None:
    server = Server(seed)
    assert (await server.rush(350, latency))[-1] <= 200
    assert server.refusals == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: {},
        lambda headers: {**headers, "x-ratelimit-reset": "soon"},
        lambda headers: {**headers, "x-ratelimit-reset": headers["x-ratelimit-limit"]},
    ],
)
@on_virtual_clock
async def test_with_missing_or_odd_headers_the_count_alone_keeps_to_the_limit(
    spoil: Callable[[dict[str, str]], dict[str, str]],
) -> None:
    server = Server(3)
    server.spoil = spoil
    assert (await server.rush(350))[-1] <= 200
    assert server.refusals == 0


@on_virtual_clock
async def test_a_higher_limit_is_learnt_a_lower_one_is_not_and_there_is_an_end() -> None:
    rate_limit = RateLimit()
    for header, learnt in (("60", 100), ("300", 300), ("100", 300), ("1e3", 1000), ("1000000", MAX_LIMIT)):
        await rate_limit.take()
        rate_limit.finish({"x-ratelimit-limit": header})
        assert rate_limit.limit == learnt
    server = Server(0, limit=300)
    assert (await server.rush(600))[-1] <= 70, "300 a minute"
    assert server.refusals == 0


# Holding the token


@on_virtual_clock
async def test_after_a_refusal_none_begins_before_the_reset() -> None:
    server = Server(0)
    server.phase = now() - 10
    server.used[0] = 50  # by another program
    waited = await server.rush(80, 1.0)
    assert server.refusals == 30, "those that were under way at once, and none again"
    assert waited[:50] == [0.0] * 50
    assert all(50 <= seconds <= 53 for seconds in waited[50:70]), "the window's end, in whole seconds"


@pytest.mark.parametrize(
    ("left", "reset", "refused", "wait"),
    [
        ("0", 20, False, 20),
        ("0", 110, False, WINDOW - 1),
        ("0", "soon", True, UNKNOWN_RESET),
        ("0", 86_400, True, UNKNOWN_RESET),
        ("0", 86_400, False, UNKNOWN_RESET),
    ],
)
@on_virtual_clock
async def test_the_token_is_held_until_the_reset_but_never_longer_than_a_window(
    left: str, reset: float | str, wait: float, *, refused: bool
) -> None:
    rate_limit = RateLimit()
    for _ in range(2):
        await rate_limit.take()
    rate_limit.finish(told(left, reset), refused=refused)
    rate_limit.finish(told("60", 2))  # says nothing against it
    assert wait < await taken_after(rate_limit) <= wait + 2


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("many", "few", "soon", "yesterday"),
        ("nan", "inf", "nan", ""),
        ("100, 100;w=60", "-1", "1e400", "Mon, 99 Foo 2025 99:99:99 GMT"),
        ("\ud800", "1", "9" * 400, "Mon, 01 Jan 0001 00:00:00 -0000"),
    ],
)
@pytest.mark.parametrize("refused", [False, True])
@on_virtual_clock
async def test_missing_or_odd_headers_never_fail(values: tuple[str, ...], *, refused: bool) -> None:
    names = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "date")
    rate_limit = RateLimit()
    await rate_limit.take()
    rate_limit.finish(dict(zip(names, values, strict=False)), refused=refused)
    assert rate_limit.limit == LIMIT
    assert await taken_after(rate_limit) <= (UNKNOWN_RESET + 2 if refused else 0)


# First come, first served


@on_virtual_clock
async def test_slots_are_given_in_the_order_in_which_they_were_asked_for() -> None:
    rate_limit, order = RateLimit(), list[int]()

    async def one(number: int) -> None:
        await asyncio.sleep(0 if number < 250 else 61 + number / 1000)
        await rate_limit.take()
        order.append(number)
        rate_limit.finish({})

    await asyncio.gather(*(one(number) for number in range(300)))
    assert order == list(range(300))


@pytest.mark.parametrize("seed", range(20))
@on_virtual_clock
async def test_cancelled_waits_lose_no_slot_and_win_none(seed: int) -> None:
    rng, rate_limit, at_work = random.Random(seed), RateLimit(), list[int]()

    async def hold() -> None:
        await rate_limit.take()
        at_work.append(LIMIT - rate_limit.available)
        try:
            await asyncio.sleep(rng.uniform(0, 30))
        finally:
            rate_limit.give_back()

    tasks = [asyncio.create_task(hold()) for _ in range(300)]
    await asyncio.sleep(0)
    while not all(task.done() for task in tasks):
        for task in rng.sample(tasks, 10):
            task.cancel()
        if rng.random() < 0.8:  # else more is cancelled in the same turn of the loop
            await asyncio.sleep(rng.choice([0, 0, 1]))
    assert max(at_work) == LIMIT
    assert rate_limit.available == LIMIT
