"""How are jobs submitted and their ends seen, as fast as the bus allows?"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bus.connection import Bus
from bus.follow import follow
from schemas.requests import Submit, Submitted
from schemas.spec import JobSpec

SUBMIT = "stoker.req.upload.submit"
END_SUBJECTS = tuple(f"stoker.job.*.{fact}" for fact in ("succeeded", "failed", "cancelled"))
OWNER = "bench"


@dataclass(slots=True)
class Ends:
    """The recorded ends of jobs, as a follower of the stream ``JOBS`` reads them."""

    seen: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Job to when its end was read, by ``perf_counter``, and the fact."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, subject: str) -> None:
        _, _, job, fact = subject.split(".")
        self.seen.setdefault(job, (time.perf_counter(), fact))
        self.news.set()

    async def of(self, jobs: set[str], seconds: float) -> float:
        """When the last of them ended; raises where one did not succeed."""
        async with asyncio.timeout(seconds):
            while not jobs <= self.seen.keys():
                self.news.clear()
                await self.news.wait()
        bad = {job: self.seen[job][1] for job in jobs if self.seen[job][1] != "succeeded"}
        if bad:
            raise RuntimeError(f"{len(bad)} of {len(jobs)} jobs did not succeed: {bad}")
        return max(self.seen[job][0] for job in jobs)


@asynccontextmanager
async def watched_ends(bus: Bus) -> AsyncIterator[Ends]:
    ends = Ends()

    async def watch() -> None:
        async for delivery in follow(bus, "JOBS", END_SUBJECTS, after=None):
            ends.add(delivery.subject)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch())
        await asyncio.sleep(0.5)  # until the follower's consumer stands
        try:
            yield ends
        finally:
            task.cancel()


async def submit(bus: Bus, bundle: str, spec: JobSpec) -> str:
    request = Submit(owner=OWNER, key=uuid.uuid4().hex, spec=spec, bundle=bundle)
    answer = await bus.request(SUBMIT, request, Submitted, timeout=10)
    return answer.record.id


async def one_by_one(bus: Bus, bundle: str, spec: JobSpec, count: int) -> list[float]:
    """Seconds from each submit request to its recorded end, one job at a time."""
    times = []
    async with watched_ends(bus) as ends:
        for _ in range(count):
            begun = time.perf_counter()
            job = await submit(bus, bundle, spec)
            times.append(await ends.of({job}, 30) - begun)
    return times


async def all_at_once(
    bus: Bus, bundle: str, spec: JobSpec, count: int, *, seconds: float, submitters: int = 32
) -> float:
    """Jobs a second from the first submit request to the last recorded end."""
    jobs: set[str] = set()
    left = iter(range(count))

    async def run() -> None:
        for _ in left:
            jobs.add(await submit(bus, bundle, spec))

    async with watched_ends(bus) as ends:
        begun = time.perf_counter()
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for _ in range(submitters):
                group.create_task(run())
        return count / (await ends.of(jobs, seconds) - begun)
