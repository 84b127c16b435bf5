"""Are a program's lines judged rightly: each once, in order, as they were printed?"""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.logs.lines import WIDTH, Counted, at_once, counted, paced


def line(number: int) -> bytes:
    return b"%08d " % number + b"." * 90 + b"\n"


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ((0, 1, 2, 3), Counted(4, 0, 0, 0, 0)),
        ((0, 1, 3), Counted(3, 1, 0, 0, 0)),
        ((0, 1, 1, 2, 3), Counted(5, 0, 1, 0, 0)),
        ((0, 2, 1, 3), Counted(4, 0, 0, 1, 0)),
    ],
)
def test_lines_that_are_lost_doubled_or_moved_are_told(
    numbers: tuple[int, ...], found: Counted
) -> None:
    assert counted(b"".join(map(line, numbers)), 4) == found


def test_a_line_that_was_changed_or_cut_is_broken_and_its_number_lost() -> None:
    assert counted(line(0) + line(1)[:50], 2) == Counted(1, 1, 0, 0, 1)
    assert counted(line(0) + line(1).replace(b"..", b".x", 1), 2) == Counted(2, 1, 0, 0, 1)


def test_lines_of_stokers_own_are_no_lines_of_the_program() -> None:
    assert counted(line(0) + b"[stoker] prepared in 0.1 s\n" + line(1), 2).wrong == 0


@pytest.mark.parametrize("buffered", [True, False])
def test_the_program_prints_what_is_counted(buffered: bool) -> None:
    data = printed(at_once(1000, buffered=buffered))
    assert float(data[:WIDTH]) > 0
    assert counted(data[WIDTH:], 1000) == Counted(1000, 0, 0, 0, 0)


def test_the_paced_program_prints_so_many_lines_a_second() -> None:
    assert counted(printed(paced(2000, 0.5, 20)), 1000) == Counted(1000, 0, 0, 0, 0)


def printed(program: str) -> bytes:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, timeout=30
    ).stdout
