"""Wires the parts, starts them and stops them."""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
from telegram.error import BadRequest, Forbidden

from bot import __version__, http_client
from bot.conversation.admins import Admins
from bot.conversation.menu import publish
from bot.conversation.router import Parts, Router
from bot.conversation.texts import Languages
from bot.memory.store import Entry, Store
from bot.operations.health import Health
from bot.ryze.client import RyzeClient
from bot.ryze.queue import Attempt, PinQueue
from bot.settings.load import ConfigError
from bot.settings.model import Settings
from bot.telegram import build_bot
from bot.telegram.outbox import Outbox
from bot.telegram.polling import Polling
from bot.telegram.updates import TokenRejected, Updates

if TYPE_CHECKING:
    from bot.telegram.webhook import Webhook

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
CONCURRENCY = 32  # calls to Ryze, and calls to Telegram, at once
STOPPING = 19.5  # seconds that a stop may take in all
WEBHOOK_PATIENCE = 25.0  # seconds that a command may wait, so that an answer comes before Telegram gives up

PORT_TAKEN = 70  # the exit status EX_SOFTWARE: started again, the bot may get it
TOKEN_REJECTED = 77  # the exit status EX_NOPERM
CONFIG_WRONG = 78  # the exit status EX_CONFIG
RELOAD = -1  # no exit status: start again with the changed configuration


class App:
    """One run of the bot, inside a running loop. `load_again` reads the configuration once more, for a reload."""

    def __init__(self, settings: Settings, load_again: Callable[[], Settings]) -> None:
        self._settings = settings
        self._load_again = load_again
        self._stopping = asyncio.Event()
        self._reload: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until SIGHUP with a right configuration; then finish what has begun.

        Returns:
            The process's exit status, or `RELOAD`.

        """
        settings = self._settings
        hosts = [urlsplit(url).netloc for url in (settings.telegram.api_url, settings.ryze.base_url)]
        log.info("version %s, going to Telegram at %s and to Ryze at %s", __version__, *hosts)
        self._catch_signals()
        async with AsyncExitStack() as stack:
            self._health = stack.enter_context(Health(settings))
            try:
                send = await stack.enter_async_context(http_client.connect())
                self._bot = build_bot(settings.telegram_token, settings.telegram.api_url)
            except (ImportError, OSError, RuntimeError, ValueError, httpx.InvalidURL) as error:
                log.error("the environment's proxy or certificates can't be used: %s", error)  # noqa: TRY400 - no traceback
                return CONFIG_WRONG
            stack.push_async_callback(self._bot.request.shutdown)  # the bot's own does nothing before `initialize`
            self._store = Store(settings.history_target, settings.keep)
            stack.push_async_callback(self._store.aclose)
            self._outbox, self._updates = Outbox(self._bot, CONCURRENCY), Updates(self._bot)
            self._languages = Languages(settings)
            self._admins = Admins(settings, self._languages, self._outbox, self._store)
            self._observers: list[Callable[[Attempt], None]] = [self._remember]
            self._queue = PinQueue(
                RyzeClient(send, settings.ryze.base_url, settings.ryze.timeout),
                observers=self._observers,
                overloaded=self._updates.overloaded,
                patience=WEBHOOK_PATIENCE if settings.webhook else None,
                concurrency=CONCURRENCY,
            )
            self._source = self._build_source()
            return await self._until_stopped()
        raise AssertionError  # nothing above swallows an exception

    @property
    def reloading(self) -> bool:
        """Whether the latest signal asked for a reload, even after `run` has returned."""
        return self._reload is not None

    async def _until_stopped(self) -> int:
        work, stop = asyncio.create_task(self._work()), asyncio.create_task(self._stopping.wait())
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        self._health.stopping(STOPPING)
        stop.cancel()
        work.cancel()
        try:
            await work
        except TokenRejected:
            log.error("Telegram rejects the bot's token: put the one that BotFather gave into TELEGRAM_BOT_TOKEN")  # noqa: TRY400
            return TOKEN_REJECTED
        except (BadRequest, Forbidden) as error:
            log.error("Telegram refuses the webhook (%s): correct WEBHOOK_URL, or unset it to poll", error)  # noqa: TRY400
            return CONFIG_WRONG
        except OSError as error:
            log.error("can't listen on PORT or METRICS_PORT (%s): is another program using it?", error.strerror)  # noqa: TRY400
            return PORT_TAKEN
        except asyncio.CancelledError:
            log.info("%s: what has begun is finished first", "reloading" if self._reload else "stopping")
        self._source.problem = "stopping"
        await self._updates.finish(self._queue.waiting.__contains__)
        await self._source.confirm()
        log.info("stopped")
        return RELOAD if self._reload else 0

    def _build_source(self) -> "Polling | Webhook":
        settings = self._settings
        if settings.webhook is None:
            return Polling(self._bot, self._updates, self._health.report)
        from bot.telegram.webhook import Webhook  # noqa: PLC0415 - a bot that polls needs no tornado and its memory

        return Webhook(self._bot, self._updates, self._health.report, settings.webhook)

    async def _work(self) -> None:
        """Listen, then handle updates until cancelled."""
        settings, source = self._settings, self._source
        async with AsyncExitStack() as stack:
            if not isinstance(source, Polling):
                source.listen()
            answered = self._serve_metrics(stack)
            parts = Parts(self._bot, self._queue, self._store, self._outbox, self._admins, answered)
            self._updates.begin(Router(settings, self._languages, parts).handle)
            stack.callback(asyncio.create_task(self._introduce()).cancel)
            await source.run()

    def _serve_metrics(self, stack: AsyncExitStack) -> Callable[[float], None]:
        """Serve the metrics if a port is set for them, and return what is called with each answer's seconds."""
        if self._settings.metrics is None:
            return lambda _: None
        from bot.operations.metrics import Metrics, serve  # noqa: PLC0415 - most bots need no prometheus-client

        queue, loop = self._queue, asyncio.get_running_loop()
        metrics = Metrics(
            self._settings.instances.values(),
            rate_limit_left=lambda instance: queue.rate_limit(instance.token).available,
            waiting=lambda instance: queue.waiting_in(instance.name),
            unfinished=lambda: len(self._updates.unfinished),
            silence=lambda: loop.time() - self._source.last_contact,
        )
        self._observers.append(metrics.observe)
        host, port = self._settings.metrics
        stack.callback(serve(metrics, lambda: self._source.problem, host, port).stop)
        return metrics.answered

    async def _introduce(self) -> None:
        await self._source.ready.wait()
        settings = self._settings
        counts = self._bot.username, len(settings.operators), len(settings.instances), settings.source
        log.info("@%s: %d operators, %d instances, configuration from %s", *counts)
        try:
            await publish(self._bot, self._outbox, settings, self._store)
        except Exception as error:  # noqa: BLE001 - whatever a broken answer makes the library raise, menus are cosmetic
            log.warning("the bot's menus may not be what they should be: %r", error)

    def _remember(self, attempt: Attempt) -> None:
        request, reply, action = attempt.request, attempt.reply, "pin" if attempt.pin else "unpin"
        key = (request.request_id, attempt.part, time.time())
        who = (request.operator.telegram_id, request.operator.name, request.instance.name)
        self._store.record(Entry(*key, *who, action, attempt.chat.number, reply.jid, reply.outcome.name))

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGINT, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # they are blocked over a reload

    def _stop(self) -> None:
        self._reload = None
        self._stopping.set()

    def _hang_up(self) -> None:
        if sys.stderr.isatty():  # the terminal was closed
            self._stop()
        elif not self._stopping.is_set():
            self._reload = asyncio.create_task(self._check_reload())

    async def _check_reload(self) -> None:
        """Stop for a reload if the configuration is right; else go on with the one there is, and say so."""
        try:
            self._load_again()
        except ConfigError as error:
            for problem in error.problems:
                log.error("the configuration is not reloaded: %s", problem)  # noqa: TRY400
            mistakes = "\n".join(error.problems)[:3000]
            await self._admins.tell(lambda texts: texts.say("admin_reload_failed", mistakes=mistakes))
        else:
            self._stopping.set()
