"""Updates pushed by Telegram: each until a 2xx, a chat's next one only then (`WebhookActor` of its server)."""

import asyncio
import hmac
import json
import logging
import time
from urllib.parse import urlsplit

from telegram import Bot
from telegram.error import BadRequest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler, stream_request_body

from bot.settings.model import Webhook as Settings
from bot.telegram.updates import ALLOWED_UPDATES, Report, Updates

log = logging.getLogger(__name__)
MAX_BODY = 1024 * 1024  # bytes of an update


class Webhook(Updates):
    """Listens for Telegram, and tells it where; `run` raises BadRequest for a wrong address."""

    check = 30.0  # seconds between looks whether the webhook is still set

    def __init__(self, bot: Bot, report: Report, settings: Settings) -> None:
        super().__init__(bot, report)
        self.settings = settings
        handlers = [("/healthz", Health), (".*", _Push)]
        application = Application(handlers, log_function=lambda _: None, updates=self)
        self._server = HTTPServer(application, max_body_size=MAX_BODY, body_timeout=60, idle_connection_timeout=120)

    def listen(self) -> None:
        """Open the port, or raise OSError; until `run` is ready, updates are answered with 503."""
        self._server.listen(self.settings.port)

    async def confirm(self) -> None:
        """Let the answers out that are due; called once, after `finish`."""
        self._server.stop()
        await asyncio.sleep(0.1)
        await self._server.close_all_connections()

    async def receive(self, body: bytearray) -> int:
        """Have an update handled; returns the HTTP status, 503 if it has to be sent again."""
        self.last_contact = time.monotonic()
        try:
            raw = json.loads(body)
            known = raw["update_id"] in self._known
        except (ValueError, TypeError, KeyError, RecursionError):
            return 400
        if not (known or self._open):
            return 503
        task = self._accept(raw)
        await asyncio.wait([task])
        return 503 if task.cancelled() else 200

    async def _step(self) -> None:
        """Have Telegram push updates here, and again if a process that polls has ended that."""
        url, secret = self.settings.url, self.settings.secret
        if not (self.ready.is_set() and (await self._bot.get_webhook_info()).url):
            if self.ready.is_set():
                log.warning("the webhook was removed, as a process that polls with this token does: end it")
            await self._bot.set_webhook(url, None, 100, ALLOWED_UPDATES, secret_token=secret)
            log.info("Telegram pushes updates to %s", urlsplit(url).netloc)
        self._heard()
        await asyncio.sleep(self.check)

    async def _recover(self, error: Exception) -> None:
        # "Temporary failure in name resolution" is a 400 too.
        if isinstance(error, BadRequest) and "temporary" not in error.message.lower():
            raise error
        await super()._recover(error)


class Health(RequestHandler):
    """Answers 200, or 503 and why no update can be taken, as the application's setting `problem` tells."""

    def get(self) -> None:
        """Answer."""
        problem = self.settings["updates"].problem
        self.set_status(503 if problem else 200)
        self.finish(f"{problem or 'updates can be taken'}\n")

    head = get


@stream_request_body
class _Push(RequestHandler):
    def prepare(self) -> None:
        self._body = bytearray()
        sent = self.request.headers.get("X-Telegram-Bot-Api-Secret-Token", "")
        if not hmac.compare_digest(sent.encode(), self.settings["updates"].settings.secret.encode()):
            self.send_error(403)

    def data_received(self, chunk: bytes) -> None:
        self._body += chunk

    async def post(self) -> None:
        self.set_status(await self.settings["updates"].receive(self._body))
        self.set_header("Retry-After", "1")  # for a 503; else Telegram waits longer each time
