"""What an admin's monitoring sees, read over HTTP as Prometheus does."""

from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.operations.metrics import Metrics, serve
from bot.ryze.chats import Chat
from bot.ryze.outcomes import OUTCOMES, Reply
from bot.ryze.queue import Attempt, PinRequest
from bot.settings.model import Instance, Operator

SALES, SUPPORT = (Instance(name=name, token=f"token-of-{name}") for name in ("sales", "support"))
ANA = Operator(telegram_id=111, instances=("sales",))


class Monitoring:
    """Metrics of two instances behind a real server; `problem` and the gauges' `numbers` can be set."""

    def __init__(self) -> None:
        self.problem = ""
        self.numbers = {SALES: 97.0, SUPPORT: 100.0}
        left = self.numbers.__getitem__
        self.metrics = Metrics([SALES, SUPPORT], left, lambda instance: 100 - left(instance), lambda: 5, lambda: 1.5)
        self.server = serve(self.metrics, lambda: self.problem, "127.0.0.1", 0)
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
        "waiting sales": 3,
        "unfinished_updates": 5,
        "last_heard_seconds": 1.5,
    }
    monitoring.numbers[SALES] = 42
    assert (await monitoring.samples())["budget_left sales"] == 42
    text = (await monitoring.client.get("/metrics")).text
    for name in OUTCOMES:  # what never happened is zero, so that its first time is an increase
        assert f'commands_total{{action="unpin",instance="support",outcome="{name}"}} 0.0' in text
    assert "_created" not in text
    for problem, status, said in (("", 200, "updates can be taken"), ("stopping", 503, "stopping")):
        monitoring.problem = problem
        answer = await monitoring.client.get("/healthz")
        assert (answer.status_code, answer.text) == (status, f"{said}\n")
