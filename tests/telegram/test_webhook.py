"""Webhook mode: what Telegram pushes is handled once and confirmed then, and the internet gets nothing else."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import httpx
import pytest
from telegram import Bot, Update
from telegram.error import BadRequest

from bot.settings.model import Webhook as Settings
from bot.telegram.updates import Timings, TokenRejected, Updates
from bot.telegram.webhook import MAX_BODY, Webhook
from tests.sandbox.server import Json
from tests.sandbox.telegram import TelegramServer
from tests.telegram.conftest import ANA, Reports, raw_update

SECRET = "the-webhooks-secret"
HEADERS = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
NO_NAME = "Bad Request: bad webhook: Failed to resolve host: Temporary failure in name resolution"

# Below the ports that the kernel gives out by itself, and apart for each of pytest's workers: nothing else takes one
# before the webhook does.
_FIRST_PORT = 20_000 + 1000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = (_FIRST_PORT + (os.getpid() + number) % 1000 for number in count())


def free_port() -> int:
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port
    raise AssertionError


class Hook:
    """A webhook on a free port, with a handler that a test can hold up, and a client that stands for the internet."""

    def __init__(self, telegram: TelegramServer, bot: Bot, http: httpx.AsyncClient, path: str = "/hook") -> None:
        self.telegram, self.bot, self.http = telegram, bot, http
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.url = self.base + path
        self.handled: list[tuple[str, bool]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.updates = Updates(bot)
        self.reports = Reports()
        settings = Settings.model_validate({"WEBHOOK_URL": self.url, "WEBHOOK_SECRET": SECRET, "PORT": self.port})
        self.webhook = Webhook(bot, self.updates, self.reports, settings)
        telegram.webhook_backoff = 0.1

    async def handle(self, update: Update, fresh: bool) -> None:  # noqa: FBT001 - as `Updates` calls it
        self.handled.append((str(update.message and update.message.text), fresh))
        await self.gate.wait()

    @asynccontextmanager
    async def running(self, **timings: float) -> AsyncIterator[asyncio.Task[None]]:
        self.webhook.listen()
        self.updates.begin(self.handle)
        task = asyncio.create_task(self.webhook.run(Timings(first_pause=0.1, **timings)))  # type: ignore[arg-type]
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])
            self.gate.set()
            await self.updates.finish(lambda _: False)
            await self.webhook.confirm()

    async def set(self) -> None:
        await self.telegram.wait_for(
            lambda: self.telegram._webhook and self.webhook.ready.is_set() and not self.webhook.problem,
            what="its start",
        )

    async def begins(self, times: int) -> None:
        await self.telegram.wait_for(lambda: len(self.handled) >= times, what="handling to begin")

    async def post(self, update: Json, **changes: Any) -> int:  # noqa: ANN401 - httpx's own arguments
        asked = {"content": json.dumps(update), "headers": HEADERS, **changes}
        return (await self.http.post(self.url, **asked)).status_code


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
async def hook(telegram: TelegramServer, bot: Bot, http: httpx.AsyncClient) -> Hook:
    return Hook(telegram, bot, http)


# Updates


@pytest.mark.parametrize("path", ["/hook", "", "/a/deep.er/path/"])
async def test_what_is_pushed_to_any_path_is_taken_once_it_was_handled(
    telegram: TelegramServer, bot: Bot, http: httpx.AsyncClient, path: str
) -> None:
    hook = Hook(telegram, bot, http, path)
    telegram.message(ANA, "pending")
    hook.gate.clear()
    async with hook.running():
        await hook.begins(1)
        assert [delivery.status for delivery in telegram.deliveries] == [None]
        hook.gate.set()
        await telegram.wait_for(lambda: not telegram.pending, what="the confirmation")
    assert [delivery.status for delivery in telegram.deliveries] == [200]
    assert hook.handled == [("pending", False)]
    (call,) = [call for call in telegram.calls if call.method == "setWebhook"]
    assert (call.params["max_connections"], call.params["secret_token"]) == (100, SECRET)
    assert call.params["allowed_updates"] == ["message", "edited_message", "callback_query"]
    assert hook.reports == [(True, 0.0)]


async def test_a_repeated_update_is_not_handled_again_but_answered_when_the_first_is_done(hook: Hook) -> None:
    hook.gate.clear()
    async with hook.running():
        await hook.set()
        impatient, first, second = [asyncio.create_task(hook.post(raw_update(5))) for _ in range(3)]
        await hook.begins(1)
        impatient.cancel()
        done, _ = await asyncio.wait([first, second], timeout=0.3)
        assert not done
        hook.gate.set()
        assert set(await asyncio.gather(first, second)) == {200}
        assert await hook.post(raw_update(5)) == 200
    assert len(hook.handled) == 1


async def test_of_many_updates_only_the_latest_are_remembered(hook: Hook) -> None:
    async with hook.running():
        await hook.set()
        for start in range(0, 1200, 100):
            assert set(await asyncio.gather(*(hook.post(raw_update(n)) for n in range(start, start + 100)))) == {200}
        assert len(hook.updates.known) == 1000
        assert await hook.post(raw_update(1199)) == 200
    assert len(hook.handled) == 1200


async def test_what_a_stop_cancels_is_sent_again_and_what_it_finishes_is_answered(hook: Hook) -> None:
    hook.gate.clear()
    async with hook.running():
        await hook.set()
        begun = asyncio.create_task(hook.post(raw_update(5)))
        await hook.begins(1)
        left = asyncio.create_task(hook.http.post(hook.url, content=json.dumps(raw_update(6)), headers=HEADERS))
        await hook.begins(2)
        last = hook.updates.known[6]
        stop = asyncio.create_task(hook.updates.finish(lambda task: task is last))
        await asyncio.wait([left], timeout=10)
        assert await hook.post(raw_update(7)) == 503
        hook.gate.set()
        await stop
        await hook.webhook.confirm()
        answer = await left
        assert (await begun, answer.status_code, answer.headers["Retry-After"]) == (200, 503, "1")
    assert len(hook.handled) == 2


# What the internet gets


async def endless() -> AsyncIterator[bytes]:
    for _ in range(100):
        yield b" " * 65536


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (403, {"headers": {}}),
        (403, {"headers": {"X-Telegram-Bot-Api-Secret-Token": SECRET[:-1]}}),
        (403, {"headers": {"X-Telegram-Bot-Api-Secret-Token": b"\xff\x80"}}),
        (400, {"content": b"no JSON"}),
        (400, {"content": b"\xff\xfe\xfd"}),
        (400, {"content": b"[" * 100_000}),
        (400, {"content": b"[]"}),
        (400, {"content": b"{}"}),
        (400, {"content": b'{"update_id": true}'}),
    ],
)
async def test_what_is_no_update_of_telegrams_is_refused(hook: Hook, status: int, changes: dict[str, Any]) -> None:
    async with hook.running():
        await hook.set()
        assert await hook.post(raw_update(5), **changes) == status
        assert hook.handled == []
        assert await hook.post(raw_update(5), content=json.dumps(raw_update(5)).ljust(MAX_BODY)) == 200
    assert len(hook.handled) == 1


async def test_the_port_serves_the_webhook_and_its_health_and_nothing_else(hook: Hook) -> None:
    order = hook.telegram.fault("setWebhook", hang=True)
    async with hook.running():
        await hook.telegram.wait_for(lambda: order.hits, what="its start")
        health = await hook.http.get(f"{hook.base}/healthz")
        assert (health.status_code, health.content) == (503, b"starting\n")
        order.stop()
        await hook.set()
        wanted = {"GET /healthz": 200, "HEAD /healthz": 200, "GET /metrics": 404, "POST /hook/": 404, "GET /hook": 403}
        for asked, status in wanted.items():
            method, path = asked.split()
            assert (await hook.http.request(method, hook.base + path)).status_code == status
        assert (await hook.http.get(hook.url, headers=HEADERS)).status_code == 405


async def test_a_body_is_not_read_beyond_the_bound_and_not_at_all_without_the_secret(
    hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    async with hook.running():
        await hook.set()
        for content in (b" " * (MAX_BODY + 1), endless()):
            with suppress(httpx.TransportError):  # the answer, if the connection is not closed before it is read
                assert await hook.post({}, content=content) == 400
        reader, writer = await asyncio.open_connection("127.0.0.1", hook.port)
        writer.write(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 403 Forbidden\r\n"
        writer.close()
        assert await hook.post(raw_update(5)) == 200
    assert len(hook.handled) == 1
    assert [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")] == []


# Setting it


@pytest.mark.parametrize(
    "refusal", [{"status": 429, "retry_after": 1}, {"body": b"{}"}, {"status": 400, "description": NO_NAME}]
)
async def test_a_webhook_that_is_refused_for_the_moment_is_set_again(hook: Hook, refusal: dict[str, Any]) -> None:
    fault = hook.telegram.fault("setWebhook", times=2, **refusal)
    async with hook.running():
        await hook.set()
    assert fault.hits == 2
    assert [answered for answered, _ in hook.reports] == [False, False, True]


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        ({"status": 400, "description": "Bad Request: bad webhook: port 8081"}, BadRequest),
        ({"status": 401}, TokenRejected),
    ],
)
async def test_a_refusal_for_good_ends_it(hook: Hook, refusal: dict[str, Any], error: type[Exception]) -> None:
    hook.telegram.fault("setWebhook", times=None, **refusal)
    async with hook.running(patience=0.2) as running:
        await asyncio.wait([running], timeout=20)
        assert isinstance(running.exception(), error)


async def test_a_webhook_that_a_poller_removed_is_set_again(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    async with hook.running(check=0.2):
        await hook.set()
        hook.telegram.fault("getWebhookInfo", status=502)
        await hook.telegram.wait_for(lambda: hook.webhook.problem, what="a look that shows nothing")
        await hook.set()
        await hook.bot.delete_webhook()
        await hook.telegram.wait_for(lambda: not hook.webhook.ready.is_set(), what="its being noticed")
        await hook.set()
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    beginnings = ("Telegram can't be reached: Bad Gateway", "Telegram is back", "the webhook was removed")
    assert all(map(str.startswith, warnings, beginnings))
