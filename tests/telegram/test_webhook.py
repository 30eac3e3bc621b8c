"""Webhook mode: what Telegram pushes is handled once and confirmed then."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from telegram import Bot, Update
from telegram.error import BadRequest

from bot.settings.model import Webhook as Settings
from bot.telegram.updates import TokenRejected
from bot.telegram.webhook import MAX_BODY, Webhook
from tests.sandbox.server import Json
from tests.sandbox.telegram import TelegramServer
from tests.telegram.conftest import ANA, Reports, raw_update

SECRET = "the-webhooks-secret"
HEADERS = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
NO_NAME = "Bad Request: bad webhook: Failed to resolve host: Temporary failure in name resolution"

# Below the ports that the kernel gives out by itself, and apart for each of pytest's workers.
ports = iter(range(20_000 + os.getpid() * 100 % 10_000, 32_000))


def free_port() -> int:
    for port in ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port
    raise AssertionError


class Hook:
    """A webhook on a free port, with a handler that a test can hold up."""

    def __init__(self, telegram: TelegramServer, bot: Bot, http: httpx.AsyncClient) -> None:
        self.telegram, self.bot, self.http = telegram, bot, http
        self.wait_for, self.fault = telegram.wait_for, telegram.fault
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.base}/hook"
        self.handled: list[tuple[str, bool]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.reports = Reports()
        settings = Settings.model_validate({"WEBHOOK_URL": self.url, "WEBHOOK_SECRET": SECRET, "PORT": self.port})
        self.webhook = Webhook(bot, self.reports, settings)
        self.webhook.first_pause = telegram.webhook_backoff = 0.1

    async def handle(self, update: Update, fresh: bool) -> None:  # noqa: FBT001 - as `Updates` calls it
        self.handled.append((str(update.message and update.message.text), fresh))
        await self.gate.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        self.webhook.listen()
        task = asyncio.create_task(self.webhook.run(self.handle))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])
            self.gate.set()
            await self.webhook.finish(lambda _: False)
            await self.webhook.confirm()

    async def set(self) -> None:
        await self.wait_for(lambda: self.telegram._webhook and not self.webhook.problem, what="its start")

    async def begins(self, times: int = 1) -> None:
        await self.wait_for(lambda: len(self.handled) >= times, what="the handling")

    async def post(self, update: Json, **changes: Any) -> int:  # noqa: ANN401 - httpx's own arguments
        asked = {"content": json.dumps(update), "headers": HEADERS, **changes}
        return (await self.http.post(self.url, **asked)).status_code


@pytest.fixture
async def hook(telegram: TelegramServer, bot: Bot) -> AsyncIterator[Hook]:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        yield Hook(telegram, bot, http)


# Updates


async def test_what_is_pushed_is_taken_once_it_was_handled(hook: Hook, telegram: TelegramServer) -> None:
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


async def test_a_repeated_update_is_answered_when_the_first_is_done(hook: Hook) -> None:
    hook.gate.clear()
    async with hook.running():
        await hook.set()
        impatient, *patient = [asyncio.create_task(hook.post(raw_update(5))) for _ in range(3)]
        await hook.begins(1)
        impatient.cancel()
        assert not (await asyncio.wait(patient, timeout=0.3))[0]
        hook.gate.set()
        assert await asyncio.gather(*patient, hook.post(raw_update(5))) == [200, 200, 200]
    assert len(hook.handled) == 1


async def test_what_a_stop_cancels_is_sent_again_and_what_it_finishes_is_answered(hook: Hook) -> None:
    hook.gate.clear()
    async with hook.running():
        await hook.set()
        begun = asyncio.create_task(hook.post(raw_update(5)))
        await hook.begins(1)
        left = asyncio.create_task(hook.http.post(hook.url, json=raw_update(6), headers=HEADERS))
        await hook.begins(2)
        last = hook.webhook.unfinished[6]
        stop = asyncio.create_task(hook.webhook.finish(lambda task: task is last))
        await asyncio.wait([left], timeout=10)
        assert await hook.post(raw_update(7)) == 503
        hook.gate.set()
        await stop
        await hook.webhook.confirm()
        answer = await left
        assert (await begun, answer.status_code, answer.headers["Retry-After"]) == (200, 503, "1")
    assert len(hook.handled) == 2


# What the internet gets


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (403, {"headers": {}}),
        (403, {"headers": {"X-Telegram-Bot-Api-Secret-Token": SECRET[:-1]}}),
        (403, {"headers": {"X-Telegram-Bot-Api-Secret-Token": b"\xff\x80"}}),
        *((400, {"content": body}) for body in (b"no JSON", b"\xff\xfe\xfd", b"[" * 100_000, b"[]", b"{}", b"5")),
    ],
)
async def test_what_is_no_update_of_telegrams_is_refused(hook: Hook, status: int, changes: Json) -> None:
    async with hook.running():
        await hook.set()
        assert await hook.post(raw_update(5), **changes) == status
        assert hook.handled == []
        assert await hook.post(raw_update(5), content=json.dumps(raw_update(5)).ljust(MAX_BODY)) == 200
    assert len(hook.handled) == 1


async def test_the_port_serves_the_webhook_and_its_health_and_nothing_else(hook: Hook) -> None:
    order = hook.fault("setWebhook", hang=True)
    async with hook.running():
        await hook.wait_for(lambda: order.hits, what="its start")
        health = await hook.http.get(f"{hook.base}/healthz")
        assert (health.status_code, health.content) == (503, b"starting\n")
        order.stop()
        await hook.set()
        assert (await hook.http.head(f"{hook.base}/healthz")).status_code == 200
        assert (await hook.http.get(f"{hook.base}/metrics")).status_code == 403
        assert (await hook.http.get(hook.url, headers=HEADERS)).status_code == 405


async def test_no_more_than_an_update_is_read_and_nothing_of_a_stranger(hook: Hook) -> None:
    async with hook.running():
        await hook.set()
        with suppress(httpx.TransportError):  # it may be closed before the answer is read
            assert await hook.post({}, content=b" " * (MAX_BODY + 1)) == 400
        reader, writer = await asyncio.open_connection("127.0.0.1", hook.port)
        writer.write(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 403 Forbidden\r\n"
        writer.close()
        assert await hook.post(raw_update(5)) == 200
    assert len(hook.handled) == 1


# Setting it


@pytest.mark.parametrize(
    "refusal", [{"status": 429, "retry_after": 1}, {"body": b"{}"}, {"status": 400, "description": NO_NAME}]
)
async def test_a_webhook_refused_for_the_moment_is_set_again(hook: Hook, refusal: Json) -> None:
    hook.fault("setWebhook", times=2, **refusal)
    async with hook.running():
        await hook.set()
    assert [answered for answered, _ in hook.reports] == [False, False, True]


@pytest.mark.parametrize(("status", "error"), [(400, BadRequest), (401, TokenRejected)])
async def test_a_refusal_for_good_ends_it(hook: Hook, status: int, error: type[Exception]) -> None:
    hook.fault("setWebhook", status=status)
    async with hook.running() as running:
        await asyncio.wait([running], timeout=20)
        assert isinstance(running.exception(), error)


async def test_a_webhook_that_a_poller_removed_is_set_again(hook: Hook) -> None:
    hook.webhook.check = 0.2
    async with hook.running():
        await hook.set()
        hook.fault("getWebhookInfo", status=502)
        await hook.wait_for(lambda: hook.webhook.problem, what="a look")
        await hook.set()
        await hook.bot.delete_webhook()
        await hook.set()
