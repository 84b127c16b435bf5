"""How soon is a dataset on a worker, beside a bare pipelined read of the same pieces?

The service is a process of its own, and so is the store; the agent's part runs here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from agent.data import Data
from agent.data_rules import DataRules
from agent.disk import DiskBounds
from benchmarks.environment.outputs import service
from benchmarks.processes import MEBIBYTE, watched_growth
from benchmarks.table import Figure
from bus import subjects
from bus.chunks import ChunkStore
from bus.connection import Bus
from bus.errors import Unanswered
from bus.layout import declare
from bus.link import BusConfig
from bus.pieces import in_row
from bus.records import Records
from bus.server import ServerConfig, nats_server
from schemas.data import DataMount
from schemas.datasets import CommitData, CommittedData, DatasetList, ListDatasets
from schemas.ids import job_id
from schemas.job import Attempt, Fact, Record, State
from schemas.spec import JobSpec
from schemas.tree import PIECE, Tree, TreeFile, scope_of
from schemas.worker import Grant

SHARE = 0.5
"""Of the bare read's rate, at least."""
SECOND_BAR = 1.0
"""Seconds of a mount of what is there."""
GROWTH_BAR = 64.0
"""MiB of any one process."""
OWNER = "bench"
AVERAGE = 256 << 10
"""Bytes of a piece, as folders are cut."""
ANSWERS = 30.0
"""Seconds for the service to start."""


@dataclass(frozen=True)
class Scene:
    """A dataset in the store, the service in front of it, and a worker's cache."""

    bus: Bus
    service: psutil.Process
    tree: Tree
    grant: Grant
    cache: Path


async def figures(size: int, files: int, rounds: int) -> list[Figure]:
    async with scene(size, files) as made:
        bare, ours, second = [], [], []
        processes = [psutil.Process(), made.service]
        await first_mount(
            made
        )  # what is imported and connected at the first time counts for nobody
        async with watched_growth(processes) as growth:
            for _ in range(rounds):
                bare.append(size / await read(made) / MEBIBYTE)
                ours.append(size / await first_mount(made) / MEBIBYTE)
                second.append(await mount(made))
    floor, rate = statistics.median(bare), statistics.median(ours)
    told = f"data of {size / (1 << 30):g} GiB in {files:,} files"
    name, grown = growth.worst()
    return [
        Figure(
            f"{told}: first mount", rate, "MiB/s", SHARE * floor, at_most=False,
            beside="a bare pipelined read", reference=floor,
        ),
        Figure(f"{told}: second mount", max(second), "s", SECOND_BAR),
        Figure(
            f"{told}: growth of the worst process", grown / MEBIBYTE, "MiB", GROWTH_BAR,
            note=growth.told() or name,
        ),
    ]  # fmt: skip


@contextlib.asynccontextmanager
async def scene(size: int, files: int) -> AsyncIterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="stoker-data-") as name:
        folder = Path(name)
        async with contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(nats_server(ServerConfig(folder / "nats")))
            bus = await stack.enter_async_context(Bus.connect(BusConfig((server.url,), "bench")))
            await declare(bus)
            process = await stack.enter_async_context(service(server.url, "datasets"))
            await answering(bus)
            tree = await stored(bus, size, files)
            mounted = await committed(bus, tree)
            (folder / "cache").mkdir()
            yield Scene(bus, process, tree, await granted(bus, mounted), folder / "cache")


async def answering(bus: Bus) -> None:
    subject = subjects.request("datasets", "list")
    async with asyncio.timeout(ANSWERS):
        while True:
            with contextlib.suppress(Unanswered):
                await bus.request(subject, ListDatasets(), DatasetList)
                return


async def stored(bus: Bus, size: int, files: int) -> Tree:
    """Files of one size each, in pieces that hold some of them: put, and forgotten."""
    each, store, scope = size // files, ChunkStore(bus), scope_of(OWNER)
    rows: list[TreeFile] = []
    pieces: list[bytes] = []

    def some() -> list[tuple[bytes, bytes]]:
        """About 64 MiB of pieces."""
        made, held = [], bytearray()
        while len(rows) < files and len(made) < 256:
            data = os.urandom(each)
            name = f"{len(rows) // 1000:03}/{len(rows):07}.bin"
            rows.append(TreeFile(name, 0o644, each, hashlib.sha256(data).hexdigest()))
            held += data
            while len(held) >= AVERAGE or (held and len(rows) == files):
                piece = bytes(held[:AVERAGE])
                made.append((hashlib.sha256(piece).digest(), piece))
                pieces.append(PIECE.pack(made[-1][0], len(piece)))
                del held[:AVERAGE]
        if held:
            made.append((hashlib.sha256(held).digest(), bytes(held)))
            pieces.append(PIECE.pack(made[-1][0], len(held)))
        return made

    async def put(one: tuple[bytes, bytes]) -> bytes:
        await store.put(scope, *one)
        return b""

    while made := await asyncio.to_thread(some):
        async with contextlib.aclosing(in_row(put, made)) as done:
            async for _ in done:
                pass
    return Tree(tuple(rows), b"".join(pieces))


async def committed(bus: Bus, tree: Tree) -> DataMount:
    head = await ChunkStore(bus).put_tree(scope_of(OWNER), tree)
    asked = CommitData(owner=OWNER, name="set", head=head)
    subject = subjects.request("datasets", "commit")
    dataset = (await bus.request(subject, asked, CommittedData, timeout=120)).dataset
    return DataMount(
        name="set", owner=OWNER, version=dataset.versions[-1].number, path="/data/set",
        tree=tree.id, size=tree.size, files=len(tree.files),
    )  # fmt: skip


async def granted(bus: Bus, mounted: DataMount) -> Grant:
    job, spec = job_id(time.time(), 1), JobSpec(data=(mounted,))
    attempt = Attempt(number=1, worker="w1", claim="c", nonce="n", granted_at=time.time())
    record = Record(
        id=job, owner=OWNER, spec=spec, bundle="b", state=State.RUNNING,
        submitted_at=time.time(), changed_at=time.time(), attempt=1, attempts=(attempt,),
    )  # fmt: skip
    await Records(bus).write(record, Fact.RUNNING, 0)
    return Grant(job=job, attempt=1, nonce="n", owner=OWNER, spec=spec, bundle="b")


async def read(made: Scene) -> float:
    """Seconds that the bare read takes; what it read is thrown away."""
    digests = (digest for digest, _ in made.tree.each_piece())
    begun = time.perf_counter()
    async for _ in ChunkStore(made.bus).read(scope_of(OWNER), digests):
        pass
    return time.perf_counter() - begun


async def first_mount(made: Scene) -> float:
    await asyncio.to_thread(shutil.rmtree, made.cache, ignore_errors=True)
    made.cache.mkdir()
    return await mount(made)


async def mount(made: Scene) -> float:
    """Seconds until the job could start; by an agent that has just started."""
    data = Data(made.bus, "w1", made.cache, DataRules(), DiskBounds())
    begun = time.perf_counter()
    await data.places("attempt", made.grant, {}, lambda _: None)
    return time.perf_counter() - begun
