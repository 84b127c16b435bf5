"""How does a piece of log look on a WebSocket?

Binary: 4 bytes (big-endian) length of a JSON header, the header, the raw bytes.
Text: a JSON control frame with a ``type``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from schemas.log import LogChunk

FRAME_BYTES = 256 * 1024
"""Longest piece of log in one frame; archived blocks are longer."""


def chunk_frame(chunk: LogChunk) -> bytes:
    header = json.dumps(
        {
            "attempt": chunk.attempt,
            "rank": chunk.rank,
            "offset": chunk.offset,
            "time": round(chunk.time, 3),
            "spans": [[span.stream.value, span.length] for span in chunk.spans],
        },
        separators=(",", ":"),
    ).encode()
    return b"".join((len(header).to_bytes(4, "big"), header, chunk.data))


def control_frame(kind: str, **values: object) -> str:
    return json.dumps({"type": kind, **values}, separators=(",", ":"))


def pieces(chunk: LogChunk, size: int = FRAME_BYTES) -> Iterator[LogChunk]:
    """The chunk cut into pieces of at most ``size`` bytes."""
    while len(chunk.data) > size:
        rest = chunk.after(chunk.offset + size)
        yield head(chunk, size)
        chunk = rest
    yield chunk


def head(chunk: LogChunk, size: int) -> LogChunk:
    """The first ``size`` bytes of the chunk."""
    spans = []
    left = size
    for span in chunk.spans:
        taken = min(left, span.length)
        if taken == 0:
            break
        spans.append(span._replace(length=taken))
        left -= taken
    data = chunk.data[:size]
    return LogChunk(chunk.attempt, chunk.rank, chunk.offset, chunk.time, tuple(spans), data)
