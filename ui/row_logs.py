"""Which logs are open for reading by rows, so that all who look at one share it?

A log that is watched live is read on by its feed, and whoever asks for rows of it gets them from
there. Others are opened for those who ask, and kept for a moment.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bus.connection import Bus
from bus.errors import NotFound
from bus.rows import RowLog, row_log
from schemas.job import Record
from schemas.log import Cursor
from ui.gate import Gate
from ui.problems import HttpProblem, refuse

MOST_LOGS = 6
"""Open without a feed; each may hold some unpacked blocks."""
COMPLETE_SECONDS, GROWING_SECONDS = 20.0, 0.5
"""For so long one that is open stands for what is stored."""
IDLE_SECONDS = 60.0
"""One that nobody asked for in this time is closed."""
AT_ONCE, WAITING = 8, 200
"""Readers of this process."""

Key = tuple[str, int, int]
"""Job, attempt, rank."""


@dataclass
class Entry:
    log: RowLog | None = None
    opened_at: float = 0.0
    used_at: float = 0.0
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)


class RowLogs:
    """The logs that were asked for last, and those that are watched."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._clock = clock
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._live: dict[Key, RowLog] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.gate = Gate(AT_ONCE, WAITING, "readers of logs")

    async def get(self, record: Record, cursor: Cursor, row: int = 0) -> RowLog:
        """The log by rows, as old as it may be; a ``row`` that it has not yet makes it fresh.

        Raises ``HttpProblem`` 410 for one that was deleted, 503 where too many read.
        """
        key = (record.id, cursor.attempt, cursor.rank)
        if key in self._live:
            return self._live[key]
        entry = self._used(key)
        async with entry.opening:
            if entry.log is None or self._stale(entry.log, entry.opened_at, row):
                entry.log, entry.opened_at = await self._open(record, cursor), self._clock()
            return entry.log

    def _used(self, key: Key) -> Entry:
        """The newest of all now; others go."""
        entry = self._entries.setdefault(key, Entry())
        self._entries.move_to_end(key)
        while len(self._entries) > MOST_LOGS:
            self._entries.popitem(last=False)
        entry.used_at = self._clock()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_idle)
        return entry

    def _close_idle(self) -> None:
        before = self._clock() - IDLE_SECONDS
        for key, entry in list(self._entries.items()):
            if entry.used_at <= before:
                del self._entries[key]
        again = asyncio.get_running_loop().call_later
        self._timer = again(IDLE_SECONDS, self._close_idle) if self._entries else None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _stale(self, log: RowLog, opened_at: float, row: int) -> bool:
        age = self._clock() - opened_at
        if log.complete:
            return age > COMPLETE_SECONDS
        return age > GROWING_SECONDS or row > log.total

    async def _open(self, record: Record, cursor: Cursor) -> RowLog:
        found = record.find(cursor.attempt)
        if found is None:
            raise NotFound(f"{record.id} has no attempt {cursor.attempt}")
        async with self.gate.passed():
            log = await row_log(self._bus, record, found, cursor.rank)
        if log.deleted:
            raise deleted_log(cursor.attempt, log.deleted)
        return log

    @asynccontextmanager
    async def live(self, record: Record, cursor: Cursor) -> AsyncIterator[RowLog]:
        """For the feed that makes it go on: others read it from here meanwhile."""
        key = (record.id, cursor.attempt, cursor.rank)
        log = await self._open(record, cursor)
        self._live[key] = log
        try:
            yield log
        finally:
            if self._live.get(key) is log:
                del self._live[key]


def deleted_log(attempt: int, why: str) -> HttpProblem:
    return refuse(
        410, "log_deleted", "The log was deleted", f"The log of attempt {attempt} was {why}."
    )
