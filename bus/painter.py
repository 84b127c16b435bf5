"""How do the bytes of a log become rows?

Text, in colours at most, is put down line by line; only where more is wanted of a terminal is every
sequence looked at.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate

from bus import controls, sgr
from bus.escapes import SECOND, TOKEN, is_plain
from bus.pen import Pen
from bus.row import Row
from bus.row_values import RowSpan
from bus.sheet import SCREEN_ROWS, Sheet
from schemas.log import Span
from schemas.stream import Stream

_STAYS_COLOURED = re.compile(rb"\x1b\[(?!0?m)[0-9;:]{0,128}m[^\x1b\n]*\n")


class Painter:
    """Puts bytes of one kind on a sheet."""

    def __init__(self, sheet: Sheet, pen: Pen) -> None:
        self._sheet = sheet
        self._pen = pen
        self._data = b""
        self._base = 0
        """Raw offset of ``_data``."""
        self._spans: tuple[Span, ...] = ()
        self._ends: list[int] = []
        self._time = 0.0

    def paint(self, data: bytes, base: int, spans: tuple[Span, ...], time: float) -> None:
        """Whole characters and sequences; ``base`` is the raw offset of the first byte."""
        self._data, self._base, self._spans, self._time = data, base, spans, time
        self._ends = list(accumulate(span.length for span in spans))
        at = 0
        if self._pen.prints and is_plain(data):
            self._print(0, len(data))
            return
        while at < len(data):
            if self._pen.prints:
                found = SECOND.search(data, at)
                stop = max(data.rfind(b"\n", at, found.start()) + 1, at) if found else len(data)
                self._print(at, stop)
                at = stop
            at = self._obey(at)

    def _stream(self, at: int) -> Stream:
        """Who wrote the byte at ``at``."""
        spans = self._spans
        return spans[0 if len(spans) == 1 else bisect_right(self._ends, at)].stream

    def _obey(self, at: int) -> int:
        """Byte for byte, to the end of a line at which printing can go on, or of all."""
        pen = self._pen
        self._sheet.touched()
        for found in TOKEN.finditer(self._data, at):
            match found.lastgroup:
                case "text":
                    row = pen.start_row(self._stream(found.start()), self._time)
                    pen.write(row, found[0], self._base + found.start())
                case "back":
                    controls.carriage_return(pen)
                case "newline":
                    self._end_line(found.start())
                    if pen.prints:
                        return found.end()
                case "control":
                    controls.control(pen, found)
                case "sgr":
                    self._restyle(found)
                case _:
                    controls.other(pen, found[0])
        return len(self._data)

    def _end_line(self, at: int) -> None:
        pen = self._pen
        pen.start_row(self._stream(at), self._time)
        pen.next_line(self._base + at + 1)

    def _restyle(self, found: re.Match[bytes]) -> None:
        pen = self._pen
        if pen.prints or pen.appends(pen.open):
            row = pen.start_row(self._stream(found.start()), self._time)
            pen.print(row, found[0])
        else:
            pen.touch()
        pen.style = sgr.after_all(pen.style, found[0])

    def _print(self, at: int, stop: int) -> None:
        """Text in colours, line after line."""
        while at < stop:
            at = self._print_coloured(at, stop) if self._pen.style else self._print_lines(at, stop)

    def _print_lines(self, start: int, stop: int) -> int:
        """Begins without colours; ends behind a line that leaves some, or at the end."""
        data, at = self._data, start
        while found := _STAYS_COLOURED.search(data, at, stop):
            at = found.end()
            line = max(data.rfind(b"\n", start, at - 1) + 1, start)
            if style := sgr.after_all(b"", data[line:at]):
                self._put(start, at)
                self._pen.style = style
                return at
        self._put(start, stop)
        line = max(data.rfind(b"\n", start, stop) + 1, start)
        self._pen.style = sgr.after_all(b"", data[line:stop])
        return stop

    def _print_coloured(self, at: int, stop: int) -> int:
        """One line, or what there is of it."""
        pen, data = self._pen, self._data
        self._sheet.touched()
        end = data.find(b"\n", at, stop)
        line = data[at : end if end >= 0 else stop].removesuffix(b"\r")
        row = pen.start_row(self._stream(at), self._time)
        if line:
            pen.print(row, line)
            pen.style = sgr.after_all(pen.style, line)
        if end < 0:
            return stop
        pen.next_line(self._base + end + 1)
        return end + 1

    def _put(self, at: int, stop: int) -> None:
        """Raw lines, as they are."""
        pen, data = self._pen, self._data
        if at == stop:
            return
        if pen.y <= self._sheet.total or pen.own:
            row = pen.start_row(self._stream(at), self._time)
            end = data.find(b"\n", at, stop)
            pen.print(row, data[at : end if end >= 0 else stop].removesuffix(b"\r"))
            if end < 0:
                return
            pen.next_line(self._base + end + 1)
            at = end + 1
        if at < stop:
            self._put_rows(at, stop)

    def _put_rows(self, at: int, stop: int) -> None:
        """Whole rows but for the last, which may go on."""
        pen, data = self._pen, self._data
        ended = data.endswith(b"\n", at, stop)
        last = stop - ended
        lines = data[at:last].rsplit(b"\n", SCREEN_ROWS)
        if len(lines) > SCREEN_ROWS:
            above = lines[0]
            behind = at + len(above) + 1
            shown = above.replace(b"\r\n", b"\n").removesuffix(b"\r")
            base, spans = self._base, self._row_spans(at, behind)
            self._sheet.push_raw(base + at, base + behind, spans, shown)
            at = behind
            del lines[0]
        rows, begin = [], self._base + at
        for line in lines:
            row = Row(self._stream(begin - self._base), self._time, begin, line.removesuffix(b"\r"))
            rows.append(row)
            begin += len(line) + 1
        self._sheet.push_lines(rows, data[at:last].replace(b"\r\n", b"\n").removesuffix(b"\r"))
        pen.y = pen.low = self._sheet.total + ended
        pen.x, pen.begin = None, self._base + stop

    def _row_spans(self, at: int, stop: int) -> tuple[RowSpan, ...]:
        """Of whole lines: each belongs to the stream of its first byte."""
        if len(self._spans) == 1:
            count = self._data.count(b"\n", at, stop)
            return (RowSpan(self._spans[0].stream, count, self._time),)
        spans = []
        begun = at
        for span, end in zip(self._spans, self._ends, strict=True):
            count = self._data.count(b"\n", begun - 1 if begun > at else begun, min(end, stop) - 1)
            count += begun == at
            if end > at and begun < min(end, stop) and count:
                spans.append(RowSpan(span.stream, count, self._time))
            begun = max(begun, min(end, stop))
        return tuple(spans)
