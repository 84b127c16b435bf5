"""Which lines of a log are wanted, and how are they written, with the time at which each came?"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from bus.row_search import COLOUR
from bus.row_values import Rows
from stoker.answers import StokerError


def pattern(text: str) -> re.Pattern[bytes]:
    try:
        return re.compile(text.encode())
    except re.error as error:
        raise StokerError(f"--grep {text}: {error}; write a regular expression") from None


def clock(at: float) -> bytes:
    """Local time with milliseconds, as a prefix."""
    seconds, part = divmod(at, 1)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))
    return f"{whole}.{int(part * 1000):03d} ".encode()


@dataclass(frozen=True)
class RowFilter:
    """Which rows of a log are wanted, and how they are written."""

    grep: re.Pattern[bytes] | None = None
    timestamps: bool = False
    prefix: Callable[[float], bytes] = clock

    @property
    def takes_all(self) -> bool:
        return self.grep is None and not self.timestamps

    @property
    def colour(self) -> bool:
        """Colours are for terminals."""
        return sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def lines(self, rows: Rows) -> Iterator[bytes]:
        data = rows.data if self.colour else COLOUR.sub(b"", rows.data)
        if self.takes_all:
            yield data + b"\n"
            return
        times = (span.time for span in rows.spans for _ in range(span.count))
        for line, at in zip(data.split(b"\n"), times, strict=True):
            if self.wants(line):
                yield (self.prefix(at) if self.timestamps else b"") + line + b"\n"

    def lines_of(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Of a text of which nobody knows when it was printed."""
        rest = b""
        for part in parts:
            if self.grep is None:
                yield part
                continue
            *whole, rest = (rest + part).split(b"\n")
            yield from (line + b"\n" for line in whole if self.wants(line))
        if rest and self.wants(rest):
            yield rest

    def wants(self, line: bytes) -> bool:
        return self.grep is None or self.grep.search(COLOUR.sub(b"", line)) is not None
