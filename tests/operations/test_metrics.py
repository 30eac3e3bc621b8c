"""What an admin's monitoring sees, read over HTTP as Prometheus does."""

import time
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.operations.metrics import Metrics, serve
from bot.ryze.chats import Chat
from bot.ryze.client import RyzeClient
from bot.ryze.outcomes import OUTCOMES, Reply
from bot.ryze.queue import Attempt, PinQueue, PinRequest
from bot.settings.model import Instance, Operator
from bot.telegram.updates import Polling

SALES, SUPPORT = (Instance(name=name, token=f"token-of-{name}") for name in ("sales", "support"))
ANA = Operator(telegram_id=111, instances=("sales",))


class Monitoring:
    """Metrics of two instances behind a real server."""

    def __init__(self) -> None:
        self.queue = PinQueue(RyzeClient(None, "", 1), [], lambda: False, None)  # type: ignore[arg-type]  # no call is made
        self.updates = Polling(None, print)  # type: ignore[arg-type]  # nothing is fetched
        self.metrics = Metrics([SALES, SUPPORT], self.queue, self.updates)
        self.server = serve(self.metrics, self.updates, "127.0.0.1", 0)
        (socket,) = self.server._sockets.values()
        url = f"http://127.0.0.1:{socket.getsockname()[1]}"
        self.client = httpx.AsyncClient(base_url=url, trust_env=False, timeout=30)

    def attempt(self, outcome: str, instance: Instance = SALES, ryze_seconds: float | None = 0.2) -> None:
        request = PinRequest(1, ANA, instance, (Chat("5511999999999"),), pin=outcome != "unpinned")
        reply = Reply(OUTCOMES[outcome])
        self.metrics.observe(Attempt(request, 0, request.chats[0], request.pin, reply, ryze_seconds))

    async def samples(self) -> dict[str, float]:
        """Every sample that is not zero, by its name and labels."""
        answer = await self.client.get("/metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
        return {
            f"{sample.name.removeprefix('ryze_pin_bot_')} {' '.join(sample.labels.values())}".strip(): sample.value
            for sample in samples
            if sample.value
        }


@pytest.fixture
async def monitoring() -> AsyncIterator[Monitoring]:
    monitoring = Monitoring()
    async with monitoring.client:
        yield monitoring
    monitoring.server.stop()
    await monitoring.server.close_all_connections()


async def test_commands_are_counted_by_action_instance_and_outcome_and_their_times_measured(
    monitoring: Monitoring,
) -> None:
    for outcome in ("pinned", "pinned", "unpinned"):
        monitoring.attempt(outcome)
    monitoring.attempt("not_connected", SUPPORT)
    monitoring.attempt("late", ryze_seconds=None)
    monitoring.metrics.answered(0.4)
    for _ in range(3):
        monitoring.queue.rate_limits[SALES.token].try_take()
    monitoring.queue.waiting[None] = "sales"
    monitoring.updates.unfinished = dict.fromkeys(range(5))  # type: ignore[assignment]  # only counted
    monitoring.updates.last_contact = time.monotonic() - 3600
    samples = await monitoring.samples()
    assert {name: value for name, value in samples.items() if "bucket" not in name} == {
        "commands_total pin sales pinned": 2,
        "commands_total unpin sales unpinned": 1,
        "commands_total pin support not_connected": 1,
        "commands_total pin sales late": 1,
        "answer_seconds_count": 1,
        "answer_seconds_sum": 0.4,
        "ryze_seconds_count": 4,
        "ryze_seconds_sum": pytest.approx(0.8),
        "budget_left sales": 97,
        "budget_left support": 100,
        "waiting sales": 1,
        "unfinished_updates": 5,
        "last_heard_seconds": pytest.approx(3600, abs=60),
    }
    monitoring.queue.rate_limits[SALES.token].try_take()
    assert (await monitoring.samples())["budget_left sales"] == 96
    text = (await monitoring.client.get("/metrics")).text
    for name in OUTCOMES:  # what never happened is zero, so that its first time is an increase
        assert f'commands_total{{action="unpin",instance="support",outcome="{name}"}} 0.0' in text
    assert "_created" not in text
    for problem, status, said in (("", 200, "updates can be taken"), ("stopping", 503, "stopping")):
        monitoring.updates.problem = problem
        answer = await monitoring.client.get("/healthz")
        assert (answer.status_code, answer.text) == (status, f"{said}\n")
