"""Where in a readable log does the next byte go, and what does a control sequence do to it?

The screen has no right edge: nothing wraps. It is always full, so its last row is the last of the
log, and a cursor goes up by ``SCREEN_ROWS`` at most. A program that clears the screen or places the
cursor by numbers gets a screen of its own below what was printed before, and paints there.
"""

from __future__ import annotations

from bus.row import Row
from bus.sheet import Sheet
from schemas.stream import Stream


class Pen:
    """The cursor on a sheet, and the style in which it writes."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.y = 1
        """Number of its row: of one that can still change, or of one that is yet to be begun."""
        self.x: int | None = None
        """Its column; None behind the last byte of a row that has no cells."""
        self.style = b""
        self.begin = 0
        """Raw offset at which the next row begins."""
        self.own = False
        """The next row is not just what is in the raw log."""
        self.low = 1
        """The lowest row that it was in: as far down can it go again."""
        self.top = 0
        """First row of the program's own screen; 0 without one."""
        self.blanks = 0
        """Rows that were made by moves alone."""
        self.kept: tuple[int, int, bytes] = (1, 0, b"")
        """What the program told the terminal to keep: row, column and style."""

    @property
    def prints(self) -> bool:
        """Whether lines can be put down as they are: the cursor is where the last byte was."""
        total = self.sheet.total
        if self.y > total:
            return self.y == total + 1 and not self.x
        return self.y == total and self.x is None

    @property
    def open(self) -> Row | None:
        """The row that the cursor is in, where it was begun."""
        return self.sheet.row(self.y) if self.y <= self.sheet.total else None

    def appends(self, row: Row | None) -> bool:
        """Whether what is printed goes behind all that its row holds, as printed."""
        if row is None or row.cells is not None:
            return False
        return self.x is None or (self.x == 0 and not row.data)

    def start_row(self, stream: Stream, time: float) -> Row:
        """The row that the cursor is in, begun where it was not."""
        missing = self.y - self.sheet.total
        self.own = self.own or missing > 1
        self.blanks += max(missing - 1, 0)
        for _ in range(missing):
            row = Row(stream, time, self.begin)
            row.own = self.own
            self.sheet.push(row)
        self.own = self.own and missing < 1
        return self.sheet.row(self.y)

    def next_line(self, offset: int) -> None:
        """The cursor goes behind a newline that ends at ``offset``; its row has been begun."""
        if self.y < self.sheet.total:
            self.touch()
            self.x = 0
        else:
            self.x, self.begin, self.own = None, offset, False
        self.y += 1
        self.low = max(self.low, self.y)

    def print(self, row: Row, data: bytes) -> None:
        """Puts bytes behind all that its row holds."""
        if self.style and not row.data:
            row.own = True
            data = self.style + data
        row.print(data)
        self.x = None

    def touch(self) -> None:
        """Something else than text came: it is no row of the raw log any more."""
        if self.y > self.sheet.total:
            self.own = True
        elif self.sheet.rows:
            self.sheet.rows[-1].own = True

    def write(self, row: Row, text: bytes, at: int) -> Row:
        """Puts text where the cursor is; gives the row, a new one where this is too long for it."""
        if self.appends(row):
            self.print(row, text)
        elif row.long:
            self.y, self.begin, self.own = self.y + 1, at, True
            row = self.start_row(row.stream, row.time)
            self.print(row, text)
        else:
            x = row.width() if self.x is None else self.x
            self.x = row.write(x, text.decode("utf-8", "surrogateescape"), self.style)
        return row

    def column(self) -> int:
        """Where it is in its row, which gets cells for it; 0 where that is too long."""
        if self.x is None:
            row = self.open
            self.x = 0 if row is None or row.long else row.width()
        return self.x
