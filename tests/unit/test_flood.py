"""A flood is bounded and told; what stays below the bound is whole."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from agent.flood import TAIL, TELL_EVERY, Bound, Flood, Part
from schemas.stream import Stream

RATE = 1000
MISSING = re.compile(rb"\[stoker\] (\d+) bytes \((\d+) lines\) of output are missing here: ")
FLOODS = st.lists(
    st.tuples(
        st.floats(0, 8),
        st.sampled_from([Stream.STDOUT, Stream.STDERR]),
        st.text("ab\n", min_size=1, max_size=400).map(lambda text: text.encode() * 25),
    ),
    max_size=20,
)


def program(parts: list[Part]) -> bytes:
    return b"".join(data for stream, data in parts if stream is not Stream.STOKER)


def words(parts: list[Part]) -> bytes:
    return b"".join(data for stream, data in parts if stream is Stream.STOKER)


@given(FLOODS, st.sampled_from([0, 1, RATE, 100 * RATE]), st.sampled_from([0, 20_000, 100_000]))
def test_what_passed_and_what_is_told_missing_is_all(
    flood: list[tuple[float, Stream, bytes]], rate: int, total: int
) -> None:
    judge, now, parts = Flood(Bound(rate, total), 0, 0.0), 0.0, []
    for wait, stream, data in flood:
        now += wait
        if judge.due is not None and judge.due <= now:
            parts += judge.tick(judge.due)
        parts += judge.take(stream, data, now)
    parts += judge.end()
    given_ = b"".join(data for _, _, data in flood)
    missing = [(int(size), int(lines)) for size, lines in MISSING.findall(words(parts))]
    kept = program(parts)
    assert len(kept) + sum(size for size, _ in missing) == len(given_)
    assert kept.count(b"\n") + sum(lines for _, lines in missing) == given_.count(b"\n")
    assert words(parts).count(b"from here on") == len(missing)
    assert judge.due is None
    if rate:
        assert len(kept) <= rate * (10 + now) + 2 * TAIL
    if total:
        assert len(kept) <= total + 2 * TAIL


@given(FLOODS)
def test_below_the_rate_nothing_is_lost_and_nothing_said(
    flood: list[tuple[float, Stream, bytes]],
) -> None:
    judge, now = Flood(Bound(RATE, 0), 0, 0.0), 0.0
    for _, stream, data in flood:
        now += len(data) / RATE
        assert judge.take(stream, data, now) == [(stream, data)]
    assert judge.end() == []


def test_a_stretch_ends_by_itself_when_there_is_room_again() -> None:
    judge = Flood(Bound(RATE, 0), 0, 0.0)
    parts = judge.take(Stream.STDOUT, b"line\n" * 2000 + b"lost\n" * 2000 + b"last\n", 0.0)
    assert program(parts) == b"line\n" * 2000
    assert words(parts).startswith(b"[stoker] output is left out from here on: more than 1000 b")
    due = judge.due
    assert due == 1.0
    assert judge.tick(0.5) == []
    parts = judge.tick(due)
    assert program(parts) == b"lost\n" * 198 + b"last\n"
    assert b"9010 bytes (1802 lines) of output are missing here" in words(parts)
    assert judge.take(Stream.STDOUT, b"on\n", 2.0) == [(Stream.STDOUT, b"on\n")]


def test_the_last_words_are_kept_when_the_program_ends_in_a_flood() -> None:
    judge = Flood(Bound(RATE, 0), 0, 0.0)
    for _ in range(1000):
        judge.take(Stream.STDOUT, b"flood\n" * 1000, 0.0)
    judge.take(Stream.STDERR, b"Traceback\n", 0.0)
    judge.take(Stream.STDERR, b"KeyError: 1\n", 0.0)
    for _ in range(1000):
        judge.take(Stream.STDOUT, b"late\n" * 1000, 0.0)
    parts = judge.end()
    assert parts[-1] == (Stream.STDERR, b"Traceback\nKeyError: 1\n")
    assert TAIL - 100 < len(program(parts[:-1])) <= TAIL


def test_after_the_total_only_words_come_and_the_end() -> None:
    judge = Flood(Bound(0, 100), 90, 0.0)
    parts = judge.take(Stream.STDOUT, b"123456789\n" + b"x" * 200_000, 0.0)
    assert program(parts) == b"123456789\n"
    assert b"holds 100 bytes" in words(parts)
    assert judge.take(Stream.STDOUT, b"y\n", 1.0) == []
    assert judge.due == TELL_EVERY
    (told,) = judge.tick(TELL_EVERY)
    assert told[1] == b"[stoker] 200002 bytes (1 lines) were left out until now\n"
    assert judge.due == 2 * TELL_EVERY
    assert program(judge.end()) == b"x" * (TAIL - 2) + b"y\n"


def test_stokers_words_begin_a_line_of_their_own() -> None:
    judge = Flood(Bound(0, 4), 0, 0.0)
    assert words(judge.take(Stream.STDOUT, b"abcdefg", 0.0)).startswith(b"\n[stoker] ")
