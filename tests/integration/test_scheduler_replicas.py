"""Replicas that come, go and share the work: what each of them must know and must not keep."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from bus.clock import ServerClock
from bus.connection import Bus
from schemas.job import Fact, Reason, Record, State
from schemas.worker import AttemptKey, Beat, Capacity, Requirement
from services.scheduler.classes import Classes
from services.scheduler.config import SchedulerConfig
from services.scheduler.roster import Roster
from services.scheduler.service import Scheduler
from tests.integration.test_scheduler import CLASS, Worker, cancel, in_state, submit, until


@contextlib.asynccontextmanager
async def replica(bus: Bus, **config: Any) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(bus, SchedulerConfig(**{"sweep_every": 0.5, **config}))
    task = asyncio.create_task(scheduler.run())
    try:
        yield scheduler
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def sooner_or_later(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not so():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def messages(bus: Bus, stream: str) -> int:
    return int((await bus.api(f"STREAM.INFO.{stream}"))["state"]["messages"])


async def test_a_class_outlives_the_replica_that_made_it(bus: Bus) -> None:
    maker, survivor = Classes(bus, 1), Classes(bus, 1)
    listening = asyncio.create_task(survivor.listen())
    try:
        asked = Requirement(cpus=1.0, memory=2 << 30)
        name = await maker.ensure("default", asked, {})
        assert name == CLASS
        await sooner_or_later(lambda: [one.name for one in survivor.of("default")] == [CLASS])
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_a_class_that_is_rounded_up_still_fits_the_worker(bus: Bus) -> None:
    async with replica(bus):
        worker = Worker(bus, "w1")
        worker.capacity = Capacity(cpus=80.0, memory=48 << 30, slots=80)
        await worker.beat()
        small = [
            await submit(bus, resources={"cpus": 0.1, "memory": f"{16 + n}m"}) for n in range(64)
        ]
        for job in small:
            await until(bus, job, in_state(State.QUEUED))
        big = await submit(bus, resources={"cpus": 1, "memory": "40g"})
        queued = await until(bus, big, in_state(State.QUEUED))
        classes = {one.name: one.requirement for one in (await worker.beat()).classes}
        assert queued.class_name is not None
        assert classes[queued.class_name].memory == 48 << 30


async def test_a_cancelled_retry_leaves_no_ticket(bus: Bus) -> None:
    async with replica(bus):
        worker = Worker(bus, "w1")
        await worker.beat()
        job = await submit(bus)
        await worker.report(await worker.take(), Fact.FAILED, Reason.AGENT_ERROR)

        def queued_again(record: Record) -> bool:
            return record.state is State.QUEUED and record.attempt == 1

        await until(bus, job, queued_again)
        assert (await cancel(bus, job)).state is State.CANCELLED
        async with asyncio.timeout(10):
            while await messages(bus, "WORK_default"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_a_worker_that_another_replica_hears_is_not_lost_here(bus: Bus) -> None:
    """However short ``lost_after`` is: every beat goes to one of the two alone."""
    config = SchedulerConfig(lost_after=1.2)
    hearing, other = (
        Roster(bus, config, ServerClock(bus), lambda worker, now: "") for _ in range(2)
    )
    listening = asyncio.create_task(other.listen(asyncio.Event()))
    empty = Capacity()
    beat = Beat(worker="w1", session="s", sent_at=0.0, capacity=empty, free=empty)
    try:
        await hearing.hear(beat)
        await sooner_or_later(lambda: "w1" in other.online())
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            await hearing.hear(beat)
            await asyncio.sleep(0.2)
            assert await other.grow_silent(0.2, ["w1"]) == []
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_a_fact_that_cannot_be_read_stops_nobody(bus: Bus) -> None:
    await bus.append("stoker.job.bad.submitted", b"\xc1", {"Stoker-Type": "JobFact/1"})
    async with replica(bus):
        worker = Worker(bus, "w1")
        await worker.beat()
        job = await submit(bus)
        await until(bus, job, in_state(State.QUEUED))


async def test_what_ended_before_a_restart_is_tidied_after_it(bus: Bus) -> None:
    async with replica(bus):
        worker = Worker(bus, "w1")
        await worker.beat()
        await submit(bus)
        await worker.report(await worker.take(), Fact.SUCCEEDED)
        assert await messages(bus, "JOBS") > 1
    async with replica(bus), asyncio.timeout(10):
        while await messages(bus, "JOBS") > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_retry_goes_when_its_time_comes_and_not_before(bus: Bus) -> None:
    async with replica(bus, sweep_every=60.0):
        worker = Worker(bus, "w1")
        await worker.beat()
        job = await submit(bus)
        for number in range(2):
            grant = await worker.take(f"c{number}")
            await worker.report(grant, Fact.FAILED, Reason.AGENT_ERROR)
        after = await until(bus, job, lambda record: record.attempt == 2)
        assert after.not_before is not None
        again = await until(bus, job, in_state(State.QUEUED))
        assert 0 <= again.changed_at - after.not_before < 1.0


async def test_a_lost_worker_that_was_told_to_stop_leaves_the_job_cancelled(bus: Bus) -> None:
    async with replica(bus, lost_after=1.0):
        worker = Worker(bus, "w1")
        await worker.beat()
        job = await submit(bus)
        grant = await worker.take()
        assert (await cancel(bus, job)).state is State.CANCELLING
        over = await until(bus, job, in_state(State.CANCELLED))
        assert over.attempt == 1
        stop = (await worker.beat(AttemptKey(job=job, attempt=grant.attempt))).stop
        assert [one.job for one in stop] == [job]
