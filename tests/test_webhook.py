"""Webhook mode: what Telegram pushes is handled once and confirmed then, and the internet gets nothing else."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import signal
import socket
import time
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from bot import app
from bot.webhook import MOST_BODY, SECRET_HEADER
from tests.conftest import ANA, BIA, Stage
from tests.sandbox.front import Front
from tests.test_process import CANARY, Host, end, key, stop

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

    from tests.sandbox.server import Json

SECRET = f"{CANARY}-webhook-secret"
JSON = {"Content-Type": "application/json"}
NO_NAME = "bad webhook: Failed to resolve host: Temporary failure in name resolution"
TOLD = {**JSON, SECRET_HEADER: SECRET}


# Below the ports that the kernel gives out by itself, and apart for each of pytest's workers: nothing else takes one
# before the bot does.
_FIRST_PORT = 20_000 + 1000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = (_FIRST_PORT + (os.getpid() + number) % 1000 for number in count())


def free_port() -> int:
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port
    raise AssertionError


class Hooked:
    """The bot in webhook mode on a stage, and a client that stands for the internet."""

    def __init__(self, stage: Stage, client: httpx.AsyncClient) -> None:
        self.stage = stage
        self.telegram = stage.telegram
        self.ryze = stage.ryze
        self.client = client
        self.at(free_port())
        stage.telegram.webhook_backoff = 0.1

    def at(self, port: int, path: str = "/hook") -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.url = self.base + path
        self.stage.environ |= {"WEBHOOK_URL": self.url, "PORT": str(port), "WEBHOOK_SECRET": SECRET}

    @asynccontextmanager
    async def bot(self) -> AsyncIterator[asyncio.Task[int]]:
        async with self.stage.bot() as running:
            await self.healthy()
            yield running

    async def healthy(self) -> None:
        """Wait until updates can be taken, and Telegram knows where to."""

        async def health() -> None:
            while True:
                try:
                    if (await self.client.get(f"{self.base}/healthz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)

        async with asyncio.timeout(30):
            await health()
        await self.telegram.wait_for(lambda: self.telegram._webhook, what="the webhook to be set")

    def update(self, update_id: int, text: str, user: int = ANA) -> Json:
        """An update that Telegram did not push yet, with a message that it knows."""
        room = self.telegram.add_chat(user)
        message_id = next(room.ids)
        message = {
            "message_id": message_id,
            "from": {"id": user, "is_bot": False, "first_name": "Ana"},
            "chat": room.info,
            "date": int(time.time()),
            "text": text,
        }
        room.messages[message_id] = message
        return {"update_id": update_id, "message": message}

    async def post(self, update: object, **changes: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own arguments
        asked = {"content": json.dumps(update), "headers": TOLD, **changes}
        return await self.client.post(self.url, **asked)


@pytest.fixture
async def hooked(stage: Stage) -> AsyncIterator[Hooked]:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        yield Hooked(stage, client)


@pytest.fixture
async def host(stage: Stage) -> AsyncIterator[Host]:
    """Processes, which are ended, and whose log has neither a secret nor a traceback."""
    host = Host(stage)
    stage.telegram.webhook_backoff = 0.1
    yield host
    for process in host.processes:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = stage.log.splitlines()
    assert [line for line in lines if CANARY in line.lower()] == []
    assert [line for line in lines if line.startswith(("Traceback", "  | Traceback"))] == []


# Updates


async def test_an_update_is_taken_once_it_was_handled(hooked: Hooked) -> None:
    hooked.ryze.delay = 0.5
    async with hooked.bot():
        message = hooked.telegram.message(ANA, "/pin +5511999999999")
        await hooked.telegram.wait_for(lambda: hooked.ryze.calls, what="the call")
        assert [delivery.status for delivery in hooked.telegram.deliveries] == [None]
        await hooked.telegram.answer(message)
        await hooked.telegram.wait_for(lambda: not hooked.telegram.pending, what="the confirmation")
    assert [delivery.status for delivery in hooked.telegram.deliveries] == [200]
    assert hooked.ryze.instances["sales"].pinned == ["5511999999999@s.whatsapp.net"]
    (called,) = [call for call in hooked.telegram.calls if call.method == "setWebhook"]
    assert called.params == {
        "url": hooked.url,
        "secret_token": SECRET,
        "max_connections": 100,
        "allowed_updates": ["message", "edited_message", "callback_query"],
        "drop_pending_updates": False,
    }


@pytest.mark.parametrize("path", ["", "/", "/a/deep.er/path/"])
async def test_what_was_pending_is_pushed_to_any_path_with_a_derived_secret(hooked: Hooked, path: str) -> None:
    hooked.at(free_port(), path)
    del hooked.stage.environ["WEBHOOK_SECRET"]
    message = hooked.telegram.message(ANA, "/help")
    async with hooked.bot():
        await hooked.telegram.answer(message)
        assert (await hooked.post({"update_id": 1})).status_code == 403
        other = "/b" if path else "/hook"
        assert (await hooked.client.post(hooked.base + other)).status_code == 404
    (called,) = [call for call in hooked.telegram.calls if call.method == "setWebhook"]
    assert len(called.params["secret_token"]) >= 32


async def test_the_same_update_again_is_not_run_again(hooked: Hooked) -> None:
    async with hooked.bot():
        update = hooked.update(5, "/pin +5511999999999")
        for _ in range(3):
            assert (await hooked.post(update)).status_code == 200
    assert len(hooked.ryze.calls) == len(hooked.telegram.sent(ANA)) == 1


async def test_a_repeat_of_a_running_update_is_answered_when_that_one_is_done(hooked: Hooked) -> None:
    hooked.ryze.delay = 1
    async with hooked.bot():
        update = hooked.update(5, "/pin +5511999999999")
        begun = time.monotonic()
        first = asyncio.create_task(hooked.post(update))
        await hooked.telegram.wait_for(lambda: hooked.ryze.calls, what="the call")
        answers = await asyncio.gather(first, hooked.post(update), hooked.post(update))
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert time.monotonic() - begun >= 1
    assert len(hooked.ryze.calls) == len(hooked.telegram.sent(ANA)) == 1


async def test_an_update_whose_sender_left_is_handled_all_the_same(hooked: Hooked) -> None:
    hooked.ryze.delay = 0.5
    async with hooked.bot():
        update = hooked.update(5, "/pin +5511999999999")
        impatient = asyncio.create_task(hooked.post(update))
        await hooked.telegram.wait_for(lambda: hooked.ryze.calls, what="the call")
        impatient.cancel()
        await hooked.telegram.wait_for(lambda: hooked.telegram.sent(ANA), what="the answer")
        assert (await hooked.post(update)).status_code == 200
    assert len(hooked.ryze.calls) == len(hooked.telegram.sent(ANA)) == 1


async def test_a_command_that_waits_too_long_is_busy_and_can_be_tried_again(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app.WEBHOOK_PATIENCE == 25
    monkeypatch.setattr(app, "WEBHOOK_PATIENCE", 0.5)
    hooked.stage.settings["operators"][1]["instance"] = "sales"
    hanging = hooked.ryze.fault(hang=True)
    async with hooked.bot():
        hooked.telegram.message(ANA, "/pin +5511999999991")
        await hooked.telegram.wait_for(lambda: hanging.hits, what="the call that hangs")
        message = hooked.telegram.message(BIA, "/pin +5511999999992")
        busy = await hooked.telegram.answer(message)
        assert "too many commands are waiting" in busy["text"]
        assert len(hooked.ryze.calls) == 1
        hanging.stop()
        await hooked.telegram.wait_for(lambda: not hooked.telegram.pending, what="the first command's end")
        hooked.telegram.press(BIA, busy, hooked.telegram.button(busy, "Try again"))
        await hooked.telegram.wait_for(lambda: "Pinned" in (hooked.telegram.current(busy) or {}).get("text", ""))


async def test_a_command_that_waits_for_its_budget_is_answered_in_time(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "WEBHOOK_PATIENCE", 0.5)
    hooked.ryze.limit = 1
    async with hooked.bot():
        await hooked.telegram.answer(hooked.telegram.message(ANA, "/pin +5511999999991"))
        busy = await hooked.telegram.answer(hooked.telegram.message(ANA, "/pin +5511999999992"))
        assert hooked.telegram.button(busy, "Try again")
    assert len(hooked.ryze.calls) == 1


async def test_a_late_command_is_not_run(hooked: Hooked) -> None:
    message = hooked.telegram.message(ANA, "/pin +5511999999999", date=int(time.time()) - 660)
    async with hooked.bot():
        late = await hooked.telegram.answer(message)
        assert hooked.telegram.button(late, "Run it now")
        assert hooked.ryze.calls == []


# What the internet gets


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (403, {"headers": JSON}),
        (403, {"headers": {**TOLD, SECRET_HEADER: ""}}),
        (403, {"headers": {**TOLD, SECRET_HEADER: SECRET[:-1]}}),
        (403, {"headers": {**TOLD, SECRET_HEADER: SECRET + "x"}}),
        (403, {"headers": {**TOLD, SECRET_HEADER: b"\xff\x80"}}),
        (403, {"headers": [*TOLD.items(), (SECRET_HEADER, SECRET)]}),
        (415, {"headers": {SECRET_HEADER: SECRET}}),
        (415, {"headers": {**TOLD, "Content-Type": "text/plain"}}),
        (400, {"content": b""}),
        (400, {"content": b"no JSON"}),
        (400, {"content": b'{"update_id": 5'}),
        (400, {"content": b"\xff\xfe\xfd"}),
        (400, {"content": b"[" * 100_000}),
        (400, {"content": b'{"update_id": ' + b"9" * 5000 + b"}"}),
        (400, {"content": gzip.compress(b'{"update_id": 5}'), "headers": {**TOLD, "Content-Encoding": "gzip"}}),
        (400, {"content": b"[]"}),
        (400, {"content": b"null"}),
        (400, {"content": b"{}"}),
        (400, {"content": b'{"update_id": "5"}'}),
        (400, {"content": b'{"update_id": true}'}),
        (400, {"content": b'{"update_id": 5.0}'}),
        (413, {"content": b" " * (MOST_BODY + 1)}),
        (413, {"content": b" " * 8 * MOST_BODY}),
    ],
)
async def test_what_is_no_update_of_telegrams_is_refused(hooked: Hooked, status: int, changes: dict[str, Any]) -> None:
    """Whether the body's length is declared or not, and on a connection that goes on to serve."""
    async with hooked.bot():
        update = hooked.update(5, "/pin +5511999999999")
        for chunked in (False, True):
            content = changes.get("content", json.dumps(update).encode())
            sent = {**changes, "content": pieces(content) if chunked else content}
            refused = await hooked.post(update, **sent)
            assert (refused.status_code, refused.content) == (status, b"")
        assert not hooked.ryze.calls
        assert not hooked.telegram.sent()
        assert (await hooked.post(update)).status_code == 200
        assert len(hooked.ryze.calls) == 1


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 65536):
        yield content[start : start + 65536]


async def test_a_body_of_a_mebibyte_is_taken(hooked: Hooked) -> None:
    async with hooked.bot():
        content = json.dumps(hooked.update(5, "/help"))
        assert (await hooked.post(None, content=content.ljust(MOST_BODY))).status_code == 200
    assert len(hooked.telegram.sent(ANA)) == 1


async def test_an_update_that_cannot_be_read_is_not_asked_for_again(hooked: Hooked) -> None:
    async with hooked.bot():
        poisons: list[Json] = [{}, {"message": 5}, {"message": {"text": []}}, {"callback_query": {"id": {}}}]
        for number, poison in enumerate(poisons):
            assert (await hooked.post({"update_id": number, **poison})).status_code == 200
        await hooked.telegram.answer(hooked.telegram.message(ANA, "/help"))


async def test_the_port_serves_the_webhook_and_its_health_and_nothing_else(hooked: Hooked) -> None:
    wanted = {
        ("GET", "/healthz"): 200,
        ("HEAD", "/healthz"): 200,
        ("POST", "/healthz"): 405,
        ("GET", "/healthz/"): 404,
        ("GET", "/"): 404,
        ("GET", "/metrics"): 404,
        ("POST", "/hook/"): 404,
        ("POST", "/HOOK"): 404,
        ("GET", "/hook"): 403,
        ("OPTIONS", "/hook"): 403,
        ("FOO", "/hook"): 403,
        ("FOO", "/"): 404,
    }
    async with hooked.bot():
        for (method, path), status in wanted.items():
            answer = await hooked.client.request(method, hooked.base + path)
            assert (method, path, answer.status_code) == (method, path, status)
            assert answer.content == b""
            assert set(answer.headers) <= {"content-length", "connection"}
        assert (await hooked.client.get(hooked.url, headers=TOLD)).status_code == 405


async def test_who_asks_for_leave_to_send_a_body_does_not_get_it_without_the_secret(hooked: Hooked) -> None:
    head = "POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\nExpect: 100-continue\r\n\r\n"
    async with hooked.bot():
        reader, writer = await asyncio.open_connection("127.0.0.1", int(hooked.stage.environ["PORT"]))
        writer.write(head.encode())
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
    assert answer == b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def test_a_refusal_does_not_wait_for_the_body(hooked: Hooked) -> None:
    async with hooked.bot():
        reader, writer = await asyncio.open_connection("127.0.0.1", int(hooked.stage.environ["PORT"]))
        writer.write(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\n\r\n")
        async with asyncio.timeout(10):
            assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 403 Forbidden\r\n"
        writer.close()


async def test_bytes_that_are_no_http_do_no_harm(hooked: Hooked, caplog: pytest.LogCaptureFixture) -> None:
    seed = 20261122
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    told = "".join(f"{name}: {value}\r\n" for name, value in TOLD.items())
    heads = [
        b"",
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /hook HTTP/9.9\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"POST /hook?a=%ff&b HTTP/1.0\r\n\r\n",
        b"POST /%ff%00 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /hook HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /hook HTTP/1.1\r\nContent-Length: 5, 6\r\n\r\n",
        b"POST /hook HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /hook HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        f"POST /hook HTTP/1.1\r\n{told}Transfer-Encoding: chunked\r\n\r\nzz\r\n".encode(),
        f"POST /hook HTTP/1.1\r\n{told}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n".encode(),
        f"POST /hook HTTP/1.1\r\n{told}Content-Length: {10**10}\r\n\r\n{{".encode(),
        f"POST /hook HTTP/1.1\r\n{told}Content-Length: 100\r\n\r\n{{".encode(),
        f"POST /hook HTTP/1.1\r\n{told}Content-Length: 17\r\n\r\n".encode() + b'{"update_id": 77}' + b"\x00\xff",
        b"X" * 100_000,
        *(chance.randbytes(200) + b"\r\n\r\n" for _ in range(50)),
    ]
    async with hooked.bot():
        for head in heads:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(hooked.stage.environ["PORT"]))
            writer.write(head)
            writer.write_eof()
            async with asyncio.timeout(10):
                with suppress(ConnectionError):
                    await reader.read()
            writer.close()
        await hooked.telegram.answer(hooked.telegram.message(ANA, "/pin +5511999999999"))
    assert [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")] == []
    assert len(hooked.ryze.calls) == 1


async def test_360_megabytes_without_the_secret_cost_no_memory(host: Host, hooked: Hooked) -> None:
    """Whatever path they are sent to, and their senders get to read that they are refused."""
    process = await host.start()
    await hooked.healthy()
    await hooked.telegram.answer(hooked.telegram.message(ANA, "/pin +5511999999999"))
    before = peak(process)
    for path, status in (("/hook", b"403"), ("/hook", b"403"), ("/elsewhere", b"404"), ("/healthz", b"405")):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(hooked.stage.environ["PORT"]))
        size = 90_000_000
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(90):
            writer.write(bytes(size // 90))
            await writer.drain()
        assert (await reader.readuntil(b"\r\n")).split()[1] == status
        writer.close()
    assert peak(process) - before < 20_000
    await hooked.telegram.answer(hooked.telegram.message(ANA, "/unpin +5511999999999"))
    await stop(process)


def peak(process: Process) -> int:
    """The most memory that the process has had, in kB."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


# Start and end


async def test_the_port_answers_while_telegram_is_down(host: Host, hooked: Hooked) -> None:
    await host.telegram.down()
    begun = time.monotonic()
    process = await host.start()
    while True:
        try:
            health = await hooked.client.get(f"{hooked.base}/healthz")
        except httpx.ConnectError:
            assert time.monotonic() - begun < 60, "it waits for Telegram, which stays away"
            await asyncio.sleep(0.05)
        else:
            break
    assert (health.status_code, health.content) == (503, b"")
    early = await hooked.post({"update_id": 1})
    assert (early.status_code, early.headers["Retry-After"]) == (503, "1")
    message = host.telegram.message(ANA, "/pin +5511999999999")
    await host.telegram.up()
    await host.telegram.answer(message)
    await hooked.healthy()
    await stop(process)


@pytest.mark.parametrize(
    "refusal",
    [
        {"status": 429, "retry_after": 1},
        {"status": 502},
        {"drop": "before"},
        {"status": 400, "description": f"Bad Request: {NO_NAME}"},
    ],
)
async def test_a_webhook_that_is_refused_for_the_moment_is_set_again(
    hooked: Hooked, refusal: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.webhook.LONGEST_PAUSE", 0.1)
    hooked.telegram.fault("setWebhook", times=2, **refusal)
    async with hooked.bot():
        await hooked.telegram.answer(hooked.telegram.message(ANA, "/help"))


async def test_a_webhook_that_is_refused_for_good_ends_the_process_with_a_clear_line(
    host: Host, hooked: Hooked
) -> None:
    hooked.telegram.fault("setWebhook", status=400, description="Bad Request: bad webhook: port 8081", times=None)
    process = await host.start()
    assert await end(process) == 78
    assert "ERROR bot.app Telegram refuses the webhook (Bad webhook: port 8081): correct WEBHOOK_URL" in host.stage.log


async def test_a_token_rejected_at_the_webhook_ends_the_process_with_a_clear_line(host: Host, hooked: Hooked) -> None:
    hooked.telegram.fault("setWebhook", status=401, times=None)
    process = await host.start_patched("import bot.webhook; bot.webhook.TRYING = 1")
    assert await end(process) == 77
    assert "ERROR bot.app Telegram rejects the bot's token" in host.stage.log


@pytest.mark.parametrize("name", ["PORT", "METRICS_PORT"])
async def test_a_port_that_is_taken_ends_the_process_with_a_clear_line(host: Host, hooked: Hooked, name: str) -> None:
    assert hooked
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))  # noqa: S104 - where the bot would listen
        taken.listen()
        port = taken.getsockname()[1]
        process = await host.start(**{name: str(port)})
        assert await end(process) == 70
    assert f"ERROR bot.app can't listen on port {port} (Address already in use)" in host.stage.log
    assert host.stage.log.count("ERROR") == 1


async def test_sigterm_while_busy_answers_what_has_begun_and_has_the_rest_sent_again(
    host: Host, hooked: Hooked
) -> None:
    host.stage.settings["operators"][1]["instance"] = "instance0"
    process = await host.start()
    await hooked.healthy()
    host.ryze.delay = 1.5
    begun = host.telegram.message(ANA, "/pin +5511999999991")
    await host.telegram.wait_for(lambda: host.ryze.calls, what="the call")
    waits = host.telegram.message(ANA + 1, "/pin +5511999999992")
    await host.telegram.wait_for(lambda: len(host.telegram.deliveries) == 2, what="both to be pushed")
    await hooked.client.get(f"{hooked.base}/healthz")  # what was pushed before it was received too
    process.send_signal(signal.SIGTERM)
    await host.logs("stopping: what has begun is finished first")
    later = host.telegram.message(ANA + 2, "/help")
    await host.telegram.wait_for(lambda: len(host.telegram.deliveries) >= 3, what="one more to be pushed")
    assert (await hooked.client.get(f"{hooked.base}/healthz")).status_code == 503
    assert await end(process, 20) == 0
    assert host.answered() == {key(begun): 1}
    statuses = [delivery.status for delivery in host.telegram.deliveries]
    assert statuses[0] == 200
    assert set(statuses[1:]) <= {503, None}
    assert len(host.telegram.pending) == 2
    host.ryze.delay = 0
    await host.start()
    await host.telegram.answer(waits)
    await host.telegram.answer(later)
    await host.telegram.wait_for(lambda: not host.telegram.pending, what="all to be confirmed")
    assert host.answered()[key(begun)] == 1


@pytest.mark.parametrize("method", ["getMe", "setWebhook"])
async def test_sigterm_while_telegram_hangs(host: Host, hooked: Hooked, method: str) -> None:
    hanging = hooked.telegram.fault(method, hang=True, times=None)
    process = await host.start()
    await host.telegram.wait_for(lambda: hanging.hits, what="a call that hangs")
    await stop(process)


# From one mode to the other, and past one machine


async def test_a_webhook_that_a_poller_removed_is_set_again(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bot.webhook.HEARTBEAT", 0.05)
    async with hooked.bot():
        await hooked.client.post(f"{hooked.telegram.url}/bot{hooked.telegram.token}/deleteWebhook")
        await hooked.telegram.wait_for(
            lambda: sum(call.method == "setWebhook" for call in hooked.telegram.calls) == 2, what="setting it again"
        )
        await hooked.healthy()
        await hooked.telegram.answer(hooked.telegram.message(ANA, "/pin +5511999999999"))
    assert sum("the webhook was removed" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("fault", [{"status": 502}, {"body": b'{"ok":true,"result":true}'}, {"drop": "before"}])
async def test_where_telegram_does_not_say_whether_it_has_the_webhook_it_has(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: dict[str, Any]
) -> None:
    monkeypatch.setattr("bot.webhook.HEARTBEAT", 0.05)
    order = hooked.telegram.fault("getWebhookInfo", times=None, **fault)
    async with hooked.bot():
        await hooked.telegram.wait_for(lambda: order.hits >= 4, what="some looks")
        assert (await hooked.client.get(f"{hooked.base}/healthz")).status_code == 200
    assert sum(call.method == "setWebhook" for call in hooked.telegram.calls) == 1
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("to_webhook", [True, False])
async def test_a_change_of_mode_loses_nothing(host: Host, hooked: Hooked, to_webhook: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Old and new process overlap, and commands come all the while."""
    operators = host.team(4)
    host.ryze.delay = 0.05
    polling = {"WEBHOOK_URL": ""}
    old = await host.start(**polling if to_webhook else {})
    await (host.polls() if to_webhook else hooked.healthy())
    sent: list[Json] = []

    def give(count: int) -> None:
        sent.extend(
            host.telegram.message(operator, f"/{'un' if number % 2 else ''}pin +5511999999999")
            for number in range(count)
            for operator in operators
        )

    give(4)
    await host.telegram.wait_for(lambda: len(host.answered()) >= 2, what="the first answers")
    changed = "setWebhook" if to_webhook else "deleteWebhook"
    await host.start(**{} if to_webhook else polling)
    await host.telegram.wait_for(
        lambda: any(call.method == changed and call.status == 200 for call in host.telegram.calls), what=changed
    )
    give(4)
    answered = len(host.answered())
    await host.telegram.wait_for(lambda: len(host.answered()) > answered, what="an answer of the new process")
    await stop(old)
    give(3)
    await host.telegram.wait_for(lambda: set(host.answered()) == set(map(key, sent)), what="all answers")
    await host.telegram.wait_for(lambda: not host.telegram.pending, what="all to be confirmed")
    for number in range(len(operators)):
        assert host.pinned(number) == ["5511999999999@s.whatsapp.net"]


async def test_two_processes_behind_one_address_are_stopped_and_killed_in_turn(host: Host, hooked: Hooked) -> None:
    """200 commands: every one is answered, and each operator's last one is the state at Ryze."""
    seed = 20261122
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    operators = host.team(8)
    host.ryze.delay = lambda _: chance.uniform(0, 0.05)
    last: dict[int, tuple[str, bool]] = {}
    sent: list[Json] = []

    def give(count: int) -> None:
        for _ in range(count):
            operator, pin = chance.choice(operators), chance.random() < 0.5
            chat = f"55119999900{chance.randrange(3):02}"
            sent.append(host.telegram.message(operator, f"/{'pin' if pin else 'unpin'} +{chat}"))
            last[operator] = chat, pin

    async with Front() as front:
        ports = [free_port(), free_port()]
        front.backends = [f"http://127.0.0.1:{port}" for port in ports]
        address = {"WEBHOOK_URL": f"{front.url}/hook"}

        async def start(place: int) -> Process:
            process = await host.start(PORT=str(ports[place]), **address)
            hooked.base = front.backends[place]
            await hooked.healthy()
            return process

        processes = [await start(0), await start(1)]
        for number, ending in enumerate([signal.SIGTERM, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]):
            before, some = len(host.answered()), chance.randrange(5, 30)
            give(50)
            await host.telegram.wait_for(lambda before=before, some=some: len(host.answered()) >= before + some)  # type: ignore[misc]  # mypy infers no lambda with defaults
            processes[number % 2].send_signal(ending)
            assert await end(processes[number % 2], 20) == (0 if ending is signal.SIGTERM else -signal.SIGKILL)
            processes[number % 2] = await start(number % 2)
        await host.telegram.wait_for(lambda: len(host.answered()) == 200, timeout=60, what="all 200 answers")
        await host.telegram.wait_for(lambda: not host.telegram.pending, what="all to be confirmed")
        served = {backend for call in front.calls if call.status == 200 for backend in call.backends[-1:]}
        assert served == set(front.backends)
        for process in processes:
            await stop(process)
    assert set(host.answered()) == set(map(key, sent))
    for number, operator in enumerate(operators):
        chat, pin = last[operator]
        assert (f"{chat}@s.whatsapp.net" in host.pinned(number)) is pin
