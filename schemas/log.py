"""What does a log message say of its bytes?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from schemas.message import Message
from schemas.stream import Stream as Stream

OFFSET_HEADER = "Stoker-Offset"
SPANS_HEADER = "Stoker-Spans"
TIME_HEADER = "Stoker-Time"
MOST_OFFSET = 1 << 53
"""What every reader can count to, JavaScript included."""


class Span(NamedTuple):
    """A run of bytes from one stream."""

    stream: Stream
    length: int


class Cursor(NamedTuple):
    """The place of a reader in a job's log; also the permalink. Written ``attempt.rank.offset``."""

    attempt: int = 0
    rank: int = 0
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.attempt}.{self.rank}.{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Raises ``ValueError`` for anything but three plain numbers."""
        parts = text.split(".")
        if len(parts) != 3 or not all(p.isascii() and p.isdigit() for p in parts):
            raise ValueError(f"{text!r} is not a cursor; write attempt.rank.offset, say 1.0.2048")
        return cls(*map(int, parts))


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A piece of one attempt's log, in order."""

    attempt: int
    rank: int
    offset: int
    """Of its first byte."""
    time: float
    """Unix seconds at which the last byte was read, by the worker's clock."""
    spans: tuple[Span, ...]
    """Their lengths add up to ``len(data)``."""
    data: bytes

    @property
    def end(self) -> int:
        """Offset behind its last byte."""
        return self.offset + len(self.data)

    @property
    def cursor(self) -> Cursor:
        """The place after this chunk."""
        return Cursor(self.attempt, self.rank, self.end)

    def after(self, offset: int) -> LogChunk:
        """What lies behind ``offset`` of this chunk; itself where nothing needs to be cut."""
        cut = offset - self.offset
        if cut <= 0:
            return self
        spans = []
        left = cut
        for span in self.spans:
            taken = min(left, span.length)
            left -= taken
            if span.length > taken:
                spans.append(Span(span.stream, span.length - taken))
        return LogChunk(self.attempt, self.rank, offset, self.time, tuple(spans), self.data[cut:])


def log_headers(chunk: LogChunk) -> dict[str, str]:
    return {
        OFFSET_HEADER: str(chunk.offset),
        SPANS_HEADER: " ".join(f"{span.stream.value}{span.length}" for span in chunk.spans),
        TIME_HEADER: f"{chunk.time:.3f}",
    }


def read_log(attempt: int, rank: int, headers: dict[str, str], data: bytes) -> LogChunk:
    """Raises ``ValueError`` or ``KeyError`` where the headers do not fit the data."""
    spans = tuple(Span(Stream(part[0]), int(part[1:])) for part in headers[SPANS_HEADER].split())
    offset, time = int(headers[OFFSET_HEADER]), float(headers[TIME_HEADER])
    if sum(span.length for span in spans) != len(data) or any(span.length < 0 for span in spans):
        raise ValueError("the spans do not add up to the data")
    if not 0 <= offset <= MOST_OFFSET or not math.isfinite(time):
        raise ValueError("its offset or its time is not possible")
    return LogChunk(attempt, rank, offset, time, spans, data)


class Sealed(Message):
    """One compressed block of an attempt's log in the bucket ``logs``."""

    start: int
    """Offset of its first byte."""
    end: int
    object: str
    """Name of the object; empty where ``data`` holds the block."""
    size: int
    """Bytes as stored."""
    data: bytes | None = None
    """The block itself, of a short log: one object is enough for it."""
    lines: int | None = None
    """Ends of lines in it; None where nobody counted."""
    since: float | None = None
    until: float | None = None
    """Unix seconds of its first and its last chunk, by the worker's clock."""


class SealedRows(Message):
    """A run of rows of the readable log that never change any more, and the bytes they came from.

    Without an object and without data they are exactly those bytes, line by line.
    """

    first: int
    """Number of its first row, from 1."""
    count: int
    start: int
    """Offset of its first byte."""
    end: int
    since: float
    until: float
    """Unix seconds at which its first and its last row were begun, by the worker's clock."""
    object: str = ""
    """Name of the object that holds what was painted; empty where ``data`` does, or nothing was."""
    size: int = 0
    """Bytes as stored."""
    data: bytes | None = None

    @property
    def last(self) -> int:
        """Number of its last row."""
        return self.first + self.count - 1


class SealedScreen(Message):
    """Where the readable log goes on: the terminal as it stood behind some byte of the log."""

    end: int
    """Offset behind what it has read."""
    object: str = ""
    """Name of the object that holds it; empty where ``data`` does."""
    size: int = 0
    """Bytes as stored."""
    data: bytes | None = None


class LogIndex(Message):
    """What the archive holds of one rank's log; the object ``<job>.<attempt>.<rank>``."""

    worker: str
    blocks: tuple[Sealed, ...] = ()
    complete: bool = False
    """Nothing more comes: the final offset is reached, or was waited for in vain."""
    final: int = 0
    """Where the log of a complete index ends; behind its last block, the rest is a gap."""
    deleted: str = ""
    """When and why its blocks were deleted; empty where they were not."""
    rows: tuple[SealedRows, ...] = ()
    """From row 1 on, without a hole."""
    screen: SealedScreen | None = None
    """Behind these rows; None of a short log, whose rows are made anew from its first byte."""

    @property
    def end(self) -> int:
        return self.blocks[-1].end if self.blocks else 0

    @property
    def settled(self) -> int:
        """Up to where nothing more is wanted: sealed, or waited for in vain."""
        return self.final if self.complete else self.end

    @property
    def objects(self) -> tuple[str, ...]:
        """Every object that it names."""
        screens = (self.screen,) if self.screen else ()
        named = (*self.blocks, *self.rows, *screens)
        return tuple(one.object for one in named if one.object)
