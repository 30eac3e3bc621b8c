"""Updates pushed by Telegram: the same handling behind HTTP. 200 is answered only once an update was handled.

Telegram sends an update again until it gets a 2xx, and a chat's next one only then (tdlib/telegram-bot-api,
`WebhookActor`).
"""

import asyncio
import hmac
import json
import logging
import re
from urllib.parse import urlsplit

from telegram import Bot
from telegram.error import BadRequest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler, stream_request_body

from bot.settings.model import Webhook as Settings
from bot.telegram.updates import ALLOWED_UPDATES, Report, Source, Updates

log = logging.getLogger(__name__)

MAX_BODY = 1024 * 1024  # bytes of an update
REMEMBERED = 1000  # updates that are not handled again if Telegram sends them again


class Webhook(Source):
    """Listens for Telegram, and tells it where; `run` raises BadRequest if Telegram does not take the address."""

    def __init__(self, bot: Bot, updates: Updates, report: Report, settings: Settings) -> None:
        super().__init__(bot, updates, report)
        self.settings = settings
        path = re.escape(urlsplit(settings.url).path or "/")
        routes = [(path, _Push), ("/healthz", Health)]
        application = Application(routes, log_function=lambda _: None, webhook=self, problem=lambda: self.problem)
        self._server = HTTPServer(application, max_body_size=MAX_BODY, body_timeout=60, idle_connection_timeout=120)

    def listen(self) -> None:
        """Open the port, or raise OSError; updates are answered with 503 until they can be handled."""
        self._server.listen(self.settings.port)
        log.info("listening on port %d", self.settings.port)

    async def confirm(self) -> None:
        """Take nothing more, and let the answers out that are due; called once, after `Updates.finish`."""
        self._server.stop()
        await asyncio.sleep(0.1)
        await self._server.close_all_connections()

    async def receive(self, body: bytearray) -> int:
        """Handle an update, or wait until it was handled; returns the HTTP status, 503 if it has to be sent again."""
        self.last_contact = self._clock()
        try:
            raw = json.loads(body)
        except (ValueError, RecursionError):  # a deeply nested body exhausts the parser's stack
            return 400
        if not isinstance(raw, dict) or type(raw.get("update_id")) is not int:
            return 400
        known = self._updates.known
        if not self._updates.open and raw["update_id"] not in known:
            return 503
        task = self._updates.accept(raw)
        await asyncio.wait([task])
        if len(known) > REMEMBERED:
            del known[next(iter(known))]
        return 503 if task.cancelled() else 200

    async def _step(self) -> None:
        """Have Telegram push updates here, pending ones too, and look now and then whether it still does."""
        url, secret = self.settings.url, self.settings.secret
        if self.ready.is_set() and not (await self._bot.get_webhook_info()).url:
            self.ready.clear()
            log.warning("the webhook was removed, as a process that polls with this token does: end it")
        if not self.ready.is_set():
            await self._bot.set_webhook(url, None, 100, ALLOWED_UPDATES, secret_token=secret)
            log.info("Telegram pushes updates to %s", urlsplit(url).netloc)
        self._heard()
        await asyncio.sleep(self._timings.check)

    async def _recover(self, error: Exception) -> None:
        # "Temporary failure in name resolution" is a 400 too.
        if isinstance(error, BadRequest) and "temporary" not in error.message.lower():
            raise error
        await super()._recover(error)


class Health(RequestHandler):
    """Answers 200, or 503 and why no update can be taken, as the application's setting `problem` tells."""

    def get(self) -> None:
        """Answer."""
        problem = self.settings["problem"]()
        self.set_status(503 if problem else 200)
        self.finish(f"{problem or 'updates can be taken'}\n")

    head = get


@stream_request_body
class _Push(RequestHandler):
    def prepare(self) -> None:
        self._body = bytearray()
        sent = self.request.headers.get("X-Telegram-Bot-Api-Secret-Token", "")
        if not hmac.compare_digest(sent.encode(), self.settings["webhook"].settings.secret.encode()):
            self.send_error(403)

    def data_received(self, chunk: bytes) -> None:
        self._body += chunk

    async def post(self) -> None:
        self.set_status(await self.settings["webhook"].receive(self._body))
        self.set_header("Retry-After", "1")  # heeded after a 503; else Telegram waits longer each time
