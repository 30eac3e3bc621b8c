"""`make demo` shows the bot at work in a terminal, and on a page meanwhile."""

from __future__ import annotations

import asyncio
import re
import signal
import sys

import httpx

from tests.sandbox.demo import ROOT

PIPE = asyncio.subprocess.PIPE


async def demo(*arguments: str) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "tests.sandbox.demo", "--port", "0", *arguments)
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE)


async def page_of(process: asyncio.subprocess.Process) -> str:
    """The address that the demo prints."""
    assert process.stdout
    async with asyncio.timeout(60):
        while line := await process.stdout.readline():
            if found := re.search(rb"http://127\.0\.0\.1:\d+/", line):
                return found[0].decode()
    raise AssertionError("no address was printed")


async def test_the_demo_plays_its_tour_and_sends_the_lines_of_its_stdin() -> None:
    process = await demo()
    async with asyncio.timeout(120):
        out, err = await process.communicate(b"/unpin 5511999999999\n/pin 51987654321\n1\n")
    assert (process.returncode, err) == (0, b"")
    text = out.decode()
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert [text.count(f"→ {status}") for status in (200, 401, 500, 503)] == [6, 1, 1, 1]
    assert "sales: 5551987654321, 14155552671, 442079460958 pinned" in text


async def test_the_page_lives_as_long_as_the_demo() -> None:
    process = await demo()
    url = await page_of(process)
    async with httpx.AsyncClient(trust_env=False) as http:
        assert "<title>Ryze Pin Bot" in (await http.get(url)).text
    async with asyncio.timeout(120):
        _, err = await process.communicate(b"")
    assert (process.returncode, err) == (0, b"")


async def test_without_the_tour_the_page_stays_until_a_signal_even_while_it_is_looked_at() -> None:
    process = await demo("--page-only")
    url = await page_of(process)
    async with httpx.AsyncClient(trust_env=False) as http, http.stream("GET", f"{url}events") as events:
        lines = events.aiter_lines()
        while "data:" not in await anext(lines):
            pass
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
