"""How the stand-in for Telegram hands out updates: to `getUpdates`, or to a webhook.

The semantics are those of tdlib/telegram-bot-api (`Client::process_get_updates_query`, `WebhookActor`) and of its
update queue (tdlib/td, `TQueue`).
"""

import asyncio
import copy
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from tests.sandbox.server import ApiError, Json, LoopbackServer, Recorded

CONFLICT = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
_HOOKED = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
_ONLY_IF_ASKED_FOR = {"chat_member", "message_reaction", "message_reaction_count"}
_MAX_TIMEOUT = 50
_MAX_QUEUE = 100_000


@dataclass(eq=False)
class Call(Recorded):
    """One call of the bot."""

    method: str
    params: Json


@dataclass(eq=False)
class Delivery:
    """One attempt to deliver an update to the webhook. `status` is None if there was no answer in time."""

    update_id: int
    status: int | None = None


@dataclass(eq=False)
class _Webhook:
    url: str
    secret: str
    max_connections: int
    client: httpx.AsyncClient
    workers: dict[object, asyncio.Task[None]] = field(default_factory=dict)


class UpdatesServer(LoopbackServer[Call]):
    """The part of the server that keeps updates until they are confirmed; `TelegramServer` says what may be set."""

    def __init__(self) -> None:
        super().__init__()
        self.deliveries: list[Delivery] = []
        self.webhook_backoff = 1.0
        self.conflict_pause = 3.0
        self.clock = time.monotonic
        self.next_update_id = 730_000_001
        self._updates: dict[int, Json] = {}
        self._allowed: set[str] = set()  # empty: the usual kinds
        self._waiter: asyncio.Future[str | None] | None = None
        self._last_offset, self._last_asked = -1, float("-inf")
        self._next_conflict = float("-inf")
        self._webhook: _Webhook | None = None

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        await self._unhook()
        await super().__aexit__(kind, *rest)

    @property
    def pending(self) -> list[int]:
        """The ids of the updates that are not confirmed."""
        return list(self._updates)

    def push(self, update: Json) -> int:
        """Queue an update, whatever it holds, and return its id: 0 if the bot did not ask for its kind."""
        if not update.keys() & self._allowed if self._allowed else update.keys() <= _ONLY_IF_ASKED_FOR:
            return 0
        update_id = self.next_update_id
        self.next_update_id += 1
        self._updates[update_id] = copy.deepcopy({"update_id": update_id, **update})
        self._end_waiting(None)
        self._deliver([self._updates[update_id]])
        self._notify()
        return update_id

    def _end_waiting(self, reason: str | None) -> None:
        """End the `getUpdates` that waits, if there is one: with what has come, or with a conflict."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(reason)

    # getUpdates

    async def _get_updates(self, params: Json, gone: asyncio.Future[None]) -> list[Json]:
        if self._webhook is not None:
            raise await self._conflict(_HOOKED)
        offset, limit = integer(params, "offset", 0), min(max(integer(params, "limit", 100), 1), 100)
        timeout = min(max(integer(params, "timeout", 0), 0), _MAX_TIMEOUT)
        self._allow(params)
        now = self.clock()
        if offset == self._last_offset and now < self._last_asked + 3:
            timeout = max(timeout, 3)
            limit = 1 if now < self._last_asked + 0.5 else limit
        self._last_offset, self._last_asked = offset, now
        updates = self._read(offset, limit)
        if updates or not timeout:
            return updates
        self._end_waiting(CONFLICT)
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        await asyncio.wait({waiter, gone}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._waiter is waiter:
            self._waiter = None
        if waiter.done() and (reason := waiter.result()):
            raise await self._conflict(reason)
        return [] if gone.done() else self._read(offset, limit)

    def _read(self, offset: int, limit: int) -> list[Json]:
        """Forget what comes before the offset, and read from it on."""
        head = next(iter(self._updates), self.next_update_id)
        if not head - _MAX_QUEUE <= offset <= self.next_update_id + 10:
            offset = head
        for update_id in [known for known in self._updates if known < offset]:
            del self._updates[update_id]
        return list(self._updates.values())[:limit]

    def _allow(self, params: Json) -> None:
        asked = params.get("allowed_updates")
        if isinstance(asked, list):
            self._allowed = set(asked)

    async def _conflict(self, reason: str) -> ApiError:
        """The 409, at once or, when one was given just before, after a pause."""
        now = time.monotonic()
        if now >= self._next_conflict:
            self._next_conflict = now + self.conflict_pause
        else:
            await asyncio.sleep(self.conflict_pause)
        return ApiError(409, reason)

    # The webhook

    async def _set_webhook(self, params: Json) -> bool:
        url, secret = str(params.get("url", "")), str(params.get("secret_token", ""))
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname != "127.0.0.1":
            raise ApiError(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        self._end_waiting("Conflict: terminated by setWebhook request")
        self._allow(params)
        count, hook = min(max(integer(params, "max_connections", 40), 1), 100), self._webhook
        if hook is not None and (hook.url, hook.secret, hook.max_connections) == (url, secret, count):
            return True  # "Webhook is already set": what is under way goes on
        await self._unhook()
        client = httpx.AsyncClient(trust_env=False, timeout=50, limits=httpx.Limits(max_connections=count))
        self._webhook = _Webhook(url, secret, count, client)
        self._deliver(self._updates.values())
        return True

    async def _delete_webhook(self, _params: Json) -> bool:
        await self._unhook()
        return True

    def _get_webhook_info(self, _params: Json) -> Json:
        url = self._webhook.url if self._webhook else ""
        return {"url": url, "has_custom_certificate": False, "pending_update_count": len(self._updates)}

    async def _unhook(self) -> None:
        hook, self._webhook = self._webhook, None
        if hook is not None:
            workers = list(hook.workers.values())
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await hook.client.aclose()

    def _deliver(self, updates: Iterable[Json]) -> None:
        """Start a worker for each of these updates' queues that has none."""
        if hook := self._webhook:
            for queue in {_queue(update) for update in updates} - hook.workers.keys():
                hook.workers[queue] = asyncio.get_running_loop().create_task(self._work(hook, queue))

    async def _work(self, hook: _Webhook, queue: object) -> None:
        """Deliver a queue's updates one after another, each until it is taken."""
        try:
            fails = 0
            while update := next((update for update in self._updates.values() if _queue(update) == queue), None):
                pause = await self._post(hook, update)
                self._notify()
                if pause is None:
                    self._updates.pop(update["update_id"], None)
                    fails = 0
                else:
                    await asyncio.sleep(pause or self.webhook_backoff * 2**fails)
                    fails += 1
        finally:
            del hook.workers[queue]

    async def _post(self, hook: _Webhook, update: Json) -> float | None:
        """Post an update. Returns None if it was taken, else the seconds that the answer asks to wait, or 0."""
        delivery = Delivery(update["update_id"])
        self.deliveries.append(delivery)
        headers = {"X-Telegram-Bot-Api-Secret-Token": hook.secret} if hook.secret else {}
        try:
            answer = await hook.client.post(hook.url, json=update, headers=headers)
        except httpx.HTTPError:
            return 0.0
        delivery.status = answer.status_code
        return None if answer.is_success else float(answer.headers.get("Retry-After", 0))


def integer(params: Json, name: str, default: int) -> int:
    """A parameter that is an integer, else the default."""
    value = params.get(name)
    return value if isinstance(value, int) else default


def _queue(update: Json) -> object:
    """What must keep its order: a chat's updates, and a user's presses."""
    query = update.get("callback_query")
    if isinstance(query, dict) and isinstance(query.get("from"), dict):
        return "user", str(query["from"].get("id"))
    chats = (body.get("chat") for body in update.values() if isinstance(body, dict))
    found = next((chat for chat in chats if isinstance(chat, dict)), None)
    return ("chat", str(found.get("id"))) if found else ("update", update["update_id"])
