"""What are the rows of a log, and where in it is a row, a byte or a time?

A row is what a terminal would show of it: what ``\\r`` and the cursor painted over is resolved.
Sealed rows are found by the archive's index and cut out of its blocks; what came later is painted
here, by the same screen as the archive's.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import TypeVar

from bus import row_places
from bus.connection import Bus
from bus.errors import Corrupt, NotFound
from bus.logs import UNTOLD, LogGap, final_offset
from bus.row_blocks import Entries, part_of_rows, plain_rows, run_of
from bus.row_search import Hits as Hits
from bus.row_search import Query as Query
from bus.row_search import find as find
from bus.row_source import Moved, RawLog
from bus.screen import Rows, RowSpan, Screen, Settled
from schemas.job import Attempt, Record
from schemas.log import LogChunk, SealedRows, Stream

log = logging.getLogger(__name__)

T = TypeVar("T", SealedRows, Settled)
MOST_ROWS = 5_000
"""In one window."""
WINDOW_BYTES = 4 << 20
"""The same; a longer row comes alone."""
MOST_OWN = 4 << 20
"""Bytes of painted rows that are not sealed yet, or were not when one looked."""
QUICK = 16 * 1024
"""Bytes that are painted sooner than a thread is asked to."""
LOOKS = 8
"""Times that the end of a log is looked for while it is sealed."""
KEPT = 4
"""Entries of painted rows that stay unpacked."""


async def row_log(bus: Bus, record: Record, attempt: Attempt, rank: int) -> RowLog:
    """The rows of what is stored now. Raises ``BusError``."""
    raw = RawLog(bus, record.id, attempt, rank)
    rows = RowLog(raw, await stored_screen(raw))
    await rows.catch_up()
    final = final_offset(record, attempt.number, rank)
    told = final is not None and final != UNTOLD and rows.end >= final
    if told or raw.index.complete:
        rows.finish()
    return rows


async def stored_screen(raw: RawLog) -> Screen | None:
    """Of the index as it is then; None where it cannot be read."""
    for _ in range(LOOKS):
        await raw.look()
        try:
            sealed = raw.index.screen
            return await raw.archive.screen(sealed) if sealed else Screen()
        except (NotFound, Corrupt) as error:
            if not await raw.sealed_meanwhile():
                log.warning("all of a log is painted anew: %s", error)
                break
    return None


class RowLog:
    """The rows of one attempt and rank; whoever reads on feeds it, nobody else changes it."""

    def __init__(self, raw: RawLog, screen: Screen | None) -> None:
        """Without a screen what is sealed of rows is left alone."""
        self.screen = screen or Screen()
        self._anew = screen is None
        self.complete = False
        self._raw = raw
        self._own = Entries()
        """What settled behind the sealed rows."""
        self._most = MOST_OWN
        self._unpacked: dict[int, list[Settled]] = {}
        """By the first row."""

    @property
    def raw(self) -> RawLog:
        return self._raw

    @property
    def deleted(self) -> str:
        """When and why the log was deleted; empty where it was not. A deleted log has no rows."""
        return self._raw.index.deleted

    @property
    def _sealed(self) -> tuple[SealedRows, ...]:
        return () if self._anew else self._raw.index.rows

    @property
    def total(self) -> int:
        return 0 if self.deleted else self.screen.total

    @property
    def settled(self) -> int:
        """Rows that can never change any more: all before the last ones."""
        return 0 if self.deleted else self.screen.settled

    @property
    def build(self) -> int:
        """Rows of the build, at the start."""
        return 0 if self.deleted else self.screen.build

    @property
    def end(self) -> int:
        """Offset up to which the rows are known."""
        return self.screen.end

    # ---- growing

    async def catch_up(self) -> None:
        """Reads on to the end of what is stored."""
        for left in reversed(range(LOOKS)):
            try:
                async for piece in self._raw.behind(self.end):
                    await asyncio.to_thread(self.feed, piece) if heavy(piece) else self.feed(piece)
                return
            except Moved:
                if not left:
                    return
                await self._raw.look()

    def feed(self, piece: LogChunk | LogGap) -> list[Rows]:
        """What came or changed; the piece has to begin at ``end``."""
        if isinstance(piece, LogGap):
            changed = self.screen.gap(piece.offset, piece.size, piece.why)
        else:
            self._raw.remember(piece)
            changed = self.screen.feed(piece)
        self._own.fed(piece.end - piece.offset, self.screen)
        return changed

    @property
    def heavy(self) -> bool:
        """Whether it has read on for so long that ``lighten`` is worth it."""
        return self._own.size > self._most

    async def lighten(self) -> None:
        """Lets go of the rows that the archive has sealed meanwhile."""
        await self._raw.look()
        self._own.without(self._sealed[-1].last if self._sealed else 0)
        self._most = MOST_OWN + self._own.size

    def finish(self) -> list[Rows]:
        """Nothing more comes: all rows settle. What changed by it."""
        if self.complete:
            return []
        self.complete = True
        return self.screen.finish()

    # ---- rows

    async def window(self, first: int, count: int) -> list[Rows]:
        """Rows from number ``first`` on, as far as there are; at most ``MOST_ROWS`` and about
        ``WINDOW_BYTES``."""
        found: list[Rows] = []
        room = WINDOW_BYTES
        last = min(first + min(count, MOST_ROWS) - 1, self.total)
        async for rows in self._rows(max(1, first), last):
            if len(rows.data) > room:
                part = fitting(rows, room, alone=not found)
                return [*found, part] if part else found
            found.append(rows)
            room -= len(rows.data) + 1
        return found

    async def all(self, first: int = 1, last: int | None = None) -> AsyncGenerator[Rows, None]:
        """Rows from one number to another, in runs of a few MiB."""
        async for rows in self._rows(first, min(last or self.total, self.total)):
            yield rows

    async def _rows(self, at: int, last: int) -> AsyncGenerator[Rows, None]:
        """Each time anew: rows settle, and are sealed, while somebody reads."""
        while at <= last:
            rows = await self._some_rows(at, last)
            if rows is None:
                return
            yield rows
            at += rows.count

    async def _some_rows(self, at: int, last: int) -> Rows | None:
        """At least the row ``at``; None where there is none (any more)."""
        if at > self.settled:
            return self._live_rows(at, last)
        run = await self.run_at(at)
        if run is None:
            return None
        last = min(last, run.first + run.count - 1)
        return await self.rows_of(run, at, last)

    def _live_rows(self, at: int, last: int) -> Rows | None:
        for rows in self.screen.live():
            end = rows.first + rows.count - 1
            if rows.first <= at <= end:
                return part_of_rows(rows, at, min(last, end))
        return None

    async def rows_of(self, run: Settled, first: int, last: int) -> Rows:
        if run.rows is not None:
            return part_of_rows(run.rows, first, last)
        chunks = await self._raw.between(run.start, run.stop)
        found = await asyncio.to_thread(plain_rows, chunks, run, first, last)
        return found or lost_rows(run, first, last)

    async def run_at(self, row: int) -> Settled | None:
        """The run of settled rows that holds this one."""
        if self.heavy:
            await self.lighten()
        entry = holding(self._sealed, row) or holding(self._own.closed, row)
        if entry is None:
            self._own.take(self.screen)
            entry = holding(self._own.closed, row)
        return holding(await self.runs_of(entry) if entry else self._own.open, row)

    async def runs_of(self, entry: SealedRows) -> list[Settled]:
        if not entry.object and entry.data is None:
            return [run_of(entry)]
        if entry.first not in self._unpacked:
            try:
                runs = await self._raw.archive.runs(entry)
            except (NotFound, Corrupt) as error:
                log.error("sealed rows are lost: %s", error)
                runs = [lost_run(entry)]
            if len(self._unpacked) >= KEPT:
                self._unpacked.pop(next(iter(self._unpacked)))
            self._unpacked[entry.first] = runs
        return self._unpacked[entry.first]

    # ---- places

    async def row_at(self, offset: int) -> int:
        """The row that the byte there belongs to; behind the end of the log the last one."""
        return await row_places.row_at(self, offset)

    async def row_at_time(self, at: float) -> int:
        """The first row that was begun at that time or later; the last one where none was."""
        return await row_places.row_at_time(self, at)

    async def offset_of(self, row: int) -> int:
        """Where the row was begun; the end of the log where there are fewer."""
        return await row_places.offset_of(self, row)

    def parts(self) -> list[SealedRows | list[Settled]]:
        """All that has settled, in order, in parts of a few MiB."""
        self._own.take(self.screen)
        sealed = self._sealed
        last = sealed[-1].last if sealed else 0
        self._own.without(last)
        open_yet = [run for run in self._own.open if run.first + run.count - 1 > last]
        return [*sealed, *self._own.closed, *([open_yet] if open_yet else [])]


def holding(runs: Sequence[T], row: int) -> T | None:
    """The one of those that holds the row."""
    place = bisect_right(runs, row, key=lambda run: run.first)
    found = runs[place - 1] if place else None
    return found if found is not None and row < found.first + found.count else None


def fitting(rows: Rows, room: int, alone: bool) -> Rows | None:
    """As many of the rows as fit; ``alone``: at least one."""
    stop = rows.data.rfind(b"\n", 0, max(0, room) + 1)
    count = rows.data.count(b"\n", 0, stop) + 1 if stop >= 0 else int(alone)
    return part_of_rows(rows, rows.first, rows.first + count - 1) if count else None


def heavy(piece: LogChunk | LogGap) -> bool:
    return isinstance(piece, LogChunk) and len(piece.data) > QUICK


def lost_rows(run: Settled, first: int, last: int) -> Rows:
    """In place of rows whose block is gone: their numbers stay."""
    text = f"[stoker: {last - first + 1} lines are lost here]".encode()
    spans = (RowSpan(Stream.STOKER, last - first + 1, run.since),)
    return Rows(first, text + b"\n" * (last - first), spans)


def lost_run(entry: SealedRows) -> Settled:
    run = run_of(entry)
    return replace(run, rows=lost_rows(run, entry.first, entry.last))
