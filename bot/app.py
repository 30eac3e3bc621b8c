"""Builds and wires all of it; start and stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import httpx
from telegram import Bot
from telegram.error import InvalidToken, RetryAfter
from telegram.request import HTTPXRequest

from bot import __version__
from bot.attempts import Attempts
from bot.commands import Commands
from bot.intake import Intake
from bot.lanes import Lanes
from bot.outbox import LONGEST_PAUSE, Outbox, seconds
from bot.polling import Polling, TokenRejected
from bot.profile import publish
from bot.replies import Replies
from bot.ryze import RyzeClient
from bot.watchdog import Watchdog

if TYPE_CHECKING:
    from ssl import SSLContext

    from bot.config import Config

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
PLACES = 32  # commands, and calls to Telegram, at once: httpcore's pool slows with the number of its connections
KEEP_ALIVE = 300.0  # seconds; httpx's own 5 would cost nearly every command a TLS handshake
MEETING = 20.0  # seconds for Telegram to say who the bot is
STOPPING = 19.5  # seconds that a stop may take in all
TOKEN_REJECTED = 77  # the exit status EX_NOPERM
ENVIRONMENT_WRONG = 78  # the exit status EX_CONFIG

# python-telegram-bot's switch for durations as timedeltas; without it every flood-control answer is a warning.
os.environ["PTB_TIMEDELTA"] = "true"


async def run(config: Config) -> int:
    """Run the bot until SIGTERM or SIGINT, then finish what has begun.

    Returns:
        The process's exit status.

    """
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in STOP_SIGNALS:  # until the loop is closed, so that a late one does no harm
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        watchdog = stack.enter_context(Watchdog())
        try:
            tls = httpx.create_ssl_context()
            http = await stack.enter_async_context(_http(config, tls))
            bot = _telegram(config, tls)
        except (ImportError, OSError, RuntimeError, ValueError, httpx.InvalidURL) as error:
            log.error("the environment's proxy or certificates can't be used: %s", error)  # noqa: TRY400 - the line says it all
            return ENVIRONMENT_WRONG
        stack.push_async_callback(bot.shutdown)
        intake = Intake(bot)
        polling = Polling(bot, intake, watchdog)
        work = asyncio.create_task(_work(config, bot, http, intake, polling, watchdog))
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
        except asyncio.CancelledError:
            log.info("stopping: what has begun is finished first")
        await intake.finish()
        await polling.confirm()
    log.info("stopped")
    return 0


async def _work(
    config: Config, bot: Bot, http: httpx.AsyncClient, intake: Intake, polling: Polling, watchdog: Watchdog
) -> None:
    username = await _connect(bot, watchdog)
    log.info(
        "@%s, version %s: %d operators, %d instances, configuration from %s",
        username,
        __version__,
        len(config.operators),
        len(config.instances),
        config.source,
    )
    replies = Replies()
    outbox = Outbox(bot, PLACES)
    ryze = RyzeClient(http, config.base_url, config.timeout)
    attempts = Attempts(config, bot, ryze, Lanes(PLACES), replies, intake.crowded)
    intake.begin(Commands(config, username, attempts, outbox, replies).handle)

    async def present() -> None:
        await polling.fetched.wait()
        try:
            await publish(bot, outbox, config, replies)
        except Exception:
            log.exception("the bot's menu and description may not be what they should be")

    presenting = asyncio.create_task(present())
    try:
        await polling.run()
    finally:
        presenting.cancel()


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


def _telegram(config: Config, tls: SSLContext) -> Bot:
    limits = httpx.Limits(max_connections=PLACES, max_keepalive_connections=PLACES, keepalive_expiry=KEEP_ALIVE)

    def request() -> HTTPXRequest:
        return HTTPXRequest(
            read_timeout=10.0, write_timeout=10.0, pool_timeout=None, httpx_kwargs={"verify": tls, "limits": limits}
        )

    return Bot(config.telegram_token, f"{config.api_url}/bot", request=request(), get_updates_request=request())


def _http(config: Config, tls: SSLContext) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        verify=tls,
        timeout=httpx.Timeout(None, connect=min(5.0, config.timeout)),
        # No maximum: httpcore never takes back the place of a proxy's tunnel whose TLS handshake failed. `PLACES` bounds.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=PLACES, keepalive_expiry=KEEP_ALIVE),
        headers={"User-Agent": f"ryze-pin-bot/{__version__}"},
    )
