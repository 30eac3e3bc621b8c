"""`make demo` shows the bot at work in a terminal or a pipe, and on a page meanwhile."""

import asyncio
import os
import pty
import re
import signal
import sys
import termios

import httpx

from tests.sandbox.stage import ROOT

ADDRESS = r"http://127\.0\.0\.1:\d+/"


async def demo(*arguments: str, stream: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "tests.sandbox.demo", "--port", "0", *arguments)
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


async def test_in_a_terminal_lines_are_edited_and_numbers_keep_their_meaning() -> None:
    shown, more = "", asyncio.Event()
    ours, theirs = pty.openpty()

    def read() -> None:
        nonlocal shown
        shown += os.read(ours, 65536).decode(errors="replace").replace("\r", "")
        more.set()

    async def types(line: bytes, answer: str) -> None:
        nonlocal shown
        os.write(ours, line)
        async with asyncio.timeout(60):
            while not (found := re.search(rf"(?s){answer}.*Ana\S*  ", shown)):
                more.clear()
                await more.wait()
        shown = shown[found.end() :]

    asyncio.get_running_loop().add_reader(ours, read)
    before = termios.tcgetattr(theirs)
    process = await demo(stream=theirs)
    await types(b"", rf"open\s+{ADDRESS}[^\n]*\n+\S*Your turn")
    await types(b"unpin +44 20 7946 0958\x01/\n", "Unpinned")  # Ctrl-A goes to the front
    await types(b"hello\n", "don't understand")
    await types(b"1\n", "Pinned")
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        assert await process.wait() == 0
    asyncio.get_running_loop().remove_reader(ours)
    assert termios.tcgetattr(theirs) == before
    for end in (ours, theirs):
        os.close(end)


async def test_without_the_tour_the_page_stays_until_a_signal_even_while_it_is_looked_at() -> None:
    process = await demo("--page-only")
    assert process.stdout
    async with asyncio.timeout(60), httpx.AsyncClient(trust_env=False) as http:
        address = re.search(ADDRESS, (await process.stdout.readuntil(b" in a browser")).decode())
        assert address
        assert "<title>Ryze Pin Bot" in (await http.get(address[0])).text
        async with http.stream("GET", f"{address[0]}events") as events:
            lines = events.aiter_lines()
            while "data:" not in await anext(lines):
                pass
            process.send_signal(signal.SIGTERM)
            _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
