"""Which lines does a measured program print, and did each of them come once and in order?"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

WIDTH = 100
"""Bytes of a line, its end included."""
LINE = re.compile(rb"(\d{8}) [\d.]*\.")
STAMPED = re.compile(rb"(\d{8}) (\d{10}\.\d{6})")
"""The number of a line, and when it was printed."""
OWN = b"[stoker] "

AT_ONCE = """\
import time
print(f"{time.time():.6f}".ljust(99))
for number in range(LINES):
    print(f"{number:08d} " + "." * 90)
"""
"""As fast as it goes. Begins with the time at which it began, so that all readers agree on it."""
BUFFERED = """\
import sys
sys.stdout = open(1, "w", buffering=65536, closefd=False)
"""
PACED = """\
import sys, time
beat, due = EACH / RATE, time.monotonic()
for first in range(0, LINES, EACH):
    now = f"{time.time():.6f}"
    text = "".join(f"{n:08d} {now}".ljust(99, ".") + "\\n" for n in range(first, first + EACH))
    sys.stdout.write(text)
    sys.stdout.flush()
    due += beat
    time.sleep(max(0.0, due - time.monotonic()))
"""
"""So many lines a second; each says when it was printed."""


def at_once(lines: int, *, buffered: bool = False) -> str:
    program = AT_ONCE.replace("LINES", str(lines))
    return BUFFERED + program + "sys.stdout.flush()\n" if buffered else program


def paced(rate: int, seconds: float, beats: int) -> str:
    """In ``beats`` writes a second."""
    each = max(1, rate // beats)
    lines = int(rate * seconds) // each * each
    values = {"EACH": str(each), "RATE": str(rate), "LINES": str(lines)}
    program = PACED
    for name, value in values.items():
        program = program.replace(name, value)
    return program


@dataclass(frozen=True, slots=True)
class Counted:
    """What came of lines that are numbered from 0."""

    lines: int
    lost: int
    doubled: int
    moved: int
    """Came before one that was printed earlier."""
    broken: int
    """Are not as they were printed."""

    @property
    def wrong(self) -> int:
        return self.lost + self.doubled + self.moved + self.broken


def counted(data: bytes, wanted: int) -> Counted:
    """Stoker's own lines are none of the program's."""
    lines = data.split(b"\n")
    broken = 0 if lines.pop() == b"" else 1
    lines = [line for line in lines if not line.startswith(OWN)]
    numbers = []
    for line in lines:
        found = LINE.fullmatch(line)
        if found is None or len(line) != WIDTH - 1:
            broken += 1
        else:
            numbers.append(int(found[1]))
    return Counted(len(lines), *compared(numbers, wanted), broken)


def compared(numbers: list[int], wanted: int) -> tuple[int, int, int]:
    """How many are lost, doubled, moved."""
    if numbers == list(range(wanted)):
        return 0, 0, 0
    different = set(numbers)
    moved = sum(later < earlier for earlier, later in itertools.pairwise(numbers))
    return len(set(range(wanted)) - different), len(numbers) - len(different), moved
