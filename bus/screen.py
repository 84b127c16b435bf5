"""What does a log look like on a terminal that forgets nothing?

Raw chunks go in, rows come out, numbered from 1: a progress bar that was drawn ten thousand times
is one row. Without cursor movement row N is line N of the raw log. Stoker's own words and the build
stand on rows of their own, which the job cannot paint over.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgpack

from bus.escapes import whole
from bus.painter import Painter
from bus.pen import Pen
from bus.row import Row
from bus.row_values import Rows as Rows
from bus.row_values import RowSpan as RowSpan
from bus.row_values import Settled as Settled
from bus.sheet import SCREEN_ROWS as SCREEN_ROWS
from bus.sheet import Sheet
from schemas.log import LogChunk, Span
from schemas.stream import Stream

MOST_AT_ONCE = 1 << 20
"""Bytes of a chunk that are worked on together."""
VERSION = 1
"""Of what is kept."""
PEN = ("y", "x", "style", "begin", "own", "low", "top", "blanks", "kept")
"""What is kept of it."""
_KINDS = {Stream.BUILD: "build", Stream.STOKER: "stoker"}


class Screen:
    """Rows of one attempt and rank. Whoever feeds it takes what settles, or it grows."""

    def __init__(self) -> None:
        self.end = 0
        """Raw offset up to which the log was read."""
        self.build = 0
        """Rows of the build, at the start of the log."""
        self._sheet = Sheet()
        self._pen = Pen(self._sheet)
        self._painter = Painter(self._sheet, self._pen)
        self._kind = ""
        """Whose words came last: the build's, Stoker's or the job's."""
        self._ran = False
        self._carry = b""
        """The start of a character or a sequence that is not whole yet."""
        self._carried: tuple[Span, ...] = ()
        self._time = 0.0

    @property
    def total(self) -> int:
        """Rows begun."""
        return self._sheet.total

    @property
    def settled(self) -> int:
        """Rows that can never change any more."""
        return self._sheet.settled

    def feed(self, chunk: LogChunk) -> list[Rows]:
        """What came or changed. What was read before is left out; what is missing is told."""
        if chunk.offset > self.end:
            self._miss(chunk.offset, chunk.offset - self.end, "", chunk.time)
        chunk = chunk.after(self.end)
        self._time = chunk.time
        for spans, start, stop in _pieces(chunk):
            self._read(chunk.data[start:stop], spans)
        return self._sheet.news()

    def gap(self, offset: int, size: int, why: str) -> list[Rows]:
        """Bytes that were printed and are not there, as a row of Stoker's that says so."""
        self._miss(offset + size, size, why, self._time)
        return self._sheet.news()

    def finish(self) -> list[Rows]:
        """The log is complete: all rows settle. Gives what became of a sequence cut short."""
        self._close()
        return self._sheet.news()

    def live(self) -> list[Rows]:
        """All rows behind those that are settled, as they are now."""
        return self._sheet.live()

    def take_settled(self) -> list[Settled]:
        """What settled since the last call, in runs."""
        return self._sheet.take_settled()

    def dump(self) -> bytes:
        """The state, to go on with later; what settled must have been taken."""
        pen = self._pen
        return msgpack.packb(  # type: ignore[no-any-return]  # msgpack has no types
            {
                "version": VERSION,
                "end": self.end,
                "build": self.build,
                "settled": self.settled,
                "rows": [row.dump() for row in self._sheet.rows],
                "kind": self._kind,
                "ran": self._ran,
                "time": self._time,
                "carry": self._carry,
                "carried": [(span.stream.value, span.length) for span in self._carried],
                "pen": tuple(getattr(pen, name) for name in PEN),
            }
        )

    @classmethod
    def load(cls, data: bytes) -> Screen:
        """Raises ``ValueError`` for what is no screen."""
        screen = cls()
        try:
            screen._restore(msgpack.unpackb(data, use_list=False))
        except (msgpack.UnpackException, LookupError, TypeError, AttributeError) as error:
            raise ValueError("this is no screen that was kept") from error
        return screen

    def _restore(self, kept: dict[str, Any]) -> None:
        if kept["version"] != VERSION:
            raise ValueError("this screen was kept by another version")
        self.end, self.build, self._time = kept["end"], kept["build"], kept["time"]
        self._kind, self._ran, self._carry = kept["kind"], kept["ran"], kept["carry"]
        self._carried = tuple(Span(Stream(letter), length) for letter, length in kept["carried"])
        self._sheet.settled = kept["settled"]
        self._sheet.rows.extend(map(Row.load, kept["rows"]))
        pen = self._pen
        for name, value in zip(PEN, kept["pen"], strict=True):
            setattr(pen, name, value)

    def _miss(self, end: int, size: int, why: str, time: float) -> None:
        self._close()
        self._kind = "stoker"
        words = f"[stoker] {size:,} bytes of the log are missing here" + (f": {why}" if why else "")
        row = Row(Stream.STOKER, time, self._pen.begin, words.replace("\n", " ").encode())
        row.own = True
        self._sheet.push(row)
        self.end = end
        self._close()
        self._pen.own = True

    def _turn_to(self, kind: str) -> None:
        """Others' words begin on a row of their own, and leave those above alone."""
        if self._kind and self._kind != kind:
            self._close()
        self._kind = kind
        self._ran = self._ran or kind == "job"

    def _close(self) -> None:
        """All rows settle, and a new one is to begin."""
        carry, carried = self._carry, self._carried
        self._carry, self._carried = b"", ()
        if carry.startswith(b"\x1b"):
            self._pen.touch()
        elif carry:
            self._painter.paint(carry, self.end - len(carry), carried, self._time)
        pen, sheet = self._pen, self._sheet
        unfinished = pen.y <= sheet.total
        if unfinished:
            pen.begin = self.end
        sheet.settle(len(sheet.rows), pen.begin)
        pen.y = pen.low = sheet.total + 1
        pen.x, pen.style, pen.top = None, b"", 0
        pen.own = pen.own or unfinished or pen.begin < self.end

    def _read(self, data: bytes, spans: tuple[Span, ...]) -> None:
        """Bytes of one kind."""
        self._turn_to(_KINDS.get(spans[0].stream, "job"))
        start = self.end - len(self._carry)
        self.end += len(data)
        data, spans = self._carry + data, self._carried + spans
        stop = whole(data)
        self._carry = data[stop:]
        self._carried = _within(spans, stop, len(data))
        self._painter.paint(data[:stop], start, spans, self._time)
        if self._kind == "build" and not self._ran:
            self.build = self._sheet.total


def _pieces(chunk: LogChunk) -> list[tuple[tuple[Span, ...], int, int]]:
    """Runs of one kind, none too long: the spans of each, and where it starts and stops."""
    if not chunk.data:
        return []
    bounds, at, kind = [0], 0, _KINDS.get(chunk.spans[0].stream)
    for span in chunk.spans:
        if span.length and _KINDS.get(span.stream) != kind:
            bounds.append(at)
            kind = _KINDS.get(span.stream)
        at += span.length
    bounds.append(at)
    pieces = []
    for start, stop in pairwise(bounds):
        for begin in range(start, stop, MOST_AT_ONCE):
            end = min(begin + MOST_AT_ONCE, stop)
            pieces.append((_within(chunk.spans, begin, end), begin, end))
    return pieces


def _within(spans: tuple[Span, ...], start: int, stop: int) -> tuple[Span, ...]:
    """The spans of the bytes from ``start`` to ``stop``."""
    if len(spans) == 1:
        return (Span(spans[0].stream, stop - start),) if stop > start else ()
    kept, at = [], 0
    for span in spans:
        length = min(stop, at + span.length) - max(start, at)
        if length > 0:
            kept.append(Span(span.stream, length))
        at += span.length
    return tuple(kept)
