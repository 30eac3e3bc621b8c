"""How the stand-in for Telegram hands out updates: to `getUpdates`, or to a webhook.

The semantics are those of tdlib/telegram-bot-api (`Client::process_get_updates_query`, `WebhookActor`) and of its
update queue (tdlib/td, `TQueue`).
"""

import asyncio
import copy
import json
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from tests.sandbox.server import ApiError, Json, LoopbackServer, Recorded

CONFLICT = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
_HOOKED = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"


@dataclass(eq=False)
class Call(Recorded):
    """One call of the bot, or an attempt to deliver an update to its webhook."""

    method: str
    params: Json


@dataclass(eq=False)
class _Webhook:
    """A webhook with the parameters that set it, and what is on its way there; each queue keeps its order."""

    params: Json
    client: httpx.AsyncClient
    queues: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class UpdatesServer(LoopbackServer[Call]):
    """The part of the server that keeps updates until they are confirmed; `TelegramServer` says what may be set."""

    def __init__(self) -> None:
        super().__init__()
        self.deliveries: list[Call] = []
        self.webhook_backoff = 1.0
        self.clock = time.monotonic
        self.next_update_id = 730_000_001
        self._updates: dict[int, Json] = {}
        self._allowed: set[str] = set()  # empty: all kinds
        self._waiter: asyncio.Future[str | None] | None = None
        self._last_offset, self._last_asked = -1, float("-inf")
        self._webhook: _Webhook | None = None

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        await self._delete_webhook({})
        await super().__aexit__(kind, *rest)

    @property
    def pending(self) -> list[int]:
        """The ids of the updates that are not confirmed."""
        return list(self._updates)

    def push(self, update: Json) -> int:
        """Queue an update, whatever it holds, and return its id: 0 if the bot did not ask for its kind."""
        if self._allowed and not update.keys() & self._allowed:
            return 0
        update_id = self.next_update_id
        self.next_update_id += 1
        self._updates[update_id] = copy.deepcopy({"update_id": update_id, **update})
        self._end_waiting(None)
        self._deliver([self._updates[update_id]])
        return update_id

    def _end_waiting(self, reason: str | None) -> None:
        """End the `getUpdates` that waits, if there is one: with what has come, or with a conflict."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(reason)

    # getUpdates

    async def _get_updates(self, call: Call) -> list[Json]:
        if self._webhook is not None:
            raise ApiError(409, _HOOKED)
        params = call.params
        offset, limit, timeout = params.get("offset", 0), params.get("limit", 100), params.get("timeout", 0)
        self._allowed = set(params.get("allowed_updates", self._allowed))
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
        await asyncio.wait({waiter, call.gone}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._waiter is waiter:
            self._waiter = None
        if waiter.done() and (reason := waiter.result()):
            raise ApiError(409, reason)
        return [] if call.gone.done() else self._read(offset, limit)

    def _read(self, offset: int, limit: int) -> list[Json]:
        """Forget what comes before the offset, and read from it on; one far above the next id counts for nothing."""
        if offset <= self.next_update_id + 10:
            for update_id in [known for known in self._updates if known < offset]:
                del self._updates[update_id]
        return list(self._updates.values())[:limit]

    # The webhook

    async def _set_webhook(self, params: Json) -> bool:
        parts = urlsplit(params["url"])
        if parts.scheme != "https" and parts.hostname != "127.0.0.1":
            raise ApiError(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        self._end_waiting("Conflict: terminated by setWebhook request")
        self._allowed = set(params.get("allowed_updates", self._allowed))
        if self._webhook is None or self._webhook.params != params:  # else what is under way goes on
            await self._delete_webhook({})
            limits = httpx.Limits(max_connections=params.get("max_connections", 40))
            self._webhook = _Webhook(params, httpx.AsyncClient(trust_env=False, timeout=50, limits=limits))
            self._deliver(self._updates.values())
        return True

    async def _delete_webhook(self, _params: Json) -> bool:
        hook, self._webhook = self._webhook, None
        if hook is not None:
            for task in hook.tasks:
                task.cancel()
            await asyncio.gather(*hook.tasks, return_exceptions=True)
            await hook.client.aclose()
        return True

    def _get_webhook_info(self, _params: Json) -> Json:
        url = self._webhook.params["url"] if self._webhook else ""
        return {"url": url, "has_custom_certificate": False, "pending_update_count": len(self._updates)}

    def _deliver(self, updates: Iterable[Json]) -> None:
        if self._webhook:
            self._webhook.tasks += [asyncio.create_task(self._post(self._webhook, update)) for update in updates]

    async def _post(self, hook: _Webhook, update: Json) -> None:
        """Post an update, once those before it in its queue were taken, until it is taken."""
        headers = {"X-Telegram-Bot-Api-Secret-Token": hook.params.get("secret_token", "")}
        pause = self.webhook_backoff
        async with hook.queues[_queue(update)]:
            while True:
                delivery = Call("deliver", update)
                self.deliveries.append(delivery)
                asked = 0.0
                with suppress(httpx.HTTPError):
                    answer = await hook.client.post(hook.params["url"], json=update, headers=headers)
                    delivery.status = answer.status_code
                    if answer.is_success:
                        break
                    asked = float(answer.headers.get("Retry-After", 0))
                await asyncio.sleep(asked or pause)
                pause *= 2
            self._updates.pop(update["update_id"], None)


def _queue(update: Json) -> str:
    """What must keep its order: a chat's updates, and a user's presses."""
    body: object = next((body for kind, body in update.items() if kind != "update_id"), None)
    if not isinstance(body, dict):
        return ""
    return json.dumps(body.get("from" if "callback_query" in update else "chat"))
