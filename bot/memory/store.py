"""The attempts of the last days and a few notes, behind a thread of its own: what is recorded never waits for it."""

import asyncio
import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from bot.memory.database import Database

log = logging.getLogger(__name__)

MAX_WAITING = 1000  # entries that wait to be written; beyond it the oldest are lost
_CONFIRMED = ("pinned", "unpinned")
_OVERLAP = 5  # numbers that are read again: another process may have committed a lower one later


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


class StoreAway(Exception):
    """The store can't be used now. The text says why, without a secret."""


class Store:
    """What the bot remembers. Whatever is asked may raise `StoreAway`, after `patience` seconds at the latest.

    Later is what was recorded later, whatever the clock said. A database that is away is tried every `retry` seconds;
    what is older than `keep` is deleted every `tidy` seconds at least. With a `keep` of 0 nothing is stored.
    """

    def __init__(
        self, target: str | Path, keep: timedelta, patience: float = 2.0, retry: float = 2.0, tidy: float = 3600.0
    ) -> None:
        self._database = Database(target)
        self._keep = keep.total_seconds()
        self._patience = patience
        self._thread = ThreadPoolExecutor(1, "store")
        self._waiting: deque[tuple[float, Entry]] = deque(maxlen=MAX_WAITING)  # and when each was recorded
        self._away = False
        self._pins: dict[str, tuple[int, list[Entry]]] = {}  # by instance: up to which number; for the thread alone
        self._pins_of: object = None  # the connection and the last `forget` that they are true for
        exists = "://" in str(target) or os.path.exists(target)  # noqa: PTH110 - False where Path.exists raises
        self._upkeep = asyncio.create_task(self._keep_up(retry, tidy)) if keep or exists else None

    @classmethod
    def open(cls, target: str | Path, keep: timedelta) -> Self:
        """Open, inside the event loop, an SQLite file or a PostgreSQL database by its URL; it need not be there yet."""
        return cls(target, keep)

    def record(self, entry: Entry) -> None:
        """Keep an attempt. Never waits, never raises; while the store is away the last 1000 are kept in memory."""
        if self._keep:
            self._waiting.append((time.monotonic(), entry))

    async def recent_chats(self, instance: str, limit: int = 5) -> list[str]:
        """Return the chats that were last used on an instance, as they were sent, newest first, each once."""
        return list(dict.fromkeys(entry.chat for entry in await self.history(instance, None, 200, 0)))[:limit]

    async def pinned(self, instance: str) -> list[Entry]:
        """Return the pins that are still in force as far as attempts tell, newest first."""
        waiting = [entry for _, entry in self._waiting if entry.instance == instance and entry.outcome in _CONFIRMED]
        pins = await self._run(lambda database: self._read_pins(database, instance), write=False) if self._keep else []
        return [pin for pin in reversed(_after(pins, waiting)) if pin.at >= time.time() - self._keep]

    async def history(self, instance: str | None, since: float | None, limit: int, offset: int) -> list[Entry]:
        """Return attempts, newest first: of one instance or of all, from the time `since` on or from ever."""
        rows = await self._ask("history", instance=instance, since=since or 0.0, limit=limit, offset=offset)
        return [Entry(*row) for row in rows]

    async def forget(self, number: str) -> int:
        """Remove the attempts on a number, its Brazilian twin or a JID, and on JIDs it resolved to; return how many."""
        user = number.removesuffix("@s.whatsapp.net")
        # Only a mobile number's ninth digit makes no difference: other numbers would be other people's.
        brazil = re.fullmatch("(55[0-9]{2})(9?)([6-9][0-9]{7})", user)
        other = brazil[1] + ("" if brazil[2] else "9") + brazil[3] if brazil else user
        jids = {"user_jid": f"{user}@s.whatsapp.net", "other_jid": f"{other}@s.whatsapp.net"}
        removed = await self._ask("forget", user=user, other=other, **jids)
        await self.note("forgotten", str(time.time_ns()))
        return len(removed)

    async def first_request(self, telegram_id: int) -> bool:
        """Note that a stranger asked to be let in, and tell whether for the first time; True if nothing is kept."""
        return not self._keep or bool(await self._ask("request", telegram_id=telegram_id, at=time.time()))

    async def notes(self, prefix: str) -> dict[str, str]:
        """Return the notes whose keys begin with `prefix`."""
        return dict(await self._ask("notes", prefix=prefix))

    async def note(self, key: str, value: str | None) -> None:
        """Write a note over the one there is; with None, delete it."""
        await self._ask("unnote" if value is None else "note", key=key, value=value)

    async def close(self) -> None:
        """Write what waits, for `patience` seconds at most."""
        if self._upkeep:
            self._upkeep.cancel()
            await asyncio.wait({self._upkeep})
            with suppress(StoreAway):
                await self._run(lambda _: None)
        self._thread.submit(self._database.close)
        self._thread.shutdown(wait=False)
        if self._waiting:
            log.warning("the store is closed; attempts that are lost: %d", len(self._waiting))

    aclose = close

    async def _ask(self, query: str, **values: object) -> list[Any]:
        return list(await self._run(lambda database: database.run(query, **values))) if self._keep else []

    async def _run(self, question: Callable[[Database], Any], *, write: bool = True) -> Any:  # noqa: ANN401
        """Ask in the database's thread, after what waits was written."""
        batch = [self._waiting.popleft() for _ in range(len(self._waiting) * write)]
        visit = asyncio.get_running_loop().run_in_executor(self._thread, self._database.transact, batch, question)
        try:
            async with asyncio.timeout(self._patience):
                answer = await visit
            batch.clear()
        except Exception as error:  # noqa: BLE001 - whatever breaks in the store, the bot goes on without it
            # The first line of an error is without the values that were to be written; a TimeoutError has none.
            reason = self._database.name + (str(error).partition("\n")[0] or "it does not answer")
            if not self._away:
                log.warning("the store is away (%s); commands go on, what they do is written once it is back", reason)
            self._away = True
            raise StoreAway(reason) from None  # the error itself might quote the URL with its password
        finally:
            self._waiting = deque(sorted([*batch, *self._waiting], key=lambda item: item[0]), MAX_WAITING)
        if self._away:
            self._away = False
            log.warning("the store is back")
        return answer

    async def _keep_up(self, retry: float, tidy: float) -> None:
        due = 0.0
        while True:
            if self._waiting or self._away or time.monotonic() >= due:
                before, due = time.time() - self._keep if self._keep else float("inf"), time.monotonic() + tidy
                with suppress(StoreAway):
                    await self._run(lambda database: database.run("expire", before=before))  # noqa: B023 - awaited
            await asyncio.sleep(retry if self._away else 0.2)  # what is recorded meanwhile is written together

    def _read_pins(self, database: Database, instance: str) -> list[Entry]:
        """Bring what is known of an instance's pins up to date by the rows that were added since."""
        current = database.connection, database.run("forgotten")
        if current != self._pins_of:
            self._pins_of, self._pins = current, {}
        seen, pins = self._pins.get(instance, (0, []))
        rows = database.run("confirmed", instance=instance, seen=seen - _OVERLAP)
        pins = _after(pins, [Entry(*row[:-1]) for row in rows])
        self._pins[instance] = rows[-1][-1] if rows else seen, pins
        return pins


def _after(pins: list[Entry], confirmed: list[Entry]) -> list[Entry]:
    """Return what is pinned, the oldest first, after further attempts that were confirmed."""
    for entry in confirmed:
        names = {entry.chat, entry.jid or entry.chat}
        pins = [pin for pin in pins if names.isdisjoint((pin.chat, pin.jid))]
        if entry.outcome == "pinned":
            pins.append(entry)
    return pins
