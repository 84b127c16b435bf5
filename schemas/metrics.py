"""What does an attempt measure, and how do its numbers travel?

A point is a step, a time and a value. Points of one series travel as three columns of little-endian
numbers, so that ten thousand of them are one short message. Values may be NaN or infinite; a step
may be smaller than the one before it: both are kept as they came.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import Field

from schemas.message import Message

NAME_LENGTH = 200
"""Characters of a series' name, and of a parameter's."""
TEXT_LENGTH = 500
"""Characters of a parameter's value."""
MOST_SERIES = 500
"""Of one attempt and source; what comes beyond is counted and left out."""
MOST_PARAMS = 500
MOST_POINTS = 10_000_000
"""Of one attempt."""
SAMPLES_POINTS = 20_000
"""In one message: at 24 bytes each that is half of what a message may have."""
WORKER = "worker"
"""In place of a job's id in the subject of what a worker measures of itself; its attempt is 0."""
POINT = 8
"""Bytes of one number of a column."""


class Source(StrEnum):
    """Where a series was read."""

    LOG = "log"
    TENSORBOARD = "tensorboard"
    MLFLOW = "mlflow"
    MACHINE = "machine"
    """Measured by the worker: what the attempt uses of it."""


UNITS = {
    "cpu": "cores",
    "memory": "bytes",
    "disk.read": "bytes/s",
    "disk.write": "bytes/s",
    "net.in": "bytes/s",
    "net.out": "bytes/s",
}
"""Of the series of ``Source.MACHINE``; those of a GPU: ``unit_of``."""


def unit_of(source: Source, name: str) -> str:
    """Empty where nobody said."""
    if source is not Source.MACHINE:
        return ""
    if name.startswith("gpu."):
        return {"use": "share", "memory": "bytes"}.get(name.rpartition(".")[2], "")
    return UNITS.get(name, "")


def key_of(source: Source, name: str) -> str:
    """Names one series of an attempt: sources have no colon in them."""
    return f"{source.value}:{name}"


@dataclass(slots=True)
class Points:
    """Points of one series, in the order in which they came; the columns are equally long."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    times: array[float] = field(default_factory=lambda: array("d"))
    """Unix seconds."""
    values: array[float] = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.steps)

    def add(self, step: int, time: float, value: float) -> None:
        """Raises ``OverflowError`` for a step that no 64 bits hold."""
        self.steps.append(step)
        self.times.append(time)
        self.values.append(value)

    def extend(self, others: Points) -> None:
        self.steps.extend(others.steps)
        self.times.extend(others.times)
        self.values.extend(others.values)

    def part(self, start: int, stop: int) -> Points:
        return Points(self.steps[start:stop], self.times[start:stop], self.values[start:stop])


class Column(Message):
    """Points of one series on their way; ``packed`` and ``points`` are each other's inverse."""

    steps: bytes
    times: bytes
    values: bytes

    @classmethod
    def packed(cls, points: Points) -> Column:
        return cls(
            steps=little(points.steps), times=little(points.times), values=little(points.values)
        )

    @classmethod
    def of(cls, rows: Iterable[tuple[int, float, float]]) -> Column:
        """Of single points: step, time, value."""
        points = Points()
        for row in rows:
            points.add(*row)
        return cls.packed(points)

    def points(self) -> Points:
        """Raises ``ValueError`` where the columns are of different length, or none."""
        sizes = {len(self.steps), len(self.times), len(self.values)}
        if len(sizes) != 1 or sizes.pop() % POINT:
            raise ValueError("the columns of a series are not equally long")
        return Points(array("q", native("q", self.steps)), *map(doubles, (self.times, self.values)))


class Samples(Message):
    """``stoker.metric.<job>.<attempt>.<worker>``: what came since the last message.

    Believed where the record names that worker for that attempt. A worker's own are under
    ``stoker.metric.worker.0.<worker>``, with ``Source.MACHINE``.
    """

    source: Source
    columns: dict[str, Column] = Field(default_factory=dict)
    """Name of the series to its new points."""
    params: dict[str, str] = Field(default_factory=dict)
    """What was set, not measured: parameters, tags. The newest value of each counts."""
    left_out: int = 0
    """Points that were dropped before this message because too many came at once."""


def little(numbers: array[int] | array[float]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def native(code: str, data: bytes) -> bytes:
    """Little-endian bytes as this machine has them."""
    if sys.byteorder == "little":
        return data
    numbers = array(code, data)
    numbers.byteswap()
    return numbers.tobytes()


def doubles(data: bytes) -> array[float]:
    return array("d", native("d", data))


class Watch(Message):
    """``stoker.req.metrics.watch``: somebody looks at that job now; not answered."""

    job: str
