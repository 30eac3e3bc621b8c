"""Telegram: updates in, answers out. Nothing here knows Ryze."""

import os
from urllib.parse import urlencode

from aiohttp import ClientSession, ClientTimeout
from telegram import Bot
from telegram.request import BaseRequest, HTTPXRequest, RequestData

from bot import http_client

os.environ["PTB_TIMEDELTA"] = "true"  # without it python-telegram-bot warns of every flood control answer

READ_TIMEOUT = 10.0  # seconds
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def build_bot(token: str, api_url: str) -> Bot:
    """Build the Bot API's client inside the event loop, not initialized; raises as `http_client.connect`."""
    request: BaseRequest
    if options := http_client.proxy_options():
        request = HTTPXRequest(read_timeout=READ_TIMEOUT, httpx_kwargs=options)
    else:
        request = _AiohttpRequest(http_client.open_session())
    return Bot(token, f"{api_url}/bot", request=request, get_updates_request=request)


class _AiohttpRequest(BaseRequest):
    """Makes the library's calls over aiohttp, in half of HTTPXRequest's CPU time; the read timeout is for all.

    The base class makes NetworkError of what aiohttp raises.
    """

    read_timeout = READ_TIMEOUT

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def initialize(self) -> None:
        """Do nothing: the session is open."""

    async def shutdown(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: object = BaseRequest.DEFAULT_NONE,
        *_: object,
        **__: object,
    ) -> tuple[int, bytes]:
        """Make a call and return the answer's status and body."""
        limit = read_timeout if isinstance(read_timeout, float) else READ_TIMEOUT
        async with self._session.request(
            method,
            url,
            data=urlencode(request_data.json_parameters, errors="replace").encode() if request_data else None,
            headers=_FORM,
            timeout=ClientTimeout(limit, connect=http_client.CONNECT_TIMEOUT),
            allow_redirects=False,
        ) as response:
            return response.status, await response.read()
