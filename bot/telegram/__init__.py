"""Telegram: updates in, answers out. Nothing here knows Ryze."""

import os
from urllib.parse import urlencode

from aiohttp import ClientSession, ClientTimeout
from telegram import Bot
from telegram.request import BaseRequest, RequestData

from bot import http_client

os.environ["PTB_TIMEDELTA"] = "true"  # else the library warns of every flood control answer


def build_bot(token: str, api_url: str) -> Bot:
    """Build the Bot API's client, not initialized, in the event loop; raises as `http_client.open_session`."""
    request = _AiohttpRequest(http_client.open_session(api_url))
    return Bot(token, f"{api_url}/bot", request=request, get_updates_request=request)


class _AiohttpRequest(BaseRequest):
    """Calls over aiohttp, in half of HTTPXRequest's CPU time; what it raises becomes NetworkError."""

    read_timeout = 10.0  # seconds, for all of a call

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def initialize(self) -> None:
        pass  # the session is open

    async def shutdown(self) -> None:
        await self._session.close()

    async def do_request(
        self, url: str, method: str, request_data: RequestData | None = None, *_: object, **timeouts: object
    ) -> tuple[int, bytes]:
        limit = timeouts["read_timeout"]
        seconds = limit if isinstance(limit, float) else self.read_timeout
        async with self._session.request(
            method,
            url,
            data=urlencode(request_data.json_parameters, errors="replace").encode() if request_data else None,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            timeout=ClientTimeout(seconds, connect=http_client.CONNECT_TIMEOUT),
            allow_redirects=False,
        ) as response:
            return response.status, await response.read()
