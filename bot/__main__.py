"""`python -m bot run`, `check`, `history`, `forget`, `health` and `init`."""

import argparse
import asyncio
import io
import logging
import os
import re
import signal
import sys
import threading
from importlib.resources import files
from pathlib import Path

from bot import __version__
from bot.memory.store import StoreAway
from bot.operations import check, logs
from bot.operations.health import health
from bot.settings.load import DEFAULT_FILE, ConfigError, load
from bot.settings.model import Settings

log = logging.getLogger(__name__)

CONFIG_WRONG = 78  # the exit status EX_CONFIG
UNAVAILABLE = 69  # the exit status EX_UNAVAILABLE
FAILED = 70  # the exit status EX_SOFTWARE


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands and give the process's exit status."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that lacks a character of somebody's name
    if options.command == "init":
        return _init()
    try:
        settings = _load(options.config, tokens_needed=options.command in ("run", "check"))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return CONFIG_WRONG
    if options.command == "run":
        return _run(settings, options.config)
    if options.command == "health":
        return health(settings)
    if options.command == "check":
        print(check.describe(settings))
        for warning in check.warnings(settings):
            print(f"Warning: {warning}")
        print("No mistakes found.")
        if not options.live:
            return 0
    return _maintain(options, settings)


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
    history.add_argument("--since", metavar="DAYS", type=_days, help="such as 7d")
    history.add_argument("--instance", metavar="NAME")
    history.add_argument("--csv", action="store_true", help="all of it, as CSV")
    forget = commands.add_parser("forget", parents=[common], help="remove a number from what the bot remembers")
    forget.add_argument("number", metavar="NUMBER", help="digits with the country code, or a chat's JID")
    commands.add_parser("health", parents=[common], help="exit with 0 if the running bot is healthy, else with 1")
    commands.add_parser("init", help=f"write an example configuration to {DEFAULT_FILE}")
    return parser


def _days(text: str) -> float:
    if not re.fullmatch(r"[1-9][0-9]{0,3}d", text):
        raise argparse.ArgumentTypeError("write a number of days with a d, such as 7d")
    return int(text[:-1]) * 86400.0


def _load(path: str | None, *, tokens_needed: bool = True) -> Settings:
    return load(path, os.environ, Path.cwd(), tokens_needed=tokens_needed)


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


def _maintain(options: argparse.Namespace, settings: Settings) -> int:
    from bot.operations import maintenance  # noqa: PLC0415 - a plain `check` starts without the libraries this needs

    if options.command == "history":
        work = maintenance.history(settings, options.since, options.instance, as_csv=options.csv)
    elif options.command == "forget":
        work = maintenance.forget(settings, options.number)
    else:
        work = maintenance.check_live(settings)
    try:
        return _leave(asyncio.run(work))
    except StoreAway as error:
        print(f"The history can't be reached: {error}", file=sys.stderr)
        return _leave(UNAVAILABLE)


def _run(settings: Settings, config: str | None) -> int:
    from bot import app  # noqa: PLC0415 - `check` starts without the libraries that only `run` needs

    logs.configure(settings.log_level, settings.secrets)
    loop = asyncio.new_event_loop()
    application = app.App(settings, lambda: _load(config))
    try:
        status = loop.run_until_complete(application.run())
    except Exception:
        log.critical("the bot has failed", exc_info=True)
        status = FAILED
    # A signal that comes now is kept for the next program after a reload, and changes nothing otherwise.
    signal.pthread_sigmask(signal.SIG_BLOCK, app.SIGNALS)
    loop.run_until_complete(_settle(asyncio.all_tasks(loop)))
    loop.close()
    if status == app.RELOAD and application.reloading:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very program, in the same process
    return _leave(max(status, 0))  # a SIGTERM may have come after the decision to reload


async def _settle(leftovers: set[asyncio.Task[object]]) -> None:
    """Cancel tasks for which nobody waits any more, and let the loop see the signals that came until now."""
    for task in leftovers:
        task.cancel()
    if leftovers:
        await asyncio.wait(leftovers, timeout=0.5)
    await asyncio.sleep(0.01)


def _leave(status: int) -> int:
    """Return the status; if a thread hangs that Python would wait for (DNS, a database), end the process with it."""
    for thread in set(threading.enumerate()) - {threading.current_thread()}:
        thread.join(0.5)
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
