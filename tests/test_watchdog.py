"""The watchdog: a deaf process ends, whatever it is stuck in; a live one is left alone."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time

import pytest

from bot import watchdog
from bot.watchdog import Watchdog


class End:
    """Stands for the end of the process."""

    def __init__(self) -> None:
        self.status = 0
        self.came = threading.Event()

    def __call__(self, status: int) -> None:
        self.status = status
        self.came.set()


def test_the_limit_is_ninety_seconds() -> None:
    assert watchdog.LIMIT == 90


def test_silence_for_longer_than_the_limit_ends_the_process_with_a_line_that_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    end = End()
    with Watchdog(0.05, end):
        assert end.came.wait(30)
    assert end.status == watchdog.DEAF != 0
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    assert "an attempt to hear from Telegram has not ended" in caplog.text


def test_a_blocked_event_loop_does_not_stop_it() -> None:
    end = End()

    async def block() -> bool:
        return end.came.wait(30)

    with Watchdog(0.05, end):
        assert asyncio.run(block())


def test_signs_of_life_keep_the_process() -> None:
    end = End()
    with Watchdog(30, end) as dog:
        for _ in range(50):
            dog.alive()
            time.sleep(0.002)
    assert not end.came.is_set()


def test_an_announced_pause_is_no_silence() -> None:
    end = End()
    with Watchdog(0.05, end) as dog:
        dog.alive(pause=600)
        assert not end.came.wait(0.5)
        dog.alive()
        assert end.came.wait(30)


def test_something_else_may_be_expected_instead(caplog: pytest.LogCaptureFixture) -> None:
    end = End()
    with Watchdog(1000, end) as dog:
        dog.expect("the stop", 0.05)
        assert end.came.wait(30)
    assert "the stop has not ended for 0 s" in caplog.text


def test_nothing_happens_after_its_block() -> None:
    end = End()
    with Watchdog(30, end) as dog:
        pass
    assert not dog._thread.is_alive()
    assert not end.came.is_set()


def test_a_log_that_blocks_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "SPEAKING", 0.05)
    end, never = End(), threading.Event()

    class Stuck(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            never.wait(30 if record.name == watchdog.log.name else 0)

    stuck = Stuck()
    logging.getLogger().addHandler(stuck)
    try:
        with Watchdog(0.05, end):
            assert end.came.wait(20)
    finally:
        never.set()
        logging.getLogger().removeHandler(stuck)


def test_a_process_whose_loop_is_stuck_ends_non_zero_with_its_line_flushed() -> None:
    program = """
import asyncio, time
from bot import logs
from bot.watchdog import Watchdog

async def main():
    with Watchdog(0.2):
        time.sleep(600)

logs.configure("INFO", ["hush"])
asyncio.run(main())
"""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == watchdog.DEAF
    assert done.stderr.count("\n") == 1
    assert " CRITICAL bot.watchdog an attempt to hear from Telegram has not ended for 0 s" in done.stderr
