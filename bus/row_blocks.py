"""How do settled rows lie in the bucket ``logs``, and how are rows cut out of a log's own bytes?

What was painted is stored as rows; the rest only says which bytes it is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, pairwise

import msgpack
import zstandard

from bus.blocks import UNREADABLE
from bus.errors import Corrupt
from bus.screen import Rows, RowSpan, Screen, Settled
from schemas.log import LogChunk, SealedRows, Span, Stream

ENTRY_BYTES = 4 << 20
"""Bytes of a log after which its settled rows make an entry of their own."""
ENTRY_RUNS = 4096
"""Runs after which they do, too."""
TAKE_BYTES = 1 << 20
"""Bytes that are painted before a screen is asked for what settled."""
STEP = 64 * 1024
"""Bytes whose newlines are counted at once before the place of one is looked for."""


def pack_runs(runs: Sequence[Settled]) -> bytes:
    """Runs that follow each other, compressed; ``unpack_runs`` is its inverse."""
    rows = [
        (run.count, run.start, run.stop, run.since, run.until, *painted(run.rows)) for run in runs
    ]
    packed: bytes = zstandard.compress(msgpack.packb(rows), 3)
    return packed


def painted(rows: Rows | None) -> tuple[bytes | None, list[tuple[str, int, float]]]:
    if rows is None:
        return None, []
    return rows.data, [(span.stream.value, span.count, span.time) for span in rows.spans]


def unpack_runs(first: int, data: bytes) -> list[Settled]:
    """``first`` is the number of the first row. Raises ``Corrupt``."""
    runs: list[Settled] = []
    try:
        for count, start, stop, since, until, text, spans in msgpack.unpackb(
            zstandard.decompress(data)
        ):
            rows = None
            if text is not None:
                rows = Rows(first, text, tuple(RowSpan(Stream(s), n, at) for s, n, at in spans))
            runs.append(Settled(first, count, start, stop, rows, since, until))
            first += count
    except UNREADABLE as error:
        raise Corrupt(f"sealed rows cannot be read: {error}") from error
    return runs


def plain_run(runs: Sequence[Settled]) -> bool:
    """Whether the runs are the log's own bytes, from the first of them to the last."""
    follows = pairwise(runs)
    return all(run.rows is None for run in runs) and all(a.stop == b.start for a, b in follows)


def describe(runs: Sequence[Settled]) -> SealedRows:
    """Without what was painted."""
    return SealedRows(
        first=runs[0].first,
        count=sum(run.count for run in runs),
        start=runs[0].start,
        end=runs[-1].stop,
        since=runs[0].since,
        until=runs[-1].until,
    )


def run_of(entry: SealedRows) -> Settled:
    """Of one that is the log's own bytes."""
    return Settled(entry.first, entry.count, entry.start, entry.end, None, entry.since, entry.until)


class Entries:
    """What settles while a log is read, in entries as the archive has them."""

    def __init__(self) -> None:
        self.closed: list[SealedRows] = []
        self.open: list[Settled] = []
        """Behind those."""
        self.size = 0
        """Bytes that the closed ones hold."""
        self._fed = 0

    def fed(self, size: int, screen: Screen) -> None:
        self._fed += size
        if self._fed >= TAKE_BYTES:
            self.take(screen)

    def take(self, screen: Screen) -> None:
        """All that has settled by now."""
        self._fed = 0
        for run in screen.take_settled():
            self.open[-1:] = joined(self.open[-1], run) if self.open else [run]
        if self.open and (
            len(self.open) >= ENTRY_RUNS or self.open[-1].stop - self.open[0].start >= ENTRY_BYTES
        ):
            self.closed.append(packed_entry(self.open))
            self.size += self.closed[-1].size
            self.open = []

    def without(self, row: int) -> None:
        """Forgets the entries up to that row: they are sealed."""
        self.closed = [entry for entry in self.closed if entry.last > row]
        self.size = sum(entry.size for entry in self.closed)


def joined(run: Settled, after: Settled) -> list[Settled]:
    """One run where both are the log's own bytes without a gap, else both."""
    if run.rows is None and after.rows is None and run.stop == after.start:
        count = run.count + after.count
        return [Settled(run.first, count, run.start, after.stop, None, run.since, after.until)]
    return [run, after]


def packed_entry(runs: Sequence[Settled]) -> SealedRows:
    """Whole, without an object."""
    entry = describe(runs)
    if plain_run(runs):
        return entry
    data = pack_runs(runs)
    return entry.model_copy(update={"data": data, "size": len(data)})


def after_newlines(data: bytes, count: int, at: int = 0) -> int:
    """Place behind the ``count``-th newline from ``at`` on; the end where there are fewer."""
    while count:
        stop = min(at + STEP, len(data))
        here = data.count(b"\n", at, stop)
        if here < count and stop < len(data):
            count, at = count - here, stop
            continue
        for _ in range(min(here, count)):
            at = data.index(b"\n", at) + 1
        return at if here >= count else len(data)
    return at


def part_of_rows(rows: Rows, first: int, last: int) -> Rows:
    """The rows from number ``first`` to ``last`` of those; all of it where they are all."""
    skipped, wanted = first - rows.first, last - first + 1
    if not skipped and wanted >= rows.count:
        return rows
    start = after_newlines(rows.data, skipped)
    stop = after_newlines(rows.data, wanted, start)
    data = rows.data[start : stop - 1 if last < rows.first + rows.count - 1 else stop]
    return Rows(first, data, tuple(part_of_spans(rows.spans, skipped, wanted)))


def part_of_spans(spans: Sequence[RowSpan], skipped: int, wanted: int) -> Iterator[RowSpan]:
    for span in spans:
        count = span.count - skipped
        if count > 0:
            yield span._replace(count=min(count, wanted))
            wanted -= count
            if wanted <= 0:
                return
        skipped = max(0, -count)


def place_of(chunks: Sequence[LogChunk], offset: int) -> int:
    """Index of the first chunk with bytes behind that offset."""
    return bisect_right(chunks, offset, key=lambda chunk: chunk.end)


def between(chunks: Sequence[LogChunk], start: int, stop: int) -> bytes | None:
    """Those bytes of the log; None where the chunks do not have all of them."""
    parts, at = [], start
    for chunk in islice(chunks, place_of(chunks, start), None):
        if chunk.offset > at or at >= stop:
            break
        parts.append(chunk.data[at - chunk.offset : stop - chunk.offset])
        at = chunk.end
    return b"".join(parts) if at >= stop else None


def cut(chunk: LogChunk, start: int, stop: int) -> LogChunk:
    """What it has between two offsets."""
    chunk = chunk.after(start)
    if chunk.end <= stop:
        return chunk
    spans, left = [], max(0, stop - chunk.offset)
    for span in chunk.spans:
        length = min(span.length, left)
        left -= length
        if length:
            spans.append(Span(span.stream, length))
    size = max(0, stop - chunk.offset)
    return replace(chunk, spans=tuple(spans), data=chunk.data[:size])


def plain_rows(chunks: Sequence[LogChunk], run: Settled, first: int, last: int) -> Rows | None:
    """Rows of a run that is the log's own bytes; None where the chunks do not have them all."""
    raw = between(chunks, run.start, run.stop)
    if raw is None:
        return None
    start = after_newlines(raw, first - run.first)
    stop = after_newlines(raw, last - first + 1, start)
    if start or stop < len(raw):
        raw = raw[start:stop]
    spans = spans_of(chunks, run.start + start, raw)
    return Rows(first, as_rows(raw), tuple(spans))


def as_rows(raw: bytes) -> bytes:
    """Raw lines as rows: without the last newline, and without returns before newlines."""
    if b"\r" in raw:
        raw = raw.replace(b"\r\n", b"\n")
    return raw[:-1] if raw.endswith(b"\n") else raw.removesuffix(b"\r")


def spans_of(chunks: Sequence[LogChunk], start: int, raw: bytes) -> Iterator[RowSpan]:
    """Who wrote the first byte of each row of ``raw``, which begins at ``start``, and when."""
    open_yet: RowSpan | None = None
    for stream, at, begin, end in pieces_of(chunks, start, start + len(raw)):
        a, b = begin - start, end - start
        count = raw.count(b"\n", max(a - 1, 0), b - 1) + (1 if a == 0 else 0)
        if not count:
            continue
        if open_yet is not None and (open_yet.stream, open_yet.time) == (stream, at):
            open_yet = open_yet._replace(count=open_yet.count + count)
            continue
        if open_yet is not None:
            yield open_yet
        open_yet = RowSpan(stream, count, at)
    if open_yet is not None:
        yield open_yet


def pieces_of(
    chunks: Sequence[LogChunk], start: int, stop: int
) -> Iterator[tuple[Stream, float, int, int]]:
    """Stream, time, and both ends of each span between two offsets."""
    for chunk in islice(chunks, place_of(chunks, start), None):
        if chunk.offset >= stop:
            return
        at = chunk.offset
        for span in chunk.spans:
            begin, end = max(at, start), min(at + span.length, stop)
            if begin < end:
                yield span.stream, chunk.time, begin, end
            at += span.length


def row_since(rows: Rows, at: float) -> int | None:
    """The first row that was begun at that time or later."""
    row = rows.first
    for span in rows.spans:
        if span.time >= at:
            return row
        row += span.count
    return None


def row_until(rows: Rows, at: float) -> int:
    """The last row that was begun by that time; the first one where none was."""
    row = found = rows.first
    for span in rows.spans:
        row += span.count
        if span.time <= at:
            found = row - 1
    return found


def begun(rows: Rows, row: int) -> float:
    """When that row was."""
    number = rows.first
    for span in rows.spans:
        number += span.count
        if row < number:
            return span.time
    return rows.spans[-1].time if rows.spans else 0.0
