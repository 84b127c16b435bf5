"""The spool keeps every byte in order, whoever stops in the middle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import spool
from agent.spool import HEADER, Piece, SpoolReader, SpoolWriter, segments, trim
from schemas.stream import Stream


def read_all(folder: Path, offset: int = 0, most: int = 512 << 10) -> list[Piece]:
    reader = SpoolReader(folder, offset)
    pieces = []
    while piece := reader.read(most):
        pieces.append(piece)
    reader.close()
    return pieces


def text(pieces: list[Piece]) -> bytes:
    return b"".join(piece.data for piece in pieces)


def test_what_is_written_is_read_with_its_streams(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, clock=lambda: 2_000_000_000)
    writer.append(Stream.STDOUT, b"ab")
    writer.append(Stream.STDOUT, b"c")
    writer.append(Stream.STDERR, b"d\xff")
    writer.close()
    (piece,) = read_all(tmp_path)
    assert piece == Piece(0, 2.0, ((Stream.STDOUT, 3), (Stream.STDERR, 2)), b"abcd\xff")


def test_a_reader_hears_what_comes_later(tmp_path: Path) -> None:
    writer, reader = SpoolWriter(tmp_path), SpoolReader(tmp_path)
    assert reader.read() is None
    writer.append(Stream.STDOUT, b"one")
    first = reader.read()
    assert first is not None
    assert first.data == b"one"
    assert reader.read() is None
    writer.append(Stream.STDOUT, b"two")
    second = reader.read()
    assert second is not None
    assert (second.offset, second.data) == (3, b"two")


def test_a_second_writer_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    for word in (b"one ", b"two ", b"three"):
        writer = SpoolWriter(tmp_path)
        writer.append(Stream.BUILD, word)
        writer.close()
    assert writer.offset == 13
    assert text(read_all(tmp_path)) == b"one two three"


@pytest.mark.parametrize("torn", [1, HEADER.size - 1, HEADER.size, HEADER.size + 2])
def test_a_torn_frame_is_not_read_and_is_written_over(tmp_path: Path, torn: int) -> None:
    writer = SpoolWriter(tmp_path)
    writer.append(Stream.STDOUT, b"whole")
    writer.close()
    frame = HEADER.pack(ord("o"), 1, 5) + b"torn!"
    path = tmp_path / spool.segment_name(0)
    path.write_bytes(path.read_bytes() + frame[:torn])
    assert text(read_all(tmp_path)) == b"whole"
    writer = SpoolWriter(tmp_path)
    writer.append(Stream.STDOUT, b"after")
    assert text(read_all(tmp_path)) == b"wholeafter"


def test_segments_follow_each_other_without_a_seam(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 100)
    writer = SpoolWriter(tmp_path)
    words = [b"%030d" % number for number in range(20)]
    for word in words:
        writer.append(Stream.STDOUT, word)
    writer.close()
    assert len(segments(tmp_path)) > 4
    assert text(read_all(tmp_path)) == b"".join(words)
    assert text(read_all(tmp_path, 45)) == b"".join(words)[45:]


def test_trimming_keeps_what_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 100)
    writer = SpoolWriter(tmp_path)
    for number in range(20):
        writer.append(Stream.STDOUT, b"%030d" % number)
    before = segments(tmp_path)
    trim(tmp_path, before[2])
    assert segments(tmp_path) == before[2:]
    trim(tmp_path, 10**9)
    assert segments(tmp_path) == before[-1:]


def test_a_full_spool_leaves_out_and_says_how_much(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, limit=1000)
    for _ in range(30):
        writer.append(Stream.STDOUT, b"x" * 100)
    kept = text(read_all(tmp_path)).count(b"x")
    writer.close()
    pieces = read_all(tmp_path)
    assert kept < 1000
    assert b"[stoker] %d bytes (0 lines) of output are missing here" % (3000 - kept) in text(pieces)
    assert pieces[-1].spans[-1][0] is Stream.STOKER


def test_a_full_spool_takes_up_again_once_it_was_trimmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 100)
    monkeypatch.setattr(spool, "SPACE_CHECK", 100)
    writer = SpoolWriter(tmp_path, limit=2000)
    for _ in range(40):
        writer.append(Stream.STDOUT, b"x" * 100)
    assert writer.left_out
    trim(tmp_path, writer.offset)
    for _ in range(4):
        writer.append(Stream.STDOUT, b"y" * 100)
    writer.close()
    printed = text(read_all(tmp_path))
    assert b"of output are missing here: the spool was full" in printed
    assert printed.endswith(b"y" * 100)


def test_a_full_disk_leaves_no_half_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SpoolWriter(tmp_path)
    writer.append(Stream.STDOUT, b"before")
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, parts: real(fd, [parts[0]]))
    writer.append(Stream.STDOUT, b"lost")
    monkeypatch.setattr(os, "writev", real)
    assert writer.left_out == 4
    assert text(read_all(tmp_path)) == b"before"


@settings(max_examples=60, deadline=None)
@given(
    frames=st.lists(st.tuples(st.sampled_from(list(Stream)), st.binary(min_size=1, max_size=50))),
    most=st.integers(1, 60),
    start=st.integers(0, 2000),
)
def test_any_reader_sees_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    frames: list[tuple[Stream, bytes]],
    most: int,
    start: int,
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    writer = SpoolWriter(folder)
    for stream, data in frames:
        writer.append(stream, data)
    writer.close()
    whole = b"".join(data for _, data in frames)
    pieces = read_all(folder, min(start, len(whole)), most)
    assert text(pieces) == whole[start:]
    assert all(len(piece.data) <= most for piece in pieces)
    assert all(sum(n for _, n in piece.spans) == len(piece.data) for piece in pieces)
