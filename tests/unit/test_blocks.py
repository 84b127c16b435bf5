"""A block holds what was put into it, and is small."""

from __future__ import annotations

import random

import msgpack
import pytest
import zstandard

from bus.blocks import pack_block, unpack_block
from bus.errors import Corrupt
from schemas.log import LogChunk, Span, Stream


def chunks(count: int) -> list[LogChunk]:
    """Of one log, with a gap now and then."""
    chance = random.Random(count)
    found: list[LogChunk] = []
    offset, at = 1000, 1_764_000_000.125
    for n in range(count):
        offset += chance.choice((0, 0, 0, 7))
        at = round(at + chance.random() - 0.1, 3)
        data = b"step %d loss=%.4f\n" % (n, chance.random())
        spans: tuple[Span, ...] = (Span(chance.choice(list(Stream)), len(data)),)
        if n % 5 == 0:
            spans = (Span(Stream.STDOUT, 4), Span(Stream.STDERR, len(data) - 4))
        found.append(LogChunk(2, 3, offset, at, spans, data))
        offset += len(data)
    return found


@pytest.mark.parametrize("count", [1, 2, 500])
@pytest.mark.parametrize("level", [1, 3, 17])
def test_what_comes_out_is_what_went_in(count: int, level: int) -> None:
    assert unpack_block(2, 3, pack_block(chunks(count), level)) == chunks(count)


def test_a_block_of_before_is_read() -> None:
    assert unpack_block(2, 3, one_by_one(chunks(40))) == chunks(40)


def one_by_one(many: list[LogChunk]) -> bytes:
    rows = [(c.offset, c.time, [(s.stream.value, s.length) for s in c.spans], c.data) for c in many]
    return zstandard.compress(msgpack.packb(rows), 3)


def test_it_takes_far_less_than_one_chunk_after_the_other() -> None:
    many = chunks(2000)
    assert len(pack_block(many, 3)) < 0.6 * len(one_by_one(many))


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", zstandard.compress(b"\xc1"), zstandard.compress(msgpack.packb({}))]
)
def test_what_is_no_block_is_told(data: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack_block(1, 0, data)
