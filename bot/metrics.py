"""What an admin's monitoring sees: `/metrics` for Prometheus, and `/healthz` with its reason."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from bot import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import Metric

    from bot.attempts import Attempted

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120)


class Metrics(Collector):
    """Counts attempts as they end; the rest is looked up when it is asked for.

    `now` gives each gauge's current values by instance, or by "" for one that has none.
    """

    def __init__(self, now: Callable[[], Mapping[str, Mapping[str, float]]]) -> None:
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
            gauge = GaugeMetricFamily(
                f"ryze_pin_bot_{name}", name.replace("_", " "), labels=["instance"] if by_instance else []
            )
            for instance, value in values.items():
                gauge.add_metric([instance] if by_instance else [], value)
            yield gauge


def serve(metrics: Metrics, trouble: Callable[[], str], address: str, port: int) -> HTTPServer:
    """Serve `/metrics` and `/healthz`; `trouble` says why no update can be taken now, or ""."""
    routes = [(r"/metrics", _Metrics, {"metrics": metrics}), (r"/healthz", _Health, {"trouble": trouble})]
    server = HTTPServer(Application(routes, log_function=lambda _: None))  # type: ignore[arg-type]
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
