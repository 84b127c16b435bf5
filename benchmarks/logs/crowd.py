"""A thousand viewers of one job: how late is a line, and what does it cost the page's process?"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil

from benchmarks.logs.fanout import batch
from benchmarks.logs.store import JOB, Store, open_page, open_store
from benchmarks.logs.viewers import SETTLE, Seen, watch_in_process
from benchmarks.processes import MEBIBYTE, resident
from benchmarks.stack import free_port
from benchmarks.table import Figure

VIEWERS = 1000
RATE = 1000
"""Lines a second."""
SECONDS = 20.0
PUBLISHED = 0.025
"""Seconds between two messages, as an agent paces a program that prints all the time."""
FLOOR_BEAT = 0.05
LATE = 0.1
CORES = 0.5
MEMORY = 150.0
"""MiB."""
PATH = f"/api/v1/jobs/{JOB}/log/rows/ws"


@dataclass(frozen=True, slots=True)
class Measured:
    """One server with all its viewers."""

    seen: Seen
    cores: float
    """Of the server."""
    memory: float
    """MiB of the server, at most."""


async def figures() -> list[Figure]:
    """The floor before and after, so that a busier minute meets both."""
    before = await floor()
    async with open_store() as store, open_page(store) as page, printing(store):
        port = int(page.url.rpartition(":")[2])
        ours = await measured(page.pid, port, PATH)
    return told(ours, [before, await floor()])


@asynccontextmanager
async def printing(store: Store) -> AsyncIterator[None]:
    """``RATE`` lines a second, each stamped before it is published."""

    async def run() -> None:
        clock = asyncio.get_running_loop().time
        due, number, each = clock(), 0, round(RATE * PUBLISHED)
        while True:
            await store.print(batch(number, each))
            number += each
            due += PUBLISHED
            await asyncio.sleep(max(0.0, due - clock()))

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run())
        try:
            yield
        finally:
            task.cancel()


async def floor() -> Measured:
    port = free_port()
    words = ("benchmarks.logs.fanout", str(port), str(RATE), str(FLOOR_BEAT))
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", *words)
    try:
        await listening(port)
        return await measured(process.pid, port, "/ws")
    finally:
        process.kill()
        await process.wait()


async def listening(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
                continue
            writer.close()
            return


async def measured(pid: int, port: int, path: str) -> Measured:
    process = psutil.Process(pid)
    watching = asyncio.create_task(watch_in_process(port, path, VIEWERS, SECONDS))
    memory, marks = 0, []
    clock = asyncio.get_running_loop().time
    while not watching.done():
        memory = max(memory, resident(process))
        times = process.cpu_times()
        marks.append((clock(), times.user + times.system))
        await asyncio.wait((watching,), timeout=0.1)
    last = marks[-1]
    first = next(mark for mark in marks if mark[0] > last[0] - SECONDS + SETTLE)
    cores = (last[1] - first[1]) / (last[0] - first[0])
    return Measured(await watching, cores, memory / MEBIBYTE)


def told(ours: Measured, floors: list[Measured]) -> list[Figure]:
    seen = ours.seen
    beside = f"bare aiohttp and uvloop, every {FLOOR_BEAT * 1000:.0f} ms, before and after"
    late = sum(one.seen.p99 for one in floors) / len(floors) * 1000
    cores = sum(one.cores for one in floors) / len(floors)
    return [
        Figure(
            f"{VIEWERS:,} viewers, {RATE:,} lines/s: published → at the viewer, p99",
            seen.p99 * 1000, "ms", LATE * 1000, beside=beside, reference=late,
            note=f"p50 {seen.p50 * 1000:.0f}, worst {seen.worst * 1000:.0f} ms in {seen.frames:,} "
            f"frames; the viewers themselves take {seen.processor:.2f} cores",
        ),
        Figure("meanwhile the page's process", ours.cores, "cores", CORES, beside=beside,
               reference=cores),
        Figure("meanwhile the page's process", ours.memory, "MiB", MEMORY),
        Figure("lines skipped, viewers left behind or hung up on",
               seen.skipped + seen.anew + seen.closed, "", 0.0,
               note=f"each viewer got {seen.least:,} lines or more"),
    ]  # fmt: skip
