"""What an admin's monitoring sees: `/metrics` for Prometheus, and `/healthz` with its reason."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler, url

from bot import __version__
from bot.outcomes import RyzeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import Metric

    from bot.attempts import Attempted

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120)
_GAUGES = {
    "budget_left": "Requests that the instance's token may make at once",
    "waiting": "Commands in the instance's lane, the running one included",
    "unfinished_updates": "Updates from Telegram that are still being handled",
    "last_heard_seconds": "Seconds since Telegram answered getUpdates, or called the webhook",
}


class Metrics(Collector):
    """Counts attempts as they end; the rest is looked up when it is asked for.

    `now` gives each gauge's current values by instance, or by "" for one that has none.
    """

    def __init__(self, instances: Iterable[str], now: Callable[[], Mapping[str, Mapping[str, float]]]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # as the library has it; twice the series, for no use
        self._now = now
        self.registry = CollectorRegistry()
        self._commands = Counter(
            "ryze_pin_bot_commands",
            "Commands, by what came of them",
            ("action", "instance", "outcome"),
            registry=self.registry,
        )
        self._answer = Histogram(
            "ryze_pin_bot_answer_seconds",
            "From the command to its sent answer",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._call = Histogram(
            "ryze_pin_bot_ryze_seconds", "The call to Ryze", buckets=_SECONDS, registry=self.registry
        )
        for instance in instances:
            for error in RyzeError.__subclasses__():  # to Prometheus, from nothing to 1 is no increase; from 0 to 1 is
                for action in ("pin", "unpin"):
                    self._commands.labels(action, instance, error.outcome)
        Info("ryze_pin_bot_build", "What is running", registry=self.registry).info({"version": __version__})
        self.registry.register(self)

    def attempted(self, attempt: Attempted) -> None:
        """Count an attempt whose answer was sent."""
        action = "pin" if attempt.pin else "unpin"
        self._commands.labels(action, attempt.job.instance, attempt.outcome).inc()
        self._answer.observe(attempt.seconds)
        if attempt.ryze_seconds is not None:
            self._call.observe(attempt.ryze_seconds)

    def collect(self) -> Iterable[Metric]:
        """Look the gauges up."""
        for name, values in self._now().items():
            by_instance = "" not in values
            labels = ["instance"] if by_instance else []
            gauge = GaugeMetricFamily(f"ryze_pin_bot_{name}", _GAUGES[name], labels=labels)
            for instance, value in values.items():
                gauge.add_metric([instance] if by_instance else [], value)
            yield gauge


def serve(metrics: Metrics, trouble: Callable[[], str], address: str, port: int) -> HTTPServer:
    """Serve `/metrics` and `/healthz`; `trouble` says why no update can be taken now, or ""."""
    routes = [url(r"/metrics", _Metrics, {"metrics": metrics}), url(r"/healthz", _Health, {"trouble": trouble})]
    server = HTTPServer(Application(routes, log_function=lambda _: None))
    server.listen(port, address)
    return server


class _Metrics(RequestHandler):
    def initialize(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(generate_latest(self._metrics.registry))


class _Health(RequestHandler):
    def initialize(self, trouble: Callable[[], str]) -> None:
        self._trouble = trouble

    def get(self) -> None:
        reason = self._trouble()
        self.set_status(HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{reason or 'updates can be taken'}\n")
