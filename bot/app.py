"""Wires the parts, starts them and stops them."""

import asyncio
import faulthandler
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from urllib.parse import urlsplit

from telegram.error import BadRequest

from bot import __version__, http_client
from bot.conversation.admins import Admins
from bot.conversation.menu import publish
from bot.conversation.router import Router
from bot.memory.store import Entry, Store
from bot.operations.health import Health
from bot.ryze.client import RyzeClient
from bot.ryze.queue import Attempt, PinQueue
from bot.settings.load import ConfigError
from bot.settings.model import Settings
from bot.telegram import build_bot
from bot.telegram.outbox import Outbox
from bot.telegram.updates import Polling, TokenRejected

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOPPING = 19.5  # seconds that a stop may take in all
WEBHOOK_PATIENCE = 25.0  # seconds that a command may wait, for Telegram to be answered in time


class App:
    """One run of the bot; `load_again` reads the configuration once more, for a reload."""

    def __init__(self, settings: Settings, load_again: Callable[[], Settings]) -> None:
        self._settings, self._load_again = settings, load_again
        self._stopping = asyncio.Event()
        self.reloading = False  # whether the latest signal asked for a reload

    async def run(self) -> int:
        """Run until a signal ends it, then finish what has begun; give the exit status."""
        hosts = [urlsplit(url).netloc for url in (self._settings.telegram.api_url, self._settings.ryze.base_url)]
        log.info("version %s, going to Telegram at %s and to Ryze at %s", __version__, *hosts)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGINT, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # they are blocked over a reload
        try:
            async with AsyncExitStack() as stack:
                await self._build(stack)
                await self._until_stopped()
        except TokenRejected:
            log.error("Telegram rejects the bot's token: put the one that BotFather gave into TELEGRAM_BOT_TOKEN")  # noqa: TRY400
            return os.EX_NOPERM
        except BadRequest as error:
            log.error("Telegram refuses the webhook (%s): correct WEBHOOK_URL, or unset it to poll", error)  # noqa: TRY400
            return os.EX_CONFIG
        except ConfigError as error:
            log.error("%s", error)  # noqa: TRY400
            return os.EX_CONFIG
        except OSError as error:
            log.error("can't listen on PORT or METRICS_PORT (%s): is another program using it?", error.strerror)  # noqa: TRY400
        except Exception:
            log.critical("the bot has failed", exc_info=True)
        else:
            return 0
        return os.EX_SOFTWARE

    async def _build(self, stack: AsyncExitStack) -> None:
        """Build the parts, which `stack` closes; raises ConfigError (environment), OSError (a port)."""
        settings = self._settings
        self._health = Health(settings)
        stack.callback(faulthandler.cancel_dump_traceback_later)
        try:
            transport = await stack.enter_async_context(http_client.build_transport(settings.ryze.base_url))
            self._bot = build_bot(settings.telegram_token, settings.telegram.api_url)
        except (OSError, ValueError) as error:
            raise ConfigError([f"the environment's proxy or certificates can't be used: {error}"]) from error
        stack.push_async_callback(self._bot.request.shutdown)  # the bot's own does nothing before `initialize`
        self._store = Store(settings.database_url or settings.state, settings.keep)
        stack.push_async_callback(self._store.aclose)
        self._outbox = Outbox(self._bot)
        self._admins = Admins(settings, self._outbox)
        if settings.webhook:
            from bot.telegram.webhook import Webhook  # noqa: PLC0415 - polling needs no tornado

            self._updates: Webhook | Polling = Webhook(self._bot, self._health.report, settings.webhook)
            self._updates.listen()
        else:
            self._updates = Polling(self._bot, self._health.report)
        self._observers: list[Callable[[Attempt], None]] = [self._remember]
        self._queue = PinQueue(
            RyzeClient(transport, settings.ryze.base_url, settings.ryze.timeout),
            observers=self._observers,
            overloaded=self._updates.overloaded,
            patience=WEBHOOK_PATIENCE if settings.webhook else None,
        )
        self._router = Router(settings, self._queue, self._store, self._outbox, self._admins)
        self._router.answered = self._serve_metrics(stack)

    def _serve_metrics(self, stack: AsyncExitStack) -> Callable[[float], None]:
        """Serve the metrics if they have a port; give what is called with each answer's seconds."""
        if self._settings.metrics is None:
            return lambda _: None
        from bot.operations.metrics import Metrics, serve  # noqa: PLC0415 - most bots need no prometheus-client

        metrics = Metrics(self._settings.instances.values(), self._queue, self._updates)
        self._observers.append(metrics.observe)
        stack.callback(serve(metrics, self._updates, *self._settings.metrics).stop)
        return metrics.answered

    async def _until_stopped(self) -> None:
        """Handle updates until a signal comes, then finish what has begun; raises as `Updates.run`."""
        run = self._updates.run(self._router.handle)
        tasks = [asyncio.create_task(work) for work in (run, self._stopping.wait(), self._introduce())]
        await asyncio.wait(tasks[:2], return_when=asyncio.FIRST_COMPLETED)
        self._health.stopping(STOPPING)
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await tasks[0]
        log.info("%s: what has begun is finished first", "reloading" if self.reloading else "stopping")
        self._updates.problem = "stopping"
        await self._updates.finish(self._queue.waiting.__contains__)
        await self._updates.confirm()
        log.info("stopped")

    async def _introduce(self) -> None:
        await self._updates.ready.wait()
        settings = self._settings
        counts = self._bot.username, len(settings.operators), len(settings.instances), settings.source
        log.info("@%s: %d operators, %d instances, configuration from %s", *counts)
        await publish(self._bot, self._outbox, settings, self._store)

    def _remember(self, attempt: Attempt) -> None:
        request, reply, action = attempt.request, attempt.reply, "pin" if attempt.pin else "unpin"
        key = (request.request_id, attempt.part, time.time())
        who = (request.operator.telegram_id, request.operator.name, request.instance.name)
        self._store.record(Entry(*key, *who, action, attempt.chat.number, reply.jid, reply.outcome.name))

    def _stop(self) -> None:
        self.reloading = False
        self._stopping.set()

    def _hang_up(self) -> None:
        """Stop for a reload if the configuration is right; else say what is wrong and go on."""
        if sys.stderr.isatty():  # the terminal was closed
            self._stop()
        if self._stopping.is_set():
            return
        try:
            self._load_again()
        except ConfigError as error:
            for problem in error.problems:
                log.error("the configuration is not reloaded: %s", problem)  # noqa: TRY400
            mistakes = str(error)[:3000]
            tell = self._admins.tell(lambda texts: texts.say("admin_reload_failed", mistakes=mistakes))
            self._telling = asyncio.create_task(tell)
        else:
            self.reloading = True
            self._stopping.set()
