"""How does this process know what is in a dataset, and read a part of one of its files?"""

from __future__ import annotations

import asyncio
import bisect
from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import accumulate, islice

from bus.chunks import ChunkStore
from bus.connection import Bus
from bus.trees import DATA, Trees
from schemas.tree import Tree, TreeFile, scope_of

REMEMBERED = 400_000
"""Files in all trees that are kept in memory; each takes about half a KiB."""


@dataclass(frozen=True)
class Listing:
    """One tree, and where its files and pieces begin in the row of all bytes."""

    owner: str
    tree: Tree
    starts: list[int]
    pieces: list[int]

    def find(self, path: str) -> int | None:
        """The number of the file."""
        files = self.tree.files
        at = bisect.bisect_left(files, path, key=lambda one: one.path)
        return at if at < len(files) and files[at].path == path else None

    def page(self, under: str, after: str, limit: int) -> tuple[list[TreeFile], bool]:
        """Files in the order of their paths, behind ``after``, in the folder ``under``."""
        files = self.tree.files
        prefix = f"{under.strip('/')}/" if under.strip("/") else ""
        begin = bisect.bisect_right(files, max(after, prefix), key=lambda one: one.path)
        chosen: list[TreeFile] = []
        for file in islice(files, begin, None):
            if not file.path.startswith(prefix):
                break
            if len(chosen) == limit:
                return chosen, True
            chosen.append(file)
        return chosen, False


class DataReader:
    """Remembers trees: a viewer asks for file after file of the same one."""

    def __init__(self, bus: Bus) -> None:
        self._trees = Trees(bus)
        self._chunks = ChunkStore(bus)
        self._known: OrderedDict[tuple[str, str], Listing] = OrderedDict()
        self._held = 0

    async def listing(self, owner: str, tree: str) -> Listing:
        """Raises ``NotFound`` and ``Corrupt``."""
        key = (owner, tree)
        if key not in self._known:
            head = (await self._trees.get(scope_of(owner), DATA, tree)).head
            found = await self._chunks.tree(scope_of(owner), head)
            self._remember(key, await asyncio.to_thread(listed, owner, found))
        self._known.move_to_end(key)
        return self._known[key]

    async def read(
        self, listing: Listing, number: int, start: int, stop: int
    ) -> AsyncGenerator[bytes, None]:
        """Bytes of a file from ``start`` to before ``stop``. Raises ``NotFound``, ``Corrupt``."""
        begin, end = listing.starts[number] + start, listing.starts[number] + stop
        if begin >= end:
            return
        first = bisect.bisect_right(listing.pieces, begin) - 1
        last = bisect.bisect_left(listing.pieces, end)
        digests = [listing.tree.piece(one)[0] for one in range(first, last)]
        place = listing.pieces[first]
        async for data in self._chunks.read(scope_of(listing.owner), digests):
            yield data[max(0, begin - place) : end - place]
            place += len(data)

    def _remember(self, key: tuple[str, str], listing: Listing) -> None:
        if key not in self._known:
            self._known[key] = listing
            self._held += len(listing.tree.files)
        while self._held > REMEMBERED and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._held -= len(oldest.tree.files)


def listed(owner: str, tree: Tree) -> Listing:
    starts = list(accumulate((file.size for file in tree.files), initial=0))[:-1]
    pieces = list(accumulate((size for _, size in tree.each_piece()), initial=0))[:-1]
    return Listing(owner, tree, starts, pieces)
