"""A terminal that others wrote shows the same rows."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.screen import SCREEN_ROWS
from tests.unit.screens import Reader

CORPUS = Path(__file__).parents[1] / "corpus" / "terminal"
COLUMNS = 140

Cell = tuple[str, str, str, bool, bool, bool, bool, bool]


def look(screen: pyte.Screen, line: int) -> list[Cell]:
    """A line's cells, without the blanks at its end; a blank has no colours worth comparing."""
    cells = []
    for column in range(screen.columns):
        char: Any = screen.buffer[line][column]
        text = unicodedata.normalize("NFC", char.data)
        style = (char.fg, char.bg, char.bold, char.italics, char.underscore, char.reverse)
        cells.append((text, *style, char.strikethrough) if text.strip() else _BLANK)
    while cells and cells[-1] is _BLANK:
        cells.pop()
    return cells


_BLANK: Cell = (" ", "", "", False, False, False, False, False)


def theirs(raw: bytes) -> list[list[Cell]]:
    """What pyte shows, of a pipe whose newline is a line's whole end."""
    screen = pyte.Screen(COLUMNS, 400)
    screen.set_mode(pyte.modes.LNM)
    pyte.Stream(screen).feed(raw.decode())
    rows = [look(screen, line) for line in range(screen.lines)]
    while rows and not rows[-1]:
        rows.pop()
    return rows


def read(raw: bytes, size: int = 1000) -> list[bytes]:
    reader = Reader()
    for at in range(0, len(raw), size):
        reader.feed_out(raw[at : at + size])
    reader.finish()
    return reader.lines


def drawn(lines: list[bytes]) -> list[list[Cell]]:
    """Our rows, each drawn by pyte on a line of its own."""
    screen = pyte.Screen(COLUMNS, 1)
    rows = []
    for line in lines:
        screen.reset()
        pyte.Stream(screen).feed(line.decode())
        rows.append(look(screen, 0))
    while rows and not rows[-1]:
        rows.pop()
    return rows


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.log")), ids=lambda path: path.stem)
def test_what_programs_print_is_shown_as_pyte_shows_it(path: Path) -> None:
    raw = path.read_bytes()
    assert drawn(read(raw)) == theirs(raw)
    assert read(raw, 7) == read(raw)


SCREENFUL = b"".join(b"line %d\n" % number for number in range(SCREEN_ROWS))
"""Both have a full screen then: a cursor goes down to the last row only."""
MOST_UP = 60
"""Rows that thirty pieces reach."""
PIECES = (
    "\r|\n|\r\n|\b|\x1b[A|\x1b[2A|\x1b[B|\x1b[5B|\x1b[3C|\x1b[2D|\x1b[9G|\x1b[J|\x1b[K|\x1b[1K"
    "|\x1b[2K|\x1b[E|\x1b[F|\x1b[2F|\x1b[31m|\x1b[1;44m|\x1b[39m|\x1b[0m|\x1b[38;5;9m|\x1b[7m"
    "|\x1b[22;27m|\x1b7ab\x1b[2D\x1b8|\x1bM|\x1b[2P|\x1b[3@|\x1b[2X|\x1b[?25l|\x1b]0;x\x07"
    "|█▏|e\u0301|ö|text|a|  "
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(PIECES.split("|")), max_size=30))
def test_pyte_shows_the_same_of_any_moves(pieces: list[str]) -> None:
    raw = SCREENFUL + "".join(pieces).encode()
    screen = pyte.HistoryScreen(COLUMNS, SCREEN_ROWS, history=SCREEN_ROWS)
    screen.set_mode(pyte.modes.LNM)
    pyte.Stream(screen).feed(raw.decode())
    lines = read(raw)[len(screen.history.top) :]
    lines += [b""] * (SCREEN_ROWS - len(lines))
    seen = range(SCREEN_ROWS - MOST_UP, SCREEN_ROWS)
    assert drawn([*lines[seen.start :], b"."])[:-1] == [look(screen, line) for line in seen]
