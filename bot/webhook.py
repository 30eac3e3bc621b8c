"""Updates pushed by Telegram: the same intake behind HTTP. 200 is said only once an update was handled.

Source: the Bot API's setWebhook, and tdlib/telegram-bot-api's `WebhookActor`, which sends an update again until it gets a
2xx, and a chat's next one only then.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from telegram.error import BadRequest, TelegramError
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler, stream_request_body

from bot.intake import ALLOWED_UPDATES

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from telegram import Bot

    from bot.intake import Intake
    from bot.outbox import Outbox

log = logging.getLogger(__name__)

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - its name, not its value
MOST_BODY = 1024 * 1024  # bytes of an update
# A body that nobody will read is received all the same, up to here, so that its sender gets to read the refusal.
MOST_REFUSED_BODY = 128 * 1024 * 1024
REMEMBERED = 10_000  # ids of updates that were handled
MAX_CONNECTIONS = 100


class WebhookRefused(Exception):
    """Telegram does not take the address as a webhook."""


def derived_secret(telegram_token: str) -> str:
    """A secret that every process with this token derives alike, and nobody without it."""
    return hmac.new(telegram_token.encode(), b"webhook secret token", hashlib.sha256).hexdigest()


class Webhook:
    """Listens for Telegram, and tells it where."""

    def __init__(self, bot: Bot, intake: Intake, url: SplitResult, secret: str) -> None:
        self._bot = bot
        self._intake = intake
        self._url = url
        self._secret = secret
        self._handled: OrderedDict[int, None] = OrderedDict()
        self.heard = asyncio.get_running_loop().time()  # when Telegram last called
        self.trouble = "starting"  # why no update can be taken now; "" if one can
        routes = [
            (r"/healthz", _Health, {"webhook": self}),
            (self._url.path or "/", _Update, {"webhook": self, "secret": secret.encode()}),
        ]
        application = Application(routes, default_handler_class=_Nothing, log_function=lambda _: None)  # type: ignore[arg-type]
        self._server = HTTPServer(
            application, max_body_size=MOST_REFUSED_BODY, body_timeout=60, idle_connection_timeout=120
        )

    def listen(self, port: int) -> None:
        """Open the port; updates are answered 503 until `publish` has run."""
        self._server.listen(port)
        log.info("listening on port %d", port)

    async def publish(self, outbox: Outbox) -> None:
        """Have Telegram send updates here; what is pending comes too.

        Raises:
            WebhookRefused: Telegram will not.

        """
        self.trouble = ""
        while True:
            try:
                await outbox.patiently(
                    lambda: self._bot.set_webhook(
                        self._url.geturl(),
                        secret_token=self._secret,
                        max_connections=MAX_CONNECTIONS,
                        allowed_updates=ALLOWED_UPDATES,
                        drop_pending_updates=False,
                    )
                )
            except BadRequest as error:
                raise WebhookRefused(error.message) from error
            except TelegramError as error:
                log.warning("the webhook is not set yet: %s", error)
            else:
                log.info("Telegram sends updates to %s", self._url.netloc)
                return

    async def close(self) -> None:
        """Take no further connection, and let the answers out that are due."""
        self.trouble = "stopping"
        self._server.stop()
        await self._server.close_all_connections()

    async def take(self, raw: dict[str, Any]) -> bool:
        """Handle an update, or wait for it to be handled if it is; False if it has to be sent again."""
        update_id = raw["update_id"]
        if update_id in self._handled:
            return True
        pending = self._intake.accept(raw)
        if pending.task:
            await asyncio.wait([pending.task])
        self._intake.known.pop(update_id, None)
        if pending.task and pending.task.cancelled():
            return False
        self._handled[update_id] = None
        if len(self._handled) > REMEMBERED:
            self._handled.popitem(last=False)
        return True


class _Nothing(RequestHandler):
    def set_default_headers(self) -> None:
        self.clear_header("Server")

    def prepare(self) -> None:
        self.refuse(HTTPStatus.NOT_FOUND)

    def refuse(self, status: HTTPStatus) -> None:
        self.set_status(status)
        self.finish()


class _Health(_Nothing):
    def initialize(self, webhook: Webhook) -> None:
        self._webhook = webhook

    def prepare(self) -> None:
        """Nothing to check."""

    def get(self) -> None:
        self.set_status(HTTPStatus.SERVICE_UNAVAILABLE if self._webhook.trouble else HTTPStatus.OK)


@stream_request_body
class _Update(_Nothing):
    def initialize(self, webhook: Webhook, secret: bytes) -> None:
        self._webhook = webhook
        self._secret = secret
        self._body = bytearray()

    def prepare(self) -> None:
        headers = self.request.headers
        if not hmac.compare_digest(headers.get(SECRET_HEADER, "").encode(), self._secret):
            self.refuse(HTTPStatus.FORBIDDEN)
        elif self.request.method != "POST":
            self.refuse(HTTPStatus.METHOD_NOT_ALLOWED)
        elif headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            self.refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)

    def data_received(self, chunk: bytes) -> None:
        self._body += chunk
        if len(self._body) > MOST_BODY and not self._finished:
            self._body.clear()
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    async def post(self) -> None:
        self._webhook.heard = asyncio.get_running_loop().time()
        try:
            update = json.loads(self._body)
        except (ValueError, RecursionError):
            update = None
        if not isinstance(update, dict) or type(update.get("update_id")) is not int:
            self.refuse(HTTPStatus.BAD_REQUEST)
        elif self._webhook.trouble or not await self._webhook.take(update):
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE)
