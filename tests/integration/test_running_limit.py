"""Of each owner at most so many jobs run, whoever hands them out, and the others pass."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from pathlib import Path

from bus import subjects
from bus.connection import Bus
from bus.follow import follow
from bus.objects import Objects
from bus.records import Records, read_change
from bus.server import EmbeddedServer
from schemas.job import State
from schemas.quota import Kind, Quota, Quotas, SetQuota
from schemas.requests import Explain, Explanation, Submit, Submitted
from schemas.spec import JobSpec
from services.scheduler.config import SchedulerConfig
from services.scheduler.service import run as run_scheduler
from tests.integration.house import PATIENCE, SMALL, House, dummy, once, open_house, zipped

CONFIG = SchedulerConfig(quota=Quota(running=2))
ZIP = zipped({"main.py": ""})


async def submit(house: House, owner: str, key: str, seconds: float) -> str:
    await Objects(house.bus).put("uploads", f"{owner}-{key}", once(ZIP))
    spec = JobSpec.model_validate(
        {"resources": SMALL, "environment": dummy(SLEEP=seconds), "name": key}
    )
    asked = Submit(owner=owner, key=key, spec=spec, upload=f"{owner}-{key}")
    subject = subjects.request("upload", "submit")
    return (await house.bus.request(subject, asked, Submitted, timeout=10)).record.id


async def most_at_once(bus: Bus, jobs: set[str]) -> dict[str, int]:
    """Owner to the most jobs that were handed out or ran at one time, when all have ended."""
    placed: defaultdict[str, set[str]] = defaultdict(set)
    most: defaultdict[str, int] = defaultdict(int)
    left = set(jobs)
    async with asyncio.timeout(PATIENCE):
        async with contextlib.aclosing(follow(bus, "JOBS", subjects.JOBS_ALL)) as facts:
            async for fact in facts:
                record = read_change(fact).record
                mine = placed[record.owner]
                if record.state is State.QUEUED or record.state.held:
                    mine.add(record.id)
                else:
                    mine.discard(record.id)
                most[record.owner] = max(most[record.owner], len(mine))
                if record.state.ended:
                    left.discard(record.id)
                if not left:
                    return dict(most)
    raise AssertionError("the stream of facts ended")


async def test_an_owner_at_the_limit_waits_and_others_pass(
    server: EmbeddedServer, bus: Bus, tmp_path: Path
) -> None:
    async with open_house(server.url, bus, tmp_path, CONFIG) as house:
        house.agent(slots=8)
        ann = [await submit(house, "ann", f"a{n}", 60.0 if n < 2 else 0.0) for n in range(6)]
        for job in ann[:2]:
            await house.running(job)
        ben = await submit(house, "ben", "b", 0.0)
        await house.ended(ben)
        last = (await Records(bus).get(ann[-1])).record
        assert last.state is State.WAITING
        subject = subjects.request("scheduler", "explain")
        told = await bus.request(subject, Explain(job=ann[-1]), Explanation)
        assert told.text == "your 2 running jobs are your limit"
        for job in ann[:2]:
            await house.cancel(job)
        assert (await most_at_once(bus, {*ann, ben}))["ann"] == 2


async def test_two_schedulers_hand_out_one_job_too_many_at_most(
    server: EmbeddedServer, bus: Bus, tmp_path: Path
) -> None:
    async with open_house(server.url, bus, tmp_path, CONFIG) as house:
        other = house.tasks.create_task(run_scheduler(bus, CONFIG))
        house.agent(slots=8)
        jobs = {
            await submit(house, owner, f"j{n}", 0.05) for n in range(12) for owner in ("ann", "ben")
        }
        most = await most_at_once(bus, jobs)
        other.cancel()
    assert set(most) == {"ann", "ben"}
    assert all(2 <= count <= 3 for count in most.values())


async def test_a_limit_that_is_raised_lets_waiting_jobs_go(
    server: EmbeddedServer, bus: Bus, tmp_path: Path
) -> None:
    async with open_house(server.url, bus, tmp_path, SchedulerConfig(sweep_every=60.0)) as house:
        house.agent(slots=8)
        subject = subjects.request("scheduler", "set-quota")
        none = SetQuota(user="ann", limits={Kind.RUNNING: 0}, by="root")
        assert (await bus.request(subject, none, Quotas)).of("ann").running == 0
        job = await submit(house, "ann", "a", 0.0)
        other = await submit(house, "ben", "b", 0.0)
        await house.ended(other)
        assert (await Records(bus).get(job)).record.state is State.WAITING
        await bus.request(subject, SetQuota(user="ann", clear=(Kind.RUNNING,), by="root"), Quotas)
        assert (await house.ended(job)).state is State.SUCCEEDED
