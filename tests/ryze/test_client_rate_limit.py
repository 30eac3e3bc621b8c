"""The rate limit on a virtual clock, against a simulated server with the vendor's fixed window."""

# ruff: noqa: S311 - the dice of a simulation

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import wraps
from math import ceil, floor
from typing import Any

import pytest

from bot.ryze.client import LIMIT, MAX_LIMIT, UNKNOWN_RESET, WINDOW, RateLimit
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


def server_time() -> float:
    return EPOCH + now()


class Server:
    """Counts requests in fixed windows that begin at random; `headers` are told instead of the true ones."""

    def __init__(self, seed: int, limit: int = LIMIT) -> None:
        self.rng = random.Random(seed)
        self.limit = limit
        self.rounding = (ceil, floor, round)[seed % 3]
        self.phase = self.rng.uniform(0, WINDOW)
        self.used: Counter[int] = Counter()
        self.refusals = 0
        self.rate_limit = RateLimit(server_time)
        self.headers: dict[str, str] = {}

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
                "x-ratelimit-limit": str(self.limit),
                "x-ratelimit-remaining": str(self.limit - self.used[window]),
                "x-ratelimit-reset": str(self.rounding(EPOCH + (window + 1) * WINDOW + self.phase)),
            }
            await asyncio.sleep(latency - arrives)
            self.rate_limit.finish(headers | self.headers, refused=refused)
            if not refused:
                return began

    async def rush(self, commands: int, latency: float | None = None) -> list[float]:
        """Have so many commands at once; after how many seconds each began, in order."""
        begun = now()
        return sorted(at - begun for at in await asyncio.gather(*(self.command(latency) for _ in range(commands))))


async def taken_after(rate_limit: RateLimit) -> float:
    """Seconds until a request may begin."""
    asked = now()
    await rate_limit.take()
    return now() - asked


@pytest.mark.parametrize("latency", [None, 0.0, 0.3, 5.0])
@pytest.mark.parametrize("seed", range(20))
@on_virtual_clock
async def test_350_at_once_begin_within_200_s_and_none_is_refused(seed: int, latency: float | None) -> None:
    server = Server(seed)
    if seed % 2:  # the count alone keeps to the limit
        server.headers = {"x-ratelimit-remaining": "", "x-ratelimit-reset": "soon"}
    assert (await server.rush(350, latency))[-1] <= 200
    assert server.refusals == 0


@on_virtual_clock
async def test_a_higher_limit_is_learnt_a_lower_one_is_not_and_there_is_an_end() -> None:
    rate_limit = RateLimit()
    for header, learnt in (("60", 100), ("300", 300), ("100", 300), ("1000000", MAX_LIMIT)):
        await rate_limit.take()
        rate_limit.finish({"x-ratelimit-limit": header})
        assert rate_limit.limit == learnt
    server = Server(0, limit=300)
    assert (await server.rush(600))[-1] <= 70, "300 a minute"
    assert server.refusals == 0


@on_virtual_clock
async def test_after_a_refusal_none_begins_before_the_reset() -> None:
    server = Server(0)
    server.phase = now() - 10
    server.used[0] = 50  # by another program
    waited = await server.rush(80, 1.0)
    assert (server.refusals, waited[:50]) == (30, [0.0] * 50), "those that were under way at once, and none again"
    assert all(50 <= seconds <= 53 for seconds in waited[50:70]), "the window's end, in whole seconds"


@pytest.mark.parametrize(
    ("left", "reset", "refused", "wait"),
    [
        ("0", 20, False, 21),  # a second more for the header's rounding
        ("0", 110, False, WINDOW),
        ("60", 20, True, 21),
        ("0", 86_400, False, UNKNOWN_RESET),
        ("60", 20, False, 0),
    ],
)
@on_virtual_clock
async def test_the_token_is_held_until_the_reset_but_never_longer_than_a_window(
    left: str, reset: int, wait: float, *, refused: bool
) -> None:
    rate_limit = RateLimit(server_time)
    for _ in range(2):
        await rate_limit.take()
    told = {"x-ratelimit-remaining": left, "x-ratelimit-reset": str(round(server_time()) + reset)}
    rate_limit.finish(told, refused=refused)
    rate_limit.finish({"x-ratelimit-remaining": "60"})  # says nothing against it
    assert await taken_after(rate_limit) == wait


@pytest.mark.parametrize("odd", ["", "many", "nan", "inf", "-1", "1e400", "9" * 5000, "100, 100;w=60", "\ud800"])
@pytest.mark.parametrize("refused", [False, True])
@on_virtual_clock
async def test_odd_headers_never_fail(odd: str, *, refused: bool) -> None:
    rate_limit = RateLimit()
    await rate_limit.take()
    rate_limit.finish({f"x-ratelimit-{name}": odd for name in ("limit", "remaining", "reset")}, refused=refused)
    assert (rate_limit.limit, await taken_after(rate_limit)) == (LIMIT, UNKNOWN_RESET if refused else 0)


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
            rate_limit.finish({})

    tasks = [asyncio.create_task(hold()) for _ in range(300)]
    await asyncio.sleep(0)
    while not all(task.done() for task in tasks):
        for task in rng.sample(tasks, 10):
            task.cancel()
        if rng.random() < 0.8:  # else more is cancelled in the same turn of the loop
            await asyncio.sleep(rng.choice([0, 0, 1]))
    await asyncio.sleep(WINDOW)
    assert (max(at_work), rate_limit.available) == (LIMIT, LIMIT)
