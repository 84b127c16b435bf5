"""Where do the bytes of an attempt's log wait until they are stored?

Segment files, named by the 20 digits of their first byte's offset in the log. A segment is a run of
frames: stream letter, time in ns, length (``<BQI``), then the bytes. One writer at a time, any
number of readers, also in other processes. Standard library only: shims use it.
"""

from __future__ import annotations

import errno
import itertools
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from schemas.stream import Stream

HEADER = struct.Struct("<BQI")
LETTERS = frozenset(ord(stream.value) for stream in Stream)
SEGMENT_BYTES = 8 << 20
"""A segment that is longer than this is followed by a new one."""
FRAME_BYTES = 256 << 10
SPOOL_BYTES = 1 << 30
"""What one attempt's spool may hold on disk by default."""
FULL_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
SPACE_CHECK = 1 << 20
"""Left-out bytes after which a full spool looks for space again."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of the log as it lies in the spool."""

    offset: int
    time: float
    """Unix seconds of its last frame."""
    spans: tuple[tuple[Stream, int], ...]
    data: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


def missing_here(size: int, lines: int, why: str) -> str:
    """How a log tells what was left out of it, whatever the reason."""
    return f"{size} bytes ({lines} lines) of output are missing here: {why}"


def segment_name(offset: int) -> str:
    return f"{offset:020d}"


def segments(folder: Path) -> list[int]:
    """First offsets of the segments, in order."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if len(name) == 20 and name.isdigit())


class SpoolWriter:
    """Appends; continues where the last writer stopped. Never blocks for want of space.

    What does not fit is counted and left out; as soon as there is room again (and at the end) a
    line of Stoker's own says how much is missing.
    """

    def __init__(
        self, folder: Path, limit: int = SPOOL_BYTES, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._folder = folder
        self._limit = limit
        self._clock = clock
        self._descriptor = -1
        self.left_out = 0
        """Bytes that were dropped since the last note about it."""
        self._lines_out = 0
        self._since_check = 0
        starts = segments(folder)
        self._segment = starts[-1] if starts else 0
        self._held = sum(os.path.getsize(folder / segment_name(start)) for start in starts)
        self._open()

    def _open(self) -> None:
        path = self._folder / segment_name(self._segment)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size, length = whole_frames(self._descriptor)
        torn = os.fstat(self._descriptor).st_size - self._size
        if torn:
            os.ftruncate(self._descriptor, self._size)
            self._held -= torn
        self.offset = self._segment + length

    def append(self, stream: Stream, data: bytes) -> None:
        if self.left_out and not self._room_again(len(data)):
            self._leave_out(data)
            return
        for start in range(0, len(data), FRAME_BYTES):
            part = data[start : start + FRAME_BYTES]
            full = self._held + HEADER.size + len(part) > self._limit
            if (full and not self._measure(len(part))) or not self._write(stream, part):
                self._leave_out(data[start:])
                return

    def close(self) -> None:
        """Says what is missing, where something is. Repeatable."""
        if self._descriptor >= 0:
            if self.left_out:
                self._note()
            os.close(self._descriptor)
            self._descriptor = -1

    def _leave_out(self, data: bytes) -> None:
        self.left_out += len(data)
        self._lines_out += data.count(b"\n")

    def _room_again(self, size: int) -> bool:
        self._since_check += size
        if self._since_check < SPACE_CHECK:
            return False
        self._since_check = 0
        return self._measure(size + SPACE_CHECK) and self._note()

    def _measure(self, wanted: int) -> bool:
        """Looks at what a reader has trimmed meanwhile."""
        held = 0
        for start in segments(self._folder):
            try:
                held += os.path.getsize(self._folder / segment_name(start))
            except FileNotFoundError:
                continue
        self._held = held
        return held + HEADER.size + wanted <= self._limit

    def _note(self) -> bool:
        text = missing_here(self.left_out, self._lines_out, "the spool was full")
        if self._write(Stream.STOKER, f"[stoker] {text}\n".encode()):
            self.left_out = self._lines_out = 0
            return True
        return False

    def _write(self, stream: Stream, data: bytes) -> bool:
        header = HEADER.pack(ord(stream.value), self._clock(), len(data))
        try:
            if self._size >= SEGMENT_BYTES:
                self._roll()
            written = os.writev(self._descriptor, (header, data))
        except OSError as error:
            if error.errno not in FULL_ERRORS:
                raise
            written = 0
        whole = HEADER.size + len(data)
        if written < whole:
            os.ftruncate(self._descriptor, self._size)
            return False
        self._size += whole
        self._held += whole
        self.offset += len(data)
        return True

    def _roll(self) -> None:
        path = self._folder / segment_name(self.offset)
        new = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.close(self._descriptor)
        self._descriptor, self._segment, self._size = new, self.offset, 0


def whole_frames(descriptor: int) -> tuple[int, int]:
    """Bytes of the file that are whole frames, and the bytes of log in them."""
    size = os.fstat(descriptor).st_size
    position = length = 0
    while position + HEADER.size <= size:
        letter, _, count = HEADER.unpack(os.pread(descriptor, HEADER.size, position))
        if letter not in LETTERS or position + HEADER.size + count > size:
            break
        position += HEADER.size + count
        length += count
    return position, length


class SpoolReader:
    """Reads from an offset on, while the writer still writes."""

    def __init__(self, folder: Path, offset: int = 0) -> None:
        self._folder = folder
        self.offset = offset
        """Of the next byte that ``read`` gives."""
        self._descriptor = -1
        self._segment = 0
        self._frame = 0
        """Place in the file of the frame that ``offset`` lies in."""
        self._frame_offset = 0
        """Offset in the log of that frame's first byte."""

    def read(self, most: int = 512 << 10) -> Piece | None:
        """The next whole frames, or the rest of one, of at most ``most`` bytes; None for none yet.

        A jump of ``Piece.offset`` over ``offset`` means that the segments between were trimmed.
        """
        while self._descriptor >= 0 or self._find():
            before = self._frame
            piece = self._parse(most)
            if piece is not None:
                self.offset = piece.end
                return piece
            if self._frame == before and not self._next_segment():
                return None
        return None

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _find(self) -> bool:
        starts = segments(self._folder)
        if not starts:
            return False
        before = [start for start in starts if start <= self.offset]
        self._use(before[-1] if before else starts[0])
        return True

    def _use(self, segment: int) -> None:
        self.close()
        self._descriptor = os.open(self._folder / segment_name(segment), os.O_RDONLY | os.O_CLOEXEC)
        self._segment = self._frame_offset = segment
        self._frame = 0
        self.offset = max(self.offset, segment)

    def _next_segment(self) -> bool:
        """Moves on where a later segment exists: then this one is complete.

        The writer makes the new segment after the last byte of the old one, so look again first.
        """
        later = [start for start in segments(self._folder) if start > self._segment]
        if not later:
            return False
        if self._has_more():
            return True
        self._use(later[0])
        return True

    def _has_more(self) -> bool:
        header = os.pread(self._descriptor, HEADER.size, self._frame)
        return len(header) == HEADER.size and header[0] in LETTERS

    def _parse(self, most: int) -> Piece | None:
        # A frame's header for every 64 bytes of log is a usual case for flushed short lines.
        block = os.pread(self._descriptor, most + most // 4 + FRAME_BYTES, self._frame)
        position, offset = 0, self._frame_offset
        spans: list[tuple[Stream, int]] = []
        parts: list[bytes] = []
        taken = time_ns = 0
        while position + HEADER.size <= len(block) and taken < most:
            letter, frame_time, count = HEADER.unpack_from(block, position)
            end = position + HEADER.size + count
            if letter not in LETTERS or end > len(block):
                break
            skip = max(0, self.offset - offset)
            first = position + HEADER.size + skip
            part = block[first : min(end, first + most - taken)]
            if part:
                add_span(spans, Stream(chr(letter)), len(part))
                parts.append(part)
                taken += len(part)
                time_ns = frame_time
            if skip + len(part) < count:
                break
            position, offset = end, offset + count
        start = max(self.offset, self._frame_offset)
        self._frame += position
        self._frame_offset = offset
        return Piece(start, time_ns / 1e9, tuple(spans), b"".join(parts)) if parts else None


def add_span(spans: list[tuple[Stream, int]], stream: Stream, length: int) -> None:
    if spans and spans[-1][0] is stream:
        spans[-1] = (stream, spans[-1][1] + length)
    else:
        spans.append((stream, length))


def trim(folder: Path, until: int) -> None:
    """Removes the segments that end at or before ``until``; never the newest one."""
    starts = segments(folder)
    for start, following in itertools.pairwise(starts):
        if following <= until:
            (folder / segment_name(start)).unlink(missing_ok=True)
