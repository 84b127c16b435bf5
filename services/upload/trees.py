"""Is this tree a sound bundle, and are the pieces that it names all there?

Its files are not put together for that: a piece was checked when it came, and whoever fetches the
bundle checks each file. A tree that lies fails with the jobs of the owner who sent it, and with no
others: nobody else's jobs look for it.
"""

from __future__ import annotations

import asyncio

from bus.chunks import ChunkStore
from bus.clock import ServerClock
from bus.connection import Bus
from bus.errors import Corrupt, NotFound
from bus.trees import BUNDLE, Trees
from schemas.tree import Tree, TreeHead, scope_of
from services.upload.admission import Admission
from services.upload.bundle import (
    REQUIREMENTS,
    REQUIREMENTS_BYTES,
    check_amount,
    check_requirements,
)
from services.upload.config import UploadConfig
from services.upload.names import check_collisions, check_path
from services.upload.refusals import BadBundle
from services.upload.stored import StoredBundle

TREE_BYTES = 64 << 20
"""Most of a packed tree: some hundred thousand files."""


class TreeBundles:
    """Bundles that lie as pieces."""

    def __init__(
        self, bus: Bus, config: UploadConfig, admission: Admission, clock: ServerClock
    ) -> None:
        self._config = config
        self._admission = admission
        self._clock = clock
        self._chunks = ChunkStore(bus)
        self._trees = Trees(bus)

    async def accept(self, owner: str, head: TreeHead) -> StoredBundle:
        """Raises ``BadBundle``, also where pieces are missing."""
        scope = scope_of(owner)
        tree = await self._read(scope, head)
        digest = await asyncio.to_thread(check_tree, tree, self._config)
        self._admission.check_upload(owner, tree.size)
        await self._check_requirements(scope, tree)
        await self._admission.check_storage(owner, digest, tree.size)
        # What the sender says of the whole is not believed: it is shown to people.
        head = TreeHead(chunks=head.chunks, size=head.size, files=len(tree.files), total=tree.size)
        missing = await self._trees.keep(scope, BUNDLE, head, tree, self._clock.now())
        if missing:
            raise lacking(f"{len(missing)} pieces are not there (any more)")
        return stored(digest, scope, tree)

    async def find(self, scope: str, digest: str) -> StoredBundle | None:
        found = await self._trees.find(scope, BUNDLE, digest)
        if found is None:
            return None
        return stored(digest, scope, await self._chunks.tree(scope, found.head))

    async def _read(self, scope: str, head: TreeHead) -> Tree:
        if head.size > TREE_BYTES:
            raise BadBundle(
                "too_many_files",
                f"the list of its files has {head.size >> 20} MiB; at most {TREE_BYTES >> 20} MiB"
                " are allowed: pack many small files into one",
                413,
            )
        try:
            return await self._chunks.tree(scope, head)
        except NotFound as error:
            raise lacking("pieces of its list of files are not there (any more)") from error
        except Corrupt as error:
            raise BadBundle("bad_tree", f"its list of files cannot be read: {error}") from error

    async def _check_requirements(self, scope: str, tree: Tree) -> None:
        for file in tree.files:
            if file.path in REQUIREMENTS:
                small = file.size <= REQUIREMENTS_BYTES
                start = await self._bytes(scope, tree, file.path) if small else b""
                check_requirements(file.path, file.size, start)

    async def _bytes(self, scope: str, tree: Tree, path: str) -> bytes:
        data = bytearray()
        try:
            for number, start, stop in tree.span(path):
                piece = await self._chunks.chunk(scope, tree.piece(number)[0])
                data += piece[start:stop]
        except NotFound as error:
            raise lacking(f"pieces of {path} are not there (any more)") from error
        return bytes(data)


def lacking(detail: str) -> BadBundle:
    return BadBundle("pieces_missing", f"{detail}: send them and submit again", 409)


def stored(digest: str, scope: str, tree: Tree) -> StoredBundle:
    files = tuple(file.path for file in tree.files)
    return StoredBundle(digest, tree.size, files, scope=scope)


def check_tree(tree: Tree, config: UploadConfig) -> str:
    """The bundle's digest. Raises ``BadBundle``."""
    check_amount(len(tree.files), tree.size, config)
    for file in tree.files:
        check_path(file.path, shown(file.path))
    check_collisions((file.path, False) for file in tree.files)
    return tree.id


def shown(path: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in path)[:120]
