"""When did a job come to a state, by the clock of whoever measures?"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bus import subjects
from bus.connection import Bus
from bus.follow import follow
from bus.link import BusConfig
from bus.records import read_change
from schemas.job import Record


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as it was after one fact."""

    at: float
    """``time.time`` at which the fact was read."""
    record: Record


@dataclass
class Watch:
    """Every fact since the watch began."""

    seen: defaultdict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, bus: Bus) -> None:
        async for delivery in follow(bus, "JOBS", subjects.JOBS_ALL, after=None):
            change = read_change(delivery)
            self.seen[change.record.id].append(Seen(time.time(), change.record))
            self.news.set()

    async def until(self, job: str, holds: Callable[[Record], bool], seconds: float = 60) -> Seen:
        """The first fact of the job after which its record ``holds``."""
        looked = 0
        try:
            async with asyncio.timeout(seconds):
                while True:
                    for seen in self.seen[job][looked:]:
                        if holds(seen.record):
                            return seen
                    looked = len(self.seen[job])
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            last = [f"{s.record.state} {s.record.attempt}" for s in self.seen[job]]
            raise RuntimeError(f"{job} did not come to it in {seconds:g} s: {last}") from None


@asynccontextmanager
async def watched(nats: str) -> AsyncIterator[Watch]:
    watch = Watch()
    config = BusConfig(servers=(nats,), name="chaos")
    async with Bus.connect(config) as bus, asyncio.TaskGroup() as group:
        task = group.create_task(watch.follow(bus))
        await asyncio.sleep(0.5)  # until the follower's consumer stands
        try:
            yield watch
        finally:
            task.cancel()
