"""A database behind a thread of its own: what is recorded never waits for it, what is asked waits for a moment."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.database import Database, Entry

log = logging.getLogger(__name__)

PATIENCE = 2.0  # seconds for which a question, or the last flush, waits for the database
MOST_WAITING = 1000  # entries that wait to be written; beyond it the oldest are lost
SHORTEST_PAUSE, LONGEST_PAUSE = 0.25, 10.0  # seconds between attempts to find the database again
GATHER = 0.2  # seconds after a write in which what is recorded waits for the next
TIDY = 3600.0  # seconds after which what is too old is deleted, even if nothing is recorded

SILENT = "it does not answer"

T = TypeVar("T")


class StoreAway(Exception):
    """The store can't be used now. The text says why, without a secret."""


class Recorder:
    """Owns the database's thread. Every visit first writes what waits; an error makes the next visit connect anew.

    The thread is a daemon: a database that hangs does not keep the process from ending.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[Entry] = []
        self._lock = threading.Lock()  # of what waits, which both threads change; held for microseconds
        self._lost = 0
        self._away = False
        self._wake = asyncio.Event()
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._work, name="store", daemon=True).start()
        self._keeping_up = asyncio.create_task(self._keep_up())

    def record(self, entry: Entry) -> None:
        """Have an entry written as soon as may be. Never waits, never raises."""
        with self._lock:
            self._waiting.append(entry)
            if len(self._waiting) > MOST_WAITING:
                del self._waiting[0]
                self._lost += 1
        self._wake.set()

    async def ask(self, question: Callable[[], T], *, however_long: bool = False) -> T:
        """Run a question in the database's thread, after all that was recorded before.

        Raises:
            StoreAway: the database failed, or gave no answer in `PATIENCE` seconds (unless `however_long`).

        """
        answer = self._visit(question)
        silence = asyncio.get_running_loop().call_later(PATIENCE, self._note_away, SILENT)
        try:
            async with asyncio.timeout(None if however_long else PATIENCE):
                result = await answer
        except Exception as error:  # noqa: BLE001 - whatever breaks in the store, the bot goes on without it
            reason = SILENT if isinstance(error, TimeoutError) else self._database.reason(error)
            self._note_away(reason)
            raise StoreAway(reason) from None  # the error itself might quote the URL with its password
        finally:
            silence.cancel()
        self._note_back()
        return result

    async def close(self) -> None:
        """Write what waits, within `PATIENCE` seconds, and close the database."""
        self._keeping_up.cancel()
        await asyncio.wait({self._keeping_up})
        closed = self._visit(self._database.close)
        await asyncio.wait({closed}, timeout=PATIENCE)
        if not closed.cancel():
            closed.exception()  # looked at, so that nobody complains; what was not written says it all
        self._jobs.put(None)
        if unwritten := self._lost + len(self._waiting):
            log.warning("the store is closed; attempts that are lost: %d", unwritten)

    async def _keep_up(self) -> None:
        pause = SHORTEST_PAUSE
        while True:
            self._wake.clear()
            try:
                await self.ask(self._database.expire, however_long=True)
            except StoreAway:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            pause = SHORTEST_PAUSE
            await asyncio.sleep(GATHER)
            try:
                async with asyncio.timeout(TIDY):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _note_away(self, reason: str) -> None:
        if not self._away:
            log.warning("the store is away (%s); commands go on, what they do is written once it is back", reason)
        self._away = True
        self._wake.set()

    def _note_back(self) -> None:
        if self._away:
            log.warning("the store is back; attempts that are lost: %d", self._lost)
            self._away, self._lost = False, 0

    def _visit(self, question: Callable[[], T]) -> asyncio.Future[T]:
        answer: Future[T] = Future()

        def job() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(self._in_thread(question))
            except Exception as error:  # noqa: BLE001 - it is the asker's
                answer.set_exception(error)

        self._jobs.put(job)
        return asyncio.wrap_future(answer)

    def _work(self) -> None:
        while job := self._jobs.get():
            job()

    def _in_thread(self, question: Callable[[], T]) -> T:
        connected = self._database.connected
        try:
            return self._write_and_ask(question)
        except Exception:
            if not connected:
                raise
        return self._write_and_ask(question)  # on a new connection: the server may have closed an idle one

    def _write_and_ask(self, question: Callable[[], T]) -> T:
        try:
            with self._lock:
                batch = self._waiting.copy()
            if batch:
                self._database.write(batch)
                written = set(batch)
                with self._lock:
                    self._waiting = [entry for entry in self._waiting if entry not in written]
            return question()
        except Exception:
            self._database.close()
            raise
