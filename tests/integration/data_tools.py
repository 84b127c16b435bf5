"""Datasets, put without a page."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from bus import subjects
from bus.chunks import ChunkStore
from bus.connection import Bus
from schemas.data import DataMount
from schemas.datasets import CommitData, CommittedData, Dataset, Resolved, ResolveData
from schemas.tree import PIECE, Tree, TreeFile, TreeHead, scope_of


def tree_of(files: Mapping[str, bytes], piece: int = 1000) -> tuple[Tree, list[bytes]]:
    """Cut after so many bytes, wherever a file ends; and its pieces."""
    names = sorted(files)
    row = b"".join(files[name] for name in names)
    pieces = [row[at : at + piece] for at in range(0, len(row), piece)]
    listed = b"".join(PIECE.pack(hashlib.sha256(one).digest(), len(one)) for one in pieces)
    made = (
        TreeFile(
            name,
            0o755 if name.endswith(".sh") else 0o644,
            len(files[name]),
            hashlib.sha256(files[name]).hexdigest(),
        )
        for name in names
    )
    return Tree(tuple(made), listed), pieces


async def stored(bus: Bus, owner: str, files: Mapping[str, bytes], piece: int = 1000) -> TreeHead:
    tree, pieces = tree_of(files, piece)
    store, scope = ChunkStore(bus), scope_of(owner)
    for one in pieces:
        await store.put(scope, hashlib.sha256(one).digest(), one)
    return await store.put_tree(scope, tree)


async def commit(bus: Bus, owner: str, name: str, head: TreeHead) -> CommittedData:
    asked = CommitData(owner=owner, name=name, head=head)
    return await bus.request(
        subjects.request("datasets", "commit"), asked, CommittedData, timeout=20
    )


async def put(bus: Bus, owner: str, name: str, files: Mapping[str, bytes]) -> Dataset:
    return (await commit(bus, owner, name, await stored(bus, owner, files))).dataset


async def resolved(
    bus: Bus, asker: str, *data: str, sees: tuple[str, ...] | None = ()
) -> list[dict[str, Any]]:
    asked = ResolveData(
        asker=asker,
        sees=(asker,) if sees == () else sees,
        data=tuple(DataMount.model_validate(one) for one in data),
    )
    subject = subjects.request("datasets", "resolve")
    return [one.model_dump() for one in (await bus.request(subject, asked, Resolved)).data]
