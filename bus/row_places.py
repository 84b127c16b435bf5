"""Which row does a byte or a time of a log belong to, and where was a row begun?

Of rows that are the log's own bytes newlines are counted. A stretch that was painted is painted
once more, as far as is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bus.row_blocks import after_newlines, begun, between, cut, row_since, row_until
from bus.screen import Rows, Screen
from schemas.log import LogChunk

if TYPE_CHECKING:
    from bus.rows import RowLog

MOST_PAINTED = 4 << 20
"""Bytes that are painted to answer; in a longer stretch a place is told by its time alone."""
LINE = 4096
"""Bytes in which the end of a line is looked for."""


@dataclass(frozen=True)
class Stretch:
    """Rows that follow each other, and the bytes they came from."""

    first: int
    start: int
    stop: int
    rows: tuple[Rows, ...] | None
    """None where they are the log's own bytes."""


async def row_at(log: RowLog, offset: int) -> int:
    """The row that the byte there belongs to; behind the end of the log the last one."""
    offset = min(offset, log.end - 1)
    if offset < 0 or not log.total:
        return 1
    stretch = await stretch_with(log, offset)
    if stretch.rows is not None and offset - stretch.start > MOST_PAINTED:
        chunks = await log.raw.between(offset, offset + 1)
        times = [row_until(rows, chunk.time) for rows in stretch.rows for chunk in chunks]
        return max(times, default=stretch.first)
    stop = min(stretch.stop, offset + LINE)
    chunks = await log.raw.between(stretch.start, stop)
    if stretch.rows is None:
        raw = between(chunks, stretch.start, offset)
        return stretch.first + (raw.count(b"\n") if raw else 0)
    return await asyncio.to_thread(painted_row, chunks, stretch, offset)


def painted_row(chunks: Sequence[LogChunk], stretch: Stretch, offset: int) -> int:
    """To the end of its line: a row is begun by whole characters and sequences."""
    stop = end_of_line(chunks, offset, min(stretch.stop, offset + LINE))
    screen = blank(stretch)
    for chunk in chunks:
        if chunk.offset < stop:
            screen.feed(cut(chunk, screen.end, stop))
    if screen.end <= offset:
        screen.gap(screen.end, offset + 1 - screen.end, "")
    return stretch.first + max(screen.total, 1) - 1


def end_of_line(chunks: Sequence[LogChunk], offset: int, stop: int) -> int:
    """Offset behind the next newline, or ``stop``."""
    for chunk in chunks:
        end = chunk.data.find(b"\n", max(0, offset - chunk.offset))
        if end >= 0 and chunk.end > offset:
            return min(stop, chunk.offset + end + 1)
    return stop


def blank(stretch: Stretch) -> Screen:
    screen = Screen()
    screen.end = stretch.start
    return screen


async def offset_of(log: RowLog, row: int) -> int:
    """Where the row was begun; the end of the log where there are fewer."""
    if not 1 <= row <= log.total:
        return log.end if row > 1 else 0
    stretch = await stretch_of(log, row)
    if row == stretch.first:
        return stretch.start
    if stretch.rows is None:
        raw = between(
            await log.raw.between(stretch.start, stretch.stop), stretch.start, stretch.stop
        )
        return stretch.start + (after_newlines(raw, row - stretch.first) if raw else 0)
    if stretch.stop - stretch.start <= MOST_PAINTED:
        chunks = await log.raw.between(stretch.start, stretch.stop)
        return await asyncio.to_thread(painted_begin, chunks, stretch, row)
    at = next(begun(rows, row) for rows in stretch.rows if row < rows.first + rows.count)
    return await log.raw.since(at, stretch.start, stretch.stop)


def painted_begin(chunks: Sequence[LogChunk], stretch: Stretch, row: int) -> int:
    wanted = row - stretch.first + 1
    screen = blank(stretch)
    for index, chunk in enumerate(chunks):
        screen.feed(cut(chunk, screen.end, stretch.stop))
        if screen.total >= wanted:
            again = blank(stretch)
            for before in chunks[:index]:
                again.feed(cut(before, again.end, stretch.stop))
            return line_that_begins(again, cut(chunk, again.end, stretch.stop), wanted)
    return stretch.stop


def line_that_begins(screen: Screen, chunk: LogChunk, wanted: int) -> int:
    """A row is begun by the first byte behind a newline, or stands for what is missing."""
    at = screen.end
    while screen.total < wanted and at < chunk.end:
        at = max(screen.end, chunk.offset)
        end = chunk.data.find(b"\n", at - chunk.offset) + 1
        screen.feed(cut(chunk, at, chunk.offset + end if end else chunk.end))
    return at


async def row_at_time(log: RowLog, at: float) -> int:
    """The first row that was begun at that time or later; the last one where none was."""
    for part in log.parts():
        if (part[-1] if isinstance(part, list) else part).until < at:
            continue
        for run in part if isinstance(part, list) else await log.runs_of(part):
            if run.until >= at:
                rows = await log.rows_of(run, run.first, run.first + run.count - 1)
                if (row := row_since(rows, at)) is not None:
                    return row
    found = (row_since(rows, at) for rows in log.screen.live())
    return next((row for row in found if row is not None), max(1, log.total))


async def stretch_of(log: RowLog, row: int) -> Stretch:
    run = await log.run_at(row) if row <= log.settled else None
    if run is None:
        return live_stretch(log)
    return Stretch(run.first, run.start, run.stop, (run.rows,) if run.rows else None)


async def stretch_with(log: RowLog, offset: int) -> Stretch:
    for part in reversed(log.parts()):
        first = part[0] if isinstance(part, list) else part
        if first.start > offset:
            continue
        runs = part if isinstance(part, list) else await log.runs_of(part)
        run = next(run for run in reversed(runs) if run.start <= offset)
        if offset < run.stop:
            return Stretch(run.first, run.start, run.stop, (run.rows,) if run.rows else None)
        break
    return live_stretch(log)


def live_stretch(log: RowLog) -> Stretch:
    """What can still change."""
    parts = log.parts()
    last = parts[-1] if parts else None
    start = 0 if last is None else last[-1].stop if isinstance(last, list) else last.end
    return Stretch(log.settled + 1, start, log.end, tuple(log.screen.live()))
