"""What does a readable log consist of? Runs of rows, as they are told and as they are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from schemas.stream import Stream


class RowSpan(NamedTuple):
    """A run of rows of one stream."""

    stream: Stream
    count: int  # type: ignore[assignment]  # a tuple has a method of that name
    time: float
    """Unix seconds at which the first of them was begun, by the worker's clock."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows, as they are now."""

    first: int
    """Number of its first row, from 1."""
    data: bytes
    """The rows joined by newlines, none behind the last. Bytes as printed, also those that are not
    UTF-8; of terminal control only SGR sequences (colours and styles) are left, and each row begins
    with those in force."""
    spans: tuple[RowSpan, ...]
    """They cover all rows."""
    append: bool = False
    """The first row's data goes behind what that row holds already."""

    @property
    def count(self) -> int:
        return self.data.count(b"\n") + 1


@dataclass(frozen=True, slots=True)
class Settled:
    """Rows that can never change any more."""

    first: int
    count: int
    start: int
    """Offset of the first raw byte that they came from."""
    stop: int
    rows: Rows | None
    """None where they are exactly ``raw[start:stop]`` split at newlines (no row behind the last
    newline), each without one trailing carriage return."""
    since: float
    """Unix seconds at which the first of them was begun."""
    until: float
    """The same of the last."""
