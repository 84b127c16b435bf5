"""How many jobs a second, beside what the durable writes of a job allow?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import nats
import psutil

from benchmarks import load
from benchmarks.chaos import seeding
from benchmarks.chaos.house import SERVICES, House, Wish, open_house
from benchmarks.chaos.requests import Requests
from benchmarks.dispatch import TINY
from benchmarks.floors import PROGRAM
from benchmarks.processes import family, processor_time
from benchmarks.table import Figure
from bus import layout
from bus.connection import Bus
from bus.consume import Done, Outcome, consume
from bus.follow import Delivery
from bus.link import BusConfig

SHARE = 0.5
"""Of the ceiling that the durable writes of a job allow."""
MOST_WRITES = 8
JOBS = 1000
FEW, MANY = 100, 100_000
"""Ended jobs in the store."""
DEARER = 1.2
"""How much dearer a job may be among many ended ones: what two measurements differ by anyway."""
PUBLISHES = 4000
LAZY = frozenset(s.name for s in layout.STREAMS if s.lazy_sync)
"""Streams that acknowledge before the disk has it: no durable writes."""
WISH = Wish(runtime="dummy", slots=50, own_network=False, own_engine=False)


@dataclass(frozen=True, slots=True)
class Rate:
    """Many jobs, submitted at once."""

    jobs: float
    """A second, from the first request to the last recorded end."""
    publishes: float
    """Durable ones a second, asynchronous, on the same server."""
    writes: float
    """Durable ones for a job."""
    cost: float
    """Seconds of processor time of the whole house for a job."""
    broker: float
    """The part of it that nats-server took."""

    @property
    def ceiling(self) -> float:
        return self.publishes / self.writes


async def figures() -> list[Figure]:
    async with working(WISH) as (house, bus, bundle):
        await seed(house, bus, FEW)
        few = await measured(house, bus, bundle)
        await seed(house, bus, MANY - FEW)
        many = await measured(house, bus, bundle)
    async with working(replace(WISH, sync_always=False)) as (house, bus, bundle):
        lazy = await measured(house, bus, bundle)
    return [
        *told(few, "sync always", bar=True),
        *told(lazy, "default sync", bar=False),
        compared(few, many),
    ]


@asynccontextmanager
async def working(wish: Wish) -> AsyncIterator[tuple[House, Bus, str]]:
    """A house on which one job has run, a client of its bus, and the bundle's digest."""
    async with open_house(wish) as house:
        requests = Requests(house)
        await requests.upload(PROGRAM, TINY.model_dump(mode="json"))
        async with Bus.connect(BusConfig(servers=(house.nats,), name="bench")) as bus:
            yield house, bus, requests.bundle


async def measured(house: House, bus: Bus, bundle: str) -> Rate:
    """The better of two runs: whoever else uses the machine makes a run worse, never better."""
    runs = [await one_run(house, bus, bundle) for _ in range(2)]
    best = max(runs, key=lambda run: run.jobs / run.ceiling)
    return replace(best, cost=min(run.cost for run in runs))


async def one_run(house: House, bus: Bus, bundle: str) -> Rate:
    await load.all_at_once(bus, bundle, TINY, 200, seconds=60)  # warms everything
    before = await publishing(house.nats)
    written, spent, broker = await durable_writes(bus), house_time(house), broker_time(house)
    jobs = await load.all_at_once(bus, bundle, TINY, JOBS, seconds=120)
    spent, broker = house_time(house) - spent, broker_time(house) - broker
    written = await durable_writes(bus) - written
    after = await publishing(house.nats)
    publishes = 2 / (1 / before + 1 / after)
    rate = Rate(jobs, publishes, written / JOBS, spent / JOBS, broker / JOBS)
    print(f"{rate}; publishes before {before:.0f}, after {after:.0f}", flush=True)
    return rate


def house_time(house: House) -> float:
    return processor_time(family([], house.folder))


def broker_time(house: House) -> float:
    return processor_time([psutil.Process(house.parts["nats"].pid)])


async def publishing(url: str) -> float:
    """Asynchronous durable publishes of 1 KiB a second."""
    client = await nats.connect(url, allow_reconnect=False, connect_timeout=5)
    js = client.jetstream(publish_async_max_pending=512)
    await js.add_stream(name="BENCH", subjects=["bench.>"], max_bytes=64 << 20)
    try:
        payload = b"x" * 1024
        begun = time.perf_counter()
        for number in range(PUBLISHES):
            await js.publish_async(f"bench.{number}", payload, wait_stall=10)
        async with asyncio.timeout(60):
            await js.publish_async_completed()
        return PUBLISHES / (time.perf_counter() - begun)
    finally:
        await js.delete_stream("BENCH")
        await client.close()


async def durable_writes(bus: Bus) -> int:
    """Messages that were ever stored in streams that wait for the disk."""
    names = [s.name for s in (*layout.STREAMS, layout.pool_stream("default"))]
    total = 0
    for name in names:
        if name not in LAZY:
            info = await bus.api(f"STREAM.INFO.{name}")
            total += int(info["state"]["last_seq"])
    return total


async def seed(house: House, bus: Bus, count: int) -> None:
    """Ended jobs in the store, archived, and everybody has come to the end of it."""
    for name in SERVICES:
        await house.end(name)
    await seeding.write_jobs(bus, count, lambda _, at: seeding.ended(TINY, at))
    await archived(bus)
    for name in SERVICES:
        house.start(house.parts[name])
    async with asyncio.timeout(300):
        while await busy(house):
            pass


async def archived(bus: Bus) -> None:
    """The archive has nothing to do with them any more: it lets each rest for a minute."""

    async def done(_: Delivery) -> Outcome:
        return Done()

    name = layout.ARCHIVE.name
    async with asyncio.timeout(300), asyncio.TaskGroup() as group:
        task = group.create_task(consume(bus, "JOBS", name, done, concurrency=512))
        left = 1
        while left:
            await asyncio.sleep(0.5)
            info = await bus.api(f"CONSUMER.INFO.JOBS.{name}")
            left = info["num_pending"] + info["num_ack_pending"]
        task.cancel()


async def busy(house: House) -> bool:
    before = house_time(house)
    await asyncio.sleep(1)
    return house_time(house) - before > 0.1


def told(rate: Rate, sync: str, *, bar: bool) -> list[Figure]:
    figure = Figure(
        f"dummy jobs, 2 schedulers, {sync}",
        rate.jobs,
        "jobs/s",
        bar=SHARE * rate.ceiling if bar else None,
        at_most=False,
        beside=f"ceiling: {rate.publishes:.0f} async publishes/s over {rate.writes:.1f}",
        reference=rate.ceiling,
        note=f"{JOBS} jobs on 2 agents with 50 slots; {rate.cost * 1000:.1f} ms of processor a job",
    )
    writes = Figure(f"durable writes of a job, {sync}", rate.writes, "", bar=float(MOST_WRITES))
    return [figure, writes] if bar else [figure]


def compared(few: Rate, many: Rate) -> Figure:
    return Figure(
        f"processor time of a job, {MANY:,} ended jobs in the store",
        many.cost * 1000,
        "ms",
        bar=few.cost * 1000 * DEARER,
        beside=f"{FEW} ended jobs",
        reference=few.cost * 1000,
        note=f"{many.jobs:.0f} jobs/s, with few {few.jobs:.0f}; nats-server"
        f" {many.broker * 1000:.1f} ms of it, with few {few.broker * 1000:.1f}",
    )
