"""How does a report get its quote?"""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.quoting import read_tail, with_quote
from agent.spool import SpoolWriter, segments, trim
from schemas.job import AttemptEnd, Fact
from schemas.reason import Reason
from schemas.stream import Stream
from schemas.worker import Report

TRACEBACK = b"Traceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 'x'\n"


def report(log_end: int, reason: Reason = Reason.EXIT, code: int = 1) -> Report:
    end = AttemptEnd(reason=reason, exit_code=code, log_ends={0: log_end})
    return Report(
        worker="w1",
        job="j",
        attempt=1,
        nonce="n",
        fact=Fact.FAILED,
        at=2.0,
        started_at=1.0,
        end=end,
    )


def write(folder: Path, *parts: tuple[Stream, bytes]) -> int:
    writer = SpoolWriter(folder)
    for stream, data in parts:
        writer.append(stream, data)
    writer.close()
    return writer.offset


@pytest.mark.parametrize("most", [1, 10, 11, 100, 1 << 20])
def test_a_tail_is_the_last_bytes_before_the_end(tmp_path: Path, most: int) -> None:
    end = write(tmp_path, (Stream.STDOUT, b"0123456789"), (Stream.STDERR, b"abcdefghij"))
    tail = read_tail(tmp_path, end, most)
    assert tail is not None
    assert tail.data == b"0123456789abcdefghij"[-most:]
    assert (tail.offset, tail.end) == (max(0, end - most), end)
    assert sum(length for _, length in tail.spans) == len(tail.data)


def test_a_tail_begins_where_the_spool_was_trimmed(tmp_path: Path) -> None:
    big = b"x" * (9 << 20)
    end = write(tmp_path, (Stream.STDOUT, big), (Stream.STDERR, TRACEBACK))
    trim(tmp_path, segments(tmp_path)[1])
    tail = read_tail(tmp_path, end, 16 << 20)
    assert tail is not None
    assert tail.offset == segments(tmp_path)[0] > 0
    assert tail.end == end
    assert tail.data.endswith(TRACEBACK)


async def test_a_failure_is_told_with_the_lines_that_say_why(tmp_path: Path) -> None:
    noise = b"".join(b"epoch %d\n" % number for number in range(60_000))
    end = write(tmp_path, (Stream.STDOUT, noise), (Stream.STDERR, TRACEBACK))
    told = await with_quote(report(end), tmp_path)
    assert told.end is not None
    assert told.end.quote is not None
    assert told.end.quote.lines == tuple(TRACEBACK.decode().splitlines())
    assert (told.end.quote.start, told.end.quote.end) == (len(noise), end)
    assert told.end.same(report(end).end)
    assert not told.end.same(report(end, code=2).end)
    assert not told.end.same(None)


async def test_what_went_well_or_left_no_spool_is_told_as_it_is(tmp_path: Path) -> None:
    end = write(tmp_path, (Stream.STDERR, TRACEBACK))
    assert await with_quote(report(end, code=0), tmp_path) == report(end, code=0)
    unreadable = tmp_path / "a-file"
    unreadable.touch()
    for folder in (tmp_path / "gone", unreadable):
        assert await with_quote(report(end), folder) == report(end)
