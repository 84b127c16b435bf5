"""Which rows of a followed log are given when, and is each given once as it ended?"""

from __future__ import annotations

import random

import pytest

from stoker.answers import Gap, LogPiece
from stoker.readable import FollowedRows


class Reader:
    """One that follows, with a clock of its own."""

    def __init__(self, start: int = 0) -> None:
        self.rows = FollowedRows()
        self.offset = start
        self.now = 0.0
        self.given: list[bytes] = []

    def feed(self, data: bytes, after: float = 0.0) -> None:
        self.now += after
        piece = LogPiece(1, 0, self.offset, self.now, (("o", len(data)),), data)
        self.offset += len(data)
        self.take(self.rows.feed(piece, self.now))

    def miss(self, size: int) -> None:
        raw = {"attempt": 1, "rank": 0, "offset": self.offset, "length": size}
        self.offset += size
        self.take(self.rows.feed(Gap("bytes are missing", raw), self.now))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.rows.look(self.now))

    def finish(self) -> list[bytes]:
        self.take(self.rows.finish())
        return self.given

    def take(self, runs) -> None:  # type: ignore[no-untyped-def]
        for run in runs:
            self.given += run.data.split(b"\n")


def test_a_bar_is_given_once_as_it_ended() -> None:
    reader = Reader()
    for percent in range(101):
        reader.feed(b"\r%d%%" % percent)
    reader.feed(b"\ndone\n")
    assert reader.given == []
    assert reader.finish() == [b"100%", b"done"]


def test_a_quick_log_comes_as_it_settles() -> None:
    reader = Reader()
    for number in range(1000):
        reader.feed(b"line %d\n" % number)
    assert len(reader.given) > 800
    assert reader.finish() == [b"line %d" % number for number in range(1000)]


def test_a_slow_log_is_not_held_back() -> None:
    reader = Reader()
    reader.feed(b"one\ntwo\n")
    reader.wait(0.4)
    assert reader.given == []
    reader.wait(1.1)
    assert reader.given == [b"one", b"two"]
    reader.feed(b"thr")
    reader.wait(5)
    assert reader.given == [b"one", b"two"]
    reader.feed(b"ee\n")
    reader.wait(0.1)
    reader.wait(1.1)
    assert reader.finish() == [b"one", b"two", b"three"]


def test_a_row_that_changes_after_it_was_given_comes_again() -> None:
    reader = Reader()
    reader.feed(b"outer: 1\ninner: 1\n")
    reader.wait(0.1)
    reader.wait(1.5)
    reader.feed(b"\x1b[2Aouter: 2\ninner: 9\n")
    assert reader.finish() == [b"outer: 1", b"inner: 1", b"outer: 2", b"inner: 9"]


def test_one_may_begin_in_the_middle() -> None:
    reader = Reader(start=5000)
    for number in range(300):
        reader.feed(b"line %d\n" % number)
    assert reader.finish() == [b"line %d" % number for number in range(300)]


def test_what_is_missing_is_a_row() -> None:
    reader = Reader()
    reader.feed(b"before\n")
    reader.miss(1234)
    reader.feed(b"after\n")
    before, missing, after = reader.finish()
    assert (before, after) == (b"before", b"after")
    assert b"1,234" in missing


def test_a_bar_without_end_is_not_kept() -> None:
    reader = Reader()
    reader.rows = FollowedRows(most_bytes=50_000)
    reader.feed(b"title\n")
    for _ in range(200):
        reader.feed(b"\r" + b"x" * 1023)
        assert reader.rows.kept_bytes <= 50_000
    reader.feed(b"\r\x1b[Kdone\n")
    assert reader.finish() == [b"title", b"done"]


@pytest.mark.parametrize("seed", range(20))
def test_plain_lines_come_once_in_whatever_pieces(seed: int) -> None:
    chance = random.Random(seed)
    lines = [b"%d %s" % (n, b"x" * chance.choice((0, 5, 500))) for n in range(500)]
    text = b"\n".join(lines) + b"\n"
    reader = Reader()
    while text:
        size = chance.randint(1, 3000)
        reader.feed(text[:size], chance.choice((0, 0.1, 1.2)))
        text = text[size:]
    assert reader.finish() == lines
