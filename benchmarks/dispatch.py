"""How fast do jobs go from the submit request to their recorded end?"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks import floors, load
from benchmarks.stack import Stack, running_stack
from benchmarks.table import Figure, percentile
from bus.connection import Bus
from bus.link import BusConfig
from schemas.spec import JobSpec

DUMMY_END_BAR = 20.0
PROCESS_END_BAR = 40.0
"""Milliseconds."""
DUMMY_RATE_BAR = 150.0
PROCESS_RATE_BAR = 66.0
"""Jobs a second; pyoco-server's."""
SPAWN_SHARE = 0.6
CONTAINER_SHARE = 0.9


def small(cpus: float) -> JobSpec:
    return JobSpec.model_validate({"resources": {"cpus": cpus, "memory": "64m"}})


TINY = small(0.01)
"""Where nothing holds a program to its share: slots alone bound how many run at one time."""
PROCESS_SLOTS = 8
"""What `stoker up` takes on two cores; the bare machine is met at its best concurrency, too."""
QUARTER = small(0.25)
THIRD = small(0.3)


@asynccontextmanager
async def ready_stack(
    runtime: str, slots: int, spec: JobSpec
) -> AsyncIterator[tuple[Stack, Bus, str]]:
    """A stack on which one job has run, a client of its bus, and the bundle's digest."""
    async with running_stack(runtime, slots) as stack:
        bundle = await stack.stored(spec.model_dump(mode="json"))
        config = BusConfig((stack.nats,), "bench", credentials=str(stack.admin))
        async with Bus.connect(config) as bus:
            yield stack, bus, bundle


async def dummy() -> list[Figure]:
    async with ready_stack("dummy", 50, TINY) as (stack, bus, bundle):
        raw = await floors.raw_publishing(stack.nats, stack.admin)
        times = await load.one_by_one(bus, bundle, TINY, 60)
        rate = await load.all_at_once(bus, bundle, TINY, 1000, seconds=60)
    return [
        Figure(
            "submit → recorded end, dummy, p50",
            percentile(times, 0.5) * 1000,
            "ms",
            bar=DUMMY_END_BAR,
            beside="one durable publish",
            reference=raw.serial * 1000,
            note=f"p99 {percentile(times, 0.99) * 1000:.0f} ms; pyoco-server's bare queue 26 ms",
        ),
        Figure(
            "1,000 dummy jobs, 50 slots, sync always",
            rate,
            "jobs/s",
            bar=DUMMY_RATE_BAR,
            at_most=False,
            beside="durable publishes, 64 tasks",
            reference=raw.pipelined,
            note="Celery, not durable to disk: 821 no-ops/s; Ray Jobs 1.1",
        ),
    ]


async def process() -> list[Figure]:
    """Ours between two runs of bare spawns, so that a busier minute meets both."""
    async with ready_stack("process", PROCESS_SLOTS, QUARTER) as (stack, bus, bundle):
        with floors.program_folder(stack.folder / "bare") as folder:
            before, workers = await floors.best_spawn_rate(folder, 200, sys.executable)
            alone = await floors.spawn_rate(sys.executable, folder, 40, 1)
            times = await load.one_by_one(bus, bundle, QUARTER, 60)
            rate = await load.all_at_once(bus, bundle, QUARTER, 400, seconds=60)
            after = await floors.spawn_rate(sys.executable, folder, 200, workers)
    spawned = 2 / (1 / before + 1 / after)
    return [
        Figure(
            "submit → recorded end, process, print(1), p50",
            percentile(times, 0.5) * 1000,
            "ms",
            bar=PROCESS_END_BAR,
            beside="bare interpreter",
            reference=1000 / alone,
            note=f"p99 {percentile(times, 0.99) * 1000:.0f} ms; jobd 42, pyoco 26, Ray 1,500 ms",
        ),
        Figure(
            f"400 processes of print(1), {PROCESS_SLOTS} slots",
            rate,
            "jobs/s",
            bar=max(PROCESS_RATE_BAR, SPAWN_SHARE * spawned),
            at_most=False,
            beside=f"bare spawns, {workers} at a time",
            reference=spawned,
            note=f"bare before and after: {before:.0f} and {after:.0f}/s; pyoco-server 66, jobd 43,"
            " Ray 1.1, Prefect 0.4/s",
        ),
    ]


async def containers(count: int = 200) -> list[Figure]:
    """Ours between two runs of the bare SDK, so that a busier minute meets both."""
    async with ready_stack("docker", 6, THIRD) as (stack, bus, bundle):
        image = await stack.image()
        with floors.program_folder(stack.folder / "bare") as folder:
            config = floors.hardened(image, folder, THIRD)
            workers = await asyncio.to_thread(floors.best_concurrency, config, count // 8)
            before = await asyncio.to_thread(floors.bare_rate, config, count // 2, workers)
            rate = await load.all_at_once(bus, bundle, THIRD, count, seconds=120)
            after = await asyncio.to_thread(floors.bare_rate, config, count // 2, workers)
    bare = 2 / (1 / before + 1 / after)
    return [
        Figure(
            f"{count} hardened containers of print(1)",
            rate,
            "jobs/s",
            bar=CONTAINER_SHARE * bare,
            at_most=False,
            beside=f"bare SDK, {workers} at a time",
            reference=bare,
            note=f"the bare SDK before and after: {before:.1f} and {after:.1f}/s",
        )
    ]
