"""Which files belong together, and which pieces hold their bytes?

A tree's files stand sorted by path, one behind the other; its pieces tile that row of bytes. So a
piece may hold many small files, and a big file takes many pieces. Pieces are cut by content
(``stoker/cutting.py``): what did not change has the same pieces again, wherever it moved.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.message import Message

PIECE_BYTES = 512 << 10
"""Most bytes of a piece: it travels, and is stored, as one message."""
DIGEST = 32
"""Bytes of a sha256."""
PIECE = struct.Struct(">32sI")
PATH_BYTES = 4096
HEAD = re.compile(rb"stoker-tree 1 (0|[1-9]\d{0,12}) (0|[1-9]\d{0,12})\n")
LINE = re.compile(r"([^\0]+)\0(644|755)\0(0|[1-9]\d{0,15})\0([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class TreeFile:
    """One file of a tree."""

    path: str
    """Relative, with slashes, without ``.`` and ``..``."""
    mode: int
    """0o755 where it can be run, else 0o644."""
    size: int
    digest: str
    """sha256 of its bytes, as hexadecimal digits."""

    @property
    def line(self) -> str:
        """Of the manifest."""
        return f"{self.path}\0{self.mode:o}\0{self.size}\0{self.digest}\n"


@dataclass(frozen=True, slots=True)
class Tree:
    """What a folder holds."""

    files: tuple[TreeFile, ...]
    """Sorted by path."""
    pieces: bytes
    """Digest and size of each, one after the other."""

    @property
    def manifest(self) -> bytes:
        return "".join(file.line for file in self.files).encode()

    @property
    def id(self) -> str:
        """sha256 of the manifest: of what the files are, however they were cut."""
        return hashlib.sha256(self.manifest).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def count(self) -> int:
        return len(self.pieces) // PIECE.size

    def piece(self, number: int) -> tuple[bytes, int]:
        """Digest and size."""
        digest, size = PIECE.unpack_from(self.pieces, number * PIECE.size)
        return digest, size

    def each_piece(self) -> Iterator[tuple[bytes, int]]:
        """Digest and size of each, in order."""
        return PIECE.iter_unpack(self.pieces)

    def span(self, path: str) -> list[tuple[int, int, int]]:
        """Where a file's bytes are: in which piece, from where to where in it, in order.

        Raises ``KeyError``.
        """
        start = 0
        for file in self.files:
            if file.path == path:
                return list(self._span(start, start + file.size))
            start += file.size
        raise KeyError(path)

    def _span(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        at = 0
        for number, (_, size) in enumerate(self.each_piece()):
            if at >= stop:
                return
            if at + size > start:
                yield number, max(0, start - at), min(size, stop - at)
            at += size

    def pack(self) -> bytes:
        """Canonical: the same tree is the same bytes."""
        manifest = self.manifest
        return b"stoker-tree 1 %d %d\n%b%b" % (len(manifest), self.count, manifest, self.pieces)


class TreeHead(Message):
    """Where a packed tree lies: pieces that, joined, are its bytes."""

    chunks: bytes
    """Their sha256, one after the other."""
    size: int
    """Bytes of the packed tree."""
    files: int = 0
    total: int = 0
    """Bytes of all files."""

    @property
    def digests(self) -> list[bytes]:
        return cut(self.chunks)


class StoredTree(Message):
    """A tree that somebody needs: what it names is not collected."""

    head: TreeHead
    at: float
    """Unix seconds, by the service's clock."""
    whole: bool = False
    """All that it names was there after it was written: from then on it stays there."""


class Sweep(Message):
    """Pieces of a scope are being collected, by somebody who may die of it."""

    until: float
    """Unix seconds, by NATS's clock."""


def cut(digests: bytes) -> list[bytes]:
    """The single ones of a row."""
    return [digests[at : at + DIGEST] for at in range(0, len(digests), DIGEST)]


def scope_of(owner: str) -> str:
    """The token under which an owner's pieces lie: they are shared with nobody else."""
    return hashlib.sha256(owner.encode()).hexdigest()[:32]


def read_tree(data: bytes) -> Tree:
    """Raises ``ValueError`` for what is none: nothing of it is believed."""
    head = HEAD.match(data)
    if head is None:
        raise ValueError("it does not begin as a tree does")
    length, count = int(head[1]), int(head[2])
    pieces_at = head.end() + length
    if len(data) != pieces_at + count * PIECE.size:
        raise ValueError("it is shorter or longer than it says")
    manifest = data[head.end() : pieces_at].decode()  # a UnicodeDecodeError is a ValueError
    tree = Tree(tuple(read_lines(manifest)), data[pieces_at:])
    sizes = [size for _, size in tree.each_piece()]
    if any(not 0 < size <= PIECE_BYTES for size in sizes):
        raise ValueError(f"a piece is empty or larger than {PIECE_BYTES} bytes")
    if sum(sizes) != tree.size:
        raise ValueError("its pieces are not as long as its files")
    check_folders({file.path for file in tree.files})
    return tree


def read_lines(manifest: str) -> Iterator[TreeFile]:
    if manifest and not manifest.endswith("\n"):
        raise ValueError("its last line is cut off")
    before = ""
    for line in manifest.split("\n")[:-1]:
        found = LINE.fullmatch(line)
        if found is None or not is_inside(found[1]):
            raise ValueError(f"the line {line[:200]!r}")
        if found[1] <= before:
            raise ValueError(f"{found[1][:200]!r} stands twice, or in the wrong place")
        before = found[1]
        yield TreeFile(found[1], int(found[2], 8), int(found[3]), found[4])


def is_inside(path: str) -> bool:
    """Whether it is a relative path that no system reads as a way out."""
    if len(path.encode()) > PATH_BYTES:
        return False
    return all(part not in ("", ".", "..") for part in path.split("/"))


def check_folders(paths: set[str]) -> None:
    """Nothing is a file and a folder. Raises ``ValueError``."""
    for path in paths:
        place = path.rfind("/")
        while place > 0:
            if path[:place] in paths:
                raise ValueError(f"{path[:place][:200]!r} is a file and a folder")
            place = path.rfind("/", 0, place)
