"""Updates pushed by Telegram: the same intake behind HTTP. 200 is said only once an update was handled.

Source: the Bot API's setWebhook, and tdlib/telegram-bot-api's `WebhookActor`, which sends an update again until it gets
a 2xx, and a chat's next one only then.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from telegram.error import BadRequest, Forbidden, InvalidToken, TelegramError
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerConnectionDelegate, ResponseStartLine

from bot.intake import ALLOWED_UPDATES, TokenRejected, WebhookRefused
from bot.outbox import LONGEST_PAUSE
from bot.polling import STARTING

if TYPE_CHECKING:
    from telegram import Bot
    from tornado.httputil import HTTPConnection, RequestStartLine

    from bot.config import Webhook as Settings
    from bot.intake import Intake
    from bot.outbox import Outbox
    from bot.watchdog import Watchdog

log = logging.getLogger(__name__)

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - its name, not its value
HEALTH = "/healthz"
MOST_BODY = 1024 * 1024  # bytes of an update
# What nobody will read is let in and dropped, up to here: else its sender may not get to read why it is refused.
MOST_DROPPED = 128 * 1024 * 1024
RECEIVING = 60.0  # seconds for a body
IDLE = 120.0  # seconds for which a connection may be silent
REMEMBERED = 10_000  # ids of updates that were handled
MAX_CONNECTIONS = 100
TRYING = 60.0  # seconds for which setting the webhook is tried before the log says that it fails
HEARTBEAT = 30.0  # seconds between two looks whether Telegram still has the webhook
LOOKING = 10.0  # seconds that one may take
ANSWERING = 1.0  # seconds that a stop gives to the answers that are due


class Webhook(HTTPServerConnectionDelegate):
    """Listens for Telegram, and tells it where.

    `heard` is when Telegram last called (the loop's time); `trouble` says why no update can be taken now, or is "".
    """

    def __init__(self, bot: Bot, intake: Intake, outbox: Outbox, watchdog: Watchdog, settings: Settings) -> None:
        self._bot = bot
        self._intake = intake
        self._outbox = outbox
        self._watchdog = watchdog
        self._settings = settings
        self._path = urlsplit(settings.url).path or "/"
        self._handled: OrderedDict[int, None] = OrderedDict()
        self._answering: set[asyncio.Task[None]] = set()
        self.fetched = asyncio.Event()  # set when Telegram knows where to push
        self.heard = asyncio.get_running_loop().time()
        self.trouble = STARTING
        self._server = HTTPServer(
            self, max_body_size=MOST_DROPPED, body_timeout=RECEIVING, idle_connection_timeout=IDLE
        )

    def listen(self) -> None:
        """Open the port; updates are answered 503 until `run` is called.

        Raises:
            OSError: it can't be had.

        """
        self._server.listen(self._settings.port)
        log.info("listening on port %d", self._settings.port)

    async def run(self) -> None:
        """Have Telegram push updates here, what is pending too, until cancelled.

        Raises:
            WebhookRefused: Telegram will not.
            TokenRejected: Telegram has rejected the token for a minute.

        """
        self.trouble = ""
        while True:
            await self._be_set()
            self.trouble = ""
            await self._until_removed()

    async def _be_set(self) -> None:
        while True:
            self._watchdog.alive(pause=TRYING)
            try:
                await self._outbox.patiently(self._set, TRYING)
            except InvalidToken as error:
                raise TokenRejected from error
            except (BadRequest, Forbidden) as error:
                if "temporary" not in error.message.lower():  # as "Temporary failure in name resolution" is
                    raise WebhookRefused(error.message) from error
                log.warning("the webhook is not set yet: %s", error)
                await asyncio.sleep(LONGEST_PAUSE)
            except TelegramError as error:
                log.warning("the webhook is not set yet: %s", error)
            else:
                break
        self.fetched.set()
        log.info("Telegram pushes updates to %s", urlsplit(self._settings.url).netloc)

    async def _until_removed(self) -> None:
        """Come back if two looks in a row find no webhook: once may be a change of mode, whose end is near."""
        while True:
            self._watchdog.alive()
            await asyncio.sleep(HEARTBEAT)
            if await self._is_set():
                self.trouble = ""
            elif self.trouble:
                log.warning("the webhook was removed, as a process that polls with this token does: end it")
                return
            else:
                self.trouble = "Telegram has no webhook for this bot"

    async def _is_set(self) -> bool:
        try:
            async with asyncio.timeout(LOOKING):
                return bool((await self._bot.get_webhook_info()).url)
        except Exception as error:  # noqa: BLE001 - whatever a broken answer makes the library raise, nothing is known then
            log.debug("getWebhookInfo: %r", error)
            return True

    async def confirm(self) -> None:
        """Take nothing more, and let the answers out that are due; called once, after the intake finished."""
        self._server.stop()
        if self._answering:
            await asyncio.wait(self._answering, timeout=ANSWERING)
        await self._server.close_all_connections()

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:  # noqa: ARG002 - tornado's signature
        """Receive one more request, as tornado's server asks."""
        return _Request(self, request_conn)

    def admit(self, request: RequestStartLine, headers: HTTPHeaders) -> HTTPStatus | None:
        """Judge a request by its head: the answer, or None for what may be an update, whose body is then read."""
        path = request.path.partition("?")[0]
        if path == HEALTH:
            if request.method not in ("GET", "HEAD"):
                return HTTPStatus.METHOD_NOT_ALLOWED
            return HTTPStatus.SERVICE_UNAVAILABLE if self.trouble else HTTPStatus.OK
        if path != self._path:
            return HTTPStatus.NOT_FOUND
        if not hmac.compare_digest(headers.get(SECRET_HEADER, "").encode(), self._settings.secret.encode()):
            return HTTPStatus.FORBIDDEN
        if request.method != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED
        if headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        return None

    def take(self, body: bytearray, request: _Request) -> None:
        """Handle what was pushed, then answer the request."""
        task = asyncio.create_task(self._take(body, request))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _take(self, body: bytearray, request: _Request) -> None:
        request.answer(await self._handle(body))
        request.finish()

    async def _handle(self, body: bytearray) -> HTTPStatus:
        """Handle an update, or wait for it to be handled if it is; 503 if it has to be sent again."""
        self.heard = asyncio.get_running_loop().time()
        try:
            raw = json.loads(body)
        except (ValueError, RecursionError):  # a deeply nested body exhausts the parser's stack
            return HTTPStatus.BAD_REQUEST
        if not isinstance(raw, dict) or type(raw.get("update_id")) is not int:
            return HTTPStatus.BAD_REQUEST
        update_id = raw["update_id"]
        if update_id in self._handled:
            return HTTPStatus.OK
        if self.trouble and update_id not in self._intake.known:
            return HTTPStatus.SERVICE_UNAVAILABLE
        pending = self._intake.accept(raw)
        if pending.task:
            await asyncio.wait([pending.task])
        self._intake.known.pop(update_id, None)
        if not pending.finished:
            return HTTPStatus.SERVICE_UNAVAILABLE
        self._handled[update_id] = None
        if len(self._handled) > REMEMBERED:
            self._handled.popitem(last=False)
        return HTTPStatus.OK

    async def _set(self) -> None:
        await self._bot.set_webhook(
            self._settings.url,
            secret_token=self._settings.secret,
            max_connections=MAX_CONNECTIONS,
            allowed_updates=ALLOWED_UPDATES,
            drop_pending_updates=False,
        )


class _Request(HTTPMessageDelegate):
    """One request, as it is received. What is refused is so at once; its body is then dropped as it comes."""

    def __init__(self, webhook: Webhook, connection: HTTPConnection) -> None:
        self._webhook = webhook
        self._connection = connection
        self._body = bytearray()
        self._answered = False

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        assert not isinstance(start_line, ResponseStartLine)  # noqa: S101 - a server receives requests
        if (status := self._webhook.admit(start_line, headers)) is None:
            return
        waits = "Expect" in headers  # for leave to send its body, which it will not get
        self.answer(status, last=waits)
        if waits:
            self._connection.finish()

    def data_received(self, chunk: bytes) -> None:
        if self._answered:
            return
        self._body += chunk
        if len(self._body) > MOST_BODY:
            self._body.clear()
            self.answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def finish(self) -> None:
        if self._answered:
            self._connection.finish()
        else:
            self._webhook.take(self._body, self)

    def on_connection_close(self) -> None:
        self._body.clear()

    def answer(self, status: HTTPStatus, *, last: bool = False) -> None:
        self._answered = True
        headers = HTTPHeaders({"Content-Length": "0"})
        if last:
            headers["Connection"] = "close"
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = "1"  # Telegram heeds it, and would else wait longer each time
        self._connection.write_headers(ResponseStartLine("", status, status.phrase), headers)
