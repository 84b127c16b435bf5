"""How do pieces become files again? Blocking. The files of a tree lie one behind the other in them.

A number beside the files says how many pieces are written: a fetch that was cut off goes on there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.datasets import ANSWER_BYTES, PIECES_MOST
from schemas.tree import Tree

NOTED_EVERY = 64 << 20
"""Bytes after which it is noted down how far it came."""
READABLE = 0o444


class Damaged(Exception):
    """A piece is not what its name says."""


@dataclass(frozen=True, slots=True)
class Span:
    """Pieces that follow each other, asked for at one time."""

    first: int
    count: int


def spans(tree: Tree, begin: int) -> Iterator[Span]:
    """All from piece number ``begin`` on, as many together as fit into one answer. Pure."""
    first, count, size = begin, 0, 0
    for number in range(begin, tree.count):
        _, more = tree.piece(number)
        if count and (size + more > ANSWER_BYTES or count == PIECES_MOST):
            yield Span(first, count)
            first, count, size = number, 0, 0
        count, size = count + 1, size + more
    if count:
        yield Span(first, count)


class Writer:
    """Fills a folder that nobody else writes to; ``close`` leaves nothing open."""

    def __init__(self, tree: Tree, folder: Path, state: Path) -> None:
        self._tree = tree
        self._folder = os.fspath(folder)
        self._state = state
        self._made: set[str] = set()
        self._file = 0
        """Number of the file that comes next, or is open."""
        self._open: int | None = None
        self._left = 0
        """Bytes that the open file still lacks."""
        self.next = self._noted_pieces()
        """Number of the piece that comes next."""
        self.written = 0
        self._noted = 0
        self._go_on()

    def add(self, pieces: Sequence[bytes]) -> None:
        """The next ones. Raises ``Damaged`` and ``OSError``."""
        for data in pieces:
            digest, size = self._tree.piece(self.next)
            if len(data) != size or hashlib.sha256(data).digest() != digest:
                raise Damaged(f"piece {self.next} of {self._tree.count}")
            self._spread(memoryview(data))
            self.next += 1
            self.written += size
        if self.written - self._noted >= NOTED_EVERY:
            self._noted = self.written
            self._state.write_text(str(self.next))

    def finish(self) -> None:
        """After the last piece: files without a byte may be left. Raises ``Damaged``."""
        while self._file < len(self._tree.files) and not self._tree.files[self._file].size:
            self._begin()
        if self._file != len(self._tree.files):
            raise Damaged(self._tree.files[self._file].path)

    def close(self) -> None:
        if self._open is not None:
            os.close(self._open)
            self._open = None
        with contextlib.suppress(OSError):
            self._state.write_text(str(self.next))

    def _spread(self, data: memoryview) -> None:
        while data:
            if self._open is None:
                self._begin()
                continue
            count = os.write(self._open, data[: self._left])
            data = data[count:]
            self._took(count)

    def _took(self, count: int) -> None:
        assert self._open is not None
        self._left -= count
        if not self._left:
            os.close(self._open)
            self._open = None
            self._file += 1

    def _begin(self, keep: int = 0) -> None:
        """Opens the next file, whose first ``keep`` bytes are there."""
        file = self._tree.files[self._file]
        path = f"{self._folder}/{file.path}"
        place = path.rpartition("/")[0]
        if place not in self._made:
            os.makedirs(place, 0o755, exist_ok=True)
            self._made.add(place)
        if keep:
            # Written without the right to write: what is mounted is not to be changed.
            os.chmod(path, 0o600)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        if not keep:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            flags |= os.O_EXCL
        self._open = os.open(path, flags, READABLE | (file.mode & 0o111))
        if keep:
            os.fchmod(self._open, READABLE | (file.mode & 0o111))
            os.truncate(self._open, keep)
            os.lseek(self._open, keep, os.SEEK_SET)
        self._left = file.size - keep
        self._took(0)

    def _go_on(self) -> None:
        """Behind the last piece that is noted down. Starts anew where the files are not there."""
        place = sum(self._tree.piece(number)[1] for number in range(self.next))
        try:
            self._seek(place)
        except OSError:
            self._file, self.next, place = 0, 0, 0
        self.written = self._noted = place

    def _seek(self, place: int) -> None:
        while place:
            file = self._tree.files[self._file]
            there = os.lstat(f"{self._folder}/{file.path}").st_size
            if there < min(place, file.size):
                raise OSError(f"{file.path} lacks a part")
            if file.size > place:
                self._begin(keep=place)
                return
            place -= file.size
            self._file += 1

    def _noted_pieces(self) -> int:
        """0 where nothing, or nothing sensible, is noted."""
        try:
            return max(0, min(self._tree.count, int(self._state.read_text())))
        except (OSError, ValueError):
            return 0
