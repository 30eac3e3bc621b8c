"""What monitoring sees: `/metrics` for Prometheus, and `/healthz` with its reason."""

import time
from collections.abc import Iterable
from functools import partial
from itertools import product
from typing import Any

import prometheus_client as prometheus
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from bot.ryze.outcomes import OUTCOMES
from bot.ryze.queue import Attempt, PinQueue
from bot.settings.model import Instance
from bot.telegram.updates import Updates
from bot.telegram.webhook import Health


class Metrics:
    """Counts attempts and the seconds to answers; reads from the queue and the updates how things are now."""

    def __init__(self, instances: Iterable[Instance], queue: PinQueue, updates: Updates) -> None:
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
            left.labels(instance.name).set_function(partial(getattr, queue.rate_limits[instance.token], "available"))
            waits.labels(instance.name).set_function(partial(queue.waiting_in, instance.name))
            for action, outcome in product(("pin", "unpin"), OUTCOMES):  # so that the first is an increase
                self._commands.labels(action, instance.name, outcome)
        unfinished = prometheus.Gauge("unfinished_updates", "Updates being handled", **ours)
        unfinished.set_function(lambda: len(updates.unfinished))
        silence = prometheus.Gauge("last_heard_seconds", "Seconds since Telegram was heard", **ours)
        silence.set_function(lambda: time.monotonic() - updates.last_contact)

    def observe(self, attempt: Attempt) -> None:
        """Count an attempt."""
        action, instance = "pin" if attempt.pin else "unpin", attempt.request.instance.name
        self._commands.labels(action, instance, attempt.reply.outcome.name).inc()
        if attempt.ryze_seconds is not None:
            self._calls.observe(attempt.ryze_seconds)


def serve(metrics: Metrics, updates: Updates, address: str, port: int) -> HTTPServer:
    """Serve `/metrics` and `/healthz`, or raise OSError."""
    routes = [("/metrics", _Metrics), ("/healthz", Health)]
    application = Application(routes, log_function=lambda _: None, metrics=metrics, updates=updates)
    return application.listen(port, address, max_body_size=0, idle_connection_timeout=120)


class _Metrics(RequestHandler):
    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(prometheus.generate_latest(self.settings["metrics"].registry))
