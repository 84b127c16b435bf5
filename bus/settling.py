"""What of a readable log can never change any more, and what of it is just the raw log?

Short stretches of raw lines between rows that are not are kept with those: so a log that mixes
both has few runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from bus.row import Row
from bus.row_values import Rows, RowSpan, Settled

SHORT = 4 << 10
"""Bytes of raw lines that are kept once more rather than split a run."""
RUN_BYTES = 256 << 10
"""A run of rows of their own is this long at most, and one row."""

_STREAM_AND_TIME, _COUNT = itemgetter(0, 2), itemgetter(1)


@dataclass(slots=True)
class _Run:
    first: int
    start: int
    stop: int
    since: float
    until: float
    own: bool
    count: int = 0
    size: int = 0
    data: list[bytes] = field(default_factory=list)
    """Of a raw run only while it is short."""
    spans: list[RowSpan] = field(default_factory=list)

    def settled(self) -> Settled:
        rows = None
        if self.own:
            rows = Rows(self.first, b"\n".join(self.data), joined(self.spans))
        count, start, stop = self.count, self.start, self.stop
        return Settled(self.first, count, start, stop, rows, self.since, self.until)

    def extend(self, more: _Run) -> None:
        self.stop, self.until = more.stop, more.until
        self.count += more.count
        self.size += more.size
        if self.own or self.size <= SHORT:
            self.data += more.data
            self.spans += more.spans
        else:
            self.data, self.spans = [], []


class Settling:
    """Runs of settled rows, until somebody takes them."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def add(self, first: int, rows: list[Row], stop: int) -> None:
        """Rows that are raw lines, or are not; ``stop`` is where the next one was begun."""
        start, own = rows[0].begin, rows[0].own
        run = _Run(first, start, stop, rows[0].time, rows[-1].time, own, len(rows), stop - start)
        if own or run.size <= SHORT:
            run.data, run.spans = [row.shown() for row in rows], [row.span() for row in rows]
        if own:
            run.size = sum(map(len, run.data)) + run.count
        self._add(run)

    def add_raw(self, first: int, start: int, stop: int, spans: tuple[RowSpan, ...]) -> None:
        """Many rows that are just raw lines."""
        count = sum(span.count for span in spans)
        run = _Run(first, start, stop, spans[0].time, spans[-1].time, False, count, SHORT + 1)
        self._add(run)

    def take(self) -> list[Settled]:
        runs, self._runs = self._runs, []
        return [run.settled() for run in runs]

    def _add(self, run: _Run) -> None:
        runs = self._runs
        if run.own and runs and not runs[-1].own and runs[-1].size <= SHORT:
            short = runs.pop()
            short.own = True
            self._add(short)
        last = runs[-1] if runs else None
        if last and last.own == run.own and not (run.own and last.size + run.size > RUN_BYTES):
            last.extend(run)
        else:
            runs.append(run)


def joined(spans: list[RowSpan]) -> tuple[RowSpan, ...]:
    """Neighbours of one stream and time as one span."""
    runs = []
    for (stream, time), same in groupby(spans, _STREAM_AND_TIME):
        runs.append(RowSpan(stream, sum(map(_COUNT, same)), time))
    return tuple(runs)
