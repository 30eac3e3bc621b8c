"""Every test that says nothing else runs on SQLite and on a real PostgreSQL server, started for the session."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bot import database, recorder
from bot.store import Entry, Store, StoreAway
from tests.test_webhook import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

KEEP = timedelta(days=30)
NOW = time.time()
PERSON = "5511999991234"
MANY = 100_000


def entry(update_id: int = 1, **changes: Any) -> Entry:  # noqa: ANN401 - whatever the field holds
    """A pin of `PERSON` on `sales`, confirmed; each update a second later than the one before."""
    ana = Entry(update_id, 0, NOW + update_id, 111, "Ana", "sales", "pin", PERSON, f"{PERSON}@s.whatsapp.net", "pinned")
    return replace(ana, **changes)


@asynccontextmanager
async def opened(target: str | Path, keep: timedelta = KEEP) -> AsyncIterator[Store]:
    store = Store.open(target, keep)
    try:
        yield store
    finally:
        await store.close()


async def everything(store: Store) -> list[Entry]:
    return await store.history(None, None, MANY, 0)


async def until(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a log, or a process, gives no event to wait for
            await asyncio.sleep(0.02)
    assert condition(), what


async def until_back(store: Store) -> int:
    """Count the attempts, as soon as the store can be asked."""
    async with asyncio.timeout(60):
        while True:
            try:
                return len(await everything(store))
            except StoreAway:
                await asyncio.sleep(0.05)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine is not a store that is away."""
    monkeypatch.setattr(recorder, "PATIENCE", 60.0)


class Sqlite:
    """A file in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "store"
        self.folder.mkdir()
        self.target = self.folder / "bot.sqlite3"

    def go_away(self) -> None:
        self.folder.rename(self.folder.with_name("elsewhere"))

    def come_back(self) -> None:
        self.folder.with_name("elsewhere").rename(self.folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        with closing(sqlite3.connect(self.target, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield

    def execute(self, sql: str) -> None:
        with closing(sqlite3.connect(self.target)) as connection, connection:
            connection.execute(sql)


@dataclass
class Server:
    """The session's PostgreSQL server; what `pg_virtualenv` put into the environment."""

    environ: dict[str, str]

    def url(self, name: str, scheme: str = "postgresql") -> str:
        user, password, port = (self.environ[key] for key in ("PGUSER", "PGPASSWORD", "PGPORT"))
        return f"{scheme}://{user}:{password}@127.0.0.1:{port}/{name}"

    def execute(self, sql: str, name: str = "postgres") -> None:
        import psycopg  # noqa: PLC0415 - an extra

        with psycopg.connect(self.url(name), autocommit=True) as connection:
            connection.execute(sql.encode())

    def restart(self) -> None:
        command = ["pg_ctlcluster", "--mode", "immediate", self.environ["PGVERSION"], "regress", "restart"]
        environ = os.environ | self.environ
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stdout + done.stderr


class Postgres:
    """A database of its own in the session's server."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        server.execute(f"CREATE DATABASE {name}")
        self.target = server.url(name)

    def go_away(self) -> None:
        self.server.execute(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS false")
        self.hang_up()

    def come_back(self) -> None:
        self.server.execute(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS true")

    def hang_up(self) -> None:
        self.server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.name}'")  # noqa: S608

    @contextmanager
    def locked(self) -> Iterator[None]:
        import psycopg  # noqa: PLC0415 - an extra

        with psycopg.connect(self.target) as other:
            other.execute("LOCK TABLE pin_bot_attempts IN ACCESS EXCLUSIVE MODE")
            yield

    def execute(self, sql: str) -> None:
        self.server.execute(sql, self.name)


Place = Sqlite | Postgres


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("psycopg", reason="psycopg is not installed: nothing is tested on PostgreSQL")
    if not shutil.which("pg_virtualenv") or not any(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")):
        pytest.skip("Debian's postgresql is not installed: nothing is tested on PostgreSQL")
    port = str(free_port())
    reader, writer = os.pipe()
    said = tmp_path_factory.mktemp("postgres") / "log"
    # It ends, and removes the cluster, when its standard input does, whatever becomes of this process.
    command = ["pg_virtualenv", "-t", "bash", "-c", f"(env | grep ^PG; echo ready) >&{writer}; exec cat"]
    with (
        said.open("w") as log,
        subprocess.Popen(  # noqa: S603 - a fixed command
            command,
            env=os.environ | {"PGPORT": port},
            stdin=subprocess.PIPE,
            stdout=log,  # no pipe: the clean-up would die of it if this process were gone
            stderr=log,
            pass_fds=[writer],
            start_new_session=True,
        ),
    ):
        os.close(writer)
        with os.fdopen(reader) as lines:
            environ = {}
            for line in lines:
                if line == "ready\n":
                    break
                name, _, value = line.strip().partition("=")
                environ[name] = value
            else:
                pytest.fail(said.read_text())
        yield Server(environ)


@pytest.fixture
def postgres(server: Server, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    place = Postgres(server, f"test_{abs(hash(request.node.nodeid))}")
    yield place
    server.execute(f"DROP DATABASE {place.name} WITH (FORCE)")


@pytest.fixture
def sqlite(tmp_path: Path) -> Sqlite:
    return Sqlite(tmp_path)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Place:
    place: Place = request.getfixturevalue(request.param)
    return place


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    async with opened(place.target) as store:
        yield store


@contextmanager
def script(body: str, *arguments: str, patience: float = 60.0) -> Iterator[subprocess.Popen[str]]:
    """A process that has this file's helpers and runs `body`, the body of an async function."""
    body = textwrap.indent(textwrap.dedent(body), "    ")
    source = f"from tests.test_store import *\nasync def main():\n{body}\n"
    source += f"recorder.PATIENCE = {patience}\nasyncio.run(main())"
    command = [sys.executable, "-c", source, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:  # noqa: S603
        try:
            yield process
        finally:
            process.kill()


# What is kept


async def test_an_attempt_is_read_back_as_it_was_recorded_even_at_once(store: Store) -> None:
    plain, odd = (
        entry(1),
        entry(2, part=3, operator="Zoë 🚀 'x' %s :x", jid=None, outcome="not_connected", at=NOW + 0.25),
    )
    store.record(plain)
    assert await everything(store) == [plain]
    store.record(odd)
    assert sorted(await everything(store), key=lambda found: found.update_id) == [plain, odd]


async def test_attempts_outlive_the_store(place: Place) -> None:
    async with opened(place.target) as store:
        store.record(entry())
    async with opened(place.target) as store:
        assert await everything(store) == [entry()]


async def test_the_history_is_newest_first_in_pages_of_an_instance_from_a_time_on(store: Store) -> None:
    attempts = [entry(n, instance="sales" if n % 2 else "support") for n in range(1, 11)]
    for attempt in attempts:
        store.record(attempt)
    newest = attempts[::-1]
    assert await everything(store) == newest
    assert await store.history("support", None, 2, 1) == [newest[2], newest[4]]
    assert await store.history("sales", NOW + 7, MANY, 0) == [newest[1], newest[3]]
    assert await store.history("other", None, MANY, 0) == []


async def test_an_update_that_comes_again_is_one_attempt_with_the_later_outcome(store: Store) -> None:
    store.record(entry(7, jid=None, outcome="outcome_unknown"))
    store.record(entry(7, part=1, jid=None, outcome="not_connected"))
    store.record(entry(7, at=NOW + 20))
    assert await everything(store) == [entry(7, at=NOW + 20), entry(7, part=1, jid=None, outcome="not_connected")]


async def test_what_was_confirmed_is_not_undone_by_a_later_run_that_was_not(store: Store) -> None:
    store.record(entry(7))
    store.record(entry(7, at=NOW + 900, outcome="late", jid=None))
    assert await everything(store) == [entry(7)]
    assert await store.pinned("sales") == [entry(7)]


async def test_an_older_run_that_is_written_late_replaces_nothing(store: Store) -> None:
    store.record(entry(7, at=NOW + 900))
    store.record(entry(7, at=NOW))
    assert await everything(store) == [entry(7, at=NOW + 900)]


async def test_the_last_chats_of_an_instance_are_each_given_once_newest_first(store: Store) -> None:
    jid = f"{PERSON}@s.whatsapp.net"
    chats = ["5511911111111", "120363000000000001@g.us", PERSON, "5511922222222", "5511911111111", jid]
    for n, chat in enumerate(chats):
        store.record(entry(n, chat=chat, jid=None, outcome="not_connected"))
    store.record(entry(50, chat="5511977777777", instance="support"))
    assert await store.recent_chats("sales") == [jid, "5511911111111", "5511922222222", "120363000000000001@g.us"]
    assert await store.recent_chats("sales", limit=2) == [jid, "5511911111111"]


async def test_a_chat_is_pinned_if_the_last_that_was_confirmed_is_a_pin(store: Store) -> None:
    def unpin(n: int, chat: str, outcome: str = "unpinned") -> Entry:
        return entry(n, chat=chat, jid=None, action="unpin", outcome=outcome)

    pins = {chat: entry(n, chat=chat, jid=None) for n, chat in enumerate(["5511911111111", "5511922222222", PERSON])}
    for pin in pins.values():
        store.record(pin)
    store.record(entry(4, chat="5511944444444", jid=None, outcome="pin_limit"))
    store.record(entry(5, chat="5511955555555", instance="support", operator="Bia"))
    store.record(unpin(6, "5511922222222"))
    store.record(unpin(7, PERSON, outcome="outcome_unknown"))
    assert await store.pinned("sales") == [pins[PERSON], pins["5511911111111"]]
    assert [(pin.operator, pin.chat) for pin in await store.pinned("support")] == [("Bia", "5511955555555")]
    store.record(again := entry(8, chat="5511911111111", jid=None, operator="Rui"))
    assert await store.pinned("sales") == [again, pins[PERSON]]


@pytest.mark.parametrize(
    ("pinned", "unpinned"),
    [
        ((PERSON, None), (f"{PERSON}@s.whatsapp.net", None)),
        ((PERSON, "551199991234@s.whatsapp.net"), ("551199991234", None)),
        ((PERSON, "551199991234:12@S.WhatsApp.net"), ("551199991234@s.whatsapp.net", "551199991234@s.whatsapp.net")),
        ((PERSON, "77700000000001@lid"), ("77700000000001@lid", None)),
        (("77700000000001@lid", None), (PERSON, "77700000000001@lid")),
        ((PERSON, "77700000000001@lid"), (PERSON, f"{PERSON}@s.whatsapp.net")),
    ],
)
async def test_an_unpin_of_the_same_chat_by_another_name_counts(
    store: Store, pinned: tuple[str, str | None], unpinned: tuple[str, str | None]
) -> None:
    store.record(entry(1, chat=pinned[0], jid=pinned[1]))
    store.record(entry(2, chat="77700000000001", jid=None))
    assert [pin.update_id for pin in await store.pinned("sales")] == [2, 1]
    store.record(entry(3, chat=unpinned[0], jid=unpinned[1], action="unpin", outcome="unpinned"))
    assert [pin.update_id for pin in await store.pinned("sales")] == [2]
    assert len(await store.recent_chats("sales")) == 2


@pytest.mark.parametrize(
    "number",
    [PERSON, "+55 11 99999-1234", "551199991234", f"{PERSON}@s.whatsapp.net", f"{PERSON}:3@s.whatsapp.net", "777@lid"],
)
async def test_a_forgotten_number_is_gone_in_every_form(place: Place, number: str) -> None:
    others = [
        entry(1, chat="5511999991235", jid="5511999991235@s.whatsapp.net"),
        entry(2, chat="120363000000000001@g.us", jid=None, outcome="refused"),
        entry(3, chat="11999991234", jid=None, outcome="refused"),
    ]
    async with opened(place.target) as store:
        for other in others:
            store.record(other)
        store.record(entry(9, chat="888@lid", jid=None))
        store.record(entry(10, chat="888@lid", jid="777@lid"))
        store.record(entry(11))
        store.record(entry(12, chat="551199991234", jid=None, instance="support", outcome="not_sent"))
        store.record(entry(13, chat="551199991234", jid="777@lid"))
        store.record(entry(14, chat="777@lid", jid=None))
        store.record(entry(15, jid="777@lid", action="unpin", outcome="unpinned"))
        store.record(entry(16, chat=f"{PERSON}@s.whatsapp.net", jid=f"{PERSON}:3@s.whatsapp.net"))
        store.record(entry(17, chat=f"{PERSON}-1400000000@g.us", jid=f"{PERSON}-1400000000@g.us"))
        founded = 0 if number == "777@lid" else 1
        assert await store.forget(number) == 8 + founded
        assert [left.update_id for left in await everything(store)] == [*[17][founded:], 3, 2, 1]
        assert await store.forget(number) == 0
    if isinstance(place, Sqlite) and founded:
        assert PERSON.encode() not in place.target.read_bytes(), "the deleted bytes are overwritten"


@pytest.mark.parametrize("number", ["", "nobody", "+", "@", "@lid", "55119999"])
async def test_what_is_no_whole_number_is_nobodys(store: Store, number: str) -> None:
    store.record(entry(1))
    assert await store.forget(number) == 0
    assert await everything(store) == [entry(1)]


async def test_a_landline_has_no_form_with_a_ninth_digit(store: Store) -> None:
    store.record(entry(1, chat="5511933445566", jid=None))
    assert await store.forget("551133445566") == 0


async def test_what_is_too_old_is_deleted(place: Place) -> None:
    async with opened(place.target) as store:
        store.record(entry(1, at=NOW - 5 * 86400))
        store.record(entry(2))
        assert len(await everything(store)) == 2
    async with opened(place.target, timedelta(days=4)) as store:
        async with asyncio.timeout(60):
            while await everything(store) != [entry(2)]:  # noqa: ASYNC110 - it is deleted soon, not at once
                await asyncio.sleep(0.02)


async def test_what_grows_too_old_is_deleted_without_a_new_attempt(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "TIDY", 0.05)
    async with opened(place.target) as store:
        store.record(entry())
        assert await everything(store) == [entry()]
        place.execute("UPDATE pin_bot_attempts SET at = 0")
        async with asyncio.timeout(60):
            while await everything(store):  # noqa: ASYNC110 - a clock's work
                await asyncio.sleep(0.02)


async def test_a_keep_of_zero_stores_nothing_and_deletes_what_there_is(place: Place) -> None:
    async with opened(place.target) as store:
        store.record(entry(1))
    async with opened(place.target, timedelta(0)) as store:
        store.record(entry(2))
        assert await everything(store) == []
        assert await store.pinned("sales") == []
        assert await store.recent_chats("sales") == []
        assert await store.forget(PERSON) in (0, 1)
    async with opened(place.target) as store:
        assert await everything(store) == []


async def test_a_keep_of_zero_makes_no_file(sqlite: Sqlite) -> None:
    async with opened(sqlite.target, timedelta(0)) as store:
        store.record(entry())
        assert await everything(store) == []
        assert await store.forget(PERSON) == 0
    assert list(sqlite.folder.iterdir()) == []


async def test_what_the_database_cannot_hold_does_not_stop_the_rest(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.record(entry(1))
    store.record(entry(2, jid="\ud800@s.whatsapp.net"))
    store.record(entry(2**80))
    store.record(entry(3))
    assert [kept.update_id for kept in await everything(store)] == [3, 1]
    assert "update 2: the attempt can't be kept (UnicodeEncodeError)" in caplog.text
    assert PERSON not in caplog.text


async def test_a_nul_from_upstream_does_not_stop_the_rest(postgres: Postgres) -> None:
    async with opened(postgres.target) as store:
        store.record(entry(1))
        store.record(entry(2, jid="\0"))
        store.record(entry(3))
        assert [kept.update_id for kept in await everything(store)] == [3, 1]


# Away and back


async def test_a_store_that_is_away_at_the_start_gets_the_last_1000_when_it_comes(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.go_away()
    async with opened(place.target) as store:
        for n in range(recorder.MOST_WAITING + 5):
            store.record(entry(n))
        with pytest.raises(StoreAway):
            await store.pinned("sales")
        with pytest.raises(StoreAway):
            await everything(store)
        place.come_back()
        await until(lambda: "is back" in caplog.text, "the store is back")
        found = await everything(store)
    assert [attempt.update_id for attempt in found] == [*range(recorder.MOST_WAITING + 4, 4, -1)]
    assert caplog.text.count("the store is away") == 1
    assert caplog.text.count("the store is back; attempts that are lost: 5") == 1


async def test_a_store_that_goes_away_and_comes_back_misses_nothing(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(place.target) as store:
        for round_ in (1, 2):
            store.record(entry(round_ * 10))
            assert len(await everything(store)) == round_ * 2 - 1
            place.go_away()
            store.record(entry(round_ * 10 + 1))
            await until(lambda: caplog.text.count("the store is away") == round_, "it is away")  # noqa: B023
            with pytest.raises(StoreAway):
                await everything(store)
            place.come_back()
            await until(lambda: caplog.text.count("the store is back") == round_, "it is back")  # noqa: B023
        assert [attempt.update_id for attempt in await everything(store)] == [21, 20, 11, 10]
    assert caplog.text.count("the store is away") == caplog.text.count("attempts that are lost: 0") == 2


async def test_a_store_that_nobody_uses_is_known_to_be_back(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(place.target) as store:
        store.record(entry())
        assert await everything(store) == [entry()]
        with place.locked(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(recorder, "PATIENCE", 2.0)
            with pytest.raises(StoreAway):
                await everything(store)
        await until(lambda: "is back" in caplog.text, "the store is back")


async def test_what_could_not_be_written_by_the_end_is_counted(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.go_away()
    async with opened(place.target) as store:
        store.record(entry(1))
        store.record(entry(2))
    assert "the store is closed; attempts that are lost: 2" in caplog.text
    assert "is back" not in caplog.text
    place.come_back()


async def test_nothing_waits_for_a_database_that_hangs(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(place.target) as store:
        store.record(entry(0))
        assert await everything(store) == [entry(0)]
        with place.locked(), monkeypatch.context() as patch:
            patch.setattr(recorder, "PATIENCE", 2.0)
            before = time.perf_counter()
            for n in range(1, 200):
                store.record(entry(n))
            recording = time.perf_counter() - before
            before = time.perf_counter()
            with pytest.raises(StoreAway):
                await everything(store)
            reading = time.perf_counter() - before
        await until(lambda: "is back" in caplog.text, "the store is back")
        assert await until_back(store) == 200
    assert recording < 20, "200 that waited for SQLite's lock would take 100 s"
    assert reading < 20
    assert caplog.text.count("the store is away") == 1


async def test_a_process_ends_although_its_database_hangs(place: Place) -> None:
    async with opened(place.target) as store:
        assert await everything(store) == []
    with place.locked():
        hasty = """
            store = Store.open(sys.argv[1], KEEP)
            store.record(entry())
            await store.close()
            """
        with script(hasty, str(place.target), patience=2.0) as process:
            assert await asyncio.to_thread(process.wait, 60) == 0


async def test_a_store_of_a_newer_bot_is_left_alone(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(place.target) as store:
        store.record(entry())
    place.execute("INSERT INTO pin_bot_schema VALUES (99)")
    async with opened(place.target) as store:
        with pytest.raises(StoreAway, match="newer version"):
            await everything(store)
    assert "newer version" in caplog.text


async def test_the_schema_of_an_older_bot_is_upgraded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(place.target) as store:
        store.record(entry())
    added = ("ALTER TABLE pin_bot_attempts ADD COLUMN note TEXT", "UPDATE pin_bot_attempts SET note = operator")
    monkeypatch.setattr(database, "_MIGRATIONS", (*database._MIGRATIONS, added))
    for _ in range(2):
        async with opened(place.target) as store:
            assert await everything(store) == [entry()]
            assert await store.pinned("sales") == [entry()]
    place.execute("SELECT note FROM pin_bot_attempts")


# Several processes


async def test_what_was_written_survives_kill_9(place: Place) -> None:
    body = """
        store = Store.open(sys.argv[1], KEEP)
        for n in range(300):
            store.record(entry(n))
        assert len(await everything(store)) == 300
        print("written", flush=True)
        while True:
            n += 1
            store.record(entry(n))
            await asyncio.sleep(0)
        """
    with script(body, str(place.target)) as process:
        assert process.stdout
        assert await asyncio.to_thread(process.stdout.readline) == "written\n"
        process.kill()
    async with opened(place.target) as store:
        found = [attempt.update_id for attempt in await everything(store)]
    assert len(found) >= 300
    assert found == [*range(len(found) - 1, -1, -1)], "no hole, whenever it was killed"


async def test_processes_share_a_store_that_all_of_them_make(place: Place) -> None:
    body = """
        print("ready", flush=True)
        sys.stdin.readline()
        store = Store.open(sys.argv[1], KEEP)
        for n in range(100):
            store.record(entry(n, operator=sys.argv[2]))
            store.record(entry(int(sys.argv[2]) * 1000 + n))
            await asyncio.sleep(0)
        while await until_back(store) < 500:
            await asyncio.sleep(0.05)
        await store.close()
        """
    with ExitStack() as stack:
        processes = [stack.enter_context(script(body, str(place.target), str(n))) for n in range(1, 5)]
        for process in processes:
            assert process.stdout
            assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            _, said = await asyncio.to_thread(process.communicate, None, 120)
            assert process.returncode == 0, said
            assert "exists" not in said, "they do not stumble over each other's tables"
            assert "duplicate" not in said
    async with opened(place.target) as store:
        found = [attempt.update_id for attempt in await everything(store)]
    assert sorted(found) == sorted(range(100)) + [base * 1000 + n for base in range(1, 5) for n in range(100)]


# SQLite alone


async def test_the_file_is_its_users_alone(sqlite: Sqlite) -> None:
    before = os.umask(0)
    try:
        async with opened(sqlite.target) as store:
            store.record(entry())
            assert await everything(store) == [entry()]
            with sqlite3.connect(sqlite.target) as other:
                other.execute("UPDATE pin_bot_attempts SET operator = 'Bia'")
                modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in sqlite.folder.iterdir()}
            other.close()
    finally:
        os.umask(before)
    assert modes == {"bot.sqlite3": 0o600, "bot.sqlite3-journal": 0o600}
    assert [path.name for path in sqlite.folder.iterdir()] == ["bot.sqlite3"]


async def test_a_file_that_others_may_read_is_tightened(sqlite: Sqlite) -> None:
    async with opened(sqlite.target) as store:
        store.record(entry())
    sqlite.target.chmod(0o664)
    async with opened(sqlite.target) as store:
        assert await everything(store) == [entry()]
        assert stat.S_IMODE(sqlite.target.stat().st_mode) == 0o600


async def test_a_file_that_is_something_else_is_left_alone(sqlite: Sqlite, caplog: pytest.LogCaptureFixture) -> None:
    sqlite.target.write_text("operators: []\n" * 500, encoding="utf-8")
    sqlite.target.chmod(0o644)
    async with opened(sqlite.target) as store:
        store.record(entry())
        with pytest.raises(StoreAway, match="not a database"):
            await everything(store)
    assert sqlite.target.read_text(encoding="utf-8") == "operators: []\n" * 500
    assert stat.S_IMODE(sqlite.target.stat().st_mode) == 0o644
    assert f"{sqlite.target}: file is not a database" in caplog.text


@pytest.mark.parametrize("name", ["/proc/bot.sqlite3", "/nowhere/at/all/bot.sqlite3", "/dev/full", "/tmp", "/tmp/\0"])  # noqa: S108
async def test_a_place_where_no_file_can_be_is_away(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(name) as store:
        store.record(entry())
        with pytest.raises(StoreAway, match=name):
            await everything(store)
    assert "attempts that are lost: 1" in caplog.text


async def test_a_file_that_breaks_under_way_is_away(sqlite: Sqlite) -> None:
    async with opened(sqlite.target) as store:
        for n in range(500):
            store.record(entry(n))
        assert len(await everything(store)) == 500
        with sqlite.target.open("r+b") as file:
            file.write(b"\xff" * sqlite.target.stat().st_size)
        store.record(entry(501))
        with pytest.raises(StoreAway):
            await everything(store)


async def test_a_file_that_is_deleted_under_way_is_made_anew(sqlite: Sqlite) -> None:
    async with opened(sqlite.target) as store:
        store.record(entry(1))
        assert await everything(store) == [entry(1)]
        sqlite.target.unlink()
        store.record(entry(2))
        assert await everything(store) == [entry(2)]
    assert sqlite.target.exists()


async def test_a_full_disk_is_away_until_there_is_room(sqlite: Sqlite) -> None:
    body = """
        import logging, resource
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        store = Store.open(sys.argv[1], KEEP)
        store.record(entry(0))
        assert len(await everything(store)) == 1
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(sys.argv[1]), most))
        for n in range(1, 900):
            store.record(entry(n))
        try:
            await everything(store)
        except StoreAway as away:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            assert await until_back(store) == 900
        await store.close()
        """
    with script(body, str(sqlite.target)) as process:
        output, errors = await asyncio.to_thread(process.communicate, None, 120)
    assert process.returncode == 0, errors
    away, back = output.strip().split("\n")
    assert "the store is away" in away
    assert "disk" in away
    assert back == "the store is back; attempts that are lost: 0"


# PostgreSQL alone


async def test_herokus_form_of_the_url_is_taken(postgres: Postgres) -> None:
    async with opened(postgres.server.url(postgres.name, "postgres")) as store:
        store.record(entry())
        assert await everything(store) == [entry()]


async def test_a_connection_that_was_closed_meanwhile_is_not_noticed(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(postgres.target) as store:
        store.record(entry())
        assert await everything(store) == [entry()]
        postgres.hang_up()
        assert await everything(store) == [entry()]
    assert caplog.text == ""


async def test_a_restarted_server_is_found_again(postgres: Postgres) -> None:
    async with opened(postgres.target) as store:
        store.record(entry(1))
        assert await everything(store) == [entry(1)]
        await asyncio.to_thread(postgres.server.restart)
        store.record(entry(2))
        assert await until_back(store) == 2


@pytest.mark.parametrize(
    "rest",
    [
        "127.0.0.1:{port}/postgres",  # refused by the server
        "127.0.0.1:1/postgres",  # nobody is there
        "no.such.host.invalid/postgres",
        "127.0.0.1:{port}/nowhere?sslmode=what",
        "127.0.0.1:{port}/nowhere?x=%zz",
        "127.0.0.1:port/postgres",
    ],
)
@pytest.mark.parametrize(
    "password", ["pa55w0rd-of-mine", "pa55/w0rd", "pa55@w0rd", "pa55:w0rd", "pa55#w0rd", "pa55%w0rd"]
)
async def test_no_log_and_no_error_holds_the_password(
    server: Server, rest: str, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    url = f"postgresql://postgres:{password}@{rest.format(port=server.environ['PGPORT'])}"
    async with opened(url) as store:
        store.record(entry())
        with pytest.raises(StoreAway) as away:
            await everything(store)
    told = caplog.text + str(away.value) + repr(away.value)
    assert "the store is away" in told
    assert "pa55" not in told
    assert "w0rd" not in told


async def test_another_databases_url_is_told_what_to_be() -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed: nothing is tested on PostgreSQL")
    async with opened("mysql://root:secret@127.0.0.1/db") as store:
        with pytest.raises(StoreAway, match="DATABASE_URL is not of the form postgresql://"):
            await everything(store)


async def test_without_psycopg_the_store_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    async with opened("postgresql://127.0.0.1/db") as store:
        with pytest.raises(StoreAway, match=r"install ryze-pin-bot\[postgres\]"):
            await everything(store)
