"""How do points become a short block, and how are some of its series read again?

Columns of differences, byte by byte: of numbers that hardly change the high bytes are equal, and
zstandard makes next to nothing of them. Series that were told in one line share their steps and
times. Times are kept to the millisecond.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Iterator
from itertools import accumulate, repeat
from operator import sub, truediv
from typing import Any

import msgpack
import zstandard

from bus.errors import Corrupt
from schemas.metrics import Points, Source, doubles, little, native

LEVEL = 3
"""Of zstandard."""
MILLI = 1000.0
WIDTH = 8
"""Bytes of a number."""
UNREADABLE = (
    *(ValueError, TypeError, LookupError, AttributeError, OverflowError),
    *(zstandard.ZstdError, msgpack.UnpackException),
)
MOST_UNPACKED = 256 << 20
"""Bytes."""
LATEST = 1 << 62
"""Milliseconds: what is later is no time."""

Series = tuple[Source, str]
Batch = dict[Series, Points]
"""New points of some series."""


def pack(batch: Batch) -> bytes:
    columns: dict[bytes, int] = {}

    def column(data: bytes) -> int:
        return columns.setdefault(data, len(columns))

    rows = [
        (
            source.value,
            name,
            len(points),
            column(differences(points.steps)),
            column(differences(array("q", map(milliseconds, points.times)))),
            column(planes(little(points.values))),
        )
        for (source, name), points in batch.items()
        if len(points)
    ]
    packed: bytes = zstandard.compress(msgpack.packb((rows, list(columns))), LEVEL)
    return packed


def unpack(data: bytes, keys: Container[Series] | None = None) -> Batch:
    """All series, or those of ``keys`` that it has. Raises ``Corrupt``."""
    if not data:
        return {}
    try:
        rows, columns = msgpack.unpackb(
            zstandard.decompress(data, max_output_size=MOST_UNPACKED), strict_map_key=False
        )
        return dict(read_rows(rows, columns, keys))
    except UNREADABLE as error:
        raise Corrupt(f"a block of metrics cannot be read: {error}") from error


def read_rows(
    rows: list[Any], columns: list[bytes], keys: Container[Series] | None
) -> Iterator[tuple[Series, Points]]:
    whole = Shared(columns, numbers)
    moments = Shared(columns, moments_of)
    for source, name, count, steps, times, values in rows:
        series = (Source(source), name)
        if keys is not None and series not in keys:
            continue
        points = Points(whole[steps][:], moments[times][:], doubles(together(columns[values])))
        if {len(points.steps), len(points.times), len(points.values)} != {count}:
            raise ValueError("its columns are not equally long")
        yield series, points


class Shared:
    """Columns that several series have: each is read once."""

    def __init__(self, columns: list[bytes], read: Callable[[bytes], Any]) -> None:
        self._columns = columns
        self._read = read
        self._known: dict[int, Any] = {}

    def __getitem__(self, number: int) -> Any:
        if number not in self._known:
            self._known[number] = self._read(self._columns[number])
        return self._known[number]


def milliseconds(time: float) -> int:
    """0 for what is no time."""
    scaled = time * MILLI
    return round(scaled) if -LATEST < scaled < LATEST else 0


def differences(numbers: array[int]) -> bytes:
    """Modulo 2 to the 64th: two steps may be further apart than one number holds."""
    if not numbers:
        return b""
    gaps = map(sub, numbers, array("q", [0, *numbers[:-1]]))
    return planes(little(array("Q", (gap & 0xFFFF_FFFF_FFFF_FFFF for gap in gaps))))


def numbers(data: bytes) -> array[int]:
    gaps = native("q", together(data))
    try:
        return array("q", accumulate(array("q", gaps)))
    except OverflowError:
        whole = accumulate(array("Q", gaps), lambda a, b: (a + b) & 0xFFFF_FFFF_FFFF_FFFF)
        return array("q", array("Q", whole).tobytes())


def moments_of(data: bytes) -> array[float]:
    return array("d", map(truediv, numbers(data), repeat(MILLI)))


def planes(data: bytes) -> bytes:
    """All first bytes, then all second ones, and so on."""
    return b"".join(data[n::WIDTH] for n in range(WIDTH))


def together(data: bytes) -> bytes:
    count = len(data) // WIDTH
    joined = bytearray(count * WIDTH)
    for n in range(WIDTH):
        joined[n::WIDTH] = data[n * count : (n + 1) * count]
    return bytes(joined)
