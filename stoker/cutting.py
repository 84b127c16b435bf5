"""How is a folder cut into pieces, so that what did not change has the same pieces again?

All files, sorted by name, are thought of as one row of bytes, which the pieces tile. A big file is
cut by its content (FastCDC): what is inserted changes the pieces around it, and no others. Small
files are put together; after which of them a piece ends follows from their own names and sizes.
"""

from __future__ import annotations

import hashlib
import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from stoker.cut_memory import Known, Memory
from stoker.packing import File, PackingError

if TYPE_CHECKING:
    from pyfastcdc import FastCDC

PIECE = struct.Struct(">32sI")
"""Digest and size."""
MOST, AVERAGE, LEAST = 512 << 10, 256 << 10, 64 << 10
"""Bytes of a piece; ``schemas/tree.py`` has the same bound."""
BIG = 128 << 10
"""Bytes from which on a file is cut by itself."""
RARELY = 1 / 1024
"""How often a piece ends after a small file, however small it is."""


@dataclass(frozen=True, slots=True)
class CutFile:
    """One file as it was read."""

    name: str
    path: Path
    mode: int
    size: int
    digest: str

    @property
    def line(self) -> str:
        """Of the manifest, by whose sha256 a bundle is known."""
        return f"{self.name}\0{self.mode:o}\0{self.size}\0{self.digest}\n"


@dataclass
class Cut:
    """A folder in pieces."""

    files: list[CutFile] = field(default_factory=list)
    pieces: bytearray = field(default_factory=bytearray)
    """Digest and size of each."""
    _starts: list[int] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def manifest(self) -> bytes:
        return "".join(file.line for file in self.files).encode()

    @property
    def id(self) -> str:
        return hashlib.sha256(self.manifest).hexdigest()

    def pack(self) -> bytes:
        """As ``schemas/tree.py`` reads it."""
        manifest = self.manifest
        count = len(self.pieces) // PIECE.size
        return b"stoker-tree 1 %d %d\n%b%b" % (len(manifest), count, manifest, bytes(self.pieces))

    def each_piece(self) -> Iterator[tuple[bytes, int]]:
        return PIECE.iter_unpack(bytes(self.pieces))

    def read(self, at: int, size: int, digest: bytes) -> bytes:
        """A piece, by its place in the row. Raises ``PackingError`` where it is another one now."""
        if not self._starts:
            self._starts = starts_of(self.files)
        data = bytearray()
        index = max(0, bisect_right(self._starts, at) - 1)
        names = []
        while len(data) < size and index < len(self.files):
            file = self.files[index]
            begin = at + len(data) - self._starts[index]
            if begin < file.size:
                names.append(file.name)
                with opened(file) as source:
                    source.seek(begin)
                    data += source.read(min(file.size - begin, size - len(data)))
            index += 1
        if hashlib.sha256(data).digest() != digest:
            raise PackingError(f"{' or '.join(names[:3])} changed while it was sent: submit again")
        return bytes(data)


def cut_files(
    files: Sequence[File],
    memory: Memory | None = None,
    progress: Callable[[int], None] | None = None,
) -> Cut:
    """Reads all that ``memory`` does not know; tells ``progress`` how many bytes are done."""
    cutter = Cutter(memory or Memory(), progress or (lambda _: None))
    for file in sorted(files, key=lambda one: one.name):
        cutter.add(file)
    cutter.end_piece()
    return cutter.cut


class Cutter:
    """Takes one file after the other, in order."""

    def __init__(self, memory: Memory, progress: Callable[[int], None]) -> None:
        self.cut = Cut()
        self._memory = memory
        self._progress = progress
        self._small = bytearray()
        self._chunker = new_chunker()
        self._done = 0

    def add(self, file: File) -> None:
        with opened(file) as source:
            status = os.fstat(source.fileno())
            mode = 0o755 if status.st_mode & 0o111 else 0o644
            if status.st_size < BIG:
                size, digest = self._add_small(file, source)
            else:
                size, digest = self._add_big(file, source, status)
        self.cut.files.append(CutFile(file.name, file.path, mode, size, digest))

    def _add_small(self, file: File, source: IO[bytes]) -> tuple[int, str]:
        data = source.read(MOST)
        if len(data) >= MOST:
            raise PackingError(f"{file.name} grows while it is read: submit again")
        if len(self._small) + len(data) > MOST:
            self.end_piece()
        self._small += data
        if ends_piece(file.name, len(data)):
            self.end_piece()
        self._tell(len(data))
        return len(data), hashlib.sha256(data).hexdigest()

    def _add_big(self, file: File, source: IO[bytes], status: os.stat_result) -> tuple[int, str]:
        self.end_piece()
        known = self._memory.get(file.path, status)
        if known is None:
            known = self._cut(source)
            self._memory.note(file.path, status, known)
        else:
            self._tell(known.size)
        self.cut.pieces += known.pieces
        return known.size, known.digest

    def _cut(self, source: IO[bytes]) -> Known:
        whole, pieces, size = hashlib.sha256(), bytearray(), 0
        for chunk in self._chunker.cut_stream(source):
            whole.update(chunk.data)
            pieces += PIECE.pack(hashlib.sha256(chunk.data).digest(), chunk.length)
            size += chunk.length
            self._tell(chunk.length)
        return Known(size, whole.hexdigest(), bytes(pieces))

    def end_piece(self) -> None:
        if self._small:
            digest = hashlib.sha256(self._small).digest()
            self.cut.pieces += PIECE.pack(digest, len(self._small))
            self._small.clear()

    def _tell(self, size: int) -> None:
        self._done += size
        self._progress(self._done)


def cut_bytes(data: bytes) -> list[bytes]:
    """What is no file, likewise."""
    if len(data) <= LEAST:
        return [data]
    return [bytes(chunk.data) for chunk in new_chunker().cut_buf(data)]


def new_chunker() -> FastCDC:
    from pyfastcdc import FastCDC  # only who sends something needs it

    return FastCDC(AVERAGE, min_size=LEAST, max_size=MOST, normalized_chunking=2)


def ends_piece(name: str, size: int) -> bool:
    """By the file alone: what changes in others moves no end of a piece far away."""
    chance = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / (1 << 32)
    return chance < size / AVERAGE + RARELY


def starts_of(files: Sequence[CutFile]) -> list[int]:
    starts, at = [], 0
    for file in files:
        starts.append(at)
        at += file.size
    return starts


def opened(file: File | CutFile) -> IO[bytes]:
    try:
        return file.path.open("rb")
    except OSError as error:
        raise PackingError(f"{file.name} cannot be read: {error.strerror}") from error
