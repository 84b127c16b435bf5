"""How do a tree's files get onto the disk, with what is here already of trees like it?

Pure file work, meant for a thread. What is written is what the tree says, or ``BadArchive``: every
file's digest is compared, wherever its bytes came from.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import IO

from agent.unpack import BadArchive
from schemas.tree import Tree, TreeFile

MOST_INDEXED = 200_000
"""Pieces of trees that are here which are remembered."""


class Laid:
    """A tree whose files lie in a folder: they can be linked, and their pieces read."""

    def __init__(self, tree: Tree, files: Path) -> None:
        self.tree = tree
        self.files = files
        self._starts = starts_of(tree)

    def read(self, at: int, size: int) -> bytes:
        """So many bytes of the row of all files; fewer, or ``OSError``, where it was damaged."""
        data = bytearray()
        index = max(0, bisect_right(self._starts, at) - 1)
        while len(data) < size and index < len(self.tree.files):
            file, start = self.tree.files[index], self._starts[index]
            begin = at + len(data) - start
            wanted = min(file.size - begin, size - len(data))
            if wanted > 0:
                with (self.files / file.path).open("rb") as source:
                    source.seek(begin)
                    part = source.read(wanted)
                if len(part) < wanted:
                    break
                data += part
            index += 1
        return bytes(data)


@dataclass
class Near:
    """What is here of some trees."""

    laid: Sequence[Laid] = ()
    _files: dict[tuple[str, int, int], Path] = field(default_factory=dict)
    _pieces: dict[bytes, tuple[Laid, int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in self.laid:
            for file in one.tree.files:
                self._files.setdefault((file.digest, file.size, file.mode), one.files / file.path)
            at = 0
            for digest, size in one.tree.each_piece():
                if len(self._pieces) >= MOST_INDEXED:
                    return
                self._pieces.setdefault(digest, (one, at, size))
                at += size

    def file(self, file: TreeFile) -> Path | None:
        return self._files.get((file.digest, file.size, file.mode))

    def piece(self, digest: bytes) -> bytes | None:
        """Its bytes, checked; None where they are not here (any more)."""
        found = self._pieces.get(digest)
        if found is None:
            return None
        laid, at, size = found
        try:
            data = laid.read(at, size)
        except OSError:
            return None
        return data if hashlib.sha256(data).digest() == digest else None


class TreeWriter:
    """Writes one tree; its bytes come in order, but for those of files that were linked."""

    def __init__(self, tree: Tree, into: Path) -> None:
        self._tree = tree
        self._into = into
        self._starts = starts_of(tree)
        self._linked: set[int] = set()
        self._next = 0
        """The first file that is not done."""
        self._open: IO[bytes] | None = None
        self._hash = hashlib.sha256()

    def link(self, near: Near) -> None:
        """Makes folders, and takes over what is here as whole files."""
        for folder in sorted({os.path.dirname(file.path) for file in self._tree.files}):
            (self._into / folder).mkdir(parents=True, exist_ok=True)
        for index, file in enumerate(self._tree.files):
            source = near.file(file) if file.size else None
            if source is not None and linked(source, self._into / file.path):
                self._linked.add(index)

    def needed(self) -> Iterator[int]:
        """The numbers of the pieces that ``write`` waits for, in order."""
        index, at = 0, 0
        for number, (_, size) in enumerate(self._tree.each_piece()):
            stop = at + size
            while index < len(self._tree.files) and self._end(index) <= at:
                index += 1
            look = index
            while look < len(self._tree.files) and self._starts[look] < stop:
                if look not in self._linked and self._end(look) > at:
                    yield number
                    break
                look += 1
            at = stop

    def write(self, at: int, data: bytes) -> None:
        """A piece and its place in the row of all files. Raises ``BadArchive`` and ``OSError``."""
        stop = at + len(data)
        while self._next < len(self._tree.files) and self._starts[self._next] < stop:
            index = self._next
            start, end = self._starts[index], self._end(index)
            if index not in self._linked:
                self._append(index, data[max(0, start - at) : max(0, end - at)])
            if end > stop:
                return
            self._done(index)

    def finish(self) -> None:
        """Raises ``BadArchive`` where bytes are missing."""
        while self._next < len(self._tree.files):
            self._done(self._next)

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _end(self, index: int) -> int:
        return self._starts[index] + self._tree.files[index].size

    def _append(self, index: int, data: bytes) -> None:
        if self._open is None:
            self._open = created(self._into / self._tree.files[index].path, self._tree.files[index])
            self._hash = hashlib.sha256()
        self._open.write(data)
        self._hash.update(data)

    def _done(self, index: int) -> None:
        file = self._tree.files[index]
        self._next += 1
        if index in self._linked:
            return
        if self._open is None:  # it is empty
            self._open = created(self._into / file.path, file)
            self._hash = hashlib.sha256()
        self.close()
        if self._hash.hexdigest() != file.digest:
            raise BadArchive(f"{file.path} is not what the bundle's list of files says")


def starts_of(tree: Tree) -> list[int]:
    """Where each file begins in the row of them all."""
    return list(accumulate((file.size for file in tree.files), initial=0))[:-1]


def created(path: Path, file: TreeFile) -> IO[bytes]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, file.mode), "wb")


def linked(source: Path, target: Path) -> bool:
    """Nobody writes to either: attempts get copies."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        return False
    return True
