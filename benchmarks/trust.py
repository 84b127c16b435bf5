"""What do identities on the bus cost? ``make bench-trust``: with and without them, in turns."""

from __future__ import annotations

import asyncio
import contextlib
import io
import statistics
import sys
import tempfile
import time
import uuid
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

from agent.config import AgentConfig
from agent.main import run_agent
from benchmarks import load, table
from benchmarks.dispatch import TINY
from benchmarks.table import Figure
from bus.connection import Bus
from bus.layout import declare
from bus.link import BusConfig
from bus.logs import MESSAGE_BYTES, LogWriter
from bus.objects import Objects
from bus.server import ServerConfig, nats_server
from schemas.log import LogChunk, Span
from schemas.requests import Submit, Submitted
from schemas.stream import Stream
from schemas.worker import Capacity
from services.scheduler.config import SchedulerConfig
from services.scheduler.service import run as run_scheduler
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from stoker import own_worker

ROUNDS = 5
LOSS = 0.2
"""Share of dispatch and of batched logs that identities may cost."""
BATCH, BATCHES, WRITERS = MESSAGE_BYTES, 400, 8
CAPACITY = Capacity(cpus=64, memory=1 << 40, slots=50)


async def measured(keys: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="stoker-trust-") as name:
        folder = Path(name)
        config = ServerConfig(folder / "nats", keys=folder / "keys" if keys else None)
        async with nats_server(config) as server:
            made = {
                role: BusConfig(
                    (server.url,), role,
                    credentials=str(folder / "keys" / f"{role}.creds") if keys else None,
                )
                for role in ("admin", "scheduler", "upload", "identity")
            }  # fmt: skip
            return await figures(folder, made, folder / "keys" if keys else None)


async def figures(folder: Path, users: dict[str, BusConfig], keys: Path | None) -> dict[str, float]:
    agent = AgentConfig("bench", folder / "work", runtime="dummy", capacity=CAPACITY)
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        buses = {
            role: await stack.enter_async_context(Bus.connect(config))
            for role, config in users.items()
        }
        await declare(buses["identity"])
        worker = users["admin"]
        if keys is not None:
            worker = await own_worker.admitted(buses["identity"], agent, keys)
        parts = [
            tasks.create_task(run_scheduler(buses["scheduler"], SchedulerConfig())),
            tasks.create_task(run_upload(buses["upload"], UploadConfig())),
            tasks.create_task(run_agent(worker, agent)),
        ]
        admin = buses["admin"]
        bundle = await stored(admin)
        times = await load.one_by_one(admin, bundle, TINY, 40)
        rate = await load.all_at_once(admin, bundle, TINY, 400, seconds=120)
        async with Bus.connect(worker) as writer:
            logs = await batched_logs(writer)
        for part in parts:
            part.cancel()
        return {"job": 1000 * statistics.median(times), "jobs": rate, "logs": logs}


async def stored(bus: Bus) -> str:
    """The digest of a small bundle of which one job has run."""
    packed, upload = io.BytesIO(), uuid.uuid4().hex
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("main.py", "print(1)\n")
    await Objects(bus).put("uploads", upload, once(packed.getvalue()))
    asked = Submit(owner=load.OWNER, key=upload, spec=TINY, upload=upload)
    async with load.watched_ends(bus) as ends:
        record = (await bus.request(load.SUBMIT, asked, Submitted, timeout=10)).record
        await ends.of({record.id}, 60)
    return str(record.bundle)


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def batched_logs(bus: Bus) -> float:
    """Mebibytes a second of messages as the agent ships them."""
    data = b"x" * (BATCH - 1) + b"\n"
    left = iter(range(BATCHES))

    async def write(rank: int) -> None:
        writer, offset = LogWriter(bus, "bench", 1, rank, "bench"), 0
        for _ in left:
            spans = (Span(Stream.STDOUT, BATCH),)
            await writer.publish(LogChunk(1, rank, offset, time.time(), spans, data))
            offset += BATCH

    begun = time.perf_counter()
    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        for rank in range(WRITERS):
            tasks.create_task(write(rank))
    return BATCHES * BATCH / (1 << 20) / (time.perf_counter() - begun)


async def all_rounds() -> list[Figure]:
    plain, known = [], []
    for number in range(ROUNDS):
        for keys in (False, True) if number % 2 else (True, False):
            (known if keys else plain).append(await measured(keys))
    return [
        figure("submit → recorded end, dummy, p50", "ms", plain, known, "job"),
        figure("400 dummy jobs", "jobs/s", plain, known, "jobs"),
        figure("logs in batches as agents send them", "MiB/s", plain, known, "logs"),
    ]


def figure(
    name: str, unit: str, plain: list[dict[str, float]], known: list[dict[str, float]], key: str
) -> Figure:
    before, value = (statistics.median(one[key] for one in some) for some in (plain, known))
    slower = unit == "ms"
    bar = before / (1 - LOSS) if slower else before * (1 - LOSS)
    return Figure(
        f"{name}, with identities", value, unit, bar=bar, at_most=slower, beside="without",
        reference=before, note=f"medians of {ROUNDS} rounds in turns",
    )  # fmt: skip


def main() -> int:
    found = uvloop.run(all_rounds())
    table.show(found)
    sys.stdout.write(f"kept in {table.keep(found)}\n")
    return 0 if all(one.holds for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
