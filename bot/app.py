"""Builds and wires all of it; start and stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import AsyncExitStack, aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import httpx
from telegram import Bot
from telegram.error import InvalidToken, RetryAfter

from bot import __version__
from bot.admins import Admins
from bot.attempts import Attempted, Attempts
from bot.commands import Commands
from bot.intake import Intake, TokenRejected, WebhookRefused
from bot.lanes import Lanes
from bot.languages import Languages
from bot.outbox import LONGEST_PAUSE, Outbox, seconds
from bot.pinning import Pinning
from bot.polling import Polling
from bot.presses import Presses
from bot.profile import publish
from bot.ryze import RyzeClient
from bot.store import Entry, Store
from bot.transport import Client, TelegramRequest, client
from bot.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from ssl import SSLContext

    from bot.config import Config
    from bot.webhook import Webhook

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
PLACES = 32  # commands, and calls to Telegram, at once: httpcore's pool slows with the number of its connections
MEETING = 20.0  # seconds for Telegram to say who the bot is
STOPPING = 19.5  # seconds that a stop may take in all
WEBHOOK_PATIENCE = 25.0  # seconds that a command may wait, so that an answer comes before Telegram gives up
TOKEN_REJECTED = 77  # the exit status EX_NOPERM
ENVIRONMENT_WRONG = 78  # the exit status EX_CONFIG
PORT_TAKEN = 70  # the exit status EX_SOFTWARE: started again, the bot may get it

# python-telegram-bot's switch for durations as timedeltas; without it every flood-control answer is a warning.
os.environ["PTB_TIMEDELTA"] = "true"


class _NotListening(Exception):
    """A port can't be had."""


async def run(config: Config) -> int:
    """Run the bot until SIGTERM or SIGINT, then finish what has begun.

    Returns:
        The process's exit status.

    """
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in STOP_SIGNALS:  # until the loop is closed, so that a late one does no harm
        loop.add_signal_handler(number, stopping.set)
    # Else each signal beyond what asyncio's pipe holds complains on stderr, and a flood of them locks the process up.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # one that came in between would be lost
    signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    async with AsyncExitStack() as stack:
        watchdog = stack.enter_context(Watchdog())
        try:
            tls = httpx.create_ssl_context()
            http = await stack.enter_async_context(aclosing(client(tls, PLACES)))
            bot = telegram(config, tls)
        except (ImportError, OSError, RuntimeError, ValueError, httpx.InvalidURL) as error:
            log.error("the environment's proxy or certificates can't be used: %s", error)  # noqa: TRY400 - the line says it all
            return ENVIRONMENT_WRONG
        stack.push_async_callback(bot.request.shutdown)  # the bot's own does nothing before `initialize`
        store = Store.open(config.database_url or config.state, config.keep)
        stack.push_async_callback(store.close)
        intake, outbox = Intake(bot), Outbox(bot, PLACES)
        source: Polling | Webhook
        if config.webhook:
            from bot.webhook import Webhook  # noqa: PLC0415 - a bot that polls needs no tornado and its memory

            source = Webhook(bot, intake, outbox, watchdog, config.webhook)
        else:
            source = Polling(bot, intake, watchdog)
        work = asyncio.create_task(_work(config, bot, http, store, outbox, intake, source, watchdog))
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        watchdog.expect("the stop", STOPPING)
        stop.cancel()
        work.cancel()
        try:
            await work
        except TokenRejected:
            log.error("Telegram rejects the bot's token: put the one that BotFather gave into TELEGRAM_BOT_TOKEN")  # noqa: TRY400 - the line says it all
            return TOKEN_REJECTED
        except _NotListening as error:
            log.error("can't listen on port %s: let nothing else use it, or write another", error)  # noqa: TRY400 - the line says it all
            return PORT_TAKEN
        except WebhookRefused as error:
            log.error("Telegram refuses the webhook (%s): correct WEBHOOK_URL, or unset it to poll", error)  # noqa: TRY400 - the line says it all
            return ENVIRONMENT_WRONG
        except asyncio.CancelledError:
            log.info("stopping: what has begun is finished first")
        source.trouble = "stopping"
        await intake.finish()
        await source.confirm()
    log.info("stopped")
    return 0


async def _work(
    config: Config,
    bot: Bot,
    http: Client,
    store: Store,
    outbox: Outbox,
    intake: Intake,
    source: Polling | Webhook,
    watchdog: Watchdog,
) -> None:
    """Build what handles updates, have them come, and watch over it; `source` is where they come from."""
    if config.webhook and not isinstance(source, Polling):
        with _listening(config.webhook.port):
            source.listen()
    observers: list[Callable[[Attempted], None]] = []
    attempts = Attempts(
        config,
        bot,
        RyzeClient(http, config.base_url, config.timeout),
        Lanes(PLACES),
        intake.crowded,
        partial(_remember, store),
        observers,
        WEBHOOK_PATIENCE if config.webhook else None,
    )
    async with AsyncExitStack() as stack:
        if config.metrics:
            from bot.metrics import Metrics, serve  # noqa: PLC0415 - a bot that is not watched needs no prometheus-client

            metrics = Metrics(config.instances, partial(_gauges, config, attempts, intake, source))
            observers.append(metrics.attempted)
            with _listening(config.metrics[1]):
                stack.callback(serve(metrics, lambda: source.trouble, *config.metrics).stop)
        username = await _connect(bot, watchdog)
        log.info(
            "@%s, version %s: %d operators, %d instances, configuration from %s",
            username,
            __version__,
            len(config.operators),
            len(config.instances),
            config.source,
        )
        languages = Languages(config.language, config.timezone)
        admins = Admins(config, outbox, languages, store)
        pinning = Pinning(config, attempts, store)
        presses = Presses(config, languages, pinning, admins, store, outbox)
        intake.begin(Commands(config, username, languages, pinning, presses, admins, store, outbox).handle)

        async def present() -> None:
            await source.fetched.wait()
            try:
                await publish(bot, outbox, config, languages)
            except Exception as error:  # noqa: BLE001 - whatever a broken answer makes the library raise, it is cosmetic
                log.warning("the bot's menu and description may not be what they should be: %r", error)

        stack.callback(asyncio.create_task(present()).cancel)
        await source.run()


@contextmanager
def _listening(port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _NotListening(f"{port} ({error.strerror})") from error


def _remember(store: Store, attempt: Attempted) -> None:
    job = attempt.job
    store.record(
        Entry(
            update_id=job.pending.update_id,
            part=attempt.part,
            at=time.time(),
            telegram_id=job.operator.telegram_id,
            operator=job.operator.name,
            instance=job.instance,
            action="pin" if attempt.pin else "unpin",
            chat=attempt.chat.number,
            jid=attempt.jid,
            outcome=attempt.outcome,
        )
    )


def _gauges(
    config: Config, attempts: Attempts, intake: Intake, source: Polling | Webhook
) -> dict[str, dict[str, float]]:
    budgets = {name: attempts.budgets[instance.token] for name, instance in config.instances.items()}
    return {
        "budget_left": {name: budget.left for name, budget in budgets.items()},
        "waiting": {name: attempts.lanes.held(name) for name in config.instances},
        "unfinished_updates": {"": len(intake.unfinished)},
        "last_heard_seconds": {"": asyncio.get_running_loop().time() - source.heard},
    }


async def _connect(bot: Bot, watchdog: Watchdog) -> str:
    """Ask Telegram who the bot is, for as long as it takes, and give its username."""
    pause, away = 0.5, False
    while True:
        try:
            async with asyncio.timeout(MEETING):  # in all: the library's timeouts start afresh with every byte
                await bot.initialize()
        except InvalidToken as error:
            raise TokenRejected from error
        except Exception as error:  # noqa: BLE001 - whatever a broken answer makes the library raise, the bot waits
            if not away:
                log.warning("Telegram can't be reached; trying until it can")
                away = True
            log.debug("getMe: %r", error)
            due = max(pause, seconds(error)) if isinstance(error, RetryAfter) else pause
            watchdog.alive(pause=due)
            await asyncio.sleep(due)
            pause = min(pause * 2, LONGEST_PAUSE)
        else:
            if away:
                log.warning("Telegram is back")
            watchdog.alive()
            return bot.username


def telegram(config: Config, tls: SSLContext) -> Bot:
    """Build the Bot API's client."""
    request = TelegramRequest(client(tls, PLACES))
    return Bot(config.telegram_token, f"{config.api_url}/bot", request=request, get_updates_request=request)
