"""Fifty jobs print at one time: is every line kept, and does the archive keep up?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil

from benchmarks.dispatch import ready_stack, small
from benchmarks.load import submit
from benchmarks.logs import lines
from benchmarks.processes import MEBIBYTE, processor_time, watched_growth
from benchmarks.stack import Stack, zip_of
from benchmarks.table import Figure
from bus.connection import Bus
from services.archive.config import ArchiveConfig

JOBS = 50
RATE = 2000
"""Lines a second, of each."""
SECONDS = 75.0
BEATS = 20
"""Writes a second, of each."""
SWEEP = ArchiveConfig().sweep_every
LATE = 1.5
"""Sweeps' worth of output that may lie unsealed: one, and what comes while it works."""
SPEC = small(0.02)
LOOK_EVERY = 0.5


async def figures() -> list[Figure]:
    """As plain processes: fifty containers would measure the engine."""
    program, wanted = lines.paced(RATE, SECONDS, BEATS), int(RATE * SECONDS)
    async with ready_stack("process", JOBS, SPEC) as (stack, bus, _):
        parts = [psutil.Process(stack.pid), *psutil.Process(stack.pid).children()]
        first = await stack.upload(zip_of({"main.py": program}), SPEC.model_dump(mode="json"))
        rest = [await submit(bus, str(first["bundle"]), SPEC) for _ in range(JOBS - 1)]
        jobs = [str(first["id"]), *rest]
        before = processor_time(parts)
        async with watched_growth(parts) as grown, watched_stream(bus) as unsealed:
            took = [await seconds_of(stack, job) for job in jobs]
        spent = processor_time(parts) - before
        wrong = [await wrong_lines(stack, job, wanted) for job in jobs]
    return [
        kept(wrong, wanted),
        keeping_up(unsealed, max(took)),
        pace(took, spent),
        Figure("memory meanwhile: most growth of a part", grown.worst()[1] / MEBIBYTE, "MiB",
               note=grown.told()),
    ]  # fmt: skip


@asynccontextmanager
async def watched_stream(bus: Bus) -> AsyncIterator[list[int]]:
    """Bytes that lie in the stream of logs, looked at again and again while the block runs."""
    looks: list[int] = []

    async def look() -> None:
        while True:
            info = await bus.api("STREAM.INFO.LOGS")
            looks.append(int(info["state"]["bytes"]))
            await asyncio.sleep(LOOK_EVERY)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(look())
        try:
            yield looks
        finally:
            task.cancel()


async def seconds_of(stack: Stack, job: str) -> float:
    """How long its program ran."""
    end = await stack.ended(job, 4 * SECONDS)
    if end["state"] != "succeeded":
        raise RuntimeError(f"{job} ended as {end['state']}: {end['detail']}")
    attempt = end["attempts"][-1]
    return float(attempt["ended_at"] - attempt["started_at"])


async def wrong_lines(stack: Stack, job: str, wanted: int) -> int:
    """Of the whole log as one downloads it: part of it is sealed, part lies in the stream."""
    async with stack.http.get(f"{stack.url}/api/v1/jobs/{job}/log") as answer:
        answer.raise_for_status()
        data = await answer.read()
    found = await asyncio.to_thread(lines.counted, data, wanted)
    if found.wrong:
        print(f"{job}: {found}", flush=True)
    return found.wrong


def kept(wrong: list[int], wanted: int) -> Figure:
    return Figure(
        f"{JOBS} processes at once, {RATE:,} lines/s each: lost, doubled, moved or changed",
        sum(wrong), "lines", 0.0, note=f"of {JOBS * wanted:,} lines of {lines.WIDTH} bytes",
    )  # fmt: skip


def keeping_up(looks: list[int], took: float) -> Figure:
    rate = JOBS * RATE * lines.WIDTH * SECONDS / took
    return Figure(
        "meanwhile unsealed at most", max(looks) / rate, "s of output", LATE * SWEEP,
        note=f"{max(looks) / MEBIBYTE:.0f} MiB of {rate / MEBIBYTE:.1f} MiB/s; a sweep comes every "
        f"{SWEEP:.0f} s",
    )  # fmt: skip


def pace(took: list[float], spent: float) -> Figure:
    """Whether anything held the programs up."""
    return Figure(
        "the slowest of them against its own clock", max(took) / SECONDS, "times", 1.1,
        note=f"stoker up, nats-server and the agent: {spent / max(took):.2f} cores",
    )  # fmt: skip
