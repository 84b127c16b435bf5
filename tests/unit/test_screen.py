"""A log is shown as on a terminal, whatever pieces it comes in, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.row import MOST_COLUMNS
from bus.screen import SCREEN_ROWS
from schemas.stream import Stream
from tests.unit.screens import Part, Reader, numbered, shown

RED, RESET = b"\x1b[31m", b"\x1b[0m"

CASES = {
    "lines": (b"a\nb\n\nc", [b"a", b"b", b"", b"c"]),
    "nothing": (b"", []),
    "an empty line": (b"\n", [b""]),
    "ends of lines as Windows writes them": (b"a\r\nb\r\n", [b"a", b"b"]),
    "tabs stay": (b"a\tb\n", [b"a\tb"]),
    "invalid bytes stay": (b"\xff\xfe a\xc3\n\xe2\x96", [b"\xff\xfe a\xc3", b"\xe2\x96"]),
    "a bar is its last state": (b"\r 0%\r50%\r100%\nend\n", [b"100%", b"end"]),
    "what is shorter leaves the rest": (b"abcdef\rxy\n", [b"xycdef"]),
    "a bar wiped with blanks": (b"12345\r     \rok\n", [b"ok"]),
    "erased to the end": (b"abcdef\r\x1b[Kxy\n", [b"xy"]),
    "erased up to the cursor": (b"abcdef\x1b[3D\x1b[1K\n", [b"    ef"]),
    "erased as a whole": (b"abcdef\x1b[2K\rxy\n", [b"xy"]),
    "backspaces": (b"10%\b\b\b20%\n", [b"20%"]),
    "up and down": (b"a\nb\nc\x1b[2A\rA\x1b[1B\rB\n\n", [b"A", b"B", b"c"]),
    "up to the start, down to the start": (b"a\nb\x1b[FA\x1b[EB\n", [b"A", b"B"]),
    "never above the top": (b"a\x1b[99A\rb\n", [b"b"]),
    "never below the bottom": (b"a\x1b[999999999B\rb\n", [b"b"]),
    "down again to where it was": (b"a\nb\n\x1b[2AA\x1b[2B\rc\n", [b"A", b"b", b"c"]),
    "erased below": (b"a\nb\nc\x1b[2A\r\x1b[Jx\n", [b"x", b"", b""]),
    "place in the line": (b"abc\x1b[2GX\x1b[1CY\n", [b"aXcY"]),
    "kept and restored": (b"ab\x1b7cd\x1b8X\x1b[sYZ\x1b[uQ\n", [b"abXQZ"]),
    "one up": (b"a\nb\x1bMX\n", [b"aX", b"b"]),
    "characters taken out and put in": (b"abcdef\x1b[4G\x1b[2P\x1b[1G\x1b[1@\n", [b" abcf"]),
    "characters blanked": (b"abcdef\x1b[2G\x1b[3X\n", [b"a   ef"]),
    "a wide character takes two columns": ("你好\rab\n".encode(), ["ab好".encode()]),
    "half of a wide character is a blank": ("你好\ra\n".encode(), ["a 好".encode()]),
    "an accent goes with its letter": ("e\u0301x\ry\n".encode(), [b"yx"]),
    "tabs on a row that is written over": (b"a\tb\rX\n", [b"X       b"]),
    "an invalid byte is one column": (b"\xff\xfea\rX\n", [b"X\xfea"]),
    "hidden cursor, title, bell, charset": (
        b"\x1b[?25la\x1b]0;title\x07b\x07\x1b(Bc\x1b[?25h\x0e\n",
        [b"abc"],
    ),
    "the text of a link": (b"\x1b]8;;file:///x\x1b\\text\x1b]8;;\x1b\\\n", [b"text"]),
    "a title that never ends is text": (b"\x1b]0;title\nnext\n", [b"0;title", b"next"]),
    "a sequence that is none": (b"a\x1b[12\x01b\n", [b"a[12b"]),
    "a sequence cut short at the end": (b"a\x1b[3", [b"a"]),
    "colours stay": (b"\x1b[31mred\x1b[0m.\n", [b"\x1b[31mred\x1b[0m."]),
    "a colour goes on over lines": (
        b"\x1b[31mred\nstill\n\x1b[0mplain\n",
        [b"\x1b[31mred", b"\x1b[31mstill", b"\x1b[31m\x1b[0mplain"],
    ),
    "a colour that is taken back in part": (
        b"\x1b[1;31mred\x1b[39m\nbold\x1b[22m\nplain\n",
        [b"\x1b[1;31mred\x1b[39m", b"\x1b[1mbold\x1b[22m", b"plain"],
    ),
    "a bar in colours": (
        b"\r\x1b[31m##\x1b[0m 1\r\x1b[32m###\x1b[0m 2\n",
        [b"\x1b[32m###\x1b[0m 2"],
    ),
    "part of a row in another colour": (
        b"\x1b[31mabc\x1b[0m\r\x1b[32mX\x1b[0m\n",
        [b"\x1b[32mX\x1b[0;31mbc\x1b[0m"],
    ),
    "nested bars": (
        b"\r0/2\n\r  0%\x1b[A\n\r 50%\x1b[A\r1/2\n\r100%\x1b[A\r2/2\n\n",
        [b"2/2", b"100%"],
    ),
    "a screen that is cleared again and again": (
        b"before\n\x1b[H\x1b[2J1\n2\n\x1b[H\x1b[2J3\n\x1b[2J\x1b[H4\n",
        [b"before", b"4", b""],
    ),
    "a screen painted by numbers": (
        b"before\n\x1b[Hone\x1b[3;2Hthree\x1b[1;1HONE\n",
        [b"before", b"ONE", b"", b" three"],
    ),
    "another screen and back": (
        b"before\n\x1b[?1049h\x1b[Hin\x1b[?1049lafter\n",
        [b"before", b"in", b"after"],
    ),
}


@pytest.mark.parametrize(("raw", "rows"), CASES.values(), ids=CASES.keys())
def test_a_log_is_shown_as_on_a_terminal(raw: bytes, rows: list[bytes]) -> None:
    assert shown(raw) == rows
    assert shown(*(bytes([byte]) for byte in raw)) == rows


PIECES = st.one_of(
    st.sampled_from([raw for raw, _ in CASES.values()]),
    st.sampled_from(
        b"\r|\n|\r\n|\b|\t|\x1b[A|\x1b[2A|\x1b[B|\x1b[3C|\x1b[2D|\x1b[5G|\x1b[2;3H|\x1b[J|\x1b[1J"
        b"|\x1b[2J|\x1b[K|\x1b[1K|\x1b[2K|\x1b[31m|\x1b[1;44m|\x1b[39m|\x1b[0m|\x1b[38;5;9m|\x1b7"
        b"|\x1b8|\x1bM|\x1bD|\x1bE|\x1bc|\x1b|\x1b[|\x1b]0;|\x07|\x1b[?1049h|\x1b[?1049l|\x1b[2P"
        b"|\x1b[3@|\x1b[2X|\xe2|\x96|\x88|\xff|\x00".split(b"|")
    ),
    st.sampled_from(["█▏", "你", "e\u0301", "🚀", "ö", "plain text"]).map(str.encode),
    st.sampled_from([b"line\n" * 150, b"x" * (MOST_COLUMNS + 1), b"y" * 3000, b"z\n" * 70]),
    st.binary(max_size=6),
)
PARTS = st.tuples(st.sampled_from([*[Stream.STDOUT] * 6, Stream.STDERR, *Stream]), PIECES)
LOGS = st.lists(PARTS, max_size=30)


@st.composite
def logs_in_pieces(draw: st.DrawFn) -> tuple[list[Part], list[int], list[int]]:
    parts = draw(LOGS)
    size = sum(len(data) for _, data in parts)
    places = st.lists(st.integers(0, size), max_size=12)
    return parts, draw(places), draw(places)


def fed(parts: list[Part], cuts: list[int], restarts: list[int]) -> Reader:
    """A reader that got a log in pieces, and was started anew at some."""
    reader, piece, at = Reader(), list[Part](), 0
    places = {*cuts, *restarts}
    for stream, data in parts:
        start = 0
        for place in sorted(place - at for place in places if at <= place < at + len(data)):
            reader.feed(*piece, (stream, data[start:place]))
            piece, start = [], place
            if at + place in restarts:
                reader.restart()
        piece.append((stream, data[start:]))
        at += len(data)
    reader.feed(*piece)
    reader.finish()
    return reader


@settings(deadline=None)
@given(logs_in_pieces())
def test_the_pieces_of_a_log_change_nothing(log: tuple[list[Part], list[int], list[int]]) -> None:
    parts, cuts, restarts = log
    whole, pieces = fed(parts, [], []), fed(parts, cuts, restarts)
    assert pieces.rows == whole.rows
    assert pieces.screen.total == whole.screen.total == whole.screen.settled
    assert pieces.archived() == pieces.rows
    assert whole.archived() == whole.rows


@settings(deadline=None)
@given(LOGS)
def test_live_rows_are_what_a_reader_has(parts: list[Part]) -> None:
    reader = Reader()
    for part in parts:
        reader.feed(part)
        screen = reader.screen
        assert screen.total - screen.settled <= SCREEN_ROWS
        live = [pair for rows in screen.live() for pair in numbered(rows).items()]
        assert live == [(n, reader.rows[n]) for n in range(screen.settled + 1, screen.total + 1)]


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"a", b"\n", b"\r\n", "ü█".encode(), b" \t"])), st.integers(1, 5))
def test_rows_of_a_log_without_control_are_its_lines(pieces: list[bytes], size: int) -> None:
    raw = b"".join(pieces)
    lines = raw.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n") if raw else []
    reader = Reader()
    for at in range(0, len(raw), size):
        reader.feed_out(raw[at : at + size])
    reader.finish()
    assert reader.lines == lines
    assert all(run.rows is None for run in reader.settled)
