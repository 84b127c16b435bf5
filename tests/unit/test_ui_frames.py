"""Does a frame hold what its chunk holds, and is a long one cut into pieces that add up?"""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from schemas.log import LogChunk, Span, Stream
from ui.frames import chunk_frame, pieces

SPANS = st.lists(st.tuples(st.sampled_from(list(Stream)), st.integers(1, 50)), max_size=8)


def chunk_of(spans: list[tuple[Stream, int]], offset: int) -> LogChunk:
    data = bytes(index % 251 for index in range(sum(length for _, length in spans)))
    return LogChunk(3, 0, offset, 12.3456, tuple(Span(*span) for span in spans), data)


def test_a_frame_is_a_length_a_json_header_and_the_bytes() -> None:
    frame = chunk_frame(chunk_of([(Stream.BUILD, 3), (Stream.STDERR, 2)], 100))
    length = int.from_bytes(frame[:4], "big")
    assert json.loads(frame[4 : 4 + length]) == {
        "attempt": 3,
        "rank": 0,
        "offset": 100,
        "time": 12.346,
        "spans": [["b", 3], ["e", 2]],
    }
    assert frame[4 + length :] == bytes(range(5))


@given(SPANS, st.integers(0, 1000), st.integers(1, 40))
def test_pieces_add_up(spans: list[tuple[Stream, int]], offset: int, size: int) -> None:
    chunk = chunk_of(spans, offset)
    place = offset
    data = b""
    letters = ""
    for piece in pieces(chunk, size):
        assert piece.offset == place
        assert len(piece.data) <= size
        assert sum(span.length for span in piece.spans) == len(piece.data)
        place = piece.cursor.offset
        data += piece.data
        letters += "".join(span.stream.value * span.length for span in piece.spans)
    assert data == chunk.data
    assert letters == "".join(stream.value * length for stream, length in spans)
