"""Workers that share environments, without an engine: what they build are files."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import agent.environments
from agent.environments import Fleet
from agent.shares import CannotExport, Shares
from bus.connection import Bus
from bus.link import BusConfig
from bus.records import Records
from schemas.environments import Asked, Blob, LeaseKey, Phase, SharedImage, Turn
from schemas.job import Attempt, Fact, Record, State
from schemas.spec import JobSpec
from schemas.stream import Stream
from schemas.worker import Grant
from services.environments.config import EnvironmentsConfig
from services.environments.service import Environments
from services.environments.shelf import Shelf

KEY = "ab" * 16
BASE = "ba5e" * 16
PATIENCE = 30.0


def quick() -> None:
    """Beats and looks at the pace of tests."""
    agent.environments.ASK_EVERY = 0.05
    agent.environments.BEAT_EVERY = 0.3
    agent.environments.BEAT_MOST = 0.05


@dataclass
class Worker:
    """One that knows how to build."""

    bus: Bus
    name: str
    folder: Path
    here: set[str] = field(default_factory=set)
    """Keys of images that its engine has."""
    content: bytes = bytes(range(256)) * 8192
    """Of the layer that it makes: 2 MiB."""
    lasting: bool | None = None
    """Whether its engine never gives the image; None: it does."""
    reference: str = ""
    """Where it pushes what it made; empty: into the object store."""
    exported: list[tuple[str, ...]] = field(default_factory=list)
    said: list[tuple[Stream, bytes]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.shares = Shares(self.bus, self.name, self.folder / "shares", self.export)
        self.fleet = Fleet(self.bus, self.name, self.shares)

    def hear(self, stream: Stream, data: bytes) -> None:
        self.said.append((stream, data))
        self.news.set()

    def text(self, stream: Stream = Stream.STOKER) -> str:
        return b"".join(data for of, data in self.said if of is stream).decode()

    async def until_said(self, text: str, stream: Stream = Stream.STOKER) -> None:
        async with asyncio.timeout(PATIENCE):
            while text not in self.text(stream):
                self.news.clear()
                await self.news.wait()

    async def is_here(self) -> bool:
        return KEY in self.here

    async def turn(self, grant: Grant) -> Asked | None:
        async with asyncio.timeout(PATIENCE):
            return await self.fleet.turn(grant, KEY, self.is_here, self.hear)

    async def lease(self, grant: Grant) -> LeaseKey:
        asked = await self.turn(grant)
        assert asked is not None
        assert asked.turn is Turn.BUILD, asked
        assert asked.lease is not None
        return asked.lease

    async def export(
        self, lease: LeaseKey, layers: tuple[str, ...], folder: Path
    ) -> tuple[SharedImage, dict[str, Path]]:
        self.exported.append(layers)
        if self.lasting is not None:
            raise CannotExport("its engine does not like to", self.lasting)
        if self.reference:
            manifest = Blob(digest=self.reference.rpartition(":")[2], size=0)
            image = SharedImage(id="sha256:1", config=manifest, layers=(), reference=self.reference)
            return image, {}
        config = json.dumps({"key": lease.key}).encode()
        blobs = [write_blob(folder, data) for data in (config, self.content)]
        image = SharedImage(id="sha256:1", config=blobs[0], layers=(blobs[1],))
        return image, {blob.digest: folder / blob.digest for blob in blobs}

    async def fetched(self, grant: Grant, asked: Asked, folder: Path) -> list[bytes]:
        assert asked.image is not None
        folder.mkdir()
        files = await self.fleet.fetch(grant, KEY, asked.image, folder)
        return [files[blob.digest].read_bytes() for blob in asked.image.blobs]


def write_blob(folder: Path, data: bytes) -> Blob:
    digest = hashlib.sha256(data).hexdigest()
    (folder / digest).write_bytes(data)
    return Blob(digest=digest, size=len(data))


async def grant_of(
    bus: Bus, job: str, worker: str, pool: str = "default", state: State = State.RUNNING
) -> Grant:
    """As the scheduler gives it."""
    spec = JobSpec(pool=pool)
    attempt = Attempt(number=1, worker=worker, claim="c", nonce=f"n-{job}", granted_at=1.0)
    record = Record(
        id=job, owner="me", spec=spec, bundle="b", state=state, submitted_at=1.0,
        changed_at=1.0, attempt=1, attempts=(attempt,),
    )  # fmt: skip
    await Records(bus).write(record, Fact.RUNNING, 0)
    return Grant(job=job, attempt=1, nonce=f"n-{job}", spec=spec, bundle="b")


LEASE = 1.5
CONFIG = EnvironmentsConfig(lease=LEASE, share_begins=10.0, nudge_every=0.2, sweep_every=3600.0)
Make = Callable[[str], Worker]


@pytest.fixture
async def replicas(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Environments]]:
    """Two of them, in one queue group."""
    for name in ("ASK_EVERY", "BEAT_EVERY", "BEAT_MOST"):
        monkeypatch.setattr(f"agent.environments.{name}", 0.0)
    quick()
    made = [Environments(bus, CONFIG) for _ in range(2)]
    tasks = [asyncio.ensure_future(one.run()) for one in made]
    await bus.flush()
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@pytest.fixture
async def worker(bus: Bus, tmp_path: Path, replicas: list[Environments]) -> AsyncIterator[Make]:
    tasks: list[asyncio.Task[None]] = []

    def make(name: str) -> Worker:
        made = Worker(bus, name, tmp_path / name)
        made.folder.mkdir()
        tasks.append(asyncio.ensure_future(made.shares.run()))
        return made

    yield make
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def until_phase(bus: Bus, phase: Phase, wanted: bool | None = None) -> None:
    shelf = Shelf(bus)
    async with asyncio.timeout(PATIENCE):
        while True:
            entry = await shelf.entry("default", KEY)
            if entry and entry.phase is phase and wanted in (None, entry.wanted):
                return
            await asyncio.sleep(0.02)


async def build(worker: Worker, grant: Grant, go_on: asyncio.Event | None = None) -> None:
    lease = await worker.lease(grant)
    async with worker.fleet.building(lease, grant, (BASE,), worker.hear) as output:
        output(Stream.BUILD, b"Collecting six\n")
        if go_on is not None:
            await go_on.wait()
        worker.here.add(KEY)


@contextlib.asynccontextmanager
async def building_elsewhere(
    url: str, folder: Path, grant: Grant
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A builder in a process of its own, which says ``building`` once it has the lease."""
    told = json.dumps([url, str(folder), grant.model_dump(mode="json")])
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.environment_tools", told,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        async with asyncio.timeout(PATIENCE):
            assert await child.stdout.readline() == b"building\n"
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def build_for_ever(url: str, folder: str, grant: Grant) -> None:
    quick()
    async with Bus.connect(BusConfig((url,), "w1")) as bus:
        worker = Worker(bus, "w1", Path(folder))
        lease = await worker.lease(grant)
        async with worker.fleet.building(lease, grant, (), worker.hear) as output:
            output(Stream.BUILD, b"Collecting something big\n")
            print("building", flush=True)
            await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    url_, folder_, grant_ = json.loads(sys.argv[1])
    asyncio.run(build_for_ever(url_, folder_, Grant.model_validate(grant_)))
