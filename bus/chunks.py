"""Where do the pieces of bundles and data lie, and how are they written, found and read?

``$O.chunks.C.<scope>.<x>.<sha256>`` holds one piece; ``x`` is the first digit of its name, so that
many are looked for by few questions. A scope is one owner's: equal pieces are stored once
there, and nobody learns what others have.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable

from bus.connection import Bus
from bus.errors import Corrupt
from bus.objects import WINDOW, hash_in
from bus.pieces import in_row, purge_all, put_once, raw_piece, read_piece, subjects_of
from schemas.tree import PIECE_BYTES, Tree, TreeHead, read_tree

STREAM = "OBJ_chunks"
FEW = 4
"""Pieces that begin alike and are still looked for one by one: an owner may have a million."""
QUESTIONS = 16
"""Looks at one time."""
MOST_TREE = 1 << 30
"""Bytes of a packed tree."""


def chunk_subject(scope: str, digest: str) -> str:
    return f"$O.chunks.C.{scope}.{digest[:1]}.{digest}"


class ChunkStore:
    """All pieces of the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def missing(self, scope: str, digests: Iterable[bytes]) -> list[bytes]:
        """Those that are not there, each once, in their order.

        What is there may be collected a moment later, unless a tree names it.
        """
        wanted = list(dict.fromkeys(digests))
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for digest in wanted:
            groups[digest.hex()[:1]].append(digest.hex())
        patterns = [one for names in groups.values() for one in group_patterns(scope, names)]
        room = asyncio.Semaphore(QUESTIONS)

        async def found(pattern: str) -> set[bytes]:
            async with room:
                return {digest_of(one) async for one in subjects_of(self._bus, STREAM, pattern)}

        there: set[bytes] = set().union(*await asyncio.gather(*map(found, patterns)))
        return [digest for digest in wanted if digest not in there]

    async def put(self, scope: str, digest: bytes, data: bytes) -> bool:
        """Whether it is new. Raises ``Corrupt`` where the data is not what its name says."""
        if not 0 < len(data) <= PIECE_BYTES:
            raise Corrupt(f"a piece of {len(data)} bytes; 1 to {PIECE_BYTES} are allowed")
        check = hashlib.sha256()
        await hash_in(check, data)
        if check.digest() != digest:
            raise Corrupt(f"the digest {digest.hex()} is not that of its bytes")
        return await put_once(self._bus, chunk_subject(scope, digest.hex()), data)

    async def chunk(self, scope: str, digest: bytes) -> bytes:
        """Raises ``NotFound``, and ``Corrupt`` where it is not what its name says."""
        return await read_piece(self._bus, STREAM, chunk_subject(scope, digest.hex()), digest)

    def unchecked(
        self, scope: str, digests: Iterable[bytes], window: int = WINDOW
    ) -> AsyncGenerator[bytes, None]:
        """As ``read``, for a receiver that compares the digests. Raises ``NotFound``."""

        async def one(digest: bytes) -> bytes:
            return await raw_piece(self._bus, STREAM, chunk_subject(scope, digest.hex()))

        return in_row(one, digests, window)

    def read(
        self, scope: str, digests: Iterable[bytes], window: int = WINDOW
    ) -> AsyncGenerator[bytes, None]:
        """In their order, in constant memory. Raises ``NotFound`` and ``Corrupt``."""
        return in_row(lambda digest: self.chunk(scope, digest), digests, window)

    async def packed_tree(self, scope: str, head: TreeHead) -> bytes:
        """Raises ``NotFound`` and ``Corrupt``."""
        if not 0 < head.size <= min(MOST_TREE, len(head.digests) * PIECE_BYTES):
            raise Corrupt(f"a tree of {head.size} bytes")
        data = bytearray()
        async for part in self.read(scope, head.digests):
            data += part
            if len(data) > head.size:
                break
        if len(data) != head.size:
            raise Corrupt(f"a tree has {len(data)} bytes instead of {head.size}")
        return bytes(data)

    async def tree(self, scope: str, head: TreeHead) -> Tree:
        """Raises ``NotFound`` and ``Corrupt``."""
        data = await self.packed_tree(scope, head)
        try:
            return await asyncio.to_thread(read_tree, data)
        except ValueError as error:
            raise Corrupt(f"not a tree: {error}") from error

    async def put_tree(self, scope: str, tree: Tree) -> TreeHead:
        """For trees that are made on the server's side; its pieces must have been put."""
        data = tree.pack()
        parts = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
        digests = [hashlib.sha256(part).digest() for part in parts]
        for digest, part in zip(digests, parts, strict=True):
            await self.put(scope, digest, part)
        return TreeHead(
            chunks=b"".join(digests), size=len(data), files=len(tree.files), total=tree.size
        )

    async def scopes(self) -> set[str]:
        """Those that have pieces."""
        found = set()
        async for name in subjects_of(self._bus, STREAM, "$O.chunks.C.>"):
            found.add(name.split(".")[3])
        return found

    async def all_of(self, scope: str) -> set[bytes]:
        pattern = f"$O.chunks.C.{scope}.*.*"
        return {digest_of(name) async for name in subjects_of(self._bus, STREAM, pattern)}

    async def remove(self, scope: str, digests: Iterable[bytes]) -> None:
        subjects = [chunk_subject(scope, digest.hex()) for digest in digests]
        await purge_all(self._bus, STREAM, subjects)


def group_patterns(scope: str, names: list[str]) -> list[str]:
    """Few by their names; many that begin alike by a look at all that do."""
    if len(names) <= FEW:
        return [chunk_subject(scope, name) for name in names]
    return [chunk_subject(scope, names[0]).rpartition(".")[0] + ".*"]


def digest_of(subject: str) -> bytes:
    return bytes.fromhex(subject.rpartition(".")[2])
