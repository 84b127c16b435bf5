"""No output makes a screen grow, and rows that are gone stay as they are."""

from __future__ import annotations

import pytest

from bus.row import CUT, MOST_BYTES, MOST_COLUMNS
from bus.screen import SCREEN_ROWS, Screen
from schemas.stream import Stream
from tests.unit.screens import Reader, numbered, out, shown

OUT, ERR, BUILD, STOKER = Stream.STDOUT, Stream.STDERR, Stream.BUILD, Stream.STOKER
MOST_KEPT = 1 << 20

HOSTILE = {
    "returns": b"\r" * 100_000,
    "letters written over": b"\rx" * 20_000,
    "far down": b"\x1b[999999999Bx" * 5_000,
    "far right": b"\x1b[999999999Cx\r" * 5_000,
    "far on a screen of its own": b"\x1b[2J\x1b[999;999Hx" * 3_000,
    "screens without end": b"\x1b[?1049h\x1b[99Hx\x1b[?1049l" * 3_000,
    "accents without end": b"a\r" + "\u0301".encode() * 30_000,
    "a long row written over": b"y" * MOST_COLUMNS + b"\rx" * 20_000,
    "blanks put in": b"x" * 4_000 + b"\r" + b"\x1b[256@" * 5_000,
    "tabs on a row written over": b"a\r" + b"\t" * 20_000,
    "a colour a letter": b"a\r" + b"".join(b"\x1b[38;5;%dmx" % (n % 256) for n in range(9_000)),
    "wide rows of colours": (b"\r" + b"\x1b[31mx\x1b[32my" * 900 + b"\n") * 50,
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_output_leaves_a_small_screen(raw: bytes) -> None:
    reader = Reader()
    for at in range(0, len(raw), 10_000):
        reader.feed_out(raw[at : at + 10_000])
    assert len(reader.screen.dump()) < MOST_KEPT
    assert reader.told < 40 * len(raw)
    assert reader.screen.total <= 200 + raw.count(b"\n") + len(raw) // 20


def test_a_long_line_is_told_in_pieces_and_once() -> None:
    reader = Reader()
    for _ in range(100):
        reader.feed_out(b"x" * 30_000)
    assert reader.lines == [b"x" * 3_000_000]
    assert reader.told == 3_000_000


def test_a_line_too_long_to_keep_is_cut_aloud() -> None:
    raw = "ü".encode() * (MOST_BYTES // 2 + 1000)
    assert shown(raw[:99], raw[99:], b"more\nnext\n") == [
        raw[:MOST_BYTES] + CUT,
        b"next",
    ]


def test_a_long_line_is_not_written_over() -> None:
    line = b"x" * (MOST_COLUMNS + 1)
    assert shown(line + b"\rnext\r\nlast") == [line, b"next", b"last"]


def test_a_row_that_is_written_over_is_cut_at_its_limit() -> None:
    assert shown(b"a\r" + b"x" * (MOST_COLUMNS + 5)) == [b"x" * MOST_COLUMNS + CUT]


def test_rows_far_above_are_out_of_reach() -> None:
    reader = Reader()
    reader.feed_out(b"first\n" + b"line\n" * SCREEN_ROWS + b"\x1b[999A\rTOP")
    assert reader.lines[:2] == [b"first", b"TOPe"]


def test_rows_settle_as_the_raw_log_where_they_are_just_that() -> None:
    reader = Reader()
    lines = b"".join(b"line %d\n" % number for number in range(3000))
    reader.feed_out(lines + b"\r10%\r20%\n" + b"short\n" + b"\r30%\n" + lines)
    reader.finish()
    assert [(run.first, run.count, run.rows is None) for run in reader.settled] == [
        (1, 3000, True),
        (3001, 3, False),
        (3004, 2900, True),
        (5904, 100, True),  # The last screenful settled when the log was complete.
    ]
    assert reader.archived() == reader.rows


def test_times_and_streams_are_those_of_a_rows_first_byte() -> None:
    reader = Reader()
    reader.feed((OUT, b"out "), (ERR, b"err\n"), (ERR, b"e2\no"), (OUT, b"ut\nlast"))
    assert [stream for _, (stream, _) in sorted(reader.rows.items())] == [OUT, ERR, ERR, OUT]


def test_stokers_words_and_the_build_stand_alone() -> None:
    reader = Reader()
    reader.feed(
        (STOKER, b"[stoker] image\n"), (BUILD, b"step 1\n\x1b[31mstep 2"), (OUT, b"\rbar\x1b[A\rx")
    )
    assert reader.screen.build == 3
    reader.feed((STOKER, b"[stoker] left out\n"), (OUT, b"\rbar 2\n"))
    reader.finish()
    assert [data for _, (_, data) in sorted(reader.rows.items())] == [
        b"[stoker] image",
        b"step 1",
        b"\x1b[31mstep 2",
        b"xar",
        b"[stoker] left out",
        b"bar 2",
    ]
    assert reader.archived() == reader.rows


def test_a_gap_is_told_on_a_row_of_its_own() -> None:
    reader = Reader()
    reader.feed_out(b"half a li")
    reader.hear(reader.screen.gap(9, 5, "the worker's disk was full"))
    assert reader.screen.end == 14
    reader.hear(reader.screen.feed(out(14, b"rest\n")))
    reader.hear(reader.screen.feed(out(30, b"later\n")))
    words = [data for _, (_, data) in sorted(reader.rows.items())]
    assert words == [
        b"half a li",
        b"[stoker] 5 bytes of the log are missing here: the worker's disk was full",
        b"rest",
        b"[stoker] 11 bytes of the log are missing here",
        b"later",
    ]
    assert [reader.rows[n][0] for n in (1, 2, 3, 4)] == [OUT, STOKER, OUT, STOKER]


def test_what_was_read_before_is_left_out() -> None:
    screen = Screen()
    screen.feed(out(0, b"abc\nd"))
    rows = screen.feed(out(2, b"c\ndef\n"))
    assert [numbered(news) for news in rows] == [{2: (OUT, b"ef")}]
    assert screen.feed(out(0, b"abc")) == []


def test_a_damaged_screen_is_refused() -> None:
    kept = Screen().dump()
    for damaged in (b"", b"\x01", kept[:-3], b"\x80"):
        with pytest.raises(ValueError, match=r"."):
            Screen.load(damaged)
