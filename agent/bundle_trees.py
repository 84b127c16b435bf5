"""How does an agent get a bundle that lies as pieces? It asks for those alone that it has not."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path

from agent.to_the_end import to_the_end
from agent.tree_files import Laid, Near, TreeWriter
from agent.unpack import BadArchive
from bus import subjects
from bus.connection import Bus
from bus.pieces import in_row
from schemas.requests import FetchPieces, FetchTree, Pieces, TreePart
from schemas.tree import Tree, read_tree
from schemas.worker import Grant

log = logging.getLogger(__name__)

WINDOW = 4
"""Answers on their way at one time, of up to a MiB each."""
BATCH_BYTES, BATCH_PIECES = 900 << 10, 512
FETCH_SECONDS = 20.0
"""For one answer; a line of 500 kbit/s carries it."""
TRIES = 4
MOST_PARTS = 1 << 12
NEAR_TREES = 4
"""Bundles of the same owner, used last, in which pieces are looked for."""
TREE = "tree"
"""Beside a bundle's files: the packed tree."""


class TreeFetch:
    """One bundle for one attempt."""

    def __init__(self, bus: Bus, worker: str, grant: Grant) -> None:
        self._bus = bus
        self._worker = worker
        self._grant = grant
        self._came: tuple[bytes, ...] = ()
        """All pieces, where they came with the tree."""

    async def fetch(self, folder: Path, near: Iterable[Path], budget: int) -> int:
        """Its files into ``folder / "files"``; their bytes. Raises ``BadArchive``, ``BusError``."""
        packed = await self._packed()
        tree = await asyncio.to_thread(checked, packed, self._grant.bundle, budget)
        writer = TreeWriter(tree, folder / "files")
        here = await asyncio.to_thread(near_trees, near)
        try:
            await to_the_end(writer.link, here)
            await self._pieces(tree, writer, here)
            await to_the_end(writer.finish)
        finally:
            await asyncio.to_thread(writer.close)
        await asyncio.to_thread((folder / TREE).write_bytes, packed)
        return tree.size

    async def _packed(self) -> bytes:
        first = await self._part(0)
        if not 0 < first.parts <= MOST_PARTS:
            raise BadArchive(f"a list of files in {first.parts} parts")
        self._came = first.pieces
        data = bytearray(first.data)
        for number in range(1, first.parts):
            data += (await self._part(number)).data
        return bytes(data)

    async def _part(self, number: int) -> TreePart:
        grant = self._grant
        asked = FetchTree(
            job=grant.job,
            attempt=grant.attempt,
            nonce=grant.nonce,
            bundle=grant.bundle,
            number=number,
        )
        subject = subjects.request("upload", "tree", self._worker)
        return await self._bus.request(subject, asked, TreePart, timeout=FETCH_SECONDS)

    async def _pieces(self, tree: Tree, writer: TreeWriter, near: Near) -> None:
        places = list(piece_places(tree))
        fetched = 0

        async def batch(numbers: list[int]) -> tuple[list[int], list[bytes]]:
            nonlocal fetched
            pieces, came = await self._batch(tree, numbers, near)
            fetched += came
            return numbers, pieces

        async with aclosing(in_row(batch, batches(tree, writer.needed()), WINDOW)) as rows:
            async for numbers, pieces in rows:
                await to_the_end(write_all, writer, [places[n] for n in numbers], pieces)
        log.info(
            "%s: %d of %d pieces of its bundle were fetched", self._grant.job, fetched, tree.count
        )

    async def _batch(self, tree: Tree, numbers: list[int], near: Near) -> tuple[list[bytes], int]:
        """The pieces, and how many of them came over the bus."""
        found = await asyncio.to_thread(
            lambda: [near.piece(tree.piece(number)[0]) for number in numbers]
        )
        lacking = [number for number, data in zip(numbers, found, strict=True) if data is None]
        coming = iter([piece async for piece in self._fetched(tree, lacking)])
        return [data if data is not None else next(coming) for data in found], len(lacking)

    async def _fetched(self, tree: Tree, numbers: list[int]) -> AsyncIterator[bytes]:
        """Checked, and in that order."""
        while numbers:
            pieces = await self._asked(numbers)
            wanted = [tree.piece(number)[0] for number in numbers[: len(pieces)]]
            await asyncio.to_thread(check_pieces, pieces, wanted)
            for piece in pieces:
                yield piece
            numbers = numbers[len(pieces) :]

    async def _asked(self, numbers: list[int]) -> tuple[bytes, ...]:
        if self._came:
            return tuple(self._came[number] for number in numbers if number < len(self._came))
        grant = self._grant
        asked = FetchPieces(
            job=grant.job,
            attempt=grant.attempt,
            nonce=grant.nonce,
            bundle=grant.bundle,
            numbers=tuple(numbers),
        )
        subject = subjects.request("upload", "pieces", self._worker)
        answer = await self._bus.request(
            subject, asked, Pieces, timeout=FETCH_SECONDS, attempts=TRIES, bulk=True
        )
        return answer.pieces[: len(numbers)]


def checked(packed: bytes, bundle: str, budget: int) -> Tree:
    try:
        tree = read_tree(packed)
    except ValueError as error:
        raise BadArchive(f"the bundle's list of files is damaged: {error}") from error
    if tree.id != bundle:
        raise BadArchive("the bundle that arrived is not the one that was granted")
    if tree.size > budget:
        raise BadArchive("the bundle is larger than its record says")
    return tree


def check_pieces(pieces: tuple[bytes, ...], wanted: list[bytes]) -> None:
    if not pieces:
        raise BadArchive("pieces of the bundle did not come")
    for piece, digest in zip(pieces, wanted, strict=True):
        if hashlib.sha256(piece).digest() != digest:
            raise BadArchive("a piece of the bundle arrived damaged")


def near_trees(folders: Iterable[Path]) -> Near:
    """Those of them that can be read."""
    laid = []
    for folder in folders:
        try:
            laid.append(Laid(read_tree((folder / TREE).read_bytes()), folder / "files"))
        except (OSError, ValueError):
            continue
        if len(laid) >= NEAR_TREES:
            break
    return Near(laid)


def piece_places(tree: Tree) -> Iterator[int]:
    at = 0
    for _, size in tree.each_piece():
        yield at
        at += size


def batches(tree: Tree, numbers: Iterable[int]) -> Iterator[list[int]]:
    """As many at a time as one answer holds."""
    batch: list[int] = []
    size = 0
    for number in numbers:
        length = tree.piece(number)[1]
        if batch and (size + length > BATCH_BYTES or len(batch) >= BATCH_PIECES):
            yield batch
            batch, size = [], 0
        batch.append(number)
        size += length
    if batch:
        yield batch


def write_all(writer: TreeWriter, places: list[int], pieces: list[bytes]) -> None:
    for place, piece in zip(places, pieces, strict=True):
        writer.write(place, piece)
