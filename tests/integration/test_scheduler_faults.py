"""What goes wrong around the scheduler: late facts, lost races, stores that refuse."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest

from bus.clock import ServerClock
from bus.codec import encode
from bus.connection import Bus
from bus.errors import Conflict, StoreFull
from bus.kv import Bucket
from bus.records import Records
from schemas.job import Fact, Reason, Record, State
from schemas.worker import AttemptKey, Beat, Capacity, WorkerRecord
from services.scheduler import transitions
from services.scheduler.config import SchedulerConfig
from services.scheduler.roster import Roster
from services.scheduler.service import Scheduler, run
from tests.integration.test_scheduler import (
    Worker,
    beats,
    cancel,
    in_state,
    scheduler,
    submit,
    until,
    work,
)
from tests.integration.test_scheduler_replicas import messages, replica, sooner_or_later


def a_beat(name: str = "w1") -> Beat:
    room = Capacity(cpus=1.0, memory=1 << 30, slots=1)
    return Beat(worker=name, session="s", sent_at=0.0, capacity=room, free=room)


def a_roster(bus: Bus, lost_after: float) -> Roster:
    config = SchedulerConfig(lost_after=lost_after)
    return Roster(bus, config, ServerClock(bus), lambda worker, now: "")


@contextlib.asynccontextmanager
async def in_background(*coroutines: Any) -> Any:
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        yield
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def queue_as_another_does(bus: Bus, job: str) -> None:
    stored = await Records(bus).get(job)
    queued = stored.record.model_copy(update={"state": State.QUEUED, "class_name": "c"})
    await Records(bus).write(queued, Fact.QUEUED, stored.sequence)


async def test_an_end_written_before_older_facts_were_read_frees_the_job_all_the_same(
    bus: Bus,
) -> None:
    """A replica that has just started answers requests while it still reads what happened."""
    job = await submit(bus)
    await queue_as_another_does(bus, job)
    starting = Scheduler(bus, SchedulerConfig())
    await starting._steps.take(job, lambda newest, now: transitions.cancel(newest, "me", now))
    last = await submit(bus)
    async with in_background(starting.run()):
        await sooner_or_later(lambda: starting._fold.get(last) is not None)
        assert starting._fold.get(job) is None
        assert not starting._fold.queued()


async def test_a_write_that_always_loses_is_an_error_and_no_answer(bus: Bus) -> None:
    """An agent takes a refusal of its job's end for good: it must not hear one by bad luck."""
    job = await submit(bus)

    class Unlucky(Records):
        async def write(self, record: Record, fact: Fact, expected: int) -> int:
            raise Conflict("somebody was faster")

    steps = Scheduler(bus, SchedulerConfig())._steps
    steps._records = Unlucky(bus)
    with pytest.raises(Conflict):
        await steps.take(job, lambda newest, now: transitions.cancel(newest, "me", now))


async def test_tidying_goes_on_after_a_purge_that_failed(bus: Bus) -> None:
    async with replica(bus) as running:
        keep_last = running._steps._records.keep_last
        failures = iter((Conflict("JetStream has other worries"),))

        async def fail_once(job: str) -> None:
            for failure in failures:
                raise failure
            await keep_last(job)

        running._steps._records.keep_last = fail_once  # type: ignore[method-assign]
        for _ in range(2):
            await cancel(bus, await submit(bus))
        async with asyncio.timeout(10):
            while await messages(bus, "JOBS") > 3:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_a_worker_is_there_although_another_replicas_clock_is_slow(bus: Bus) -> None:
    """What counts is when its words arrive: clocks of two machines may differ by minutes."""
    here = a_roster(bus, 1.0)
    async with in_background(here.listen(asyncio.Event())):
        await here.hear(a_beat("first"))
        await asyncio.sleep(0.1)
        await here.hear(a_beat())
        end = time.monotonic() + 2.0
        number = 0
        while time.monotonic() < end:
            number += 1
            old = WorkerRecord(beat=a_beat(), heard_at=time.time() - 300 + number)
            await Bucket(bus, "workers").put("w1", encode(old)[0])
            await asyncio.sleep(0.2)
            assert await here.grow_silent(0.2, ["w1"]) == []


async def test_a_drain_stands_although_a_replica_that_has_not_heard_of_it_writes(bus: Bus) -> None:
    here, changed = a_roster(bus, 10.0), asyncio.Event()
    async with in_background(here.listen(changed), here.listen_drains(changed)):
        await here.hear(a_beat())
        await here.drain("w1", True)
        unaware = WorkerRecord(beat=a_beat(), heard_at=time.time() + 1, drain=False)
        await Bucket(bus, "workers").put("w1", encode(unaware)[0])
        await sooner_or_later(lambda: here.online()["w1"].heard_at == unaware.heard_at)
        assert here.drains("w1")
        assert here.online()["w1"].drain


async def test_a_drain_reaches_every_replica(bus: Bus) -> None:
    asked, other, changed = a_roster(bus, 10.0), a_roster(bus, 10.0), asyncio.Event()
    async with in_background(other.listen(changed), other.listen_drains(changed)):
        await asked.hear(a_beat())
        for drain in (True, False):
            await asked.drain("w1", drain)
            await sooner_or_later(lambda: "w1" in other.online())
            await sooner_or_later(lambda wanted=drain: other.drains("w1") is wanted)  # type: ignore[misc]
            assert other.online()["w1"].drain is drain


async def test_a_beat_is_answered_although_a_loss_cannot_be_written(bus: Bus) -> None:
    """Who is to stop and which classes there are must reach workers while the store is full."""
    async with replica(bus, unknown_after=0.1) as running:
        worker = Worker(bus, "w1")
        await worker.beat()
        await submit(bus)
        await worker.take()

        async def full(record: Record, fact: Fact, expected: int) -> int:
            raise StoreFull("maximum bytes exceeded")

        running._steps._records.write = full  # type: ignore[method-assign]
        for _ in range(4):
            assert (await worker.beat()).classes
            await asyncio.sleep(0.1)


async def test_a_job_whose_workers_are_lost_again_and_again_fails(bus: Bus) -> None:
    async with scheduler(bus, lost_after=0.6):
        worker = Worker(bus, "w1")
        await worker.beat()
        job = await submit(bus, retries=1)
        for attempt in (1, 2):
            await until(bus, job, in_state(State.QUEUED))
            assert (await worker.take(f"c{attempt}")).attempt == attempt
            await until(bus, job, lambda record: not record.state.held)
            await worker.beat()
        over = await until(bus, job, in_state(State.FAILED))
        assert (over.reason, over.attempt) == (Reason.WORKER_LOST, 2)


async def test_a_running_job_is_told_to_stop_by_the_next_report_too(bus: Bus) -> None:
    async with scheduler(bus):
        worker = Worker(bus, "w1")
        await worker.beat()
        job = await submit(bus)
        grant = await worker.take()
        await worker.report(grant, Fact.RUNNING)
        assert (await cancel(bus, job)).state is State.CANCELLING
        assert (await cancel(bus, job)).state is State.CANCELLING
        assert (await worker.report(grant, Fact.RUNNING)).stop
        stop = (await worker.beat(AttemptKey(job=job, attempt=1))).stop
        assert [(one.job, one.reason) for one in stop] == [(job, "cancelled")]
        assert (await worker.report(grant, Fact.SUCCEEDED)).accepted
        assert (await cancel(bus, job)).state is State.CANCELLED


async def test_a_scheduler_that_starts_anew_amid_a_hundred_jobs_loses_none(bus: Bus) -> None:
    """The only one there is: what comes meanwhile waits for it."""
    worker = Worker(bus, "w1", slots=8)
    task = asyncio.create_task(run(bus, SchedulerConfig(sweep_every=0.5)))
    await worker.beat()
    jobs = [await submit(bus) for _ in range(100)]
    left = set(jobs)
    async with in_background(beats(worker), work(worker, left)), asyncio.timeout(60):
        while len(left) > 50:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with scheduler(bus):
            for job in jobs:
                over = await until(bus, job, in_state(State.SUCCEEDED))
                starts = [one for one in over.timeline if one.fact is Fact.STARTING]
                assert (over.attempt, len(starts)) == (1, 1)


async def test_two_replicas_may_drop_the_same_older_facts(bus: Bus) -> None:
    job = await submit(bus)
    await queue_as_another_does(bus, job)
    records = Records(bus)
    for _ in range(6):
        stored = await records.get(job)
        await records.write(stored.record, Fact.REFUSED, stored.sequence)
    await asyncio.gather(*(records.keep_last(job) for _ in range(4)))
    assert await messages(bus, "JOBS") == 1
