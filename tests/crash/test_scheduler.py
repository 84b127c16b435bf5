"""A scheduler that dies anywhere loses no job, grants none twice and forgets no answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.config import AgentConfig
from agent.main import run_agent
from bus import subjects
from bus.errors import Refused
from bus.link import BusConfig
from bus.records import Records
from schemas.job import ENDS, Fact, Reason, Record, State
from schemas.message import Empty
from schemas.requests import Cancel, CancelAnswer, Drain
from schemas.worker import AttemptKey, BeatAnswer, Capacity
from services.archive.config import ArchiveConfig
from services.archive.service import run as run_archive
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from tests.crash.child import Program
from tests.crash.harness import Play, Scenario, cases, crash_everywhere
from tests.crash.worlds import Server, World
from tests.integration.house import House, dummy
from tests.integration.test_scheduler import Worker, in_state, submit, until

SOON = {"services.scheduler.steps:QUIET": 0.05}
"""Seconds until ended jobs are tidied."""


class Patient:
    """The bus for a worker whose scheduler may die with its request in hand."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.request = world.ask

    def __getattr__(self, name: str) -> object:
        return getattr(self._world.bus, name)


def worker(world: World, name: str = "w1", slots: int = 4) -> Worker:
    return Worker(Patient(world), name, slots)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def beating(one: Worker, *held: AttemptKey) -> AsyncIterator[None]:
    """A worker that is there all the time; a new scheduler has to hear of it."""

    async def beat() -> None:
        while True:
            await one.beat(*held)
            await asyncio.sleep(0.1)

    task = asyncio.create_task(beat())
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def cancel(world: World, job: str) -> Record:
    asked = Cancel(job=job, by="ada")
    return (await world.ask(subjects.request("scheduler", "cancel"), asked, CancelAnswer)).record


async def over(world: World, job: str, state: State, attempts: int) -> None:
    """It ended so, after exactly so many grants, and nothing of it is left to be done."""
    record = await until(world.bus, job, in_state(state))
    facts = [entry.fact for entry in record.timeline]
    assert facts.count(Fact.SUBMITTED) == 1, facts
    assert facts.count(Fact.STARTING) == attempts, facts
    assert len(record.attempts) == attempts
    assert [fact for fact in facts if fact.value in ENDS] == [state.value], facts
    assert sum(bool(one.end and one.end.succeeded) for one in record.attempts) <= 1
    await world.until_messages("WORK_default", 0)
    await world.until_messages("JOBS", 1)
    assert (await Records(world.bus).get(job)).record == record


async def a_retry(world: World) -> None:
    one = worker(world)
    async with beating(one):
        job = await submit(world.bus)
        first = await one.take("c1")
        assert (await one.report(first, Fact.RUNNING)).accepted
        assert (await one.report(first, Fact.FAILED, Reason.AGENT_ERROR)).accepted
        second = await one.take("c2")
        assert (first.attempt, second.attempt) == (1, 2)
        assert not (await one.report(first, Fact.SUCCEEDED)).accepted
        assert (await one.report(second, Fact.RUNNING)).accepted
        assert (await one.report(second, Fact.SUCCEEDED)).accepted
        await over(world, job, State.SUCCEEDED, attempts=2)


async def a_cancel_of_a_waiting_and_of_a_queued_job(world: World) -> None:
    job = await submit(world.bus)
    assert (await cancel(world, job)).state is State.CANCELLED
    await over(world, job, State.CANCELLED, attempts=0)
    one = worker(world)
    async with beating(one):
        queued = await submit(world.bus)
        await until(world.bus, queued, in_state(State.QUEUED))
        assert (await cancel(world, queued)).state is State.CANCELLED
        assert (await one.claim(queued)).grant is None
        await world.until_messages("WORK_default", 0)
        await world.until_messages("JOBS", 2)


async def a_cancel_of_a_running_job(world: World) -> None:
    one = worker(world)
    await one.beat()
    job = await submit(world.bus)
    async with beating(one):
        grant = await one.take()
    await one.report(grant, Fact.RUNNING)
    asked = asyncio.create_task(cancel(world, job))
    key = AttemptKey(job=job, attempt=1)
    await told_to_stop(one, key)
    assert (await asked).state is State.CANCELLING
    assert (await one.report(grant, Fact.FAILED, Reason.CANCELLED)).accepted
    await over(world, job, State.CANCELLED, attempts=1)


async def told_to_stop(one: Worker, key: AttemptKey) -> BeatAnswer:
    while True:
        answer = await one.beat(key)
        if key.job in [stop.job for stop in answer.stop]:
            return answer
        await asyncio.sleep(0.02)


async def a_lost_worker(world: World) -> None:
    lost, other = worker(world, "w1"), worker(world, "w2")
    await lost.beat()
    job = await submit(world.bus)
    async with beating(lost):
        first = await lost.take("c1")
    await lost.report(first, Fact.RUNNING)
    async with beating(other):
        second = await other.take("c2")
        assert second.attempt == 2
        await other.report(second, Fact.RUNNING)
        await told_to_stop(lost, AttemptKey(job=job, attempt=1))
        assert not (await lost.report(first, Fact.SUCCEEDED)).accepted
        assert (await other.report(second, Fact.SUCCEEDED)).accepted
        await over(world, job, State.SUCCEEDED, attempts=2)


async def a_drain(world: World) -> None:
    one, other = worker(world, "w1"), worker(world, "w2")
    async with beating(one):
        await until_online(world, "w1")
        assert (await one.beat()).drain
        job = await submit(world.bus)
        async with beating(other):
            grant = await other.take()
            await other.report(grant, Fact.SUCCEEDED)
            await over(world, job, State.SUCCEEDED, attempts=1)
            assert (await one.beat()).drain


async def until_online(world: World, name: str) -> None:
    """Drains it as soon as the scheduler knows it."""
    while True:
        with contextlib.suppress(Refused):
            asked = Drain(worker=name, drain=True)
            await world.ask(subjects.request("scheduler", "drain"), asked, Empty)
            return
        await asyncio.sleep(0.02)


async def an_agent_that_runs_a_job(world: World) -> None:
    """The real agent, with a runtime that only pretends; upload and archive stay alive."""
    async with house(world) as built:
        async with asyncio.timeout(20):
            job = await built.submit(environment=dummy(LINES=20, SLEEP=0.3))
            record = await built.ended(job)
            assert (record.state, record.attempt) == (State.SUCCEEDED, 1)
            lines = (await built.log(record)).splitlines()
            assert [line.split(b".")[0] for line in lines] == [b"line %d " % n for n in range(20)]
        await over(world, job, State.SUCCEEDED, attempts=1)


@contextlib.asynccontextmanager
async def house(world: World) -> AsyncIterator[House]:
    async with asyncio.TaskGroup() as tasks:
        parts = [
            tasks.create_task(run_upload(world.bus, UploadConfig())),
            tasks.create_task(run_archive(world.bus, ArchiveConfig())),
            tasks.create_task(run_agent(world.config, agent_config(world.config, world.folder))),
        ]
        yield House(world.bus, world.config, world.folder, tasks)
        for part in parts:
            part.cancel()


def agent_config(bus: BusConfig, folder: Path) -> AgentConfig:
    room = Capacity(cpus=4, memory=1 << 40, slots=4)
    return AgentConfig(name="w1", work=folder / "w1", runtime="dummy", capacity=room)


PLAYS = [
    a_retry,
    a_cancel_of_a_waiting_and_of_a_queued_job,
    a_cancel_of_a_running_job,
    a_lost_worker,
    a_drain,
    an_agent_that_runs_a_job,
]


def program(play: Play) -> Program:
    lost_after = 1.0 if play is a_lost_worker else 30.0
    return Program("scheduler", {"sweep_every": 0.3, "lost_after": lost_after}, SOON)


@pytest.mark.parametrize(("play", "replicas"), cases(PLAYS, [a_retry, a_lost_worker]))
async def test_jobs_survive_a_crash_anywhere(
    worlds: Server, tmp_path: Path, play: Play, replicas: int
) -> None:
    outcome = await crash_everywhere(worlds, Scenario(program(play), play, replicas), tmp_path)
    outcome.check(at_least=8)
