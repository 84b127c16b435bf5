"""How do rows of the readable log look to a browser?

4 bytes (big-endian) length of a JSON header, the header, then the rows joined by newlines, as UTF-8
that may hold invalid bytes and colours (``ESC [ … m``). The same over HTTP and over a WebSocket.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bus.row_values import Rows, RowSpan
from bus.rows import RowLog
from schemas.log import Cursor

FRAME_BYTES = 256 * 1024
"""Rows in one frame of a WebSocket; a longer row goes on in the next one."""
ESCAPE = 0x1B
LONGEST_COLOUR = 64
"""Bytes of a colour's sequence before which a row is cut rather than in it."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a log has been read."""

    attempt: int
    rank: int
    total: int
    """Number of the last row."""
    settled: int
    """Rows that cannot change any more."""
    build: int
    """Rows of the build, at the start."""
    end: int
    """Offset behind the last raw byte."""
    complete: bool

    def values(self) -> dict[str, object]:
        return {
            "attempt": self.attempt,
            "rank": self.rank,
            "total": self.total,
            "settled": self.settled,
            "build": self.build,
            "end": self.end,
        }


def position_of(log: RowLog, cursor: Cursor) -> Position:
    return Position(
        cursor.attempt, cursor.rank, log.total, log.settled, log.build, log.end, log.complete
    )


def rows_frame(position: Position, rows: Rows, **more: object) -> bytes:
    spans = [[span.stream.value, span.count, round(span.time, 3)] for span in rows.spans]
    told = {"first": rows.first, "count": rows.count, "append": rows.append, "spans": spans}
    return frame(position, {**told, **more}, rows.data)


def empty_frame(position: Position, first: int, **more: object) -> bytes:
    """Where there is no row from ``first`` on."""
    return frame(position, {"first": first, "count": 0, "append": False, "spans": [], **more}, b"")


def frame(position: Position, told: dict[str, object], data: bytes) -> bytes:
    values = {**position.values(), "complete": position.complete, **told}
    header = json.dumps(values, separators=(",", ":")).encode()
    return b"".join((len(header).to_bytes(4, "big"), header, data))


def pieces(rows: Rows, size: int = FRAME_BYTES) -> Iterator[Rows]:
    """The rows in runs of at most ``size`` bytes; a longer row goes on in the next run."""
    while len(rows.data) > size:
        end = rows.data.rfind(b"\n", 0, size)
        if end >= 0:
            count = rows.data.count(b"\n", 0, end) + 1
            yield head(rows, count, end)
            rows = behind(rows, count, end + 1)
        else:
            end = cut_in_row(rows.data, size)
            yield head(rows, 1, end)
            rows = replace(rows, data=rows.data[end:], append=True)
    yield rows


def cut_in_row(data: bytes, size: int) -> int:
    """A place up to ``size`` that is neither inside a character nor inside a colour."""
    escape = data.rfind(ESCAPE, max(0, size - LONGEST_COLOUR), size)
    if escape > 0 and b"m" not in data[escape:size]:
        return escape
    end = size
    while end > size - 4 and 0x80 <= data[end] < 0xC0:
        end -= 1
    return end if end > size - 4 else size


def head(rows: Rows, count: int, end: int) -> Rows:
    """The first ``count`` rows, which end at ``end`` of the data."""
    return replace(rows, data=rows.data[:end], spans=first_spans(rows.spans, count))


def behind(rows: Rows, count: int, start: int) -> Rows:
    """Without the first ``count`` rows; the next one starts at ``start`` of the data."""
    spans = spans_behind(rows.spans, count)
    return Rows(rows.first + count, rows.data[start:], spans)


def first_spans(spans: tuple[RowSpan, ...], count: int) -> tuple[RowSpan, ...]:
    kept = []
    for span in spans:
        if count <= 0:
            break
        kept.append(span._replace(count=min(span.count, count)))
        count -= span.count
    return tuple(kept)


def spans_behind(spans: tuple[RowSpan, ...], count: int) -> tuple[RowSpan, ...]:
    kept = []
    for span in spans:
        if span.count > count:
            kept.append(span._replace(count=span.count - max(0, count)))
        count -= span.count
    return tuple(kept)


def joined(runs: list[Rows]) -> Rows:
    """Runs that follow each other as one; there is at least one."""
    if len(runs) == 1:
        return runs[0]
    spans = tuple(span for run in runs for span in run.spans)
    return Rows(runs[0].first, b"\n".join(run.data for run in runs), spans, runs[0].append)
