"""`make demo` shows the bot at work in a terminal or a pipe, and on a page meanwhile."""

import asyncio
import os
import pty
import re
import signal
import sys
import termios

import httpx
import pytest

from tests.sandbox.stage import ROOT

ADDRESS = r"http://127\.0\.0\.1:\d+/"


async def demo(stream: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "tests.sandbox.demo")
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=stream, stdout=stream, stderr=stream)


async def test_in_a_pipe_it_plays_its_tour_and_sends_the_lines_of_its_stdin() -> None:
    process = await demo()
    async with asyncio.timeout(120):
        out, err = await process.communicate(b"/unpin 442079460958\n/pin 51987654321\nabc\n2\nthanks\n")
    assert (process.returncode, err) == (0, b"")
    text = out.decode()
    assert (max(map(len, text.splitlines())) <= 80, "\x1b" in text) == (True, False)
    assert [text.count(f"→ {status}") for status in (200, 401, 500, 503)] == [13, 1, 1, 1]
    assert "sales: 51987654321, 14155552671, 5521987654321 pinned" in text
    assert "Bot  👍" in text
    assert re.search(rf"open\s+{ADDRESS}", text[text.index("8. ") :])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_in_a_terminal_lines_are_edited_and_numbers_keep_their_meaning_until_a_signal_comes(number: int) -> None:
    shown, more = "", asyncio.Event()
    ours, theirs = pty.openpty()

    def read() -> None:
        nonlocal shown
        shown += os.read(ours, 65536).decode(errors="replace").replace("\r", "")
        more.set()

    async def types(line: bytes, answer: str) -> re.Match[str]:
        nonlocal shown
        os.write(ours, line)
        async with asyncio.timeout(60):
            while not (found := re.search(rf"(?s){answer}.*Ana\S*  ", shown)):
                more.clear()
                await more.wait()
        shown = shown[found.end() :]
        return found

    asyncio.get_running_loop().add_reader(ours, read)
    before = termios.tcgetattr(theirs)
    process = await demo(theirs)
    address = await types(b"", rf"open\s+({ADDRESS})[^\n]*\n+\S*Your turn")
    await types(b"unpin +44 20 7946 0958\x01/\n", "Unpinned")  # Ctrl-A goes to the front
    await types(b"hello\n", "don't understand")
    await types(b"1\n", "Pinned")
    async with asyncio.timeout(60), httpx.AsyncClient(trust_env=False, base_url=address[1]) as http:
        assert "<title>Ryze Pin Bot" in (await http.get("/")).text
        async with http.stream("GET", "/events") as events:
            lines = events.aiter_lines()
            while "data:" not in await anext(lines):
                pass
            process.send_signal(number)
            assert await process.wait() == 0
    asyncio.get_running_loop().remove_reader(ours)
    assert termios.tcgetattr(theirs) == before
    for end in (ours, theirs):
        os.close(end)
