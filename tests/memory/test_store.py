"""What is kept, in which order, and for how long; then the file or the server itself, and their faults."""

import asyncio
import re
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.memory import store as memory
from bot.memory.store import MAX_WAITING, Entry, Store, StoreAway
from tests.memory.conftest import NOW, PERSON, PERSON_JID, Place, Postgres, Sqlite, entry, everything, opened, until

SCHEMA = Path(memory.__file__).with_name("schema.sql").read_text("utf-8")


def unpin(update_id: int, **changes: Any) -> Entry:  # noqa: ANN401 - whatever the field holds
    return entry(update_id, **{"action": "unpin", "outcome": "unpinned", **changes})


async def test_the_history_is_newest_first_in_pages_of_an_instance_from_a_time_on(place: Place) -> None:
    newest = [entry(n, instance="sales" if n % 2 else "support", chat=str(n % 4)) for n in range(10, 0, -1)]
    newest[0] = newest[0]._replace(part=3, operator="Zoë 🚀 'x' %s :x", jid=None, outcome="refused", at=NOW + 10.25)
    async with opened(place.target) as store:
        for attempt in reversed(newest):
            store.record(attempt)
        assert await everything(store) == newest
    async with opened(place.target) as store:
        assert await everything(store) == newest
        assert await store.history("support", None, 2, 1) == [newest[2], newest[4]]
        assert await store.history("sales", NOW + 7, 100, 0) == [newest[1], newest[3]]


async def test_what_was_recorded_later_is_newer_although_the_clock_was_set_back(place: Place) -> None:
    before, after = entry(1), unpin(2, at=NOW - 3600)
    async with opened(place.target) as store:
        store.record(before)
        assert await store.pinned("sales") == [before]
        store.record(after)
        assert await store.pinned("sales") == []
    async with opened(place.target) as store:
        assert await store.pinned("sales") == []
        store.record(again := entry(3, at=NOW - 7200))
        assert await store.pinned("sales") == [again]
        assert await everything(store) == [again, after, before]


async def test_an_update_that_comes_again_is_one_attempt_whose_confirmation_stays(store: Store) -> None:
    store.record(entry(7, jid=None, outcome="outcome_unknown"))
    store.record(other := entry(7, part=1, jid=None, outcome="not_connected"))
    assert len(await everything(store)) == 2
    store.record(entry(7, at=NOW - 20))
    store.record(entry(7, at=NOW + 900, outcome="late", jid=None))
    assert await everything(store) == [entry(7, at=NOW - 20), other]
    assert await store.pinned("sales") == [entry(7, at=NOW - 20)]


@pytest.mark.parametrize("known", ["not yet", "before", "written"])
async def test_a_chat_is_pinned_if_the_last_that_was_confirmed_is_a_pin(store: Store, known: str) -> None:
    if known == "before":
        assert await store.pinned("sales") == []
    for n, chat in enumerate(["5511911111111", "5511922222222", PERSON]):
        store.record(entry(n, chat=chat, jid=None))
    store.record(entry(4, chat="5511944444444", jid=None, outcome="pin_limit"))
    store.record(entry(5, instance="support"))
    store.record(unpin(6, chat="5511922222222", jid=None))
    store.record(unpin(7, outcome="outcome_unknown", jid=None))
    if known == "written":
        assert len(await everything(store)) == 7
    assert [pin.chat for pin in await store.pinned("sales")] == [PERSON, "5511911111111"]


@pytest.mark.parametrize(
    ("pinned", "unpinned"),
    [
        ((PERSON, None), (PERSON, "551199991234@s.whatsapp.net")),
        ((PERSON, "551199991234@s.whatsapp.net"), ("551199991234", "551199991234@s.whatsapp.net")),
        ((PERSON, "777@lid"), ("777@lid", None)),
        (("777@lid", None), (PERSON, "777@lid")),
        ((PERSON, "777@lid"), (PERSON, PERSON_JID)),
    ],
)
async def test_an_unpin_of_the_same_chat_by_another_name_counts(
    store: Store, pinned: tuple[str, str | None], unpinned: tuple[str, str | None]
) -> None:
    store.record(entry(1, chat=pinned[0], jid=pinned[1]))
    store.record(entry(2, chat="777", jid=None))
    assert [pin.update_id for pin in await store.pinned("sales")] == [2, 1]
    store.record(unpin(3, chat=unpinned[0], jid=unpinned[1]))
    assert [pin.update_id for pin in await store.pinned("sales")] == [2]


async def test_what_another_process_did_counts_soon_after_it_is_written(place: Place) -> None:
    async with opened(place.target) as one, opened(place.target) as other:
        one.record(entry(1))
        await until(lambda: other.pinned("sales"), [entry(1)])
        other.record(unpin(2))
        await until(lambda: one.pinned("sales"), [])
        one.record(entry(3))
        await until(lambda: other.pinned("sales"), [entry(3)])
        assert await one.forget(PERSON) == 3
        await until(lambda: other.pinned("sales"), [])


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        *((number, [3, 2, 1]) for number in (PERSON, "551199991234", PERSON_JID, "551199991234@s.whatsapp.net")),
        ("777@lid", [16, 3, 2, 1]),
        *((number, [16, 14, 13, 12, 11, 3, 2, 1]) for number in ("", "@", "55119999", "551133445566")),
    ],
)
async def test_a_forgotten_number_is_gone_in_every_form(place: Place, number: str, kept: list[int]) -> None:
    async with opened(place.target) as store:
        store.record(entry(1, chat="5511933445566", jid="5511999991235@s.whatsapp.net"))
        store.record(entry(2, chat="120363000000000001@g.us", jid=None, outcome="refused"))
        store.record(entry(3, chat="11999991234", jid=None, outcome="refused"))
        store.record(entry(11, jid="777@lid"))
        store.record(entry(12, chat="551199991234", jid=None, instance="support", outcome="not_sent"))
        store.record(entry(13, chat="551199991234", jid="777@lid"))
        store.record(entry(14, chat="777@lid", jid=None))
        store.record(entry(16, chat=PERSON_JID, jid=PERSON_JID))
        assert await store.forget(number) == 8 - len(kept)
        assert [left.update_id for left in await everything(store)] == kept
    if isinstance(place, Sqlite):
        assert (PERSON_JID.encode() in place.target.read_bytes()) == (16 in kept), "the deleted bytes are overwritten"


async def test_notes_are_remembered(place: Place) -> None:
    async with opened(place.target) as store:
        for key, value in (("menu:1", "a"), ("menu:2", "b"), ("menu%", "c"), ("menu:1", "d")):
            await store.note(key, value)
    async with opened(place.target) as store:
        assert await store.notes("menu:") == {"menu:1": "d", "menu:2": "b"}
        for _ in range(2):
            await store.note("menu:1", None)
        assert await store.notes("menu:") == {"menu:2": "b"}


async def test_what_is_too_old_is_deleted(place: Place) -> None:
    async with opened(place.target, timedelta(1)) as store:
        store.record(entry(1, at=NOW - 100_000))
        store.record(entry(2))
        assert await store.pinned("sales") == [entry(2)]
    async with opened(place.target, timedelta(1)) as store:
        await until(lambda: everything(store), [entry(2)])


async def test_a_keep_of_zero_stores_nothing_and_deletes_what_there_is(place: Place) -> None:
    async with opened(place.target) as store:
        store.record(entry(1))
    async with opened(place.target, timedelta(0)) as store:
        store.record(entry(2))
        await store.note("menu", "x")
        assert await everything(store) == await store.pinned("sales") == []
        async with opened(place.target) as other:
            await until(lambda: everything(other), [])
            assert not await other.notes("")
    if isinstance(place, Sqlite):
        place.target.unlink()
        async with opened(place.target, timedelta(0)) as store:
            store.record(entry())
            assert await store.forget(PERSON) == 0
        assert list(place.folder.iterdir()) == [], "nor does it make a file"


async def test_rows_of_the_first_schema_go_on_being_told_in_the_order_of_their_times(place: Place) -> None:
    place.execute(SCHEMA.partition("-- version 2")[0])
    place.execute("CREATE TABLE pin_bot_schema (version INTEGER NOT NULL); INSERT INTO pin_bot_schema VALUES (1)")
    for n in (3, 1, 2):
        values = f"{n}, 0, {NOW + n}, 111, 'Ana', 'sales', 'pin', 'chat {n}', NULL, 'pinned'"
        place.execute(f"INSERT INTO pin_bot_attempts VALUES ({values})")  # noqa: S608 - our own values
    for _ in range(2):
        async with opened(place.target) as store:
            store.record(unpin(4, at=NOW - 3600, chat="chat 1", jid=None))
            assert [found.update_id for found in await everything(store)] == [4, 3, 2, 1]
            assert [found.update_id for found in await store.pinned("sales")] == [3, 2]


async def test_a_store_that_was_away_gets_the_last_1000_when_it_comes_back(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.go_away()
    async with opened(place.target) as store:
        for n in range(MAX_WAITING + 5):
            store.record(entry(n, chat=str(n)))
        assert await store.pinned("sales") == [entry(MAX_WAITING + 4, chat=str(MAX_WAITING + 4))], "of this process"
        assert store.away
        place.come_back()
        newest = [entry(n, chat=str(n)) for n in range(MAX_WAITING + 4, 4, -1)]
        await until(lambda: everything(store), newest)
        place.go_away()
        store.record(entry(9999))
        with pytest.raises(StoreAway):
            await everything(store)
        place.come_back()
        await until(lambda: everything(store), [entry(9999), *newest])
    assert [message[:17] for message in caplog.messages] == ["the store is away", "the store is back"] * 2


async def test_nothing_waits_for_a_database_that_hangs(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(place.target) as store:
        assert await everything(store) == []
    async with opened(place.target, patience=0.3) as hasty:
        with place.locked():
            asks = []
            for n in range(200):
                hasty.record(entry(n))
                asks.append(asyncio.create_task(everything(hasty)))
                await asyncio.sleep(0)
            for away in await asyncio.wait_for(asyncio.gather(*asks, return_exceptions=True), 20):
                assert "it does not answer" in str(away)
        await until(lambda: everything(hasty), [entry(n) for n in range(199, -1, -1)])
    assert caplog.text.count("the store is away") == 1


async def test_a_process_ends_although_its_database_hangs(place: Place) -> None:
    async with opened(place.target) as store:
        assert await everything(store) == []
    target = repr(place.target).removeprefix("Posix")
    body = f"store = Store({target}, timedelta(1)); store.record(entry()); await store.aclose()"
    source = f"from tests.memory.conftest import *\nasync def main(): {body}\nasyncio.run(main())"
    with place.locked():
        command = [sys.executable, "-c", source]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=60, check=True)
    assert b"attempts that are lost: 1" in done.stderr


async def test_a_connection_that_was_closed_meanwhile_is_not_noticed(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(postgres.target.replace("postgresql:", "postgres:")) as store:  # as Heroku writes it
        store.record(entry())
        assert await everything(store) == [entry()]
        postgres.hang_up()
        assert await everything(store) == [entry()]
    assert not caplog.messages


@pytest.mark.parametrize("host", ["127.0.0.1:PORT", "127.0.0.1:1", "127.0.0.1:port", "no.such.host.invalid"])
@pytest.mark.parametrize("path", ["postgres", "nowhere?sslmode=what", "nowhere?x=%00"])
@pytest.mark.parametrize("password", ["pa55w0rd", "pa55:w0rd", "pa55%23w0rd"])
async def test_no_log_and_no_error_holds_the_password(
    server: str, host: str, path: str, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    host = host.replace("PORT", server.rpartition(":")[2])
    async with opened(f"postgresql://postgres:{password}@{host}/{path}") as store:
        with pytest.raises(StoreAway) as away:
            await everything(store)
    assert "the store is away" in caplog.text
    assert not re.search("pa55|w0rd", caplog.text + str(away.value) + repr(away.value))


async def test_the_file_is_its_users_alone_and_one_that_is_deleted_is_made_anew(sqlite: Sqlite) -> None:
    async with opened(sqlite.target) as store:
        store.record(entry(1))
        assert await everything(store) == [entry(1)]
        sqlite.target.unlink()
        store.record(entry(2, chat="5511911111111", jid=None))
        assert [found.update_id for found in await everything(store)] == [2]
        await until(lambda: store.pinned("sales"), await everything(store))
        sqlite.target.chmod(0o664)
    async with opened(sqlite.target) as store:
        assert [found.update_id for found in await everything(store)] == [2]
    assert stat.S_IMODE(sqlite.target.stat().st_mode) == 0o600
    assert [path.name for path in sqlite.folder.iterdir()] == ["bot.sqlite3"]


async def test_a_file_that_is_something_else_is_left_alone(sqlite: Sqlite) -> None:
    sqlite.target.write_text("operators: []\n" * 500, encoding="utf-8")
    async with opened(sqlite.target) as store:
        store.record(entry())
        with pytest.raises(StoreAway, match=f"{sqlite.target}: file is not a database"):
            await everything(store)
    assert sqlite.target.read_text(encoding="utf-8") == "operators: []\n" * 500
    assert stat.S_IMODE(sqlite.target.stat().st_mode) != 0o600


@pytest.mark.parametrize("name", ["/proc/bot.sqlite3", "/nowhere/at/all/bot.sqlite3", "/dev/full", "/tmp"])  # noqa: S108
async def test_a_place_where_no_file_can_be_is_away(name: str) -> None:
    async with opened(Path(name)) as store:
        with pytest.raises(StoreAway, match=name):
            await everything(store)
