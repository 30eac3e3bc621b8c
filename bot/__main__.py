"""`python -m bot run`, `check`, `history` and `forget`."""

from __future__ import annotations

import argparse
import asyncio
import io
import logging
import os
import re
import signal
import sys
import threading
from pathlib import Path

from bot import __version__, logs
from bot.config import Config, ConfigError, describe, load
from bot.recorder import StoreAway

log = logging.getLogger(__name__)

CONFIG_WRONG = 78  # the exit status EX_CONFIG
UNAVAILABLE = 69  # the exit status EX_UNAVAILABLE
FAILED = 70  # the exit status EX_SOFTWARE
LEAVING = 0.5  # seconds for what nobody waits for any more


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands and give the process's exit status."""
    parser = argparse.ArgumentParser(prog="ryze-pin-bot", description="Pins and unpins WhatsApp chats from Telegram.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", metavar="FILE", help="default: $BOT_CONFIG, $BOT_CONFIG_YAML, config/bot.yaml")
    commands.add_parser("run", parents=[common], help="run the bot until it is told to stop")
    check = commands.add_parser("check", parents=[common], help="check the configuration and show who may do what")
    check.add_argument("--live", action="store_true", help="also ask Telegram and Ryze's host, changing nothing")
    history = commands.add_parser("history", parents=[common], help="show what was done, newest first")
    history.add_argument("--since", metavar="DAYS", type=_days, help="such as 7d")
    history.add_argument("--instance", metavar="NAME")
    history.add_argument("--csv", action="store_true", help="all of it, as CSV")
    forget = commands.add_parser("forget", parents=[common], help="remove a number from what the bot remembers")
    forget.add_argument("number", metavar="NUMBER", help="digits with the country code, or a chat's JID")
    options = parser.parse_args(arguments)
    try:
        config = load(options.config, os.environ, Path.cwd())
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - before there is a log
        return CONFIG_WRONG
    if options.command == "run":
        return _run(config)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that lacks a character of somebody's name
    if options.command == "check":
        print(describe(config))  # noqa: T201 - the command's output
        if not options.live:
            return 0
    return asyncio.run(_ask(options, config))


def _days(text: str) -> float:
    if not re.fullmatch(r"[1-9][0-9]{0,3}d", text):
        raise argparse.ArgumentTypeError("write a number of days with a d, such as 7d")
    return int(text[:-1]) * 86400.0


async def _ask(options: argparse.Namespace, config: Config) -> int:
    from bot import maintenance  # noqa: PLC0415 - a plain `check` starts without the libraries that this needs

    try:
        if options.command == "history":
            return await maintenance.history(config, options.since, options.instance, as_csv=options.csv)
        if options.command == "forget":
            return await maintenance.forget(config, options.number)
        return await maintenance.check_live(config)
    except StoreAway as error:
        print(f"what the bot remembers can't be reached: {error}", file=sys.stderr)  # noqa: T201 - the command's output
        return UNAVAILABLE


def _run(config: Config) -> int:
    from bot import app  # noqa: PLC0415 - `check` starts without the libraries that only `run` needs

    logs.configure(config.log_level, config.secrets)
    loop = asyncio.new_event_loop()
    try:
        status = loop.run_until_complete(app.run(config))
    except Exception:
        log.critical("the bot has failed", exc_info=True)
        status = FAILED
    signal.pthread_sigmask(signal.SIG_BLOCK, app.STOP_SIGNALS)  # one that comes now changes nothing
    if leftovers := asyncio.all_tasks(loop):
        for task in leftovers:
            task.cancel()
        loop.run_until_complete(asyncio.wait(leftovers, timeout=LEAVING))
    loop.close()
    if threading.active_count() > 1:  # a hanging DNS look-up has a thread that Python would wait for
        sys.stderr.flush()
        os._exit(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
