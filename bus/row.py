"""What does one row of a readable log hold, and what is left when it is written over?

A row is bytes as printed until something is written over them; then it is cells, a character and a
style each.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from bus import escapes, sgr
from bus.cell_width import NOT_NARROW, width
from bus.row_values import RowSpan
from schemas.stream import Stream

MOST_COLUMNS = 4096
"""A longer row stays as printed: nothing is written over it."""
MOST_BYTES = 8 << 20
CUT = "\N{HORIZONTAL ELLIPSIS} [cut: a longer row than is kept]".encode()
TAB = 8
MOST_COMBINED = 8
"""Characters in one cell: a letter and its accents, an emoji and its joiners."""
_NEVER = -1
_NO_STYLES: list[bytes] = []
"""Of all rows without cells."""


class Row:
    """One row, from its first byte on."""

    __slots__ = ("begin", "cells", "cut", "data", "own", "sent", "stream", "styles", "time")

    def __init__(self, stream: Stream, time: float, begin: int, data: bytes = b"") -> None:
        self.stream = stream
        self.time = time
        self.begin = begin
        """Raw offset behind the newline that made room for it."""
        self.data: bytes | bytearray = data
        """As printed; what it holds while there are no cells."""
        self.cells: list[str] | None = None
        """A wide character's second cell is empty."""
        self.styles = _NO_STYLES
        self.own = False
        """It is not just what is in the raw log from ``begin`` to the next newline."""
        self.cut = False
        """What came behind its limit was left out."""
        self.sent = _NEVER
        """Bytes that were told already; of cells 0 where they were told as they are."""

    @property
    def told(self) -> bool:
        return self.sent == (len(self.data) if self.cells is None else 0)

    @property
    def long(self) -> bool:
        """Whether it is too long to be written over."""
        return self.cells is None and len(self.data) > MOST_COLUMNS

    def print(self, data: bytes) -> None:
        """Puts bytes behind a row that has no cells."""
        if self.cut:
            return
        if not self.data:
            self.data = data
        else:
            if not isinstance(self.data, bytearray):
                self.data = bytearray(self.data)
            self.data += data
        if len(self.data) > MOST_BYTES:
            self._cut()

    def _cut(self) -> None:
        self.cut = self.own = True
        kept = bytes(self.data[:MOST_BYTES])
        self.data = kept[: escapes.whole(kept)] + CUT
        self.sent = min(self.sent, len(self.data) - len(CUT))

    def width(self) -> int:
        """The column behind its last character; gives a row that is not long its cells."""
        return len(self._own_cells())

    def write(self, column: int, text: str, style: bytes) -> int:
        """Puts text over what is there; gives the column behind it."""
        cells = self._own_cells()
        self.sent = _NEVER
        if column > len(cells):
            self._put(len(cells), [" "] * (column - len(cells)), b"")
        if not NOT_NARROW.search(text):
            return self._put(column, list(text), style)
        for character in text:
            column = self._write_one(column, character, style)
        return column

    def _write_one(self, column: int, character: str, style: bytes) -> int:
        if character == "\t":
            stop = min((column // TAB + 1) * TAB, MOST_COLUMNS)
            assert self.cells is not None
            missing = stop - len(self.cells)
            if missing > 0:
                self._put(len(self.cells), [" "] * missing, b"")
            return max(stop, column)
        match width(character):
            case 0:
                self._combine(column, character)
                return column
            case 1:
                return self._put(column, [character], style)
            case _:
                return self._put(column, [character, ""], style)

    def _combine(self, column: int, character: str) -> None:
        cells = self.cells
        assert cells is not None
        at = min(column, len(cells)) - 1
        if at > 0 and not cells[at]:
            at -= 1
        if at >= 0 and len(cells[at]) < MOST_COMBINED:
            cells[at] += character

    def _put(self, column: int, characters: list[str], style: bytes) -> int:
        cells, end = self.cells, column + len(characters)
        assert cells is not None
        if end > MOST_COLUMNS:
            self.cut = True
            end = max(column, MOST_COLUMNS)
            del characters[end - column :]
            if characters and width(characters[-1][:1] or " ") == 2:
                characters[-1] = " "
        if column < len(cells):
            self._part(column)
            self._part(end)
        cells[column:end] = characters
        self.styles[column:end] = [style] * len(characters)
        return end

    def _part(self, column: int) -> None:
        """Leaves a blank of the half of a wide character that stays on either side."""
        cells = self.cells
        assert cells is not None
        if 0 < column < len(cells) and not cells[column]:
            cells[column - 1] = cells[column] = " "

    def _own_cells(self) -> list[str]:
        if self.cells is None:
            printed, self.data, self.cells, self.styles = bytes(self.data), b"", [], []
            self.own, self.sent = True, _NEVER
            style, column = b"", 0
            for found in escapes.TOKEN.finditer(printed):
                if found.lastgroup == "sgr":
                    style = sgr.after_all(style, found[0])
                elif found.lastgroup == "text":
                    text = found[0].decode("utf-8", "surrogateescape")
                    column = self.write(column, text, style)
        return self.cells

    def erase(self, start: int, stop: int | None = None) -> None:
        """Leaves blanks; without ``stop`` to its end."""
        if self.cells is None and not self.data:
            return
        self.own, self.sent = True, _NEVER
        if start == 0 and stop is None:
            self.data, self.cells, self.styles, self.cut = b"", None, _NO_STYLES, False
            return
        cells = self._own_cells()
        self._part(min(start, len(cells)))
        if stop is None or stop >= len(cells):
            del cells[start:], self.styles[start:]
            self.cut = False
        else:
            self._put(start, [" "] * (stop - start), b"")
        if not cells:
            self.erase(0)

    def shift(self, column: int, count: int) -> None:
        """Takes out ``count`` cells, or puts in ``-count`` blanks."""
        cells = self._own_cells()
        if column >= len(cells):
            return
        self.sent = _NEVER
        self._part(column)
        self._part(column + max(count, 0))
        blanks = [" "] * min(max(-count, 0), MOST_COLUMNS - len(cells))
        cells[column : column + max(count, 0)] = blanks
        self.styles[column : column + max(count, 0)] = [b""] * len(blanks)

    def shown(self) -> bytes:
        """The row as bytes: text, and SGR sequences where the style changes."""
        if self.cells is None:
            return bytes(self.data)
        end = len(self.cells)
        while end and self.cells[end - 1] == " " and not sgr.shows_on_blank(self.styles[end - 1]):
            end -= 1
        text = self._painted(end).encode("utf-8", "surrogateescape")
        return text + CUT if self.cut else text

    def _painted(self, end: int) -> str:
        cells, styles = self.cells, self.styles
        assert cells is not None
        if not any(styles):
            return "".join(cells[:end])
        parts, style, start = [], b"", 0
        for at in range(end):
            if styles[at] != style:
                parts += cells[start:at]
                parts.append(_change(style, styles[at]))
                style, start = styles[at], at
        parts += cells[start:end]
        parts.append(_change(style, b""))
        return "".join(parts)

    def span(self) -> RowSpan:
        return RowSpan(self.stream, 1, self.time)

    def news(self) -> tuple[bytes, bool]:
        """What was not told yet, and whether it goes behind what was; then it is told."""
        append = self.sent > 0 and self.cells is None
        news = bytes(self.data[self.sent :]) if append else self.shown()
        self.sent = len(self.data) if self.cells is None else 0
        return news, append

    def dump(self) -> list[Any]:
        """As msgpack takes it."""
        head = [self.stream.value, self.time, self.begin, self.own, self.cut, self.sent]
        if self.cells is None:
            return [*head, bytes(self.data)]
        text = "\0".join(self.cells).encode("utf-8", "surrogateescape")
        return [*head, text, _runs(self.styles)]

    @classmethod
    def load(cls, kept: list[Any]) -> Row:
        stream, time, begin, own, cut, sent, data, *styles = kept
        row = cls(Stream(stream), time, begin, data)
        row.own, row.cut, row.sent = own, cut, sent
        if styles:
            row.data = b""
            row.cells = data.decode("utf-8", "surrogateescape").split("\0") if data else []
            row.styles = [style for style, count in styles[0] for _ in range(count)]
        return row


@lru_cache(4096)
def _change(before: bytes, style: bytes) -> str:
    if not style:
        return sgr.RESET.decode() if before else ""
    return ("\x1b[0;" if before else "\x1b[") + style[2:].decode()


def _runs(styles: list[bytes]) -> list[tuple[bytes, int]]:
    runs: list[tuple[bytes, int]] = []
    for style in styles:
        if runs and runs[-1][0] == style:
            runs[-1] = (style, runs[-1][1] + 1)
        else:
            runs.append((style, 1))
    return runs
