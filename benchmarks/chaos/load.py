"""Which jobs run while parts die, and how are they submitted, whatever happens?"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from benchmarks.chaos.house import House
from benchmarks.chaos.requests import Requests
from benchmarks.load import END_SUBJECTS
from bus.connection import Bus
from bus.follow import follow
from bus.link import BusConfig

PROGRAM = """\
import os, pathlib, socket, sys, time

lines, burst, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
print("begun in", socket.gethostname(), flush=True)
for start in range(0, lines, burst):
    now = time.time()
    numbers = range(start, min(lines, start + burst))
    print("\\n".join(f"line {n} at {now:.3f}" for n in numbers), flush=True)
    time.sleep(pause)
pathlib.Path(os.environ["STOKER_OUTPUTS"], "lines.txt").write_text(f"{lines}\\n")
"""
LIVE = 7
"""Jobs that are live at one time."""
CANCELLED = 0.08
"""Share of jobs that somebody cancels."""
EXCLUSIVE = 0.2
"""Share of jobs that must never run twice at one time."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A job that was accepted."""

    id: str
    lines: int
    cancelled: bool = False
    exclusive: bool = False


@dataclass
class Load:
    """The jobs of one run."""

    requests: Requests
    chance: random.Random
    jobs: dict[str, Asked] = field(default_factory=dict)
    ends: defaultdict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    """Job to sequence and fact of every recorded end: more than one would be a second winner."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def live(self) -> list[str]:
        return [job for job in self.jobs if job not in self.ends]

    async def keep_busy(self) -> None:
        """Until cancelled."""
        while True:
            while len(self.live) >= LIVE:
                self.news.clear()
                await self.news.wait()
            job = await self.submit()
            if self.chance.random() < CANCELLED:
                await asyncio.sleep(self.chance.uniform(0, 3))
                await self.requests.cancel(job)
                self.jobs[job] = replace(self.jobs[job], cancelled=True)

    async def submit(self) -> str:
        """Accepted in the end: repeated with the same key until it is answered."""
        seconds = self.chance.uniform(2, 20)
        burst = self.chance.choice((1, 1, 5, 200))
        pause = self.chance.choice((0.02, 0.1, 0.4))
        lines = max(1, int(seconds / pause)) * burst
        exclusive = self.chance.random() < EXCLUSIVE
        spec = {
            "name": "chaos",
            "exclusive": exclusive,
            "arguments": [str(lines), str(burst), str(pause)],
            "grace": 2,
            "resources": {"cpus": 0.25, "memory": "64m"},
        }
        job = await self.requests.submit(spec)
        self.jobs[job] = Asked(job, lines, exclusive=exclusive)
        return job

    async def watch(self, bus: Bus) -> None:
        async for delivery in follow(bus, "JOBS", END_SUBJECTS, after=None):
            _, _, job, fact = delivery.subject.split(".")
            self.ends[job][delivery.sequence] = fact
            self.news.set()


@asynccontextmanager
async def steady(house: House, chance: random.Random) -> AsyncIterator[Load]:
    """A load that watches its ends; ``keep_busy`` is for the caller to run."""
    load = Load(Requests(house), chance)
    await load.requests.upload(PROGRAM, {"arguments": ["1", "1", "0"]})
    config = BusConfig(servers=(house.nats,), name="chaos")
    async with Bus.connect(config) as bus, asyncio.TaskGroup() as group:
        task = group.create_task(load.watch(bus))
        await asyncio.sleep(0.5)  # until the follower's consumer stands
        try:
            yield load
        finally:
            task.cancel()
