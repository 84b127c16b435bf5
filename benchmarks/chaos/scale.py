"""What do 1,000 agents and 100,000 waiting jobs cost?"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import psutil

from benchmarks import load
from benchmarks.chaos import seeding
from benchmarks.chaos.house import House, Wish, open_house
from benchmarks.chaos.requests import Requests
from benchmarks.chaos.watch import watched
from benchmarks.floors import PROGRAM
from benchmarks.processes import MEBIBYTE, processor_time, resident
from benchmarks.table import Figure, percentile
from bus import subjects
from bus.connection import Bus
from bus.errors import BusError
from bus.link import BusConfig
from schemas.job import State
from schemas.spec import JobSpec
from schemas.worker import Beat, BeatAnswer, Capacity, Held

AGENTS, CONNECTIONS = 1000, 20
HALF_A_CORE = 0.5
WAITING = 100_000
FIRST_DISPATCH = 5.0
"""Seconds."""
SLOWER = 1.25
"""How much slower a submission may be: what two measurements differ by anyway."""
SUBMITS = 400
WATCH = 30.0
POOL = "default"
NAP = JobSpec.model_validate(
    {
        "environment": {"STOKER_DUMMY_SLEEP": "3600"},
        "resources": {"cpus": 0.01, "memory": "16m"},
        "grace": 0,
    }
)
SHORT = {"resources": {"cpus": 0.01, "memory": "16m"}}
SCHEDULERS = ("scheduler", "scheduler-2")
WISH = Wish(
    lost_after=30.0, runtime="dummy", slots=4, own_network=False, own_engine=False,
    workers=("near",),
)  # fmt: skip


async def figures() -> list[Figure]:
    return [await many_agents(), *await many_jobs()]


# 1,000 agents.


async def many_agents() -> Figure:
    async with open_house(WISH) as house, buses(house.nats, CONNECTIONS) as connections:
        bus = connections[0]
        names = [f"sim-{number}" for number in range(AGENTS)]
        held: dict[str, str] = {}
        async with watched(house.nats) as watch:
            await seeding.write_jobs(bus, AGENTS, lambda n, at: seeding.running(NAP, at, names[n]))
            async with asyncio.timeout(60):
                while len(watch.seen) < AGENTS:
                    watch.news.clear()
                    await watch.news.wait()
            for job, seen in watch.seen.items():
                current = seen[-1].record.current
                held[current.worker if current else ""] = job
        agents = [
            Simulated(connections[n % CONNECTIONS], name, held[name])
            for n, name in enumerate(names)
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(agent.run()) for agent in agents]
            await asyncio.sleep(20)  # until all have beaten and the start is over
            share = await cores(house, WATCH)
            beats = sum(agent.answered for agent in agents)
            for task in tasks:
                task.cancel()
    total = sum(share.values())
    if beats < AGENTS * 5:
        raise RuntimeError(f"only {beats} beats were answered")
    parts = ", ".join(f"{name} {one * 100:.0f} %" for name, one in share.items())
    return Figure(
        f"{AGENTS:,} agents that beat: all schedulers",
        total,
        "cores",
        bar=HALF_A_CORE,
        note=f"{parts}; each holds an attempt and beats every {WISH.lost_after / 6:g} s",
    )


@asynccontextmanager
async def buses(url: str, count: int) -> AsyncIterator[list[Bus]]:
    async with AsyncExitStack() as stack:
        config = BusConfig(servers=(url,), name="simulated")
        yield [await stack.enter_async_context(Bus.connect(config)) for _ in range(count)]


@dataclass
class Simulated:
    """An agent as the scheduler hears it."""

    bus: Bus
    name: str
    job: str
    answered: int = 0

    async def run(self) -> None:
        await asyncio.sleep(random.random() * WISH.lost_after / 6)
        while True:
            begun = time.monotonic()
            try:
                answer = await self.bus.request(
                    subjects.beat(self.name, POOL), self.beat(), BeatAnswer, attempts=1
                )
            except BusError:
                await asyncio.sleep(1)
                continue
            self.answered += 1
            await asyncio.sleep(max(0, answer.lost_after / 6 - (time.monotonic() - begun)))

    def beat(self) -> Beat:
        capacity = Capacity(cpus=1, memory=64 << 20, slots=1)
        return Beat(
            worker=self.name, session=self.name, sent_at=time.monotonic(), pool=POOL,
            runtime="dummy", capacity=capacity, free=Capacity(),
            held=(Held(job=self.job, attempt=1, phase="running"),),
        )  # fmt: skip


async def cores(house: House, seconds: float) -> dict[str, float]:
    """Share of one core that each scheduler takes."""
    processes = {name: [psutil.Process(house.parts[name].pid)] for name in SCHEDULERS}
    before = {name: processor_time(ps) for name, ps in processes.items()}
    await asyncio.sleep(seconds)
    return {name: (processor_time(ps) - before[name]) / seconds for name, ps in processes.items()}


# 100,000 jobs.


async def many_jobs() -> list[Figure]:
    """A second house without jobs stands beside it: a busier minute meets both."""
    async with open_house(WISH) as house, buses(house.nats, 1) as (bus,):
        requests = Requests(house)
        await requests.upload(PROGRAM, SHORT)
        for name in SCHEDULERS:
            await house.end(name)
        await seeding.write_jobs(
            bus, WAITING, lambda _, at: seeding.waiting(NAP, at, requests.bundle)
        )
        dispatch = await first_dispatch(house)
        await settled(house)
        async with open_house(WISH) as empty, buses(empty.nats, 1) as (other,):
            bundle = await uploaded(empty)
            before, after = await submissions((other, bundle), (bus, requests.bundle))
        memory = max(resident(psutil.Process(house.parts[n].pid)) for n in SCHEDULERS) / MEBIBYTE
    return [
        Figure(
            f"scheduler restarted, {WAITING:,} waiting jobs → first dispatch",
            dispatch,
            "s",
            bar=FIRST_DISPATCH,
            note=f"with the start of its interpreter; {memory:.0f} MiB when all are loaded",
        ),
        Figure(
            f"submit → accepted, {WAITING:,} waiting jobs, p50",
            percentile(after, 0.5) * 1000,
            "ms",
            bar=percentile(before, 0.5) * 1000 * SLOWER,
            beside="no waiting job, in turn",
            reference=percentile(before, 0.5) * 1000,
            note=f"p99 {percentile(after, 0.99) * 1000:.0f} ms,"
            f" without {percentile(before, 0.99) * 1000:.0f} ms",
        ),
    ]


async def uploaded(house: House) -> str:
    """The digest of a bundle that the house has stored."""
    requests = Requests(house)
    await requests.upload(PROGRAM, SHORT)
    return requests.bundle


async def submissions(*places: tuple[Bus, str]) -> list[list[float]]:
    """Seconds that each submission took to be accepted, at each of the places in turn."""
    times: list[list[float]] = [[] for _ in places]
    for _ in range(SUBMITS):
        for found, (bus, bundle) in zip(times, places, strict=True):
            begun = time.perf_counter()
            await load.submit(bus, bundle, NAP)
            found.append(time.perf_counter() - begun)
    return times


async def first_dispatch(house: House) -> float:
    """Seconds from the start of the schedulers' processes to the first job that a worker has."""
    async with watched(house.nats) as watch:
        begun = time.time()
        for name in SCHEDULERS:
            house.start(house.parts[name])
        async with asyncio.timeout(120):
            while True:
                for seen in (one for many in watch.seen.values() for one in many):
                    if seen.record.state is State.STARTING:
                        return seen.at - begun
                watch.news.clear()
                await watch.news.wait()


async def settled(house: House) -> None:
    """Until the schedulers have loaded all."""
    async with asyncio.timeout(180):
        while sum((await cores(house, 2.0)).values()) > 0.1:
            pass
