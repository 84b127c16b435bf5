"""How does a log that is followed become rows as a terminal would show them, each once it is done?

A row is done when it cannot change any more. One that has its end and has stood still for a while
is taken for done, so that a slow log is not held back; if it changes later it comes again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from bus.row_blocks import part_of_rows, plain_rows
from bus.row_values import Rows, Settled
from bus.screen import Screen
from schemas.log import LogChunk, Span
from schemas.stream import Stream
from stoker.answers import Gap, LogPiece

STILL = 1.0
"""Seconds."""
MOST_BYTES = 8 << 20
"""Of the log that are kept until their rows settle; a bar may go on for long."""


class FollowedRows:
    """The rows of one attempt's log, in runs."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._screen = Screen()
        self._start: int | None = None
        self._whole = True
        """The last row has its end."""
        self._chunks: deque[LogChunk] = deque()
        self.kept_bytes = 0
        self._saved: dict[int, Rows] = {}
        """Rows whose bytes are not kept any more."""
        self._still: dict[int, tuple[bytes, float]] = {}
        """Rows that can change yet, as they were when looked at, and since when."""
        self._given: dict[int, bytes] = {}
        """Those that were given before they settled, as they were then."""
        self._looked = float("-inf")

    def feed(self, event: LogPiece | Gap, now: float) -> Iterator[Rows]:
        """What is done by now; ``now`` is the reader's clock."""
        if isinstance(event, Gap):
            start, length = event.raw["offset"], event.raw["length"]
            self._screen.gap(self._place(start), length, event.raw.get("why") or "")
        else:
            self._piece(event)
        yield from self._settled()
        if now - self._looked >= STILL / 2:
            yield from self.look(now)

    def look(self, now: float) -> Iterator[Rows]:
        """What has stood still meanwhile."""
        self._looked = now
        waiting = False
        still: dict[int, tuple[bytes, float]] = {}
        for row in single(self._screen.live()):
            data, since = self._still.get(row.first, (None, now))
            since = since if data == row.data else now
            still[row.first] = (row.data, since)
            ended = self._whole or row.first < self._screen.total
            waiting = waiting or not ended or now - since < STILL
            if not waiting and row.first not in self._given:
                self._given[row.first] = row.data
                yield row
        self._still = still

    def finish(self) -> Iterator[Rows]:
        """All the rest."""
        self._screen.finish()
        yield from self._settled()

    def _piece(self, piece: LogPiece) -> None:
        spans = tuple(Span(Stream(stream), length) for stream, length in piece.spans)
        offset = self._place(piece.offset)
        chunk = LogChunk(piece.attempt, piece.rank, offset, piece.time, spans, piece.data)
        self._whole = piece.data.endswith(b"\n")
        self._chunks.append(chunk)
        self.kept_bytes += len(chunk.data)
        self._screen.feed(chunk)

    def _place(self, offset: int) -> int:
        """Counted from where the reader began."""
        self._start = offset if self._start is None else self._start
        return offset - self._start

    def _settled(self) -> Iterator[Rows]:
        stop = 0
        for run in self._screen.take_settled():
            for rows in self._rows_of(run):
                yield from self._not_given(rows)
            stop = run.stop
        while self._chunks and self._chunks[0].end <= stop:
            self.kept_bytes -= len(self._chunks.popleft().data)
        if self.kept_bytes > self._most:
            self._saved = {row.first: row for row in single(self._screen.live())}
            self._chunks.clear()
            self.kept_bytes = 0

    def _rows_of(self, run: Settled) -> Iterable[Rows]:
        last = run.first + run.count - 1
        rows = run.rows or plain_rows(self._chunks, run, run.first, last)
        if rows is not None:
            return (rows,)
        numbers = range(run.first, last + 1)
        return [self._saved[number] for number in numbers if number in self._saved]

    def _not_given(self, rows: Rows) -> Iterator[Rows]:
        """Without those that were given as they are."""
        numbers = range(rows.first, rows.first + rows.count)
        if not any(number in numbers for number in self._given):
            yield rows
            return
        for row in single([rows]):
            if self._given.pop(row.first, None) != row.data:
                yield row


def single(runs: Iterable[Rows]) -> Iterator[Rows]:
    """One by one."""
    for run in runs:
        for number in range(run.first, run.first + run.count):
            yield part_of_rows(run, number, number)
