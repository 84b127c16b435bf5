"""What does a terminal do on each control sequence of a log?

The screen has no right edge: nothing wraps. It is always full, so its last row is the last of the
log. A program that clears the screen or places the cursor by numbers gets a screen of its own below
what was printed before, and paints there. All numbers are bounded: a few bytes make few rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bus.pen import Pen
from bus.sheet import SCREEN_ROWS

MOST_RIGHT = 256
"""Columns to which a cursor can be moved where nothing is written yet."""
MOST_DOWN = 24
"""Rows below the last one to which it can be moved on a screen of a program's own."""
FIRST_BLANKS, BYTES_A_BLANK = 100, 64
"""Rows that moves alone may make at once, and bytes of log for each one more."""
_OWN_SCREEN = frozenset({b"47", b"1047", b"1049"})


def control(pen: Pen, found: re.Match[bytes]) -> None:
    """``ESC [ …`` but for SGR."""
    private, parameters, name = found.group("private", "parameters", "control")
    pen.touch()
    if private:
        if parameters in _OWN_SCREEN and name in b"hl":
            _own_screen(pen, begun=name == b"h")
        return
    numbers = [int(part) if part.isdigit() else 0 for part in parameters[:32].split(b";")]
    if action := _CONTROLS.get(name):
        action(pen, numbers)


def other(pen: Pen, sequence: bytes) -> None:
    """What is no text, no line's end and no ``ESC [``; most of it does nothing."""
    pen.touch()
    match sequence:
        case _ if sequence.startswith(b"\b"):
            pen.x = max(pen.column() - len(sequence), 0)
        case b"\x1b7":
            _keep(pen, [])
        case b"\x1b8":
            _restore(pen, [])
        case b"\x1bM":
            _up(pen, [1])
        case b"\x1bD":
            _down(pen, [1])
        case b"\x1bE":
            _down_to_start(pen, [1])
        case b"\x1bc":
            pen.style = b""
            _erase_screen(pen, [2])


def carriage_return(pen: Pen) -> None:
    pen.touch()
    if pen.x or pen.open is not None:
        pen.x = 0


def _up(pen: Pen, numbers: list[int]) -> None:
    _go(pen, pen.y - max(numbers[0], 1))


def _down(pen: Pen, numbers: list[int]) -> None:
    _go(pen, pen.y + max(numbers[0], 1))


def _go(pen: Pen, y: int) -> None:
    """To a row of the screen, in the same column."""
    pen.column()
    if pen.sheet.rows:
        pen.sheet.rows[-1].own = True
    pen.own = True
    pen.y = min(max(y, _top(pen)), _bottom(pen))
    pen.low = max(pen.low, pen.y)


def _top(pen: Pen) -> int:
    return max(pen.top, pen.sheet.settled + 1)


def _bottom(pen: Pen) -> int:
    bottom = max(pen.sheet.total, pen.low)
    if pen.top <= pen.sheet.settled:
        return bottom
    blanks = min(FIRST_BLANKS + pen.begin // BYTES_A_BLANK - pen.blanks, MOST_DOWN)
    return max(bottom, min(pen.top + SCREEN_ROWS - 1, pen.sheet.total + blanks))


def _down_to_start(pen: Pen, numbers: list[int]) -> None:
    _down(pen, numbers)
    pen.x = 0


def _up_to_start(pen: Pen, numbers: list[int]) -> None:
    _up(pen, numbers)
    pen.x = 0


def _right(pen: Pen, numbers: list[int]) -> None:
    _to(pen, pen.column() + max(numbers[0], 1))


def _left(pen: Pen, numbers: list[int]) -> None:
    _to(pen, pen.column() - max(numbers[0], 1))


def _column(pen: Pen, numbers: list[int]) -> None:
    _to(pen, max(numbers[0], 1) - 1)


def _to(pen: Pen, x: int) -> None:
    row = pen.open
    if row is None or not row.long:
        most = max(MOST_RIGHT, row.width() if row else 0)
        pen.x = min(max(x, 0), most)


def _place(pen: Pen, numbers: list[int]) -> None:
    _own_place(pen)
    _go(pen, _top(pen) + max(numbers[0], 1) - 1)
    _column(pen, numbers[1:2] or [1])


def _row(pen: Pen, numbers: list[int]) -> None:
    _own_place(pen)
    _go(pen, _top(pen) + max(numbers[0], 1) - 1)


def _own_place(pen: Pen) -> None:
    """Begins a screen of the program's own, unless it has one within reach."""
    if pen.top <= pen.sheet.settled:
        pen.top = pen.low = pen.sheet.total + 1
        _go(pen, pen.top)


def _own_screen(pen: Pen, begun: bool) -> None:
    pen.top = 0
    if begun:
        _own_place(pen)
    else:
        _go(pen, pen.sheet.total)
        pen.y, pen.x = pen.sheet.total + 1, None
        pen.low = pen.y


def _erase_screen(pen: Pen, numbers: list[int]) -> None:
    row, x, behind = pen.open, pen.column(), pen.sheet.total + 1
    above, below = range(_top(pen), min(pen.y, behind)), range(pen.y + 1, behind)
    match numbers[0]:
        case 0:
            _erase_line(pen, [0])
        case 1:
            below = range(0)
            _erase_line(pen, [1])
        case 2 if pen.top > pen.sheet.settled:
            if row is not None:
                row.erase(0)
        case 2:
            _own_place(pen)
            return
        case _:
            return
    for number in below if numbers[0] == 0 else [*above, *below]:
        pen.sheet.row(number).erase(0)
    pen.x = x


def _erase_line(pen: Pen, numbers: list[int]) -> None:
    row = pen.open
    if row is None or (pen.x is None and numbers[0] == 0):
        return
    if row.long:
        return
    match numbers[0]:
        case 0:
            row.erase(pen.column())
        case 1:
            row.erase(0, pen.column() + 1)
        case 2:
            pen.column()
            row.erase(0)


def _erase_characters(pen: Pen, numbers: list[int]) -> None:
    row = pen.open
    if row is not None and not row.long:
        row.erase(pen.column(), pen.column() + max(numbers[0], 1))


def _delete(pen: Pen, numbers: list[int]) -> None:
    row = pen.open
    if row is not None and not row.long:
        row.shift(pen.column(), max(numbers[0], 1))


def _insert(pen: Pen, numbers: list[int]) -> None:
    row = pen.open
    if row is not None and not row.long:
        row.shift(pen.column(), -min(max(numbers[0], 1), MOST_RIGHT))


def _keep(pen: Pen, _: list[int]) -> None:
    pen.kept = (pen.y, pen.column(), pen.style)


def _restore(pen: Pen, _: list[int]) -> None:
    y, x, pen.style = pen.kept
    _go(pen, y)
    _to(pen, x)


_CONTROLS: dict[bytes, Callable[[Pen, list[int]], None]] = {
    b"A": _up,
    b"B": _down,
    b"C": _right,
    b"D": _left,
    b"E": _down_to_start,
    b"F": _up_to_start,
    b"G": _column,
    b"H": _place,
    b"J": _erase_screen,
    b"K": _erase_line,
    b"P": _delete,
    b"X": _erase_characters,
    b"@": _insert,
    b"`": _column,
    b"a": _right,
    b"d": _row,
    b"e": _down,
    b"f": _place,
    b"s": _keep,
    b"u": _restore,
}
