"""How does a sealed block hold the chunks of a log?

Compressed, and column by column: bytes beside bytes, times beside times. Of lines that came one by
one that takes half as much as one chunk after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import zstandard

from bus.errors import Corrupt
from schemas.log import LogChunk, Span, Stream

LEVEL = 3
"""Of zstandard."""
UNREADABLE = (
    *(ValueError, TypeError, LookupError, AttributeError, OverflowError),
    *(zstandard.ZstdError, msgpack.UnpackException),
)
"""What a block with other things in it than were packed makes of itself."""


def pack_block(chunks: list[LogChunk], level: int = LEVEL) -> bytes:
    """Chunks of one rank, which have at least one byte each; ``unpack_block`` is its inverse.

    Times are kept to the millisecond, as the headers of a log have them.
    """
    held = {
        "start": chunks[0].offset,
        "gaps": steps([chunk.offset for chunk in chunks], [chunk.end for chunk in chunks]),
        "times": differences([round(chunk.time * 1000) for chunk in chunks]),
        "sizes": [len(chunk.data) for chunk in chunks],
        "spans": [short(chunk.spans) for chunk in chunks],
        "data": b"".join([chunk.data for chunk in chunks]),
    }
    packed: bytes = zstandard.compress(msgpack.packb(held), level)
    return packed


def unpack_block(attempt: int, rank: int, data: bytes) -> list[LogChunk]:
    """Raises ``Corrupt``."""
    try:
        held = msgpack.unpackb(zstandard.decompress(data))
        rows = columns(held) if isinstance(held, dict) else iter(held)
        return [
            LogChunk(attempt, rank, offset, at, tuple(Span(Stream(s), n) for s, n in spans), body)
            for offset, at, spans, body in rows
        ]
    except UNREADABLE as error:
        raise Corrupt(f"a sealed block cannot be read: {error}") from error


def columns(held: dict[str, Any]) -> Iterator[tuple[int, float, list[tuple[str, int]], bytes]]:
    """Chunk by chunk, as blocks held them before."""
    offset, at, place, data = held["start"], 0, 0, held["data"]
    table = zip(held["gaps"], held["times"], held["sizes"], held["spans"], strict=True)
    for gap, later, size, spans in table:
        offset += gap
        at += later
        whose = [(spans, size)] if isinstance(spans, str) else spans
        yield offset, at / 1000, whose, data[place : place + size]
        offset += size
        place += size


def steps(offsets: list[int], ends: list[int]) -> list[int]:
    """Bytes that are missing before each chunk."""
    before = [offsets[0], *ends]
    return [offset - end for offset, end in zip(offsets, before, strict=False)]


def differences(numbers: list[int]) -> list[int]:
    return [number - before for number, before in zip(numbers, [0, *numbers], strict=False)]


def short(spans: tuple[Span, ...]) -> str | list[tuple[str, int]]:
    """Of one span its letter alone."""
    if len(spans) == 1:
        return spans[0].stream.value
    return [(span.stream.value, span.length) for span in spans]
