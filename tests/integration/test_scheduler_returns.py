"""Cut off, taken for lost, and back: what the scheduler makes of it over the real bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.clock import ServerClock
from bus.codec import encode
from bus.connection import Bus
from bus.errors import StoreFull
from bus.kv import Bucket
from schemas.job import Fact, Reason, Record, State
from schemas.worker import AttemptKey, Beat, Capacity, WorkerRecord
from services.scheduler.config import SchedulerConfig
from services.scheduler.roster import Roster
from tests.integration.test_scheduler import Worker, in_state, scheduler, submit, until
from tests.integration.test_scheduler_replicas import messages, sooner_or_later


def lost_once(record: Record) -> bool:
    return any(one.end and one.end.reason is Reason.WORKER_LOST for one in record.attempts)


async def test_a_worker_that_comes_back_goes_on_with_its_job(bus: Bus) -> None:
    async with scheduler(bus, lost_after=1.0):
        worker = Worker(bus, "w1")
        await worker.beat()
        job = await submit(bus)
        grant = await worker.take()
        await worker.report(grant, Fact.RUNNING)
        await until(bus, job, lost_once)
        answer = await worker.beat(AttemptKey(job=job, attempt=1))
        assert answer.stop == ()
        record = await until(bus, job, lambda record: record.state.held)
        assert (record.attempt, len(record.attempts)) == (1, 1)
        assert (await worker.report(grant, Fact.SUCCEEDED)).accepted
        over = await until(bus, job, in_state(State.SUCCEEDED))
        assert Fact.REINSTATED in [entry.fact for entry in over.timeline]
        assert await messages(bus, "WORK_default") == 0


async def test_an_end_that_came_about_during_the_cut_still_counts(bus: Bus) -> None:
    async with scheduler(bus, lost_after=1.0):
        worker = Worker(bus, "w1")
        await worker.beat()
        job = await submit(bus)
        grant = await worker.take()
        await until(bus, job, lost_once)
        assert (await worker.report(grant, Fact.SUCCEEDED)).accepted
        assert (await until(bus, job, in_state(State.SUCCEEDED))).attempt == 1


async def test_a_successor_that_does_not_run_yet_makes_room(bus: Bus) -> None:
    async with scheduler(bus, lost_after=1.0):
        first, second = Worker(bus, "w1"), Worker(bus, "w2")
        await first.beat()
        job = await submit(bus)
        grant = await first.take()
        await until(bus, job, lost_once)
        await second.beat()
        late = await second.take("c2")
        assert (await first.beat(AttemptKey(job=job, attempt=1))).stop == ()
        stop = (await second.beat(AttemptKey(job=job, attempt=2))).stop
        assert [(s.job, s.attempt) for s in stop] == [(job, 2)]
        assert not (await second.report(late, Fact.SUCCEEDED)).accepted
        assert (await first.report(grant, Fact.SUCCEEDED)).accepted
        assert (await until(bus, job, in_state(State.SUCCEEDED))).attempt == 1


async def test_a_retry_goes_to_a_worker_that_the_job_has_not_failed_on(bus: Bus) -> None:
    async with scheduler(bus):
        first = Worker(bus, "w1")
        await first.beat()
        job = await submit(bus)
        grant = await first.take()
        second = Worker(bus, "w2")
        await second.beat()
        await first.report(grant, Fact.FAILED, Reason.AGENT_ERROR)
        await until(bus, job, in_state(State.QUEUED))
        answer = await first.claim(job, "again")
        assert answer.grant is None
        assert answer.back
        assert (await second.claim(job, "c2")).grant


async def test_a_worker_that_fails_job_after_job_is_set_aside_and_says_why(bus: Bus) -> None:
    async with scheduler(bus):
        worker = Worker(bus, "w1")
        await worker.beat()
        for number in range(3):
            job = await submit(bus, retries=0)
            grant = await worker.take(f"c{number}")
            await worker.report(grant, Fact.FAILED, Reason.AGENT_ERROR)
            await until(bus, job, in_state(State.FAILED))
        assert "3 failures in a row" in (await worker.beat()).aside
    async with scheduler(bus):
        async with asyncio.timeout(10):  # also after a restart
            while "3 failures in a row" not in (await worker.beat()).aside:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_a_job_that_nobody_took_in_time_ends_with_its_own_reason(bus: Bus) -> None:
    async with scheduler(bus):
        job = await submit(bus, queue_timeout=0.5)
        over = await until(bus, job, in_state(State.FAILED))
        assert (over.reason, over.attempts) == (Reason.QUEUE_TIMEOUT, ())


def beat(name: str, leaving: bool = False) -> Beat:
    room = Capacity(cpus=1.0, memory=1 << 30, slots=1)
    return Beat(
        worker=name, session="s", sent_at=0.0, capacity=room, free=room, leaving=leaving
    )  # fmt: skip


def roster(bus: Bus) -> Roster:
    config = SchedulerConfig(lost_after=10.0)
    return Roster(bus, config, ServerClock(bus), lambda worker, now: "")


@asynccontextmanager
async def who_heard(bus: Bus, said: Beat) -> AsyncIterator[Roster]:
    """A roster that follows the bucket, and that heard ``said`` long ago."""
    here = roster(bus)
    listening = asyncio.create_task(here.listen(asyncio.Event()))
    try:
        await here.hear(said)
        await sooner_or_later(lambda: here._followed > 0)
        here._known[said.worker].heard -= 1000.0
        yield here
    finally:
        listening.cancel()


async def test_after_an_outage_everybody_has_time_to_come_back(bus: Bus) -> None:
    async with who_heard(bus, beat("w1")) as here:
        assert await here.grow_silent(9.0, ["w1"]) == []
        put = here._canary.put

        async def refuse(key: str, value: bytes) -> int:
            raise StoreFull("away")

        here._canary.put = refuse  # type: ignore[method-assign]
        assert await here.grow_silent(100.0, ["w1"]) == []
        here._canary.put = put  # type: ignore[method-assign]
        assert await here.grow_silent(9.0, ["w1"]) == []
        assert await here.grow_silent(9.0, ["w1"]) == []
        assert await here.grow_silent(9.0, ["w1"]) == [("w1", 10.0)]


async def test_a_scheduler_that_starts_after_a_long_outage_judges_nobody_at_once(bus: Bus) -> None:
    old = WorkerRecord(beat=beat("w1"), heard_at=1.0)
    await Bucket(bus, "workers").put("w1", encode(old)[0])
    here, changed = roster(bus), asyncio.Event()
    listening = asyncio.create_task(here.listen(changed))
    try:
        await sooner_or_later(changed.is_set)
        assert here.online() == {}
        assert await here.grow_silent(1.0, ["w1"]) == []
    finally:
        listening.cancel()


async def test_an_announced_restart_has_a_grace_of_its_own(bus: Bus) -> None:
    async with who_heard(bus, beat("w1", leaving=True)) as here:
        assert await here.grow_silent(299.0, ["w1"]) == []
        assert await here.grow_silent(2.0, ["w1"]) == [("w1", 300.0)]


async def test_silence_counts_for_a_loss_from_when_the_worker_was_given_something(bus: Bus) -> None:
    """An outage in which nobody held anything was not noticed; it claimed before it beat again."""
    async with who_heard(bus, beat("w1")) as here:
        assert await here.grow_silent(99.0, []) == []
        assert here.online() == {}
        assert await here.grow_silent(9.0, ["w1"]) == []
        assert await here.grow_silent(2.0, ["w1"]) == [("w1", 10.0)]


async def test_nobody_is_lost_while_news_of_other_replicas_are_late(bus: Bus) -> None:
    """Another replica hears the worker; what it writes has not come here yet."""
    here, other = roster(bus), roster(bus)
    await here.hear(beat("w1"))
    here._known["w1"].heard -= 1000.0
    assert await here.grow_silent(9.0, ["w1"]) == []
    await other.hear(beat("w1"))
    assert await here.grow_silent(0.5, ["w1"]) == []
    assert await here.grow_silent(900.0, ["w1"]) == []


async def test_silence_counts_from_the_last_sign_on(bus: Bus) -> None:
    here = roster(bus)
    await here.hear(beat("w1"))
    assert await here.grow_silent(1000.0, []) == []
    assert here._known["w1"].silence < 5.0
