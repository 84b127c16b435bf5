"""How do pieces of a log become lines that match, with the time at which each came?"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stoker.answers import LogPiece, StokerError

LONGEST = 1 << 20
"""Bytes after which a line without an end is taken for one."""


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


@dataclass
class Lines:
    """Whole lines out of pieces of one log, those that are wanted."""

    grep: re.Pattern[bytes] | None = None
    timestamps: bool = False
    prefix: Callable[[float], bytes] = clock
    rest: bytes = b""
    at: float = 0.0
    """When the first byte of ``rest`` came."""

    def feed(self, piece: LogPiece) -> Iterator[bytes]:
        if not self.rest:
            self.at = piece.time
        *whole, self.rest = (self.rest + piece.data).split(b"\n")
        for line in whole:
            yield from self.wanted(line + b"\n")
            self.at = piece.time
        if len(self.rest) > LONGEST:
            yield from self.finish()

    def finish(self) -> Iterator[bytes]:
        """What has no end yet."""
        line, self.rest = self.rest, b""
        if line:
            yield from self.wanted(line)

    def wanted(self, line: bytes) -> Iterator[bytes]:
        if self.grep is None or self.grep.search(line.rstrip(b"\n")):
            yield self.prefix(self.at) + line if self.timestamps else line
