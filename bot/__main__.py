"""`python -m bot run`, `check`, `history`, `forget`, `health` and `init`."""

import argparse
import asyncio
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path

from bot import __version__
from bot.memory.store import StoreAway
from bot.operations import check, logs
from bot.operations.health import health
from bot.settings.load import DEFAULT_FILE, ConfigError, load
from bot.settings.model import Settings


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands and give the process's exit status."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that lacks a character of somebody's name
    if options.command == "init":
        return _init()
    read = partial(load, options.config, os.environ, Path.cwd())
    try:
        settings = read(tokens_needed=options.command in ("run", "check"))
        status = _run(settings, read) if options.command == "run" else _look(settings, options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        status = os.EX_CONFIG
    except StoreAway as error:
        print(f"The history can't be reached: {error}", file=sys.stderr)
        status = os.EX_UNAVAILABLE
    for thread in set(threading.enumerate()) - {threading.current_thread()}:
        thread.join(0.5)
    if threading.active_count() > 1:  # Python would wait for one that hangs (DNS, a database)
        sys.stdout.flush()
        os._exit(status)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ryze-pin-bot", description="Pins and unpins WhatsApp chats from Telegram.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", metavar="FILE", help="default: $BOT_CONFIG, $BOT_CONFIG_YAML, config/bot.yaml")
    commands.add_parser("run", parents=[common], help="run the bot until it is told to stop")
    checking = commands.add_parser("check", parents=[common], help="check the configuration and show who may do what")
    checking.add_argument("--live", action="store_true", help="also ask Telegram and Ryze, changing nothing")
    history = commands.add_parser("history", parents=[common], help="show what was done, newest first")
    history.add_argument("--since", metavar="DAYS", type=days, help="such as 7d")
    history.add_argument("--instance", metavar="NAME")
    history.add_argument("--csv", action="store_true", help="all of it, as CSV")
    forget = commands.add_parser("forget", parents=[common], help="remove a number from what the bot remembers")
    forget.add_argument("number", metavar="NUMBER", help="digits with the country code, or a chat's JID")
    commands.add_parser("health", parents=[common], help="exit with 0 if the running bot is healthy, else with 1")
    commands.add_parser("init", help=f"write an example configuration to {DEFAULT_FILE}")
    return parser


def days(text: str) -> float:
    """Return the seconds of such as `7d`."""
    if not re.fullmatch("[1-9][0-9]{0,3}d", text):
        raise argparse.ArgumentTypeError("write a number of days with a d, such as 7d")
    return int(text[:-1]) * 86400.0


def _init() -> int:
    target = Path(DEFAULT_FILE)
    try:
        target.parent.mkdir(exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(files("bot.settings").joinpath("bot.example.yaml").read_text(encoding="utf-8"))
    except OSError as error:
        print(f"{target}: {error.strerror}; nothing was written", file=sys.stderr)
        return 1
    print(f"{target} is written: fill it in, then run “ryze-pin-bot check”")
    return 0


def _look(settings: Settings, options: argparse.Namespace) -> int:
    if options.command == "health":
        return health(settings)
    if options.command == "check":
        warnings = (f"Warning: {warning}" for warning in check.warnings(settings))
        print(check.describe(settings), *warnings, "No mistakes found.", sep="\n")
        if not options.live:
            return 0
    from bot.operations import maintenance  # noqa: PLC0415 - a plain `check` needs none of its libraries

    if options.command == "history":
        return asyncio.run(maintenance.history(settings, options.since, options.instance, as_csv=options.csv))
    if options.command == "forget":
        return asyncio.run(maintenance.forget(settings, options.number))
    return asyncio.run(maintenance.check_live(settings))


def _run(settings: Settings, load_again: Callable[[], Settings]) -> int:
    from bot import app  # noqa: PLC0415 - only `run` needs its libraries

    logs.configure(settings.log_level, settings.secrets)
    loop = asyncio.new_event_loop()
    application = app.App(settings, load_again)
    status = loop.run_until_complete(application.run())
    # A signal that comes now is kept for the next program after a reload, and changes nothing otherwise.
    signal.pthread_sigmask(signal.SIG_BLOCK, app.SIGNALS)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.1))  # ends them, and takes the last signals
    loop.close()
    if status == 0 and application.reloading:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very program
    return status


if __name__ == "__main__":
    sys.exit(main())
