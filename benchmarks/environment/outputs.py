"""How fast do outputs get into the store, beside a bare pipelined put of the same file?

The service is a process of its own, and so is the store; the agent's part runs here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from agent.output_plan import Limits, Rhythm
from agent.output_sender import Sender
from benchmarks.processes import MEBIBYTE, watched_growth
from benchmarks.table import Figure
from bus.connection import Bus
from bus.errors import Refused, Unanswered
from bus.layout import declare
from bus.link import BusConfig
from bus.objects import Objects
from bus.outputs import OutputStore
from bus.records import Records
from bus.server import ServerConfig, nats_server
from schemas.ids import job_id
from schemas.job import Attempt, Fact, Record, State
from schemas.outputs import AskStored, StoredChunks
from schemas.spec import JobSpec
from schemas.worker import Grant

SHARE = 0.5
"""Of the bare put's rate, at least."""
GROWTH_BAR = 64.0
"""MiB of any one process."""
PART = 1 << 20
ANSWERS = 30.0
"""Seconds for the service to start."""


@dataclass(frozen=True)
class Scene:
    """A file, the store, and the service in front of it."""

    bus: Bus
    service: psutil.Process
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "model.pt"


async def figures(size: int, rounds: int) -> list[Figure]:
    async with scene(size) as made:
        await sent(made, 0)  # what is imported and connected at the first time counts for nobody
        bare, ours = [], []
        processes = [psutil.Process(), made.service]
        async with watched_growth(processes) as growth:
            for number in range(rounds):
                bare.append(size / await put(made, number) / MEBIBYTE)
                ours.append(size / await sent(made, number + 1) / MEBIBYTE)
    floor, rate = statistics.median(bare), statistics.median(ours)
    name, grown = growth.worst()
    told = f"outputs of {size / (1 << 30):g} GiB"
    return [
        Figure(
            told, rate, "MiB/s", SHARE * floor, at_most=False,
            beside="a bare pipelined put", reference=floor,
        ),
        Figure(
            f"{told}: growth of the worst process", grown / MEBIBYTE, "MiB", GROWTH_BAR,
            note=growth.told() or name,
        ),
    ]  # fmt: skip


@contextlib.asynccontextmanager
async def scene(size: int) -> AsyncIterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="stoker-outputs-") as name:
        folder = Path(name)
        (folder / "outputs").mkdir()
        await asyncio.to_thread(fill, folder / "outputs" / "model.pt", size)
        async with contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(nats_server(ServerConfig(folder / "nats")))
            bus = await stack.enter_async_context(Bus.connect(BusConfig((server.url,), "bench")))
            await declare(bus)
            process = await stack.enter_async_context(service(server.url))
            await answering(bus)
            yield Scene(bus, process, folder / "outputs")


@contextlib.asynccontextmanager
async def service(url: str, name: str = "outputs") -> AsyncIterator[psutil.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stoker", "serve", name, "--nats", url),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def answering(bus: Bus) -> None:
    """Returns when the service answers, though it be by a refusal."""
    asked = AskStored(job="none", attempt=1, nonce="n")
    async with asyncio.timeout(ANSWERS):
        while True:
            with contextlib.suppress(Unanswered):
                try:
                    await bus.request("stoker.req.outputs.stored.w1", asked, StoredChunks)
                except Refused:
                    return


def fill(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for start in range(0, size, PART):
            file.write(os.urandom(min(PART, size - start)))


async def put(made: Scene, number: int) -> float:
    """Seconds that the bare put takes; what it stored is removed."""
    objects, name = Objects(made.bus), f"bare-{number}"
    begun = time.perf_counter()
    await objects.put("bundles", name, parts(made.file))
    took = time.perf_counter() - begun
    await objects.delete("bundles", name)
    return took


async def parts(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while part := await asyncio.to_thread(file.read, PART):
            yield part


async def sent(made: Scene, number: int) -> float:
    """Seconds from the end of the program to its last manifest; likewise."""
    grant = await granted(made.bus, number)
    sender = Sender(made.bus, "w1", grant, Limits(0, 0), Rhythm())
    begun = time.perf_counter()
    await sender.round(str(made.folder), final=True)
    took = time.perf_counter() - begun
    await OutputStore(made.bus).remove_job(grant.job)
    return took


async def granted(bus: Bus, number: int) -> Grant:
    job = job_id(time.time(), number)
    attempt = Attempt(number=1, worker="w1", claim="c", nonce="n", granted_at=time.time())
    record = Record(
        id=job, owner="bench", spec=JobSpec(), bundle="b", state=State.RUNNING,
        submitted_at=time.time(), changed_at=time.time(), attempt=1, attempts=(attempt,),
    )  # fmt: skip
    await Records(bus).write(record, Fact.RUNNING, 0)
    return Grant(job=job, attempt=1, nonce="n", spec=JobSpec(), bundle="b")
