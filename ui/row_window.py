"""Which rows does a request ask for, and how are they gathered?"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import web

from bus.row_search import Query
from bus.row_values import Rows, RowSpan
from bus.rows import RowLog
from schemas.log import MOST_OFFSET
from schemas.stream import Stream
from ui.api.common import number_of
from ui.problems import HttpProblem, refuse
from ui.row_frames import joined
from ui.windows import BadWindow, Window, read_time

MOST_ROWS = 5000
"""In one answer."""
USUAL_ROWS = 500
LAST_ROW = 10**12
MOST_TEXT = 1000
"""Characters of what is searched for."""
MOST_READS = 64
"""Runs of rows that are read for one answer with matching rows; it is shorter then."""
MOST_BYTES = 4 << 20
PLACES = ("first", "tail", "offset", "time")


@dataclass(frozen=True)
class Place:
    """Where the rows begin: one of these."""

    first: int | None = None
    tail: int | None = None
    offset: int | None = None
    time: float | None = None
    count: int = USUAL_ROWS

    async def row(self, log: RowLog) -> int:
        """Number of the first row; of ``tail`` as there are rows now."""
        if self.offset is not None:
            return await log.row_at(self.offset)
        if self.time is not None:
            return await log.row_at_time(self.time)
        if self.tail is not None:
            return max(1, log.total - self.tail + 1)
        return self.first or 1

    async def match(self, log: RowLog, numbers: Sequence[int]) -> int:
        """Number of the first match, counted from 1; that of a place is the one there or next."""
        if self.tail is not None:
            return max(1, len(numbers) - self.tail + 1)
        if self.offset is not None or self.time is not None:
            return bisect_left(numbers, await self.row(log)) + 1
        return self.first or 1


def read_place(request: web.Request) -> Place:
    """Raises ``HttpProblem`` 422."""
    given = [name for name in PLACES if name in request.query]
    if len(given) > 1:
        raise bad(f"{' and '.join(given)}", "write one of first, tail, offset and time")
    count = number_of(request, "count", USUAL_ROWS, 1, MOST_ROWS)
    match given:
        case ["first"]:
            return Place(first=number_of(request, "first", 1, 1, LAST_ROW), count=count)
        case ["tail"]:
            tail = number_of(request, "tail", count, 1, MOST_ROWS)
            return Place(tail=tail, count=tail)
        case ["offset"]:
            return Place(offset=number_of(request, "offset", 0, 0, MOST_OFFSET), count=count)
        case ["time"]:
            return Place(time=time_of(request.query["time"]), count=count)
        case _:
            return Place(first=1, count=count)


def time_of(text: str) -> float:
    try:
        return read_time(text, time.time())
    except BadWindow as error:
        raise bad("time", str(error)) from None


def bad(name: str, detail: str) -> HttpProblem:
    return refuse(422, "bad_query", f"{name} is not valid", f"{detail}.")


def read_query(request: web.Request) -> Query | None:
    """What rows have to match; None where all are wanted. Raises ``HttpProblem`` 422."""
    text, stream = request.query.get("q", ""), request.query.get("stream", "")
    if len(text) > MOST_TEXT:
        raise bad("q", f"q has at most {MOST_TEXT} characters")
    if "\n" in text or "\r" in text:
        raise bad("q", "q is found within one line: leave out the newline")
    if stream and stream not in list(Stream):
        raise bad("stream", f"stream is one of {', '.join(Stream)}")
    case = request.query.get("case", "0")
    if case not in ("0", "1"):
        raise bad("case", "case is 1 where letters must match as they are written, else 0")
    return Query(text, case == "1", stream) if text or stream else None


async def rows_of(log: RowLog, first: int, count: int) -> Rows | None:
    """As many of them as there are and as one answer holds."""
    if first > log.total:
        return None
    runs = await log.window(first, min(count, log.total - first + 1))
    return joined(runs) if runs else None


async def asked_rows(log: RowLog, window: Window | None) -> tuple[int, int]:
    """Numbers of the first and the last row of a part that is asked for as of raw lines."""
    first, last = 1, log.total
    if window is None:
        return first, last
    if window.first is not None:
        first = window.first
    if window.last is not None:
        last = min(last, window.last)
    if window.since is not None:
        first = await row_since(log, window.since)
    if window.until is not None:
        last = await row_since(log, window.until) - 1
    if window.tail is not None:
        first = max(first, log.total - window.tail + 1)
    return first, last


async def row_since(log: RowLog, at: float) -> int:
    """The first row that was begun then or later; behind the last one where none was."""
    row = await log.row_at_time(at)
    rows = await rows_of(log, row, 1)
    return row + 1 if rows is not None and rows.spans[0].time < at else row


@dataclass
class Matching:
    """Rows that match, out of different places."""

    numbers: list[int] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    spans: list[RowSpan] = field(default_factory=list)
    size: int = 0

    def take(self, rows: Rows, numbers: Sequence[int]) -> None:
        lines = rows.data.split(b"\n")
        origins = [span._replace(count=1) for span in rows.spans for _ in range(span.count)]
        for number in numbers:
            line, origin = lines[number - rows.first], origins[number - rows.first]
            self.lines.append(line)
            self.size += len(line)
            last = self.spans[-1] if self.spans else None
            if last is not None and (last.stream, last.time) == (origin.stream, origin.time):
                self.spans[-1] = last._replace(count=last.count + 1)
            else:
                self.spans.append(origin)
        self.numbers += numbers

    def rows(self, first: int) -> Rows:
        """As if they followed each other from number ``first`` on."""
        return Rows(first, b"\n".join(self.lines), tuple(self.spans))


async def matching(log: RowLog, numbers: Sequence[int]) -> Matching:
    """The rows with these numbers (ascending); the first of them at least, maybe not all."""
    found = Matching()
    index = reads = 0
    while index < len(numbers) and found.size < MOST_BYTES and reads < MOST_READS:
        stop = bisect_left(numbers, numbers[index] + USUAL_ROWS, index)
        first, last = numbers[index], numbers[stop - 1]
        rows = await rows_of(log, first, last - first + 1)
        if rows is None:
            break
        reads += 1
        stop = bisect_left(numbers, rows.first + rows.count, index, stop)
        found.take(rows, numbers[index:stop])
        index = stop
    return found
