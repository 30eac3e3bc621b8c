"""The budget on a virtual clock, against a simulated server with the vendor's fixed window."""

# ruff: noqa: S311 - the dice of a simulation

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email.utils import formatdate
from math import ceil, floor
from typing import Any

import pytest

from bot.budget import LIMIT, MOST_LIMIT, WINDOW, Budget
from tests.virtual_clock import run

EPOCH = 1_700_000_000.0  # the server's clock when the loop's stands at 0


def now() -> float:
    return asyncio.get_running_loop().time()


class Server:
    """Counts requests a minute and token; `spoil` may change an answer's headers."""

    def __init__(self, rng: random.Random, limit: int = LIMIT, rounding: Callable[[float], int] = ceil) -> None:
        self.rng = rng
        self.limit = limit
        self.rounding = rounding
        self.phase = rng.uniform(0, WINDOW)
        self.used: dict[int, int] = {}
        self.refusals: list[float] = []
        self.spoil: Callable[[dict[str, str]], dict[str, str]] = lambda headers: headers

    def window(self) -> int:
        return floor((now() - self.phase) / WINDOW)

    def spend(self, requests: int = 1) -> int:
        """Counts requests of this or another program; how many are left, negative if there were too few."""
        window = self.window()
        self.used[window] = min(self.used.get(window, 0), self.limit) + requests
        return self.limit - self.used[window]

    async def request(self, budget: Budget, latency: float | None = None) -> bool:
        """One request whose slot was taken; whether it was not refused."""
        latency = self.rng.uniform(0, 5) if latency is None else latency
        arrives = self.rng.uniform(0, latency)
        await asyncio.sleep(arrives)
        left = self.spend()
        headers = {
            "date": formatdate(floor(EPOCH + now()), usegmt=True),
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(max(left, 0)),
            "x-ratelimit-reset": str(self.rounding(EPOCH + (self.window() + 1) * WINDOW + self.phase)),
        }
        if left < 0:
            self.refusals.append(now())
        await asyncio.sleep(latency - arrives)
        budget.end(self.spoil(headers), refused=left < 0)
        return left >= 0


async def command(budget: Budget, server: Server, latency: float | None = None) -> tuple[float, float]:
    """Waits for a slot and calls, again after every refusal; when the first and the last call began."""
    await budget.take()
    first = last = now()
    while not await server.request(budget, latency):
        await budget.take()
        last = now()
    return first, last


async def start(*works: Awaitable[Any]) -> list["asyncio.Task[Any]"]:
    """Starts them, each as far as it gets at once."""
    tasks = [asyncio.ensure_future(work) for work in works]
    await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize("seed", range(40))
def test_350_at_once_begin_within_200_s_and_none_is_refused(seed: int) -> None:
    async def main() -> None:
        server, budget, begun = Server(random.Random(seed), rounding=(ceil, floor, round)[seed % 3]), Budget(), now()
        calls = await asyncio.gather(*(command(budget, server) for _ in range(350)))
        assert server.refusals == []
        assert max(last for _, last in calls) - begun <= 200

    run(main())


@pytest.mark.parametrize("latency", [0.0, 0.3, 5.0])
def test_a_steady_latency_changes_nothing_about_that(latency: float) -> None:
    async def main() -> None:
        server, budget, begun = Server(random.Random(0)), Budget(), now()
        calls = await asyncio.gather(*(command(budget, server, latency) for _ in range(350)))
        assert server.refusals == []
        assert max(last for _, last in calls) - begun <= 200

    run(main())


@pytest.mark.parametrize("seed", range(30))
def test_commands_that_trickle_in_are_never_refused_either(seed: int) -> None:
    async def main() -> None:
        rng = random.Random(seed)
        server, budget = Server(rng), Budget()

        async def later(seconds: float) -> None:
            await asyncio.sleep(seconds)
            await command(budget, server)

        await asyncio.gather(*(later(rng.uniform(0, 150)) for _ in range(400)))
        assert server.refusals == []

    run(main())


def test_without_the_headers_the_count_alone_keeps_to_the_limit() -> None:
    async def main() -> None:
        server, budget, begun = Server(random.Random(3)), Budget(), now()
        server.spoil = lambda _: {}
        calls = await asyncio.gather(*(command(budget, server) for _ in range(350)))
        assert server.refusals == []
        assert max(last for _, last in calls) - begun <= 200

    run(main())


def told(left: int | str, reset: float | str, **more: str) -> dict[str, str]:
    """An answer's headers; `reset` in seconds from now, or as it is to be written."""
    written = reset if isinstance(reset, str) else str(EPOCH + now() + reset)
    date = formatdate(EPOCH + now(), usegmt=True)
    return {"date": date, "x-ratelimit-remaining": str(left), "x-ratelimit-reset": written, **more}


async def begun_after(budget: Budget) -> float:
    """Seconds until a request may begin; it is left under way."""
    asked = now()
    await budget.take()
    return now() - asked


@pytest.mark.parametrize("seed", range(20))
def test_another_program_on_the_same_token_brings_no_storm_of_refusals(seed: int) -> None:
    async def main() -> None:
        rng = random.Random(seed)
        server, budget = Server(rng, rounding=(ceil, floor)[seed % 2]), Budget()

        async def other() -> None:
            while True:
                server.spend()
                await asyncio.sleep(rng.expovariate(1.0))

        others = await start(other())
        await asyncio.gather(*(command(budget, server) for _ in range(200)))
        others[0].cancel()
        windows = [floor((at - server.phase) / WINDOW) for at in server.refusals]
        assert max((windows.count(window) for window in windows), default=0) <= 15

    run(main())


def test_after_a_refusal_none_begins_before_the_reset_and_then_one_goes_first() -> None:
    async def main() -> None:
        server, budget = Server(random.Random(1)), Budget()
        server.phase = now() - 10
        server.spend(50)
        begun: list[float] = []

        async def call() -> None:
            await budget.take()
            begun.append(now() - arrived)
            while not await server.request(budget, 1.0):
                await budget.take()
                begun.append(now() - arrived)

        arrived = now()
        await asyncio.gather(*(call() for _ in range(80)))
        assert begun[:80] == [0.0] * 80
        assert len(server.refusals) == 30, "those that were under way at once, and none again"
        assert begun[80] >= 50, "the window's end"
        assert begun[80] <= 50 + 2 + 1, "whole seconds and jitter"
        assert begun[81] == pytest.approx(begun[80] + 1), "the first one's answer shows what is left"

    run(main())


def test_a_refusal_that_does_not_say_until_when_holds_for_some_seconds() -> None:
    async def main() -> None:
        for headers in ({}, told(0, "soon"), told(0, 86_400), told(0, -100), told(0, str(1000 * EPOCH))):
            budget = Budget()
            await budget.take()
            budget.end(headers, refused=True)
            assert 10 <= budget.wait_for() <= 12
            assert 10 <= await begun_after(budget) <= 12

    run(main())


def test_requests_under_way_do_not_shorten_a_hold() -> None:
    async def main() -> None:
        budget = Budget()
        for _ in range(3):
            await budget.take()
        budget.end({}, refused=True)
        budget.end(told(60, 2))
        budget.end(told(60, 2), refused=True)
        assert 10 <= await begun_after(budget) <= 12

    run(main())


def test_a_server_that_says_none_is_left_is_believed_until_its_window_ends() -> None:
    async def main() -> None:
        budget = Budget()
        await budget.take()
        budget.end(told(0, 20))
        assert budget.left == 0
        assert 20 <= await begun_after(budget) <= 22

    run(main())


def test_what_the_server_says_never_holds_longer_than_a_window() -> None:
    async def main() -> None:
        budget = Budget()
        await budget.take()
        budget.end(told(0, 70))
        assert await begun_after(budget) == pytest.approx(WINDOW)

    run(main())


def test_what_is_left_counts_down_by_what_has_begun_since() -> None:
    async def main() -> None:
        budget = Budget()
        for _ in range(2):
            await budget.take()
        budget.end(told(5, 20))
        assert budget.left == 5
        await budget.take()
        assert budget.left == 4
        budget.end(told(6, 20))
        assert budget.left == 4, "an older answer takes nothing back"
        budget.end(told(3, 20))
        assert budget.left == 3
        await asyncio.sleep(22)
        assert budget.left == LIMIT - 3, "a new window, and our own three still count"

    run(main())


def test_answers_of_an_older_window_say_nothing_of_the_current_one() -> None:
    async def main() -> None:
        budget = Budget()
        for _ in range(2):
            await budget.take()
        late = told(0, 1)
        await asyncio.sleep(3)
        budget.end(told(99, 58))
        budget.end(late)
        assert budget.left == LIMIT - 2

    run(main())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-limit": "", "x-ratelimit-remaining": "", "x-ratelimit-reset": ""},
        {"x-ratelimit-limit": "many", "x-ratelimit-remaining": "few", "x-ratelimit-reset": "soon"},
        {"x-ratelimit-limit": "nan", "x-ratelimit-remaining": "inf", "x-ratelimit-reset": "nan"},
        {"x-ratelimit-limit": "-1", "x-ratelimit-remaining": "-1", "x-ratelimit-reset": "-1"},
        {"x-ratelimit-limit": "100, 100;w=60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1e400"},
        {"x-ratelimit-remaining": "0"},
        {"x-ratelimit-reset": "1"},
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9" * 400},
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "17", "date": "yesterday"},
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "17", "date": "Mon, 99 Foo 2025 99:99:99 GMT"},
        {"x-ratelimit-limit": "٣", "x-ratelimit-remaining": "\ud800"},
    ],
)
@pytest.mark.parametrize("refused", [False, True])
def test_odd_or_missing_headers_never_fail_and_hold_nothing(headers: dict[str, str], *, refused: bool) -> None:
    async def main() -> None:
        budget = Budget()
        await budget.take()
        budget.end(headers, refused=refused)
        assert budget.limit == LIMIT
        assert await begun_after(budget) <= (12 if refused else 0)

    run(main())


def test_a_higher_limit_is_learnt_a_lower_one_is_not_and_there_is_an_end() -> None:
    async def main() -> None:
        budget = Budget()
        for header, learnt in (("60", 100), ("300", 300), ("100", 300), ("1e3", 1000), ("1000000", MOST_LIMIT)):
            await budget.take()
            budget.end({"x-ratelimit-limit": header})
            assert budget.limit == learnt
        server, budget = Server(random.Random(0), limit=300), Budget()
        calls = await asyncio.gather(*(command(budget, server) for _ in range(600)))
        assert server.refusals == []
        assert max(last for _, last in calls) - min(first for first, _ in calls) <= 70, "300 a minute"

    run(main())


def test_a_saturated_token_delays_no_other() -> None:
    async def main() -> None:
        rng = random.Random(0)
        server, saturated, other = Server(rng), Budget(), Budget()
        flood = await start(*(command(saturated, server) for _ in range(500)))
        waits = []
        for _ in range(200):
            await asyncio.sleep(rng.uniform(0, 1.5))
            waits.append(await begun_after(other))
            other.end({})
        assert sorted(waits)[int(len(waits) * 0.95)] <= 0.1
        assert saturated.waiting
        for task in flood:
            task.cancel()

    run(main())


def test_slots_are_given_in_the_order_in_which_they_were_asked_for() -> None:
    async def main() -> None:
        budget, order = Budget(), list[int]()

        async def one(number: int) -> None:
            await budget.take()
            order.append(number)
            await asyncio.sleep(random.Random(number).uniform(0, 5))
            budget.end({})

        tasks = await start(*(one(number) for number in range(250)))
        await asyncio.sleep(61)
        tasks += await start(*(one(number) for number in range(250, 300)))
        await asyncio.gather(*tasks)
        assert order == list(range(300))

    run(main())


def test_whoever_comes_just_as_a_slot_is_free_goes_after_those_who_wait() -> None:
    async def main() -> None:
        budget = Budget()
        while budget.begin():
            pass
        first = await start(budget.take())
        budget.limit += 1
        second = await start(budget.take())
        await asyncio.sleep(0)
        assert first[0].done()
        assert not second[0].done()
        budget.give_back()
        await second[0]

    run(main())


@pytest.mark.parametrize("seed", range(20))
def test_cancelled_waits_lose_no_slot_and_win_none(seed: int) -> None:
    async def main() -> None:
        rng, budget = random.Random(seed), Budget()
        holders = most = 0

        async def hold() -> None:
            nonlocal holders, most
            await budget.take()
            holders += 1
            most = max(most, holders)
            try:
                await asyncio.sleep(rng.uniform(0, 30))
            finally:
                holders -= 1
                budget.give_back()

        tasks = await start(*(hold() for _ in range(300)))
        while not all(task.done() for task in tasks):
            for task in rng.sample(tasks, 10):
                task.cancel()
            if rng.random() < 0.8:  # else more is cancelled in the same turn of the loop
                await asyncio.sleep(rng.choice([0, 0, 1]))
        await asyncio.gather(*tasks, return_exceptions=True)
        assert most == LIMIT
        assert budget.waiting == 0
        assert budget.left == LIMIT

    run(main())


def test_a_wait_cancelled_in_the_moment_in_which_the_queue_is_looked_at_wins_nothing() -> None:
    async def main() -> None:
        budget = Budget()
        while budget.begin():
            pass
        first, second = await start(budget.take(), budget.take())
        first.cancel()
        budget.give_back()
        await asyncio.gather(first, second, return_exceptions=True)
        assert first.cancelled()
        assert not second.cancelled(), "the one slot is the second's"
        assert budget.left == 0
        for _ in range(LIMIT):
            budget.give_back()
        assert budget.left == LIMIT

    run(main())


def test_a_slot_granted_to_a_wait_that_is_cancelled_goes_to_the_next() -> None:
    async def main() -> None:
        budget = Budget()
        while budget.begin():
            pass
        first, second = await start(budget.take(), budget.take())
        budget.give_back()
        first.cancel()
        await asyncio.wait({first, second}, timeout=1)
        assert first.cancelled()
        assert second.done()

    run(main())


def test_a_slot_given_back_is_also_given_back_to_what_the_server_told() -> None:
    async def main() -> None:
        budget = Budget()
        await budget.take()
        budget.end(told(1, 40))
        await budget.take()
        assert budget.left == 0
        budget.give_back()
        assert budget.left == 1

    run(main())


def test_a_wait_that_times_out_leaves_the_queue() -> None:
    async def main() -> None:
        budget = Budget()
        await budget.take()
        budget.end(told(0, 50))
        with suppress(TimeoutError):
            async with asyncio.timeout(20):
                await budget.take()
        assert budget.waiting == 0
        assert 30 <= await begun_after(budget) <= 32

    run(main())


def test_one_that_goes_first_and_gets_no_answer_stops_nobody() -> None:
    async def main() -> None:
        budget = Budget()
        await budget.take()
        budget.end(told(0, 5), refused=True)
        await budget.take()
        rest = await start(budget.take(), budget.take())
        await asyncio.sleep(12)
        assert budget.waiting == 2, "nothing is known yet"
        budget.end({})
        await asyncio.sleep(0)
        assert budget.waiting == 1, "again one goes first"
        budget.end({"date": "an answer"})
        await asyncio.wait(rest, timeout=1)
        assert budget.waiting == 0
        assert budget.left > 1

    run(main())


@pytest.mark.parametrize("seed", range(10))
def test_the_wait_that_is_told_is_the_wait_that_comes(seed: int) -> None:
    async def main() -> None:
        rng = random.Random(seed)
        server, budget = Server(rng), Budget()
        first = await start(*(command(budget, server) for _ in range(100)))
        await asyncio.gather(*first)
        for place in (0, 40, 99, 130, 250):
            expected = 60 * (place // 100 + 1)
            assert expected - 10 <= budget.wait_for(place) <= expected + 0.01
        asked, promised = now(), [budget.wait_for(place) for place in range(100)]
        assert promised == sorted(promised)
        calls = await asyncio.gather(*(command(budget, server) for _ in range(100)))
        assert [began - asked for began, _ in calls] == pytest.approx(promised, abs=0.01)

    run(main())


def test_nobody_is_told_to_wait_while_there_are_slots() -> None:
    async def main() -> None:
        budget = Budget()
        assert budget.wait_for() == 0
        assert budget.wait_for(99) == 0
        assert 55 <= budget.wait_for(100) <= 60
        await budget.take()
        budget.end(told(0, 25))
        assert 25 <= budget.wait_for() <= 27
        budget.end(told(0, 25), refused=True)
        assert 25 <= budget.wait_for() <= 27

    run(main())
