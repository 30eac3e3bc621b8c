"""Where a store can be: an SQLite file, or a database in a real PostgreSQL server, started for the session."""

import asyncio
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bot.memory.store import Entry, Store, StoreAway

NOW = time.time()
PERSON = "5511999991234"
PERSON_JID = f"{PERSON}@s.whatsapp.net"


def entry(update_id: int = 1, **changes: Any) -> Entry:  # noqa: ANN401 - whatever the field holds
    """A pin of `PERSON` on `sales`, confirmed; each update a second later than the one before."""
    ana = Entry(update_id, 0, NOW + update_id, 111, "Ana", "sales", "pin", PERSON, PERSON_JID, "pinned")
    return ana._replace(**changes)


def opened(target: str | Path, keep: timedelta = timedelta(30), patience: float = 60.0) -> aclosing[Store]:
    return aclosing(Store(target, keep, patience, 0.1))  # with patience: a slow machine is not a store that is away


async def everything(store: Store) -> list[Entry]:
    return await store.history(None, None, 100_000, 0)


async def until(ask: Callable[[], Awaitable[list[Entry]]], attempts: list[Entry]) -> None:
    """Wait until the store can be asked and gives these attempts."""
    async with asyncio.timeout(60):
        while True:
            with suppress(StoreAway):
                if await ask() == attempts:
                    return
            await asyncio.sleep(0.02)


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
            connection.executescript(sql)


class Postgres:
    """A database in a server, of which `server` is the URL without the database's name."""

    def __init__(self, server: str, name: str) -> None:
        self.server, self.name = server, name
        self.target = f"{server}/{name}"

    def go_away(self) -> None:
        self.administer(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS false")
        self.hang_up()

    def come_back(self) -> None:
        self.administer(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS true")

    def hang_up(self) -> None:
        self.administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.name}'")  # noqa: S608

    @contextmanager
    def locked(self) -> Iterator[None]:
        with psycopg.connect(self.target) as other:
            other.execute("LOCK TABLE pin_bot_attempts IN ACCESS EXCLUSIVE MODE")
            yield

    def execute(self, sql: str) -> None:
        with psycopg.connect(self.target, autocommit=True) as connection:
            connection.execute(sql.encode())

    def administer(self, sql: str) -> None:
        Postgres(self.server, "postgres").execute(sql)


Place = Sqlite | Postgres


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not shutil.which("pg_virtualenv") or not any(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")):
        pytest.skip("Debian's postgresql is not installed: nothing is tested on PostgreSQL")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        environ = os.environ | {"PGPORT": str(probe.getsockname()[1])}
    output = tmp_path_factory.mktemp("postgres") / "log"
    # It ends, and removes the cluster, when its standard input does, whatever becomes of this process.
    command = ["pg_virtualenv", "-t", "bash", "-c", "env; echo ready; exec cat"]
    # No pipe for its output: the clean-up would die of it if this process were gone.
    with (
        output.open("w") as log,
        subprocess.Popen(  # noqa: S603 - a fixed command
            command, env=environ, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        while "\nready\n" not in output.read_text():
            assert process.poll() is None, output.read_text()
            time.sleep(0.05)
        variables = dict(re.findall("^(PG[A-Z]+)=(.*)$", output.read_text(), re.MULTILINE))
        yield "postgresql://{PGUSER}:{PGPASSWORD}@127.0.0.1:{PGPORT}".format_map(variables)


@pytest.fixture
def postgres(server: str, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    place = Postgres(server, f"test_{abs(hash(request.node.nodeid))}")
    place.administer(f"CREATE DATABASE {place.name}")
    yield place
    place.administer(f"DROP DATABASE {place.name} WITH (FORCE)")


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
