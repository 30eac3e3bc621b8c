"""`python -m bot run` and `python -m bot check`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from bot import __version__, logs
from bot.config import Config, ConfigError, describe, load

log = logging.getLogger(__name__)

CONFIG_WRONG = 78  # the exit status EX_CONFIG
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
    commands.add_parser("check", parents=[common], help="check the configuration and show who may do what")
    options = parser.parse_args(arguments)
    try:
        config = load(options.config, os.environ, Path.cwd())
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - before there is a log
        return CONFIG_WRONG
    if options.command == "check":
        print(describe(config))  # noqa: T201 - the command's output
        return 0
    return _run(config)


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
