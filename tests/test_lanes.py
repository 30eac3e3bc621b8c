"""One command at a time an instance, in the order received; different instances in parallel."""

import asyncio
import random

import pytest

from bot.lanes import Lanes


class Visits:
    """Commands that hold a lane until they are let go."""

    def __init__(self, places: int = 32) -> None:
        self.lanes = Lanes(places)
        self.running: list[str] = []
        self.done: list[str] = []
        self.let_go: dict[str, asyncio.Event] = {}

    async def start(self, *names: str) -> dict[str, "asyncio.Task[None]"]:
        """Starts commands named after their instance and a number ("sales 1"), each as far as it gets at once."""
        for name in names:
            self.let_go[name] = asyncio.Event()
        tasks = {name: asyncio.create_task(self._visit(name)) for name in names}
        await self.settle()
        return tasks

    async def _visit(self, name: str) -> None:
        async with self.lanes.turn(name.split(maxsplit=1)[0]):
            self.running.append(name)
            try:
                await self.let_go[name].wait()
            finally:
                self.running.remove(name)
                self.done.append(name)

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def finish(self, name: str) -> None:
        self.let_go[name].set()
        await self.settle()


async def test_commands_of_one_instance_run_one_at_a_time_in_the_order_received() -> None:
    visits = Visits()
    names = [f"sales {number}" for number in range(20)]
    tasks = await visits.start(*names)
    for name in names:
        assert visits.running == [name]
        await visits.finish(name)
    assert visits.done == names
    assert all(task.done() for task in tasks.values())


async def test_different_instances_run_in_parallel() -> None:
    visits = Visits()
    await visits.start("sales 1", "sales 2", "support 1", "billing 1")
    assert visits.running == ["sales 1", "support 1", "billing 1"]
    await visits.finish("support 1")
    assert visits.running == ["sales 1", "billing 1"], "a lane that ends lets nobody of another go"
    for name in ("sales 1", "sales 2", "billing 1"):
        await visits.finish(name)


async def test_held_counts_the_running_and_the_waiting_and_forgets_an_empty_lane() -> None:
    visits = Visits()
    assert visits.lanes.held("sales") == 0
    await visits.start("sales 1", "sales 2", "sales 3", "support 1")
    assert [visits.lanes.held(name) for name in ("sales", "support", "billing")] == [3, 1, 0]
    for name in ("sales 1", "support 1"):
        await visits.finish(name)
    assert [visits.lanes.held(name) for name in ("sales", "support")] == [2, 0]
    for name in ("sales 2", "sales 3"):
        await visits.finish(name)
    assert not visits.lanes._queues, "memory does not grow with the instances ever used"


async def test_a_cancelled_waiter_gives_its_place_up_and_the_order_of_the_others_holds() -> None:
    visits = Visits()
    tasks = await visits.start("sales 1", "sales 2", "sales 3", "sales 4")
    tasks["sales 2"].cancel()
    await visits.settle()
    assert visits.lanes.held("sales") == 3
    assert visits.running == ["sales 1"], "nobody moves up while the first one runs"
    await visits.finish("sales 1")
    assert visits.running == ["sales 3"]
    for name in ("sales 3", "sales 4"):
        await visits.finish(name)
    assert visits.done == ["sales 1", "sales 3", "sales 4"]


async def test_a_waiter_cancelled_in_the_moment_of_its_turn_passes_the_turn_on() -> None:
    visits = Visits()
    tasks = await visits.start("sales 1", "sales 2", "sales 3")
    tasks["sales 1"].cancel()
    await asyncio.sleep(0)  # the first has left, the second has its turn but has not yet run
    tasks["sales 2"].cancel()
    await visits.settle()
    assert visits.running == ["sales 3"]
    await visits.finish("sales 3")


@pytest.mark.parametrize("order", [("sales 1", "sales 2", "sales 3"), ("sales 3", "sales 2", "sales 1")])
async def test_waiters_cancelled_together_with_the_one_before_them_block_nobody(order: tuple[str, ...]) -> None:
    visits = Visits()
    tasks = await visits.start("sales 1", "sales 2", "sales 3", "sales 4")
    for name in order:
        tasks[name].cancel()
    await visits.settle()
    assert all(tasks[name].cancelled() for name in order)
    assert visits.running == ["sales 4"]
    await visits.finish("sales 4")
    assert visits.lanes.held("sales") == 0


async def test_a_command_that_fails_lets_the_next_one_run() -> None:
    lanes = Lanes(1)
    with pytest.raises(RuntimeError):
        async with lanes.turn("sales"):
            raise RuntimeError
    async with asyncio.timeout(5), lanes.turn("sales"):
        assert lanes.held("sales") == 1


async def test_waiting_for_a_lane_takes_no_place() -> None:
    visits = Visits(places=2)
    await visits.start(*(f"sales {number}" for number in range(10)))
    async with asyncio.timeout(5), visits.lanes.places, visits.lanes.places:
        assert visits.lanes.places.locked()
    for number in range(10):
        await visits.finish(f"sales {number}")


async def test_the_places_bound_what_runs_at_once_over_all_instances() -> None:
    lanes, running, most = Lanes(3), 0, 0

    async def one(instance: str) -> None:
        nonlocal running, most
        async with lanes.turn(instance), lanes.places:
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(one(f"instance {number}") for number in range(20)))
    assert most == 3


@pytest.mark.parametrize("seed", range(20))
async def test_no_lane_ever_stops_or_overtakes_whoever_is_cancelled_when(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - dice
    visits = Visits()
    names = [f"{rng.choice(['sales', 'support'])} {number}" for number in range(60)]
    tasks = await visits.start(*names)
    while visits.running:
        if rng.random() < 0.5:
            tasks[rng.choice(names)].cancel()
        else:
            visits.let_go[rng.choice(visits.running)].set()
        if rng.random() < 0.5:
            await visits.settle()
        assert len(visits.running) == len({name.split()[0] for name in visits.running})
        if not visits.running:
            await visits.settle()
    assert all(task.done() for task in tasks.values())
    for instance in ("sales", "support"):
        done = [name for name in visits.done if name.startswith(instance)]
        assert done == [name for name in names if name in done], "in the order received"
        assert visits.lanes.held(instance) == 0
