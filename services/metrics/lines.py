"""Which lines of a log may hold numbers? Looked for in whole pieces of it, at the speed of memory.

A flood of plain lines must cost next to nothing, so that nothing is cut into lines first: some
short patterns, each of which begins with plain bytes, find places that are worth a look.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST = 64 * 1024
"""Bytes of a line that is looked at."""
NUMBER = rb"(?:[-+]?\.?\d|[-+]?[nN][aA][nN]|[-+]?[iI]nf|[-+]?INF)"
WRAPPED = rb"(?:(?:tensor|Tensor|array|Array|np\.float\d+|float\d+)\()?\[? {0,4}"
VALUE = rb"[\"' \t]{0,8}" + WRAPPED + NUMBER
PLACES = (
    re.compile(rb"=" + VALUE),
    # Behind a digit only with a blank: times of day have none.
    re.compile(rb":(?:[ \t]{1,8}" + NUMBER + rb"|(?<!\d:)" + VALUE + rb")"),
    re.compile(rb"oss[ \t]{1,4}" + NUMBER),
    re.compile(rb"ccuracy[ \t]{1,4}" + NUMBER),
    re.compile(rb"poch(?:s|\(\w{1,12}\))?[ \t:=\[#]{1,6}\d"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line that may hold numbers."""

    text: str
    painted: bool
    """It ends with a carriage return: more of it may be painted over it."""


def candidates(data: bytes) -> Iterator[Line]:
    """Of whole lines: ``data`` ends with an end of one, or what is behind it is left out."""
    at = 0
    for start, end in spots(data):
        if start < at:
            continue
        at = end + 1
        if end - start <= LONGEST:
            text = data[start:end].decode("utf-8", "replace")
            yield Line(text, data[end : end + 1] == b"\r" and data[end + 1 : end + 2] != b"\n")


def spots(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each line in which one of the patterns is, in order."""
    heads = [Head(pattern, data) for pattern in PLACES]
    returns = b"\r" in data
    at = 0
    while True:
        place = min(head.next(at) for head in heads)
        if place >= len(data):
            return
        start = data.rfind(b"\n", at, place) + 1 or at
        end = data.find(b"\n", place)
        if returns:
            start = data.rfind(b"\r", start, place) + 1 or start
            early = data.find(b"\r", place, end if end >= 0 else len(data))
            end = early if early >= 0 else end
        if end < 0:
            return
        yield start, end
        at = end + 1


class Head:
    """One pattern's next place."""

    def __init__(self, pattern: re.Pattern[bytes], data: bytes) -> None:
        self._pattern = pattern
        self._data = data
        self._place = -1

    def next(self, at: int) -> int:
        """The first one from ``at`` on; behind the data where there is none."""
        if self._place < at:
            match = self._pattern.search(self._data, at)
            self._place = match.start() if match else len(self._data)
        return self._place


class Cutter:
    """One stream of a log: gives whole lines of what comes in any pieces."""

    def __init__(self, carry: bytes = b"", skipping: bool = False) -> None:
        self.carry = carry
        """The line that has no end yet."""
        self.skipping = skipping
        """Whether it is too long: nothing of it is looked at."""

    def feed(self, data: bytes) -> bytes:
        """All that ends with an end of a line."""
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if not end:
            self._keep(self.carry + data if not self.skipping else b"")
            return b""
        whole = data[:end]
        if self.skipping:
            first = first_end(whole)
            whole, self.skipping = whole[first:], False
        else:
            whole = self.carry + whole
        self._keep(data[end:])
        return whole

    def _keep(self, rest: bytes) -> None:
        if len(rest) > LONGEST:
            self.skipping, rest = True, b""
        self.carry = rest


def first_end(data: bytes) -> int:
    """Behind the first end of a line."""
    places = [place for place in (data.find(b"\n"), data.find(b"\r")) if place >= 0]
    return min(places) + 1
