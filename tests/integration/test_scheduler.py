"""The scheduler over a real bus: a small worker made of requests asks, claims and reports."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from bus import subjects
from bus.codec import decode
from bus.connection import Bus
from bus.errors import Refused, StoreFull
from bus.pull import Pull, PulledTicket
from bus.records import Records
from bus.tickets import withdraw_ticket
from schemas.ids import job_id
from schemas.job import AttemptEnd, Entry, Fact, Reason, Record, State
from schemas.message import Empty
from schemas.requests import Cancel, CancelAnswer, Drain, Explain, Explanation
from schemas.spec import JobSpec
from schemas.worker import (
    AttemptKey,
    Beat,
    BeatAnswer,
    Capacity,
    Claim,
    ClaimAnswer,
    Command,
    Grant,
    Held,
    Report,
    ReportAnswer,
)
from services.scheduler.config import SchedulerConfig
from services.scheduler.service import run

CLASS = "c1-m2048-g0"
NUMBERS = iter(range(1, 1 << 20))


class Worker:
    """Speaks for one machine, one request at a time."""

    def __init__(self, bus: Bus, name: str, slots: int = 4) -> None:
        self.bus = bus
        self.name = name
        self.capacity = Capacity(cpus=float(slots), memory=64 << 30, slots=slots)

    async def beat(self, *held: AttemptKey) -> BeatAnswer:
        beat = Beat(
            worker=self.name, session="s", sent_at=time.monotonic(), runtime="dummy",
            capacity=self.capacity, free=self.capacity,
            held=tuple(Held(job=key.job, attempt=key.attempt) for key in held),
        )  # fmt: skip
        return await self.bus.request(subjects.beat(self.name, "default"), beat, BeatAnswer)

    async def ticket(self) -> PulledTicket:
        pull = Pull(self.bus, "default", CLASS)
        pull.want(1)
        async with asyncio.timeout(20), contextlib.aclosing(pull.tickets()) as tickets:
            async for ticket in tickets:
                return ticket
        raise AssertionError("no ticket came")

    async def claim(self, job: str, claim_id: str = "c1") -> ClaimAnswer:
        asked = Claim(id=claim_id, worker=self.name, job=job, runtime="dummy")
        return await self.bus.request(subjects.claim(self.name, "default"), asked, ClaimAnswer)

    async def take(self, claim_id: str = "c1") -> Grant:
        ticket = await self.ticket()
        answer = await self.claim(ticket.job, claim_id)
        assert answer.grant is not None, answer.refusal
        await ticket.ack()
        return answer.grant

    async def report(self, grant: Grant, fact: Fact, reason: Reason = Reason.EXIT) -> ReportAnswer:
        end = AttemptEnd(reason=reason, exit_code=0, log_ends={0: 0}) if fact.value in (
            "succeeded", "failed", "cancelled",
        ) else None  # fmt: skip
        told = Report(
            worker=self.name, job=grant.job, attempt=grant.attempt, nonce=grant.nonce, fact=fact,
            at=time.time(), end=end,
        )  # fmt: skip
        return await self.bus.request(
            subjects.request("scheduler", "report", self.name), told, ReportAnswer
        )


async def submit(bus: Bus, **spec: Any) -> str:
    job = job_id(1.8e9 + next(NUMBERS), 0)
    record = Record(
        id=job, owner="me", spec=JobSpec(**spec), bundle="b", state=State.WAITING,
        submitted_at=time.time(), changed_at=time.time(),
        timeline=(Entry(fact=Fact.SUBMITTED, at=time.time()),),
    )  # fmt: skip
    await Records(bus).write(record, Fact.SUBMITTED, 0)
    return job


async def until(bus: Bus, job: str, wanted: Callable[[Record], bool]) -> Record:
    async with asyncio.timeout(20):
        while True:
            record = (await Records(bus).get(job)).record
            if wanted(record):
                return record
            await asyncio.sleep(0.02)


def in_state(state: State) -> Callable[[Record], bool]:
    return lambda record: record.state is state


async def cancel(bus: Bus, job: str) -> Record:
    asked = Cancel(job=job, by="ada")
    subject = subjects.request("scheduler", "cancel")
    return (await bus.request(subject, asked, CancelAnswer)).record


async def explain(bus: Bus, job: str) -> str:
    subject = subjects.request("scheduler", "explain")
    return (await bus.request(subject, Explain(job=job), Explanation)).text


@contextlib.asynccontextmanager
async def scheduler(bus: Bus, **config: Any) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(run(bus, SchedulerConfig(**{"sweep_every": 0.5, **config})))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_job_waits_with_its_reason_until_a_worker_is_there(bus: Bus) -> None:
    async with scheduler(bus):
        job = await submit(bus)
        async with asyncio.timeout(10):
            while "no worker of pool default" not in await explain(bus, job):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        worker = Worker(bus, "w1")
        await worker.beat()
        await until(bus, job, in_state(State.QUEUED))
        assert [record.name for record in (await worker.beat()).classes] == [CLASS]
        grant = await worker.take()
        assert (grant.job, grant.attempt) == (job, 1)
        assert (await worker.report(grant, Fact.RUNNING)).accepted
        assert (await worker.report(grant, Fact.SUCCEEDED)).accepted
        done = await until(bus, job, in_state(State.SUCCEEDED))
        facts = [entry.fact.value for entry in done.timeline]
        assert facts == ["submitted", "queued", "starting", "running", "succeeded"]


async def test_a_repeated_claim_gets_the_same_grant_and_a_stale_one_none(bus: Bus) -> None:
    async with scheduler(bus):
        worker = Worker(bus, "w1")
        await worker.beat()
        await submit(bus)
        grant = await worker.take("mine")
        assert (await worker.claim(grant.job, "mine")).grant == grant
        assert (await Worker(bus, "w2").claim(grant.job, "other")).grant is None


@pytest.mark.parametrize("queued", [False, True])
async def test_a_job_that_nobody_holds_is_cancelled_at_once(bus: Bus, queued: bool) -> None:
    async with scheduler(bus):
        worker = Worker(bus, "w1")
        if queued:
            await worker.beat()
        job = await submit(bus)
        if queued:
            await until(bus, job, in_state(State.QUEUED))
        assert (await cancel(bus, job)).state is State.CANCELLED
        assert (await cancel(bus, job)).state is State.CANCELLED
        assert (await worker.claim(job)).grant is None
        if queued:
            state = (await bus.api("STREAM.INFO.WORK_default"))["state"]
            assert state["messages"] == 0


async def test_a_held_job_is_told_to_stop_until_it_has(bus: Bus) -> None:
    commands: asyncio.Queue[Command] = asyncio.Queue()

    async def on_command(message: Any) -> None:
        commands.put_nowait(decode(Command, message.data, message.headers))

    async with scheduler(bus), bus.subscribe(subjects.command("w1"), on_command):
        worker = Worker(bus, "w1")
        await worker.beat()
        job = await submit(bus)
        grant = await worker.take()
        key = AttemptKey(job=job, attempt=1)
        assert (await cancel(bus, job)).state is State.CANCELLING
        async with asyncio.timeout(5):
            while not (command := await commands.get()).stop:
                pass
        assert (command.stop[0].job, command.stop[0].attempt) == (job, 1)
        for _ in range(2):
            assert [stop.job for stop in (await worker.beat(key)).stop] == [job]
        assert (await worker.report(grant, Fact.FAILED)).accepted
        over = await until(bus, job, in_state(State.CANCELLED))
        assert over.cancelled_by == "ada"
        assert (await worker.beat()).stop == ()


async def test_a_silent_workers_job_goes_to_another_and_its_late_words_are_refused(
    bus: Bus,
) -> None:
    async with scheduler(bus, lost_after=1.0):
        first, second = Worker(bus, "w1"), Worker(bus, "w2")
        await first.beat()
        job = await submit(bus)
        old = await first.take()
        await until(bus, job, lambda record: record.attempt == 1 and not record.state.held)
        await second.beat()
        await until(bus, job, in_state(State.QUEUED))
        new = await second.take("c2")
        assert (new.job, new.attempt) == (job, 2)
        await second.report(new, Fact.RUNNING)
        late = await first.report(old, Fact.SUCCEEDED)
        assert (late.accepted, late.stop) == (False, True)
        stop = (await first.beat(AttemptKey(job=job, attempt=1))).stop
        assert [(s.job, s.attempt, s.reason) for s in stop] == [(job, 1, "superseded")]
        assert (await second.report(new, Fact.SUCCEEDED)).accepted
        over = await until(bus, job, in_state(State.SUCCEEDED))
        assert [a.end.reason for a in over.attempts if a.end] == [Reason.WORKER_LOST, Reason.EXIT]
        said = [entry.text for entry in over.timeline if entry.fact is Fact.REFUSED]
        assert said == ["w1 said succeeded of attempt 1 when it was superseded"]


async def test_what_a_worker_does_not_know_of_any_more_is_lost(bus: Bus) -> None:
    async with scheduler(bus, unknown_after=0.3):
        worker = Worker(bus, "w1")
        await worker.beat()
        job = await submit(bus)
        await worker.take()
        async with asyncio.timeout(10):
            while (await Records(bus).get(job)).record.attempts[0].end is None:
                await worker.beat()
                await asyncio.sleep(0.1)
        record = (await Records(bus).get(job)).record
        assert "does not know of it" in record.attempts[0].end.detail  # type: ignore[union-attr]


async def test_a_ticket_that_went_missing_is_published_again(bus: Bus) -> None:
    async with scheduler(bus):
        worker = Worker(bus, "w1")
        await worker.beat()
        job = await submit(bus)
        await until(bus, job, in_state(State.QUEUED))
        await withdraw_ticket(bus, "default", job)
        assert (await worker.ticket()).job == job


async def test_a_drain_outlives_the_scheduler(bus: Bus) -> None:
    worker = Worker(bus, "w1")
    subject = subjects.request("scheduler", "drain")
    async with scheduler(bus):
        await worker.beat()
        await bus.request(subject, Drain(worker="w1", drain=True), Empty)
        assert (await worker.beat()).drain
    async with scheduler(bus):
        assert (await worker.beat()).drain
        job = await submit(bus)
        async with asyncio.timeout(10):
            while "are draining" not in await explain(bus, job):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await bus.request(subject, Drain(worker="w1", drain=False), Empty)
        await until(bus, job, in_state(State.QUEUED))
    with pytest.raises(Refused):
        async with scheduler(bus):
            await bus.request(subject, Drain(worker="never-seen", drain=True), Empty)


async def work(worker: Worker, jobs: set[str]) -> None:
    """Takes and ends whatever comes, for as long as it is let."""
    pull = Pull(worker.bus, "default", CLASS)
    pull.want(4)
    async with contextlib.aclosing(pull.tickets()) as tickets:
        async for ticket in tickets:
            answer = await worker.claim(ticket.job, f"{worker.name}-{ticket.job}")
            await ticket.ack()
            if answer.grant is not None:
                await worker.report(answer.grant, Fact.SUCCEEDED)
                jobs.discard(ticket.job)
            pull.want(4)


async def beats(worker: Worker) -> None:
    while True:
        with contextlib.suppress(Exception):
            await worker.beat()
        await asyncio.sleep(0.2)


async def test_two_replicas_and_a_restart_lose_no_job_and_start_none_twice(bus: Bus) -> None:
    workers = [Worker(bus, "w1"), Worker(bus, "w2")]
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(scheduler(bus))
        doomed = asyncio.create_task(run(bus, SchedulerConfig(sweep_every=0.5)))
        async with asyncio.timeout(20):
            await workers[0].beat()
        jobs = {await submit(bus) for _ in range(120)}
        everything, left = set(jobs), jobs
        tasks = [asyncio.create_task(beats(w)) for w in workers]
        tasks += [asyncio.create_task(work(w, left)) for w in workers]
        async with asyncio.timeout(60):
            while len(left) > 60:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            doomed.cancel()
            await asyncio.gather(doomed, return_exceptions=True)
            await stack.enter_async_context(scheduler(bus))
            for job in everything:
                over = await until(bus, job, in_state(State.SUCCEEDED))
                assert over.attempt == 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_full_store_refuses_and_takes_again_when_there_is_room(bus: Bus) -> None:
    config = (await bus.api("STREAM.INFO.JOBS"))["config"]
    await bus.api("STREAM.UPDATE.JOBS", {**config, "max_bytes": 2048})
    with pytest.raises(StoreFull):
        await asyncio.gather(*(submit(bus) for _ in range(20)))
    await bus.api("STREAM.UPDATE.JOBS", config)
    assert (await Records(bus).get(await submit(bus))).record.state is State.WAITING
