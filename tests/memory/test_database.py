"""The file or the server itself: its schema, its modes, its faults, and what is told of them."""

import re
import stat
from importlib import resources

import pytest

from bot.memory.store import StoreAway
from tests.memory.conftest import PERSON, Place, Sqlite, entry, everything, opened

SCHEMA = resources.files("bot.memory").joinpath("schema.sql").read_text("utf-8")


async def test_rows_of_the_first_schema_go_on_being_told_in_the_order_of_their_times(place: Place) -> None:
    rows = [entry(n, chat=chat, jid=None) for n, chat in ((3, "33333333"), (1, PERSON), (2, "22222222"))]
    place.execute(SCHEMA.partition("-- version 2")[0])
    place.execute("CREATE TABLE pin_bot_schema (version INTEGER NOT NULL); INSERT INTO pin_bot_schema VALUES (1)")
    place.execute("INSERT INTO pin_bot_requests VALUES (999, 1)")
    for row in rows:
        values = f"{row.update_id}, 0, {row.at}, 111, 'Ana', 'sales', 'pin', '{row.chat}', NULL, 'pinned'"
        place.execute(f"INSERT INTO pin_bot_attempts VALUES ({values})")  # noqa: S608 - our own values
    for _ in range(2):
        async with opened(place.target) as store:
            assert [found.update_id for found in await everything(store)] == [3, 2, 1]
            assert [found.update_id for found in await store.pinned("sales")] == [3, 2, 1]
            assert not await store.first_request(999)
    async with opened(place.target) as store:
        store.record(entry(4, at=rows[1].at - 3600, chat=PERSON, jid=None, action="unpin", outcome="unpinned"))
        assert [found.update_id for found in await everything(store)] == [4, 3, 2, 1]
        assert [found.update_id for found in await store.pinned("sales")] == [3, 2]


# SQLite


async def test_the_file_is_its_users_alone(sqlite: Sqlite) -> None:
    for _ in range(2):
        async with opened(sqlite.target) as store:
            assert await everything(store) == []
            assert stat.S_IMODE(sqlite.target.stat().st_mode) == 0o600
        sqlite.target.chmod(0o664)
    assert [path.name for path in sqlite.folder.iterdir()] == ["bot.sqlite3"]


async def test_a_file_that_is_something_else_is_left_alone(sqlite: Sqlite) -> None:
    sqlite.target.write_text("operators: []\n" * 500, encoding="utf-8")
    sqlite.target.chmod(0o644)
    async with opened(sqlite.target) as store:
        store.record(entry())
        with pytest.raises(StoreAway, match=f"{sqlite.target}: file is not a database"):
            await everything(store)
    assert sqlite.target.read_text(encoding="utf-8") == "operators: []\n" * 500
    assert stat.S_IMODE(sqlite.target.stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["/proc/bot.sqlite3", "/nowhere/at/all/bot.sqlite3", "/dev/full", "/tmp"])  # noqa: S108
async def test_a_place_where_no_file_can_be_is_away(name: str) -> None:
    async with opened(name) as store:
        with pytest.raises(StoreAway, match=name):
            await everything(store)


async def test_a_file_that_is_deleted_under_way_is_made_anew(sqlite: Sqlite) -> None:
    async with opened(sqlite.target) as store:
        store.record(entry(1))
        assert await everything(store) == await store.pinned("sales") == [entry(1)]
        sqlite.target.unlink()
        store.record(entry(2, chat="5511911111111", jid=None))
        assert [found.update_id for found in await everything(store)] == [2]
        assert [found.update_id for found in await store.pinned("sales")] == [2]
    assert sqlite.target.exists()


# PostgreSQL


@pytest.mark.parametrize("host", ["127.0.0.1:PORT", "127.0.0.1:1", "127.0.0.1:port", "no.such.host.invalid"])
@pytest.mark.parametrize("path", ["postgres", "nowhere?sslmode=what", "nowhere?x=%zz"])
@pytest.mark.parametrize("password", ["pa55w0rd", "pa55/w0rd", "pa55@w0rd", "pa55:w0rd", "pa55#w0rd", "pa55%w0rd"])
async def test_no_log_and_no_error_holds_the_password(
    server: str, host: str, path: str, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    host = host.replace("PORT", server.rpartition(":")[2])
    async with opened(f"postgresql://postgres:{password}@{host}/{path}") as store:
        with pytest.raises(StoreAway) as away:
            await everything(store)
    assert "the store is away" in caplog.text
    assert not re.search("pa55|w0rd", caplog.text + str(away.value) + repr(away.value))


async def test_another_databases_url_is_told_what_to_be() -> None:
    async with opened("mysql://root:secret@127.0.0.1/db") as store:
        with pytest.raises(StoreAway, match="DATABASE_URL is not postgresql://"):
            await everything(store)
