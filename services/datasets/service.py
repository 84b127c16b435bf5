"""How does a folder become a version, and how do a job and its worker get it?"""

from __future__ import annotations

import asyncio
import logging

from bus import subjects
from bus.audit import note
from bus.clock import ServerClock
from bus.connection import Bus
from bus.errors import Corrupt, NotFound
from bus.records import Records
from bus.serve import Route, serve
from bus.trees import DATA
from schemas.audit import AuditEntry, Deed
from schemas.data import DataMount
from schemas.datasets import (
    MOST_DATASETS,
    AskPieces,
    AskTree,
    CommitData,
    CommittedData,
    Dataset,
    DatasetList,
    FindDataset,
    ListDatasets,
    RemoveData,
    Resolved,
    ResolveData,
    Version,
)
from schemas.ids import NAME_TOKEN
from schemas.message import Empty
from schemas.tree import DIGEST, Tree, scope_of
from services.datasets import rules
from services.datasets.config import DatasetsConfig
from services.datasets.fetches import Fetches
from services.datasets.grants import Grants
from services.datasets.library import Library
from services.datasets.rules import refused
from services.datasets.shelf import Shelf
from services.datasets.sweeping import Sweeper

TREE_BYTES = 256 << 20
"""Of the list of a version's files."""
log = logging.getLogger(__name__)

PIECES_AT_ONCE, COMMITS = 32, 2
"""In one replica: answers of less than a MiB, trees of some 10 MiB."""


async def run(bus: Bus, config: DatasetsConfig) -> None:
    """Until cancelled; replicas run side by side."""
    await Datasets(bus, config).run()


class Datasets:
    """One replica of the service."""

    def __init__(self, bus: Bus, config: DatasetsConfig) -> None:
        self._bus = bus
        self._config = config
        self._clock = ServerClock(bus)
        self._shelf = Shelf(bus)
        self._library = Library(bus)
        self._fetches = Fetches(Grants(Records(bus)), self._shelf, self._library)
        self._sweeper = Sweeper(bus, self._shelf, config)

    async def run(self) -> None:
        def route(verb: str, worker: str | None = None) -> str:
            return subjects.request("datasets", verb, worker)

        fetches = self._fetches
        routes = {
            route("list"): Route(ListDatasets, self._on_list),
            route("find"): Route(FindDataset, self._on_find),
            route("resolve"): Route(ResolveData, self._on_resolve),
            route("commit"): Route(CommitData, self._on_commit, concurrency=COMMITS),
            route("remove"): Route(RemoveData, self._on_remove),
            route("tree", "*"): Route(AskTree, fetches.on_tree),
            route("pieces", "*"): Route(AskPieces, fetches.on_pieces, concurrency=PIECES_AT_ONCE),
        }
        await self._clock.look()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._clock.keep())
            tasks.create_task(self._sweeper.run())
            await serve(self._bus, routes, "datasets")

    # What people ask.

    async def _on_list(self, asked: ListDatasets, subject: str) -> DatasetList:
        found = await self._visible(asked.owners)
        return DatasetList(datasets=tuple(rules.shown(found[key]) for key in sorted(found)))

    async def _on_find(self, asked: FindDataset, subject: str) -> Dataset:
        found = await self._found(asked.owner, asked.name, asked.asker, asked.sees)
        return rules.shown(found)

    async def _on_resolve(self, asked: ResolveData, subject: str) -> Resolved:
        return Resolved(data=tuple([await self._resolved(one, asked) for one in asked.data]))

    async def _resolved(self, mount: DataMount, asked: ResolveData) -> DataMount:
        if not mount.name:
            return rules.plain(mount)
        owner = mount.owner or asked.asker
        dataset = await self._found(owner, mount.name, asked.asker, asked.sees, mount.version)
        return rules.pinned(mount, dataset, asked.asker)

    async def _found(
        self,
        owner: str,
        name: str,
        asker: str,
        sees: tuple[str, ...] | None,
        version: int | None = None,
    ) -> Dataset:
        """One of which all versions are gone counts only where one of them is asked for."""
        known = NAME_TOKEN.match(name) and (sees is None or owner in sees or owner == asker)
        dataset = await self._shelf.get(owner, name) if known else None
        if dataset is not None and (dataset.newest or version):
            return dataset
        others = (await self._visible(sees)).values()
        near = [rules.called(one.owner, one.name, asker) for one in others]
        raise rules.unknown(owner, name, asker, near)

    async def _visible(self, owners: tuple[str, ...] | None) -> dict[str, Dataset]:
        if owners is not None and len(owners) == 1:
            found = await self._shelf.all(owners[0])
        else:
            found = await self._shelf.all()
        return {
            key: one
            for key, one in found.items()
            if one.newest and (owners is None or one.owner in owners)
        }

    async def _on_commit(self, asked: CommitData, subject: str) -> CommittedData:
        scope = scope_of(asked.owner)
        await self._check_commit(asked)
        if lacking := await self._library.store.missing(scope, asked.head.digests):
            raise rules.pieces_missing(len(lacking))
        tree = await self._tree(asked)
        now = self._clock.now()
        if lacking := await self._library.trees.keep(scope, DATA, asked.head, tree, now):
            raise rules.pieces_missing(len(lacking))
        answer = await self._append(asked, tree)
        if await self._library.trees.find(scope, DATA, tree.id) is None:
            raise refused("try_again", "it was swept at the same moment; ask again", 503)
        return answer

    async def _check_commit(self, asked: CommitData) -> None:
        if not NAME_TOKEN.match(asked.name):
            raise refused(
                "bad_name", f"{asked.name[:64]!r} is no name: use a-z, 0-9 and '-', at most 63"
            )
        if asked.head.size > TREE_BYTES:
            raise rules.too_many(asked.head.files, self._config.most_files)
        if len(asked.head.chunks) % DIGEST or not asked.head.chunks:
            raise refused("bad_tree", "the tree's pieces are not named as they have to be")
        own = await self._shelf.all(asked.owner)
        known = f"{asked.owner}.{asked.name}" in own
        if not known and len(own) >= MOST_DATASETS:
            raise refused("too_many_datasets", f"you have {len(own)}: add versions to one", 429)

    async def _tree(self, asked: CommitData) -> Tree:
        try:
            tree = await self._library.store.tree(scope_of(asked.owner), asked.head)
        except (Corrupt, NotFound) as error:
            raise refused("bad_tree", str(error)) from error
        if not tree.files:
            raise refused("no_files", "there is no file in it")
        if len(tree.files) > self._config.most_files:
            raise rules.too_many(len(tree.files), self._config.most_files)
        if tree.size > self._config.most_bytes:
            detail = f"{tree.size} bytes, where {self._config.most_bytes} are allowed"
            raise refused("data_too_large", detail, 413)
        return tree

    async def _append(self, asked: CommitData, tree: Tree) -> CommittedData:
        created = False

        def change(before: Dataset) -> Dataset | None:
            nonlocal created
            newest = before.newest
            created = newest is None or newest.tree != tree.id
            if not created:
                return None
            made = Version(
                number=rules.next_number(before),
                tree=tree.id,
                size=tree.size,
                files=len(tree.files),
                at=self._clock.now(),
                note=asked.note,
            )
            return rules.with_version(before, made)

        await self._note(Deed.DATA_PUT, asked.owner, asked, f"{len(tree.files)} files")
        dataset = await self._shelf.change(asked.owner, asked.name, change)
        return CommittedData(dataset=rules.shown(dataset), created=created)

    async def _on_remove(self, asked: RemoveData, subject: str) -> Empty:
        dataset = await self._shelf.get(asked.owner, asked.name)
        if dataset is None:
            return Empty()
        what = f"version {asked.version}" if asked.version else "all versions"
        await self._note(Deed.DATA_REMOVED, asked.by, asked, what)
        now = self._clock.now()

        def change(before: Dataset) -> Dataset | None:
            after = rules.without(before, asked.version, asked.by, now)
            return after if after != before else None

        await self._shelf.change(asked.owner, asked.name, change)
        return Empty()

    async def _note(
        self, deed: Deed, who: str, asked: CommitData | RemoveData, detail: str
    ) -> None:
        """Before it is done: what cannot be noted is not done. Raises ``BusError``."""
        target = f"{asked.owner}/{asked.name}"
        entry = AuditEntry(
            at=self._clock.now(), deed=deed, who=who, target=target, detail=detail,
            address=asked.address,
        )  # fmt: skip
        await note(self._bus, "datasets", entry)
        log.info("%s: %s, %s", deed, target, detail)
