"""The database of attempts: an SQLite file, or PostgreSQL through psycopg, with the same plain SQL and schema."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

log = logging.getLogger(__name__)

BUSY = 0.5  # seconds that SQLite waits for another process's lock
# A server that is gone is noticed in seconds. Poolers (PgBouncer) neither take `options` nor keep prepared statements.
_POSTGRES: dict[str, Any] = {
    "application_name": "ryze-pin-bot",
    "connect_timeout": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
# Any other "@" would make libpq take half of the password for a host, and say so.
_POSTGRES_URL = re.compile(r"postgres(ql)?://([^@/]*@)?[^@]*")

# The schema's versions, each as what makes it of the one before. The names leave room for others in a shared database.
_MIGRATIONS = (
    (
        """
        CREATE TABLE pin_bot_attempts (
            update_id BIGINT NOT NULL,
            part INTEGER NOT NULL,
            at DOUBLE PRECISION NOT NULL,
            telegram_id BIGINT NOT NULL,
            operator TEXT NOT NULL,
            instance TEXT NOT NULL,
            action TEXT NOT NULL,
            chat TEXT NOT NULL,
            jid TEXT,
            outcome TEXT NOT NULL,
            PRIMARY KEY (update_id, part)
        )
        """,
        "CREATE TABLE pin_bot_requests (telegram_id BIGINT PRIMARY KEY, at DOUBLE PRECISION NOT NULL)",
        "CREATE INDEX pin_bot_attempts_at ON pin_bot_attempts (at)",
        "CREATE INDEX pin_bot_attempts_instance_at ON pin_bot_attempts (instance, at)",
    ),
)
# What happened is not undone by a second run that did nothing: a confirmed outcome gives way to a confirmed one alone.
_WRITE = """
    INSERT INTO pin_bot_attempts
        (update_id, part, at, telegram_id, operator, instance, action, chat, jid, outcome)
    VALUES (:update_id, :part, :at, :telegram_id, :operator, :instance, :action, :chat, :jid, :outcome)
    ON CONFLICT (update_id, part) DO UPDATE SET
        at = excluded.at, telegram_id = excluded.telegram_id, operator = excluded.operator,
        instance = excluded.instance, action = excluded.action, chat = excluded.chat, jid = excluded.jid,
        outcome = excluded.outcome
    WHERE excluded.at >= pin_bot_attempts.at AND (
        excluded.outcome IN ('pinned', 'unpinned') OR pin_bot_attempts.outcome NOT IN ('pinned', 'unpinned')
    )
"""


@dataclass(frozen=True, slots=True)
class Entry:
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


class Database:
    """One connection, made when it is needed and used in one thread. Any exception means: close, and try again later.

    Args:
        target: a file, or a URL (which has "://").
        keep: seconds for which an entry is kept.

    """

    def __init__(self, target: str | Path, keep: float) -> None:
        self._url = target if isinstance(target, str) and "://" in target else ""
        self._path = Path(target)
        self.keep = keep
        self._unkeepable: tuple[type[Exception], ...] = (ValueError, OverflowError, sqlite3.DataError)
        self._connection: _Connection | None = None

    @property
    def exists(self) -> bool:
        """Whether there may be something in it already."""
        return bool(self._url) or os.path.exists(self._path)  # noqa: PTH110 - where Path.exists raises, this is False

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None

    def reason(self, error: Exception) -> str:
        """Say why it can't be used, without the password and without a person's data."""
        if isinstance(error, ImportError):
            return "psycopg is not installed: install ryze-pin-bot[postgres]"
        diagnosis = getattr(getattr(error, "diag", None), "message_primary", None)  # without the values in its details
        text = " ".join(str(diagnosis or getattr(error, "strerror", None) or error).split())
        return text if self._url else f"{self._path}: {text}"

    def write(self, entries: list[Entry]) -> None:
        """Write all, or all but what the database can't hold (a NUL from upstream), which must not stop the rest."""
        self._connected()
        try:
            with self._transaction() as cursor:
                cursor.executemany(self._sql(_WRITE), [asdict(entry) for entry in entries])
        except self._unkeepable as error:
            if len(entries) == 1:
                log.warning("update %d: the attempt can't be kept (%s)", entries[0].update_id, type(error).__name__)
                return
            for entry in entries:
                self.write([entry])

    def expire(self) -> None:
        """Delete what is too old."""
        before = time.time() - self.keep if self.keep else float("inf")
        with self._transaction() as cursor:
            cursor.execute(self._sql("DELETE FROM pin_bot_attempts WHERE at < :before"), {"before": before})

    def entries(self, query: str, values: Mapping[str, object]) -> list[Entry]:
        """Run a query for entries."""
        cursor = self._connected().cursor()
        cursor.execute(self._sql(query), values)
        return [Entry(*row) for row in cursor.fetchall()]

    def request(self, telegram_id: int) -> bool:
        """Note that a stranger asked to be let in, and tell whether it is for the first time."""
        with self._transaction() as cursor:
            note = "INSERT INTO pin_bot_requests VALUES (:telegram_id, :at) ON CONFLICT (telegram_id) DO NOTHING"
            cursor.execute(self._sql(note), {"telegram_id": telegram_id, "at": time.time()})
            return cursor.rowcount == 1

    def delete(self, doomed: Callable[[list[tuple[str, str | None]]], list[tuple[str, str | None]]]) -> int:
        """Delete the entries of those (chat, JID) that `doomed` chooses of all there are, and tell how many."""
        with self._transaction() as cursor:
            cursor.execute("SELECT DISTINCT chat, jid FROM pin_bot_attempts")
            chosen = [{"chat": chat, "jid": jid or ""} for chat, jid in doomed(cursor.fetchall())]
            if not chosen:
                return 0
            delete = "DELETE FROM pin_bot_attempts WHERE chat = :chat AND COALESCE(jid, '') = :jid"
            cursor.executemany(self._sql(delete), chosen)
            return cursor.rowcount

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection:
            with suppress(Exception):  # it may be what is broken
                connection.close()

    def _sql(self, sql: str) -> str:
        return re.sub(r":(\w+)", r"%(\1)s", sql) if self._url else sql

    @contextmanager
    def _transaction(self) -> Iterator[_Cursor]:
        cursor = self._connected().cursor()
        cursor.execute("BEGIN" if self._url else "BEGIN IMMEDIATE")
        try:
            yield cursor
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell
                cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")

    def _connected(self) -> _Connection:
        if self._connection is None:
            self._connection = self._postgres() if self._url else self._sqlite()
            self._upgrade()
            # Only now is it known to be ours. SQLite gives its journal the same mode.
            if not self._url and stat.S_IMODE(self._path.stat().st_mode) & 0o077:
                self._path.chmod(0o600)
        return self._connection

    def _sqlite(self) -> _Connection:
        with suppress(FileExistsError):
            self._path.touch(0o600, exist_ok=False)  # opening one that is there would drop this process's locks of it
        # No write-ahead log: this is one file, on any file system. None: transactions are begun here.
        return cast("_Connection", sqlite3.connect(self._path, timeout=BUSY, isolation_level=None))

    def _postgres(self) -> _Connection:
        import psycopg  # noqa: PLC0415 - an extra, and a tenth of a second
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - the same

        given: dict[str, Any] = {}
        try:
            if _POSTGRES_URL.fullmatch(self._url):
                given = conninfo_to_dict(self._url)
        except psycopg.Error:
            given = {}  # said below: its own words would quote the URL
        if not given:
            raise ConnectionError(
                "DATABASE_URL is not of the form postgresql://user:password@host:port/database, "
                "with special characters percent-encoded"
            )
        self._unkeepable = (ValueError, OverflowError, psycopg.DataError)
        connection = psycopg.connect(**{**_POSTGRES, **given}, autocommit=True, prepare_threshold=None)
        return cast("_Connection", connection)

    def _upgrade(self) -> None:
        if not self._url:
            self._connected().cursor().execute("PRAGMA secure_delete = ON")  # deleted numbers are overwritten
        with self._transaction() as cursor:
            if self._url:  # in SQLite BEGIN IMMEDIATE is the lock
                cursor.execute("SELECT pg_advisory_xact_lock(8095770271)")
            cursor.execute("CREATE TABLE IF NOT EXISTS pin_bot_schema (version INTEGER NOT NULL)")
            cursor.execute("SELECT COALESCE(MAX(version), 0) FROM pin_bot_schema")
            version = cursor.fetchall()[0][0]
            if version > len(_MIGRATIONS):
                raise ConnectionError("it was written by a newer version of the bot")
            for number, statements in enumerate(_MIGRATIONS[version:], version + 1):
                for statement in statements:
                    cursor.execute(statement)
                cursor.execute(self._sql("INSERT INTO pin_bot_schema VALUES (:version)"), {"version": number})


class _Cursor(Protocol):
    """As much of DB-API's cursor as is needed."""

    rowcount: int

    def execute(self, sql: str, values: Mapping[str, object] = ..., /) -> object: ...
    def executemany(self, sql: str, values: Iterable[Mapping[str, object]], /) -> object: ...
    def fetchall(self) -> list[tuple[Any, ...]]: ...


class _Connection(Protocol):
    """As much of DB-API's connection as is needed; it commits each statement that is in no transaction."""

    def cursor(self) -> _Cursor: ...
    def close(self) -> None: ...
