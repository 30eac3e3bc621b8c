"""What the bot remembers: every attempt, in an SQLite file or a PostgreSQL database, through the same plain SQL."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from bot.database import Database, Entry
from bot.recorder import Recorder, StoreAway

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

__all__ = ["Entry", "Store", "StoreAway"]

_HISTORY = """
    SELECT update_id, part, at, telegram_id, operator, instance, action, chat, jid, outcome
    FROM pin_bot_attempts
    WHERE (instance = :instance OR CAST(:instance AS TEXT) IS NULL) AND at >= :since
    ORDER BY at DESC, update_id DESC, part DESC
    LIMIT :limit OFFSET :offset
"""
_LATEST = """
    SELECT update_id, part, at, telegram_id, operator, instance, action, chat, jid, outcome
    FROM (
        SELECT *, ROW_NUMBER() OVER (PARTITION BY chat, jid ORDER BY at DESC, update_id DESC, part DESC) AS nth
        FROM pin_bot_attempts
        WHERE instance = :instance AND (:confirmed = 0 OR outcome IN ('pinned', 'unpinned'))
    ) AS numbered
    WHERE nth = 1
    ORDER BY at DESC, update_id DESC, part DESC
"""


class Store:
    """The attempts of the last `keep`; `open` one inside the event loop. All that asks may raise `StoreAway`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recorder = Recorder(database) if database.keep or database.exists else None

    @classmethod
    def open(cls, target: str | Path, keep: timedelta) -> Store:
        """Open an SQLite file, or a PostgreSQL database by its URL; neither needs to be there yet.

        With a `keep` of 0 nothing is stored, and what is stored is deleted.
        """
        return cls(Database(target, keep.total_seconds()))

    def record(self, entry: Entry) -> None:
        """Keep an attempt. Never waits, never raises; while the store is away the last 1000 are kept in memory.

        An update that comes again is one attempt: the later entry replaces the earlier, unless only the earlier was
        confirmed.
        """
        if self._recorder and self._database.keep:
            self._recorder.record(entry)

    async def recent_chats(self, instance: str, limit: int = 5) -> list[str]:
        """Return the chats that were last used on an instance, as they were sent, newest first, each once."""
        entries = await self._ask(_LATEST, instance=instance, confirmed=0)
        return [entry.chat for entry in _newest_of_each_chat(entries)][:limit]

    async def pinned(self, instance: str) -> list[Entry]:
        """Return the pins that are still in force as far as attempts tell, newest first."""
        entries = await self._ask(_LATEST, instance=instance, confirmed=1)
        return [entry for entry in _newest_of_each_chat(entries) if entry.outcome == "pinned"]

    async def history(self, instance: str | None, since: float | None, limit: int, offset: int) -> list[Entry]:
        """Return attempts, newest first: of one instance or of all, from the time `since` on or from ever."""
        return await self._ask(_HISTORY, instance=instance, since=since or 0.0, limit=limit, offset=offset)

    async def forget(self, number: str) -> int:
        """Remove all attempts on a number, and return how many they were.

        The number may be written as digits with country code or as a JID. With it go its forms with and without the
        Brazilian ninth digit, the JIDs it was resolved to (an @lid too), and groups whose id holds it as their founder.
        """
        if self._recorder is None:
            return 0
        return await self._recorder.ask(partial(self._database.delete, partial(_of_number, number)))

    async def first_request(self, telegram_id: int) -> bool:
        """Note that a stranger asked to be let in, and tell whether for the first time; True if nothing is kept."""
        if self._recorder is None or not self._database.keep:
            return True
        return await self._recorder.ask(partial(self._database.request, telegram_id))

    async def close(self) -> None:
        """Write what waits, for two seconds at most."""
        if self._recorder:
            await self._recorder.close()

    async def _ask(self, query: str, **values: object) -> list[Entry]:
        if self._recorder is None or not self._database.keep:
            return []
        return await self._recorder.ask(partial(self._database.entries, query, values))


def _newest_of_each_chat(entries: list[Entry]) -> list[Entry]:
    """Leave out, of entries from the newest on, those on a chat that a newer one named, by number or by JID."""
    newest, named = [], set[str]()
    for entry in entries:
        names = _names(entry.chat, entry.jid)
        if named.isdisjoint(names):
            newest.append(entry)
        named |= names
    return newest


def _of_number(number: str, pairs: list[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """Choose, of (chat, JID), those that belong to a number; see `Store.forget`."""
    known, found = -1, _written_forms(number)
    while known != len(found):  # each round may find a further JID of the same person
        known = len(found)
        for names in (_names(*pair) for pair in pairs):
            if not found.isdisjoint(_with_users(names)):
                found |= names
    return [pair for pair in pairs if not found.isdisjoint(_names(*pair))]


def _names(chat: str, jid: str | None) -> set[str]:
    return {_as_jid(name) for name in (chat, jid) if name}


def _as_jid(name: str) -> str:
    """A number's or a JID's one form, without a device's suffix (5511999999999:12@…)."""
    user, _, domain = name.strip().lower().partition("@")
    return f"{re.split('[.:]', user)[0]}@{domain or 's.whatsapp.net'}"


def _with_users(names: set[str]) -> set[str]:
    """Names and their users alone; of an older group's, who founded it: 5511999999999-1400000000@g.us."""
    return names | {re.split("[@-]", name)[0] for name in names}


def _written_forms(number: str) -> set[str]:
    """What a person's number or JID may be stored as: a JID, or users without their domain."""
    user, _, domain = _as_jid(number).partition("@")
    if domain != "s.whatsapp.net":
        return {f"{user}@{domain}"}
    digits = re.sub("[^0-9]", "", user)
    # Only what was a mobile number before it got its ninth digit: others would be other people's.
    if brazil := re.fullmatch("55([0-9]{2})9?([6-9][0-9]{7})", digits):
        return {f"55{brazil[1]}{brazil[2]}", f"55{brazil[1]}9{brazil[2]}"}
    return {digits} - {""}
