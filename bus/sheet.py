"""Which rows of a readable log can still change, and what was not told of them yet?"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from bus.row import MOST_COLUMNS, Row
from bus.row_values import Rows, RowSpan, Settled
from bus.settling import Settling, joined

SCREEN_ROWS = 100
"""So many rows from the bottom can still change."""


class _News(NamedTuple):
    first: int
    data: bytes
    spans: tuple[RowSpan, ...]
    append: bool


class Sheet:
    """The rows at the bottom, and what went out of reach above them."""

    def __init__(self) -> None:
        self.rows: deque[Row] = deque()
        self.settled = 0
        self._settling = Settling()
        self._gone: list[_News] = []
        """What was not told when it settled."""
        self._told = True
        """All was told but for what is in ``_gone`` and the last row."""

    @property
    def total(self) -> int:
        return self.settled + len(self.rows)

    def row(self, number: int) -> Row:
        """One that can still change."""
        return self.rows[number - self.settled - 1]

    def push(self, row: Row) -> None:
        """Begins a row at the bottom; what is too far above, or too long, settles."""
        rows = self.rows
        if rows and rows[-1].long:
            self.settle(len(rows), row.begin)
        elif len(rows) >= SCREEN_ROWS:
            self.settle(1, row.begin)
        rows.append(row)

    def push_lines(self, lines: list[Row], data: bytes) -> None:
        """The same with as many rows as a screen has at most, which are ``data``."""
        rows = self.rows
        if self._told:
            if rows and not rows[-1].told:
                self._gone.append(_News(self.total, *_told(rows[-1])))
            spans = joined([row.span() for row in lines])
            self._gone.append(_News(self.total + 1, data, spans, False))
            for row in lines:
                row.sent = len(row.data)
        if (rows and rows[-1].long) or max(len(row.data) for row in lines) > MOST_COLUMNS:
            for row in lines:
                self.push(row)
            return
        if (over := len(rows) + len(lines) - SCREEN_ROWS) > 0:
            self.settle(over, lines[0].begin)
        rows.extend(lines)

    def push_raw(self, start: int, stop: int, spans: tuple[RowSpan, ...], data: bytes) -> None:
        """Rows that are just raw lines, and settle at once with all above."""
        self.settle(len(self.rows), start)
        first = self.settled + 1
        self._gone.append(_News(first, data, spans, False))
        self._settling.add_raw(first, start, stop, spans)
        self.settled += sum(span.count for span in spans)

    def settle(self, count: int, end: int) -> None:
        """The topmost; ``end`` is the raw offset where the row behind the last one begins."""
        rows = self.rows
        while count > 0:
            taken = [rows.popleft()]
            while len(taken) < count and rows[0].own == taken[0].own:
                taken.append(rows.popleft())
            for number, row in enumerate(taken, self.settled + 1):
                if not row.told:
                    self._gone.append(_News(number, *_told(row)))
            self._settling.add(self.settled + 1, taken, rows[0].begin if rows else end)
            self.settled += len(taken)
            count -= len(taken)

    def touched(self) -> None:
        """Any row may have changed."""
        self._told = False

    def take_settled(self) -> list[Settled]:
        return self._settling.take()

    def news(self) -> list[Rows]:
        """What came or changed since it was asked last, in runs."""
        gone, self._gone = self._gone, []
        for number, row in enumerate(self.rows, self.settled + 1):
            if not row.told:
                gone.append(_News(number, *_told(row)))
        self._told = True
        return _in_runs(gone)

    def live(self) -> list[Rows]:
        """All that can still change, as it is now."""
        if not self.rows:
            return []
        data = b"\n".join([row.shown() for row in self.rows])
        return [Rows(self.settled + 1, data, joined([row.span() for row in self.rows]))]


def _told(row: Row) -> tuple[bytes, tuple[RowSpan, ...], bool]:
    data, append = row.news()
    return data, (row.span(),), append


def _in_runs(news: list[_News]) -> list[Rows]:
    runs: list[Rows] = []
    at = 0
    while at < len(news):
        first, stop = news[at], at + 1
        behind = first.first + first.data.count(b"\n") + 1
        spans = list(first.spans)
        while stop < len(news) and news[stop].first == behind and not news[stop].append:
            behind += news[stop].data.count(b"\n") + 1
            spans += news[stop].spans
            stop += 1
        data = b"\n".join([piece.data for piece in news[at:stop]])
        runs.append(Rows(first.first, data, joined(spans), first.append))
        at = stop
    return runs
