"""Does a viewer see the same rows, whether it is told each change or only their sum?"""

from __future__ import annotations

import json
import random

import pytest

from bus.row_values import Rows, RowSpan
from schemas.stream import Stream
from ui.row_changes import Changes
from ui.row_frames import Position, pieces, rows_frame

HERE = Position(1, 0, 9, 3, 0, 99, False)


class Page:
    """Rows as a browser keeps them."""

    def __init__(self) -> None:
        self.rows: dict[int, bytes] = {}
        self.streams: dict[int, str] = {}

    def take(self, runs: list[Rows]) -> None:
        for run in runs:
            lines = run.data.split(b"\n")
            origins = [span.stream.value for span in run.spans for _ in range(span.count)]
            assert len(lines) == len(origins) == run.count
            for index, (line, origin) in enumerate(zip(lines, origins, strict=True)):
                number = run.first + index
                if run.append and not index:
                    self.rows[number] = self.rows.get(number, b"") + line
                else:
                    self.rows[number], self.streams[number] = line, origin


def rows(first: int, *lines: bytes, append: bool = False, stream: Stream = Stream.STDOUT) -> Rows:
    return Rows(first, b"\n".join(lines), (RowSpan(stream, len(lines), 1.0),), append)


def print_at_random(random: random.Random) -> list[Rows]:
    """A program that prints lines, goes on with its last one, and repaints."""
    runs, total = [], 0
    for number in range(random.randint(1, 60)):
        stream = random.choice((Stream.STDOUT, Stream.STDERR))
        lines = [b"%d.%d" % (number, index) for index in range(random.randint(1, 4))]
        match random.randint(0, 2) if total else 0:
            case 0:
                runs.append(rows(total + 1, *lines, stream=stream))
                total += len(lines)
            case 1:
                runs.append(rows(total, *lines, append=True, stream=stream))
                total += len(lines) - 1
            case _:
                first = random.randint(max(1, total - 5), total)
                lines = lines[: total - first + 1]
                runs.append(rows(first, *lines, stream=stream))
    return runs


@pytest.mark.parametrize("seed", range(200))
def test_a_page_that_is_told_the_sum_shows_the_same(seed: int) -> None:
    chance = random.Random(seed)
    changes, each, summed = Changes(), Page(), Page()
    for run in print_at_random(chance):
        each.take([run])
        changes.add([run])
        if chance.random() < 0.2:
            summed.take(changes.take())
    summed.take(changes.take())
    assert summed.rows == each.rows


def test_a_bar_that_is_drawn_a_hundred_times_is_told_once() -> None:
    changes = Changes()
    changes.add([rows(1, b"start"), rows(2, b"0 %")])
    changes.take()
    for percent in range(100):
        changes.add([rows(2, b"%d %%" % percent)])
    assert [run.data for run in changes.take()] == [b"99 %"]


def test_lines_of_many_chunks_are_told_as_one_run() -> None:
    changes = Changes()
    for number in range(1, 1001):
        changes.add([rows(number, b"line %d" % number)])
    (run,) = changes.take()
    assert (run.first, run.count) == (1, 1000)
    assert not changes


def test_too_much_is_not_kept_but_said() -> None:
    changes = Changes(most_bytes=1000)
    for number in range(1, 100):
        changes.add([rows(number, b"x" * 100)])
    assert changes.too_many
    assert changes.take() == []
    changes.forget()
    changes.add([rows(100, b"on it goes")])
    assert [run.first for run in changes.take()] == [100]


def test_bars_without_end_need_little_room() -> None:
    changes = Changes(most_bytes=10_000)
    for percent in range(100_000):
        changes.add([rows(7, b"%060d" % percent)])
    assert not changes.too_many
    assert [run.data for run in changes.take()] == [b"%060d" % 99_999]


@pytest.mark.parametrize("size", [4, 7, 64, 1000])
def test_a_run_in_pieces_is_the_same_run(size: int) -> None:
    text = "tränen 漢字 🚂 \x1b[1;31mred\x1b[0m".encode()
    run = rows(5, b"", b"short", text * 20, b"x" * 200, b"", b"end", append=True)
    parts, page, whole = list(pieces(run, size)), Page(), Page()
    page.take(parts)
    whole.take([run])
    assert page.rows == whole.rows
    assert all(len(part.data) <= size for part in parts)
    for part in parts if size >= 64 else ():
        part.data.decode()
        assert part.data.count(b"\x1b[1;31m") + part.data.count(b"\x1b[0m") == part.data.count(
            b"\x1b"
        )


def test_a_frame_says_what_its_rows_are() -> None:
    sent = rows_frame(HERE, rows(4, b"a", b"\xff"), numbers=[8, 9])
    length = int.from_bytes(sent[:4], "big")
    header = json.loads(sent[4 : 4 + length])
    assert sent[4 + length :] == b"a\n\xff"
    assert header == {
        "attempt": 1,
        "rank": 0,
        "total": 9,
        "settled": 3,
        "build": 0,
        "end": 99,
        "complete": False,
        "first": 4,
        "count": 2,
        "append": False,
        "spans": [["o", 2, 1.0]],
        "numbers": [8, 9],
    }
