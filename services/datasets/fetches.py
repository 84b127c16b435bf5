"""How does a worker get what a granted attempt is to find? Piece by piece, in any order."""

from __future__ import annotations

import logging

from bus import subjects
from bus.errors import Corrupt, NotFound, Refused
from schemas.data import DataMount
from schemas.datasets import AskPieces, AskTree, DataPieces, DataTreePart
from schemas.tree import TreeHead, scope_of
from services.datasets import rules
from services.datasets.grants import Grants
from services.datasets.library import Library
from services.datasets.rules import refused
from services.datasets.shelf import Shelf

log = logging.getLogger(__name__)


class Fetches:
    """Of one replica."""

    def __init__(self, grants: Grants, shelf: Shelf, library: Library) -> None:
        self._grants = grants
        self._shelf = shelf
        self._library = library

    async def on_tree(self, asked: AskTree, subject: str) -> DataTreePart:
        mount = await self._grants.check(asked, subjects.asker(subject))
        head = await self._head(mount)
        if asked.part >= len(head.digests):
            raise refused("bad_part", f"the tree has {len(head.digests)} pieces")
        try:
            digest = head.digests[asked.part]
            data = await self._library.store.chunk(scope_of(mount.owner), digest)
        except (NotFound, Corrupt) as error:
            raise lost(mount) from error
        return DataTreePart(data=data, parts=len(head.digests))

    async def _head(self, mount: DataMount) -> TreeHead:
        """Of a version that was not deleted since the job was submitted."""
        dataset = await self._shelf.get(mount.owner, mount.name)
        version = dataset.find(mount.version or 0) if dataset else None
        if version is None or version.gone_at is not None:
            why = rules.gone(version) if version else "it was deleted"
            raise refused("no_such_version", f"{mount.owner}/{mount.name}: {why}", 410)
        try:
            return await self._library.head(mount.owner, mount.tree)
        except NotFound as error:
            raise lost(mount) from error

    async def on_pieces(self, asked: AskPieces, subject: str) -> DataPieces:
        mount = await self._grants.check(asked, subjects.asker(subject))
        try:
            data = await self._library.read(mount.owner, mount.tree, asked.first, asked.count)
        except (NotFound, Corrupt) as error:
            raise lost(mount) from error
        return DataPieces(data=tuple(data))


def lost(mount: DataMount) -> Refused:
    log.error("pieces of %s/%s are missing or damaged", mount.owner, mount.text)
    detail = f"a part of {mount.owner}/{mount.name}@{mount.version} is not stored any more"
    return refused("lost_data", f"{detail}: put it again", 410)
