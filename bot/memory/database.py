"""One connection to an SQLite file or a PostgreSQL database, with the same `schema.sql` and `queries.sql`."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

# A server that is gone is noticed within seconds. Poolers take no `options` and keep no prepared statements.
_POSTGRES: dict[str, Any] = {"connect_timeout": 3, "keepalives_idle": 10, "tcp_user_timeout": 10_000}
# Where libpq would misread another "@" or "%", its error would quote a part of the password.
_POSTGRES_URL = re.compile(r"postgres(ql)?://([^@/%]|%[0-9A-Fa-f]{2})*@?([^@%]|%[0-9A-Fa-f]{2})*")
_FILES = resources.files(__package__)
_VERSIONS = re.split(r"-- version [0-9]+\n", (_FILES / "schema.sql").read_text("utf-8"))[1:]
_QUERIES = dict(re.findall(r"^-- (\w+)\n([^;]+);", (_FILES / "queries.sql").read_text("utf-8"), re.MULTILINE))


class Database:
    """A connection to a file, or to a URL (which has "://"), made when it is needed, and again after an error."""

    def __init__(self, target: str | Path) -> None:
        self._url = target if isinstance(target, str) and "://" in target else ""
        self._path = Path(target)
        self.name = "" if self._url else f"{target}: "  # for what is told of it; a URL holds a password
        self.connection: Any = None

    def transact(self, entries: list[tuple[float, Any]], question: Callable[["Database"], Any]) -> Any:  # noqa: ANN401
        """Write the entries and ask the question in one transaction; after any error the connection is closed."""
        fresh = self.connection is None
        try:
            if fresh:
                self.connection = self._connect()
            # Without a limit, a lock in PostgreSQL would keep this thread, and with it the process, from ending.
            self.run("BEGIN; SET LOCAL statement_timeout = 3000" if self._url else "BEGIN IMMEDIATE")
            if fresh:
                self._upgrade()
            self.connection.cursor().executemany(self._sql("write"), [asdict(entry) for _, entry in entries])
            answer = question(self)
            self.run("COMMIT")
        except Exception:
            self.close()
            if fresh:
                raise
            return self.transact(entries, question)  # once more: the server may have closed an idle connection
        return answer

    def run(self, query: str, **values: object) -> list[Any]:
        """Run a query by its name, or a statement, and give its rows."""
        cursor = self.connection.cursor()
        cursor.execute(self._sql(query), values)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Close the connection, if there is one."""
        with suppress(Exception):  # there may be none, and it may be what is broken
            self.connection.close()
        self.connection = None

    def _connect(self) -> Any:  # noqa: ANN401 - DB-API's connection has no type of its own
        if not self._url:
            self._path.touch(0o600)
            # It waits 0.5 s for another process's lock, has no write-ahead log, and `transact` begins transactions.
            return sqlite3.connect(self._path, timeout=0.5, isolation_level=None)
        if not _POSTGRES_URL.fullmatch(self._url):
            raise ConnectionError("DATABASE_URL is not postgresql://user:password@host/database, percent-encoded")
        import psycopg  # noqa: PLC0415 - an extra, and a tenth of a second

        return psycopg.connect(self._url, **_POSTGRES, autocommit=True, prepare_threshold=None)

    def _sql(self, query: str) -> str:
        sql = _QUERIES.get(query, query)
        return re.sub(r":(\w+)", r"%(\1)s", sql) if self._url else sql

    def _upgrade(self) -> None:
        # In SQLite BEGIN IMMEDIATE is the lock. What is deleted there is overwritten, too.
        self.run("SELECT pg_advisory_xact_lock(8095770271)" if self._url else "PRAGMA secure_delete = ON")
        self.run("CREATE TABLE IF NOT EXISTS pin_bot_schema (version INTEGER NOT NULL)")
        [(version,)] = self.run("SELECT COALESCE(MAX(version), 0) FROM pin_bot_schema")
        for number, statements in enumerate(_VERSIONS[version:], version + 1):
            for statement in statements.strip().removesuffix(";").split(";"):
                self.run(statement)
            self.run("INSERT INTO pin_bot_schema VALUES (:version)", version=number)
        if not self._url:
            self._path.chmod(0o600)  # only now is it known to be a database; its journal gets the same mode
