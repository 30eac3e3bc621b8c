"""The stand-in for Ryze is strict about the contract and plays both worlds of the limit."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.sandbox.ryze import RyzeServer
from tests.sandbox.server import Json

NUMBERS = [f"551199999999{last}" for last in range(4)]


@pytest.fixture
async def ryze() -> AsyncIterator[RyzeServer]:
    async with RyzeServer({"sales": "token-sales", "a b/c": "token-odd"}) as server:
        yield server


async def pin(ryze: RyzeServer, number: object = NUMBERS[0], **changes: Any) -> str:  # noqa: ANN401 - a request's parts
    """Ask for a pin, changed as told; returns the status and what was said."""
    parts: dict[str, Any] = {
        "method": "POST",
        "url": "/api/chat/pinChat/sales",
        "headers": {"token": "token-sales"},
        "json": {"number": number, "pin": True},
    } | changes
    async with httpx.AsyncClient(trust_env=False, timeout=30, base_url=ryze.url) as http:
        answer = await http.request(**parts)
    envelope = answer.json()
    assert envelope["success"] is answer.is_success
    assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= answer.headers.keys()
    return f"{answer.status_code} {envelope.get('message') or envelope['error']['message']}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "GET"}, "405 Method Not Allowed"),
        ({"url": "/api/chat/pin/sales"}, "404 Cannot POST /api/chat/pin/sales"),
        ({"url": "/api/chat/pinChat/other"}, "404 Instance not found"),
        ({"headers": {}}, "401 Missing token in header"),
        ({"headers": {"token": "x"}}, "401 Invalid token"),
        ({"headers": {"token": "token-odd"}}, "403 Token does not belong to this instance"),
        ({"json": None, "data": {"number": "5511999999999"}}, "400 Invalid request body: JSON"),
        ({"json": {"pin": True}}, "400 Number is required"),
        ({"json": {"number": 5511999999999, "pin": True}}, "400 Invalid request body: JSON"),
        ({"json": {"number": "5511999999999", "pin": 1}}, "400 Invalid request body: JSON"),
        ({"json": {"number": "+5511999999999", "pin": True}}, "400 Invalid request body: number is neither"),
        ({"json": {"number": "1-2@g.us", "pin": False}}, "200 Chat unpinned successfully"),
        ({"url": "/api/chat/pinChat/a%20b%2Fc", "headers": {"token": "token-odd"}}, "200 Chat pinned successfully"),
    ],
)
async def test_it_is_strict(ryze: RyzeServer, changes: Json, said: str) -> None:
    assert (await pin(ryze, **changes)).startswith(said)


async def test_a_fourth_chat_is_refused_or_takes_the_oldests_place(ryze: RyzeServer) -> None:
    for number in (*NUMBERS[:3], NUMBERS[0]):
        assert await pin(ryze, number) == "200 Chat pinned successfully"
    assert "maximum of 3" in await pin(ryze, NUMBERS[3])
    assert [jid[:13] for jid in ryze.instances["sales"].pinned] == [NUMBERS[2], NUMBERS[1], NUMBERS[0]]
    ryze.drops_oldest = True
    assert await pin(ryze, NUMBERS[3]) == "200 Chat pinned successfully"
    assert [jid[:13] for jid in ryze.instances["sales"].pinned] == [NUMBERS[3], NUMBERS[2], NUMBERS[1]]
    unpin = {"json": {"number": NUMBERS[2], "pin": False}}
    assert [await pin(ryze, **unpin) for _ in range(2)] == ["200 Chat unpinned successfully"] * 2
    assert len(ryze.instances["sales"].pinned) == 2


async def test_requests_are_limited_by_window_and_token() -> None:
    now = 1_000_000_010.0
    async with RyzeServer({"sales": "token-sales"}) as ryze:
        ryze.limit, ryze.clock = 2, lambda: now
        said = [await pin(ryze) for _ in range(3)]
        assert said[2] == "429 Rate limit exceeded. Try again later."
        assert [call.remaining for call in ryze.calls] == [1, 0, -1]
        assert await pin(ryze, headers={"token": "other"}) == "401 Invalid token"
        now = 1_000_000_020.0  # the next minute
        assert await pin(ryze) == "200 Chat pinned successfully"
