"""The attempts of the last days and a few notes, behind a thread of its own: what is recorded never waits for it."""

import asyncio
import logging
import os
import re
import sqlite3
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

log = logging.getLogger(__name__)
MAX_WAITING = 1000  # entries that wait to be written; beyond it the oldest are lost
# A server that is gone is noticed within seconds. Poolers take no `options` and keep no prepared statements.
_POSTGRES: dict[str, Any] = {"connect_timeout": 3, "keepalives_idle": 10, "tcp_user_timeout": 10_000}
_VERSIONS = re.split(r"-- version [0-9]+\n", Path(__file__).with_name("schema.sql").read_text("utf-8"))[1:]
_QUERIES = dict(re.findall(r"(?m)^-- (\w+)\n([^;]+);", Path(__file__).with_name("queries.sql").read_text("utf-8")))


class Entry(NamedTuple):
    """One attempt: the `part`th of its update, `at` seconds since 1970, on `chat` as sent and `jid` as resolved."""

    update_id: int
    part: int
    at: float
    telegram_id: int
    operator: str
    instance: str
    action: str
    chat: str
    jid: str | None
    outcome: str


class StoreAway(Exception):
    """The store can't be used now. The text says why, without a secret."""


class Store:
    """What the bot remembers for `keep`, in an SQLite file (a Path) or a PostgreSQL database (its URL).

    What is asked may raise `StoreAway`, within `patience` seconds. After `refresh` seconds a database that is away is
    tried again, and what other processes pinned is seen. Later is what was recorded later, whatever the clock said.
    """

    def __init__(self, target: str | Path, keep: timedelta, patience: float = 2.0, refresh: float = 2.0) -> None:
        self._url = target if isinstance(target, str) else ""
        self._path = Path(target)
        named = r"%(\1)s" if self._url else r":\1"  # how the driver has values named
        self._queries = {name: re.sub(r":(\w+)", named, sql) for name, sql in _QUERIES.items()}
        self._keep = keep.total_seconds()
        self._patience, self._refresh = patience, refresh
        self._thread = ThreadPoolExecutor(1, "store")
        self._turn = asyncio.Lock()  # of who may visit the thread
        self._connection: Any = None  # for the thread alone
        self._waiting: list[Entry] = []
        # By instance: until when they hold, and which.
        self._pins: defaultdict[str, tuple[float, list[Entry]]] = defaultdict(lambda: (0.0, []))
        self.away = False  # whether the latest try to use the database failed
        exists = self._url or os.path.exists(target)  # noqa: PTH110 - False where Path.exists raises
        self._upkeep = asyncio.create_task(self._keep_up() if keep or exists else asyncio.sleep(0))

    def record(self, entry: Entry) -> None:
        """Keep an attempt. Never waits, never raises; while the store is away the last 1000 are kept in memory."""
        if self._keep:
            self._waiting.append(entry)
            until, pins = self._pins[entry.instance]
            self._pins[entry.instance] = until, _in_force([entry, *pins])

    async def pinned(self, instance: str) -> list[Entry]:
        """Return the pins that are in force as far as attempts tell, newest first; while `away`, as it was known."""
        if time.monotonic() >= self._pins[instance][0]:
            with suppress(StoreAway):
                rows = await self._ask("confirmed", instance=instance, since=time.time() - self._keep)
                waiting = [entry for entry in reversed(self._waiting) if entry.instance == instance]
                pins = _in_force([*waiting, *map(Entry._make, rows)])
                self._pins[instance] = time.monotonic() + self._refresh, pins
        return self._pins[instance][1]

    async def history(self, instance: str | None, since: float | None, limit: int, offset: int) -> list[Entry]:
        """Return attempts, newest first: of one instance or of all, from the time `since` on or from ever."""
        rows = await self._ask("history", instance=instance, since=since or 0.0, limit=limit, offset=offset)
        return [Entry(*row) for row in rows]

    async def forget(self, number: str) -> int:
        """Remove the attempts on a number, its Brazilian twin or a JID, and on JIDs it resolved to; return how many."""
        user = number.removesuffix("@s.whatsapp.net")
        # Only a mobile number's ninth digit makes no difference: other numbers would be other people's.
        other = re.sub("^(55[0-9]{2})9?([6-9][0-9]{7})$", r"\1\2" if len(user) == 13 else r"\g<1>9\2", user)
        return len(await self._ask("forget", user=user, other=other))

    async def notes(self, prefix: str) -> dict[str, str]:
        """Return the notes whose keys begin with `prefix`."""
        return dict(await self._ask("notes", prefix=prefix))

    async def note(self, key: str, value: str | None) -> None:
        """Write a note over the one there is, or delete it with None."""
        await self._ask("unnote" if value is None else "note", key=key, value=value)

    async def aclose(self) -> None:
        """Write what waits, for `patience` seconds at most."""
        self._upkeep.cancel()
        with suppress(StoreAway):
            await self._ask("SELECT 1")
        self._thread.submit(self._disconnect)
        self._thread.shutdown(wait=False)
        if self._waiting:
            log.warning("the store is closed; attempts that are lost: %d", len(self._waiting))

    async def _ask(self, query: str, **values: object) -> list[Any]:
        return await self._run(query, **values) if self._keep else []

    async def _run(self, query: str, **values: object) -> list[Any]:
        """Run a query in the database's thread, after what waits was written; what is recorded meanwhile waits on."""
        try:
            async with asyncio.timeout(self._patience), self._turn:
                del self._waiting[:-MAX_WAITING]
                batch = self._waiting.copy()
                rows = await asyncio.wrap_future(self._thread.submit(self._transact, batch, query, values))
                del self._waiting[: len(batch)]
        except Exception as error:  # noqa: BLE001 - whatever breaks in the store, the bot goes on without it
            # The first line of an error is without the values that were to be written; a TimeoutError has none.
            name = "" if self._url else f"{self._path}: "
            reason = name + (str(error).partition("\n")[0] or "it does not answer")
            if not self.away:
                log.warning("the store is away (%s); commands go on, what they do is written once it is back", reason)
            self.away = True
            raise StoreAway(reason) from None  # the error itself might quote the URL with its password
        if self.away:
            self.away = False
            log.warning("the store is back")
        return rows

    async def _keep_up(self) -> None:
        due = 0.0
        while True:
            if self._waiting or self.away or time.monotonic() >= due:
                due = time.monotonic() + 3600
                with suppress(StoreAway):
                    await self._run("expire", before=time.time() - self._keep if self._keep else float("inf"))
            await asyncio.sleep(self._refresh if self.away else 0.2)  # what is recorded meanwhile is written together

    def _transact(self, entries: list[Entry], query: str, values: dict[str, object]) -> list[Any]:
        """In the thread: write the entries and run the query in one transaction; an error closes the connection."""
        fresh = self._connection is None
        try:
            self._connection = self._connection or self._connect()
            # Without a limit, a lock in PostgreSQL would keep this thread, and with it the process, from ending.
            self._execute("BEGIN; SET LOCAL statement_timeout = 3000" if self._url else "BEGIN IMMEDIATE")
            if fresh:
                self._upgrade()
            self._connection.cursor().executemany(self._queries["write"], [entry._asdict() for entry in entries])
            rows = self._execute(query, **values)
            self._execute("COMMIT")
        except Exception:
            self._disconnect()
            if fresh:
                raise
            return self._transact(entries, query, values)  # once more: the server may have closed an idle connection
        return rows

    def _execute(self, query: str, **values: object) -> list[Any]:
        cursor = self._connection.execute(self._queries.get(query, query), values)
        return cursor.fetchall() if cursor.description else []

    def _disconnect(self) -> None:
        with suppress(Exception):  # there may be none, and it may be what is broken
            self._connection.close()
        self._connection = None

    def _connect(self) -> Any:  # noqa: ANN401 - DB-API's connection has no type of its own
        if not self._url:
            # It waits 0.5 s for another process's lock, has no write-ahead log, and `_transact` begins transactions.
            return sqlite3.connect(self._path, timeout=0.5, isolation_level=None)
        import psycopg  # noqa: PLC0415 - an extra, and a tenth of a second

        return psycopg.connect(self._url, **_POSTGRES, autocommit=True, prepare_threshold=None)

    def _upgrade(self) -> None:
        # In SQLite BEGIN IMMEDIATE is the lock. What is deleted there is overwritten, too.
        self._execute("SELECT pg_advisory_xact_lock(8095770271)" if self._url else "PRAGMA secure_delete = ON")
        self._execute("CREATE TABLE IF NOT EXISTS pin_bot_schema (version INTEGER NOT NULL)")
        [(version,)] = self._execute("SELECT COALESCE(MAX(version), 0) FROM pin_bot_schema")
        for number, statements in enumerate(_VERSIONS[version:], version + 1):
            for statement in statements.strip().removesuffix(";").split(";"):
                self._execute(statement)
            self._execute("upgraded", version=number)
        if not self._url:
            self._path.chmod(0o600)  # only now is it known to be a database; nothing was written to it before


def _in_force(attempts: list[Entry]) -> list[Entry]:
    """Return the pins among attempts, newest first, that no later one that was confirmed has replaced or undone."""
    pins, later = [], set[str]()
    for entry in attempts:
        names = {entry.chat, entry.jid or entry.chat}
        if entry.outcome == "pinned" and later.isdisjoint(names):
            pins.append(entry)
        if entry.outcome in ("pinned", "unpinned"):
            later |= names
    return pins
