"""Which worker may fetch which bundle, and what is the next part of it?"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from bus import subjects
from bus.chunks import ChunkStore
from bus.connection import Bus
from bus.errors import NotFound, Refused
from bus.objects import ObjectInfo, Objects
from bus.records import Records
from bus.trees import BUNDLE, Trees
from schemas.problem import Problem
from schemas.requests import (
    BundleChunk,
    FetchBundle,
    FetchPieces,
    FetchTree,
    Pieces,
    TreePart,
)
from schemas.tree import Tree, TreeHead

MOST_CHUNKS = 1 << 20
"""A fetch's cursor holds the sequence and, below it, how many chunks came before."""
GRANT_HOLDS = 2.0
"""Seconds for which a grant that was checked is not checked again: a window of chunks."""
REMEMBERED = 1024
MESSAGE_BYTES = 960 << 10
"""Of pieces in one answer."""
MOST_NUMBERS = 1024
TREES_BYTES = 32 << 20
"""Rows of pieces that are kept in memory."""

Asked = FetchBundle | FetchTree | FetchPieces


@dataclass(frozen=True)
class Granted:
    """A bundle that a worker may fetch."""

    scope: str
    until: float
    """By the monotonic clock."""
    info: ObjectInfo | None = None
    """Where it is one archive."""


@dataclass(frozen=True, slots=True)
class Row:
    """The pieces of a tree, and where the tree itself lies."""

    head: TreeHead
    tree: Tree
    """Without its files."""


class Fetches:
    """Answers ``fetch``, ``tree`` and ``pieces``; tells ``forget`` of an archive that is gone."""

    def __init__(self, bus: Bus, forget: Callable[[str], object]) -> None:
        self._objects = Objects(bus)
        self._records = Records(bus)
        self._chunks = ChunkStore(bus)
        self._trees = Trees(bus)
        self._forget = forget
        self._granted: OrderedDict[tuple[str, int, str, str, str], Granted] = OrderedDict()
        self._rows: OrderedDict[tuple[str, str], Row] = OrderedDict()

    async def on_fetch(self, asked: FetchBundle, subject: str) -> BundleChunk:
        """Only the worker that the record names, and only for its current attempt."""
        granted = await self._check_grant(asked, subject, bool(asked.cursor))
        if granted.info is None:
            raise NotFound(f"the bundle {asked.bundle} is no archive")
        info = granted.info
        after, number = divmod(asked.cursor, MOST_CHUNKS)
        data, sequence = await self._objects.chunk(info, after)
        last = number + 1 >= info.chunks
        cursor = None if last else sequence * MOST_CHUNKS + number + 1
        return BundleChunk(data=data, next=cursor, size=info.size)

    async def on_tree(self, asked: FetchTree, subject: str) -> TreePart:
        """Likewise. A small bundle comes whole with its tree."""
        granted = await self._check_grant(asked, subject, asked.number > 0)
        row = await self._row(granted.scope, asked.bundle)
        digests = row.head.digests
        if not 0 <= asked.number < len(digests):
            raise NotFound(f"the tree has no part {asked.number}")
        data = await self._chunks.chunk(granted.scope, digests[asked.number])
        pieces: tuple[bytes, ...] = ()
        if len(digests) == 1 and len(data) + row.head.total <= MESSAGE_BYTES:
            wanted = [digest for digest, _ in row.tree.each_piece()]
            pieces = tuple([one async for one in self._chunks.read(granted.scope, wanted)])
        return TreePart(data=data, parts=len(digests), size=row.head.size, pieces=pieces)

    async def on_pieces(self, asked: FetchPieces, subject: str) -> Pieces:
        """Likewise. By number, so that nobody asks for what is not in that tree."""
        granted = await self._check_grant(asked, subject, True)
        tree = (await self._row(granted.scope, asked.bundle)).tree
        digests: list[bytes] = []
        size = 0
        for number in asked.numbers[:MOST_NUMBERS]:
            if not 0 <= number < tree.count:
                raise NotFound(f"the tree has no piece {number}")
            digest, length = tree.piece(number)
            size += length
            if digests and size > MESSAGE_BYTES:
                break
            digests.append(digest)
        read = self._chunks.read(granted.scope, digests)
        return Pieces(pieces=tuple([piece async for piece in read]))

    async def _row(self, scope: str, bundle: str) -> Row:
        key = (scope, bundle)
        if key in self._rows:
            self._rows.move_to_end(key)
            return self._rows[key]
        head = (await self._trees.get(scope, BUNDLE, bundle)).head
        tree = await self._chunks.tree(scope, head)
        self._rows[key] = Row(head, Tree((), tree.pieces))
        while len(self._rows) > 1 and self._kept() > TREES_BYTES:
            self._rows.popitem(last=False)
        return self._rows[key]

    def _kept(self) -> int:
        return sum(len(row.tree.pieces) for row in self._rows.values())

    async def _check_grant(self, asked: Asked, subject: str, again: bool) -> Granted:
        """``again``: one of many requests, of which not each is looked up."""
        worker = subjects.asker(subject)
        key = (asked.job, asked.attempt, asked.nonce, asked.bundle, worker)
        known = self._granted.get(key)
        if known is not None and again and time.monotonic() < known.until:
            return known
        record = (await self._records.get(asked.job)).record
        if (
            not record.state.held
            or not record.granted(asked.attempt, asked.nonce, worker)
            or record.bundle != asked.bundle
        ):
            raise Refused(
                Problem(
                    code="not_granted",
                    title="This attempt is not granted to this worker",
                    status=403,
                    detail=f"attempt {asked.attempt} of {asked.job} is superseded",
                )
            )
        info = None if record.bundle_scope else await self._archive(asked.bundle)
        granted = Granted(record.bundle_scope, time.monotonic() + GRANT_HOLDS, info)
        self._granted[key] = granted
        while len(self._granted) > REMEMBERED:
            self._granted.popitem(last=False)
        return granted

    async def _archive(self, bundle: str) -> ObjectInfo:
        try:
            return await self._objects.info("bundles", bundle)
        except NotFound:
            self._forget(bundle)
            raise
