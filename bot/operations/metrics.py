"""What monitoring sees: `/metrics` for Prometheus, and `/healthz` with its reason."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from typing import Any

import prometheus_client as prometheus
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from bot.ryze.outcomes import OUTCOMES
from bot.ryze.queue import Attempt
from bot.settings.model import Instance
from bot.telegram.webhook import Health

_Read = Callable[..., float]


class Metrics:
    """Counts attempts and seconds to answers; callables give gauges, the first two by instance."""

    def __init__(
        self, instances: Iterable[Instance], rate_limit_left: _Read, waiting: _Read, unfinished: _Read, silence: _Read
    ) -> None:
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the series, for no use
        self.registry = prometheus.CollectorRegistry()
        ours: dict[str, Any] = {"namespace": "ryze_pin_bot", "registry": self.registry}
        timed = ours | {"buckets": (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120)}
        self._commands = prometheus.Counter("commands", "Commands", ["action", "instance", "outcome"], **ours)
        self.answered = prometheus.Histogram("answer_seconds", "From command to sent answer", **timed).observe
        self._calls = prometheus.Histogram("ryze_seconds", "The call to Ryze", **timed)
        left = prometheus.Gauge("budget_left", "Requests that may be made at once", ["instance"], **ours)
        waits = prometheus.Gauge("waiting", "Commands in the queue, or running", ["instance"], **ours)
        for instance in instances:
            left.labels(instance.name).set_function(partial(rate_limit_left, instance))
            waits.labels(instance.name).set_function(partial(waiting, instance))
            for action, outcome in product(("pin", "unpin"), OUTCOMES):  # so that the first is an increase
                self._commands.labels(action, instance.name, outcome)
        prometheus.Gauge("unfinished_updates", "Updates being handled", **ours).set_function(unfinished)
        prometheus.Gauge("last_heard_seconds", "Seconds since Telegram was heard", **ours).set_function(silence)

    def observe(self, attempt: Attempt) -> None:
        """Count an attempt."""
        action, instance = "pin" if attempt.pin else "unpin", attempt.request.instance.name
        self._commands.labels(action, instance, attempt.reply.outcome.name).inc()
        if attempt.ryze_seconds is not None:
            self._calls.observe(attempt.ryze_seconds)


def serve(metrics: Metrics, problem: Callable[[], str], address: str, port: int) -> HTTPServer:
    """Serve `/metrics` and `/healthz`, or raise OSError; `problem` says why no update can be taken."""
    routes = [("/metrics", _Metrics), ("/healthz", Health)]
    application = Application(routes, log_function=lambda _: None, metrics=metrics, problem=problem)
    return application.listen(port, address, max_body_size=0, idle_connection_timeout=120)


class _Metrics(RequestHandler):
    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(prometheus.generate_latest(self.settings["metrics"].registry))
