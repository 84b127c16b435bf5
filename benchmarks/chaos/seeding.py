"""How does a store come to hold many jobs, quickly?"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from bus.connection import Bus
from bus.records import Records
from schemas.ids import TICK, job_id
from schemas.job import Attempt, AttemptEnd, Entry, Fact, Reason, Record, State
from schemas.spec import JobSpec

WRITERS = 128
BUNDLE = "0" * 64


Made = tuple[Record, Fact]


async def write_jobs(bus: Bus, count: int, make: Callable[[int, float], Made]) -> None:
    """One record each, straight to ``JOBS``; ``make`` gets a number and a time of its own."""
    records = Records(bus)
    left = iter(range(count))
    begun = time.time() - count * TICK

    async def write() -> None:
        for number in left:
            record, fact = make(number, begun + number * TICK)
            await records.write(record, fact, 0)

    async with asyncio.TaskGroup() as group:
        for _ in range(WRITERS):
            group.create_task(write())


def waiting(spec: JobSpec, now: float, bundle: str = BUNDLE) -> Made:
    record = Record(
        id=job_id(now, random.getrandbits(20)),
        owner="bench",
        spec=spec,
        bundle=bundle,
        state=State.WAITING,
        submitted_at=now,
        changed_at=now,
        timeline=(Entry(fact=Fact.SUBMITTED, at=now),),
    )
    return record, Fact.SUBMITTED


def running(spec: JobSpec, now: float, worker: str) -> Made:
    record, _ = waiting(spec, now)
    attempt = Attempt(
        number=1, worker=worker, runtime="dummy", claim=record.id, nonce=record.id,
        granted_at=now, started_at=now,
    )  # fmt: skip
    timeline = (*record.timeline, *steps(now, Fact.QUEUED, Fact.STARTING, Fact.RUNNING))
    update = {
        "state": State.RUNNING, "class_name": "seeded", "attempt": 1, "attempts": (attempt,),
        "timeline": timeline,
    }  # fmt: skip
    return record.model_copy(update=update), Fact.RUNNING


def ended(spec: JobSpec, now: float) -> Made:
    record, _ = running(spec, now, "seeded")
    end = AttemptEnd(reason=Reason.EXIT, exit_code=0, log_ends={0: 0})
    attempt = record.attempts[0].model_copy(update={"end": end, "ended_at": now})
    update = {
        "state": State.SUCCEEDED, "reason": Reason.EXIT, "exit_code": 0, "attempts": (attempt,),
        "timeline": (*record.timeline, *steps(now, Fact.SUCCEEDED)),
    }  # fmt: skip
    return record.model_copy(update=update), Fact.SUCCEEDED


def steps(at: float, *facts: Fact) -> tuple[Entry, ...]:
    return tuple(Entry(fact=fact, at=at, attempt=1) for fact in facts)
