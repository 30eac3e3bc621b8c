"""Updates pushed by Telegram: the same intake behind HTTP. 200 is said only once an update was handled.

Source: the Bot API's setWebhook, and tdlib/telegram-bot-api's `WebhookActor`, which sends an update again until it gets
a 2xx, and a chat's next one only then.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from telegram.error import BadRequest, TelegramError
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler, stream_request_body

from bot.intake import ALLOWED_UPDATES
from bot.outbox import PATIENCE, Outbox

if TYPE_CHECKING:
    from telegram import Bot

    from bot.config import Webhook as Settings
    from bot.intake import Intake
    from bot.watchdog import Watchdog

log = logging.getLogger(__name__)

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - its name, not its value
MOST_BODY = 1024 * 1024  # bytes of an update
# A body that nobody will read is received all the same, up to here, so that its sender gets to read the refusal.
MOST_REFUSED_BODY = 128 * 1024 * 1024
REMEMBERED = 10_000  # ids of updates that were handled
MAX_CONNECTIONS = 100
HEARTBEAT = 10.0  # seconds


class WebhookRefused(Exception):
    """Telegram does not take the address as a webhook."""


class Webhook:
    """Listens for Telegram, and tells it where.

    `heard` is when Telegram last called (the loop's time); `trouble` says why no update can be taken now, or is "".
    """

    def __init__(self, bot: Bot, intake: Intake, outbox: Outbox, watchdog: Watchdog, settings: Settings) -> None:
        self._bot = bot
        self._intake = intake
        self._outbox = outbox
        self._watchdog = watchdog
        self._settings = settings
        self._handled: OrderedDict[int, None] = OrderedDict()
        self.fetched = asyncio.Event()  # set when Telegram knows where to push
        self.heard = asyncio.get_running_loop().time()
        self.trouble = "starting"
        routes = [
            (r"/healthz", _Health, {"webhook": self}),
            (re.escape(urlsplit(settings.url).path or "/"), _Update, {"webhook": self, "secret": settings.secret}),
        ]
        application = Application(routes, default_handler_class=_Nothing, log_function=lambda _: None)  # type: ignore[arg-type]
        self._server = HTTPServer(
            application, max_body_size=MOST_REFUSED_BODY, body_timeout=60, idle_connection_timeout=120
        )

    def listen(self) -> None:
        """Open the port; updates are answered 503 until `run` is called."""
        self._server.listen(self._settings.port)
        log.info("listening on port %d", self._settings.port)

    async def run(self) -> None:
        """Have Telegram push updates here, what is pending too, until cancelled.

        Raises:
            WebhookRefused: Telegram will not.

        """
        self.trouble = ""
        while not self.fetched.is_set():
            self._watchdog.alive(pause=PATIENCE)
            try:
                await self._outbox.patiently(
                    lambda: self._bot.set_webhook(
                        self._settings.url,
                        secret_token=self._settings.secret,
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
                self.fetched.set()
        log.info("Telegram pushes updates to %s", urlsplit(self._settings.url).netloc)
        while True:  # Telegram calls when it has something; that the loop gets to here is all there is to watch
            self._watchdog.alive()
            await asyncio.sleep(HEARTBEAT)

    async def confirm(self) -> None:
        """Take nothing more, and let the answers out that are due; called once, after the intake finished."""
        self._server.stop()
        await asyncio.sleep(0.1)  # the answers are written as soon as their handlers are resumed
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
        if not pending.finished:
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
    def initialize(self, webhook: Webhook, secret: str) -> None:
        self._webhook = webhook
        self._secret = secret.encode()
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
