"""Of which pieces is a tree made? What was read lately is remembered, within bounds."""

from __future__ import annotations

from collections import OrderedDict

from bus.chunks import ChunkStore
from bus.connection import Bus
from bus.trees import DATA, Trees
from schemas.tree import HEAD, PIECE, TreeHead, scope_of

REMEMBERED = 64 << 20
"""Bytes of digests in memory: those of some hundred GiB."""


class Library:
    """What the trees of datasets name."""

    def __init__(self, bus: Bus) -> None:
        self.trees = Trees(bus)
        self.store = ChunkStore(bus)
        self._known: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._held = 0

    async def head(self, owner: str, tree: str) -> TreeHead:
        """Raises ``NotFound``."""
        return (await self.trees.get(scope_of(owner), DATA, tree)).head

    async def read(self, owner: str, tree: str, first: int, count: int) -> list[bytes]:
        """Some that follow each other, for a worker that checks them. Raises ``NotFound``."""
        row = await self._pieces(owner, tree)
        wanted = row[first * PIECE.size : (first + count) * PIECE.size]
        digests = [digest for digest, _ in PIECE.iter_unpack(wanted)]
        return [data async for data in self.store.unchecked(scope_of(owner), digests)]

    async def _pieces(self, owner: str, tree: str) -> bytes:
        """Digest and size of each, one after the other."""
        key = (owner, tree)
        if key not in self._known:
            head = await self.head(owner, tree)
            self._remember(key, pieces_of(await self.store.packed_tree(scope_of(owner), head)))
        self._known.move_to_end(key)
        return self._known[key]

    def _remember(self, key: tuple[str, str], row: bytes) -> None:
        self._held += len(row) - len(self._known.pop(key, b""))
        self._known[key] = row
        while self._held > REMEMBERED and len(self._known) > 1:
            self._held -= len(self._known.popitem(last=False)[1])


def pieces_of(packed: bytes) -> bytes:
    """Of a tree that was checked when it was committed."""
    head = HEAD.match(packed)
    return packed[head.end() + int(head[1]) :] if head else b""
