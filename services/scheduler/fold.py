"""What does this replica know of the live jobs? A fold of ``JOBS`` in memory, indexed."""

from __future__ import annotations

import asyncio
import bisect
import heapq
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from bus.records import Stored
from schemas.job import Fact, Record, State
from schemas.worker import AttemptKey, Requirement
from services.scheduler.health import Health
from services.scheduler.holders import Habits
from services.scheduler.policy import counts, keeps_place, order, requirement
from services.scheduler.retries import BACKOFF_MOST
from services.scheduler.transitions import waits_since

ENDED_ATTEMPTS = frozenset({Fact.RETRYING, Fact.SUCCEEDED, Fact.FAILED})

Place = tuple[tuple[int, str], str]
"""Order and id of a waiting job."""
Line = tuple[float, int, int, str, bool]
"""A requirement, as a key that is cheap to hash; the owner; whether they have their places
already, whatever their owner's limit is."""


@dataclass
class PoolJobs:
    """The live jobs of one pool, by what the policy asks of them."""

    lines: dict[Line, list[Place]] = field(default_factory=dict)
    """Waiting jobs whose time has come, each line in the order in which they go."""
    delayed: list[tuple[float, str]] = field(default_factory=list)
    """A heap of the other waiting jobs, with the time before which they do not go."""
    queued: dict[str, Requirement] = field(default_factory=dict)
    held: dict[str, tuple[str, Requirement]] = field(default_factory=dict)
    """Job to worker and requirement."""


class Fold:
    """Live jobs, newest record each. A fact older than what is known changes nothing."""

    def __init__(self) -> None:
        self._jobs: dict[str, Stored] = {}
        self.pools: defaultdict[str, PoolJobs] = defaultdict(PoolJobs)
        self.health = Health()
        self.habits = Habits()
        self._workers: defaultdict[str, set[str]] = defaultdict(set)
        self._places: dict[str, set[str]] = {}
        """Owner to their jobs that count as running."""
        self.freed = asyncio.Event()
        """Set when one of an owner's places is free again; whoever waits for that clears it."""
        self.holding = asyncio.Event()
        """Set when a worker is given something; whoever waits for that clears it."""
        self._deadlines: list[tuple[float, str]] = []
        """A heap of the times until which jobs may wait, and of such times gone by."""
        self.sooner = asyncio.Event()
        """Set when the first of them is a new one; whoever waits for that clears it."""

    def get(self, job: str) -> Stored | None:
        return self._jobs.get(job)

    def behind(self, job: str, sequence: int) -> bool:
        """Whether it holds an older record of the job than that."""
        known = self._jobs.get(job)
        return known is not None and known.sequence < sequence

    def apply(self, record: Record, sequence: int, fact: Fact) -> bool:
        """Whether it was news."""
        known = self._jobs.get(record.id)
        if known is not None:
            if known.sequence >= sequence:
                return False
            self._drop(known.record)
        if fact in ENDED_ATTEMPTS:
            self.health.note(record)
            self.habits.note(record)
        if record.state.ended:
            self._jobs.pop(record.id, None)
            return True
        self._jobs[record.id] = Stored(record, sequence, fact)
        self._add(record)
        return True

    def placed(self, owner: str) -> list[Record]:
        """The owner's jobs that count as running, in all pools."""
        return [self._jobs[job].record for job in self._places.get(owner, ())]

    def owners(self, pool: str) -> set[str]:
        """Those of whom a job waits there and may go."""
        return {line[3] for line in self.pools[pool].lines}

    def lines(self, pool: str) -> list[Iterator[Record]]:
        """Waiting jobs that may go, a line for each requirement and owner; for use before the next
        step."""
        return [
            (self._jobs[job].record for _, job in line) for line in self.pools[pool].lines.values()
        ]

    def come_due(self, pool: str, now: float) -> float | None:
        """Puts the retries whose time has come into their lines; when the next one's comes."""
        jobs = self.pools[pool]
        while jobs.delayed:
            at, job = jobs.delayed[0]
            stored = self._jobs.get(job)
            stands = stored is not None and delayed_until(stored.record) == at
            if stands and now < at <= now + BACKOFF_MOST:  # or the clock was set back meanwhile
                return at
            heapq.heappop(jobs.delayed)
            if stored is not None and stands:
                line_up(jobs, stored.record)
        return None

    def overdue(self, now: float) -> list[str]:
        """Jobs that may have waited for too long; each is named once."""
        due = []
        while self._deadlines and self._deadlines[0][0] <= now:
            _, job = heapq.heappop(self._deadlines)
            if job in self._jobs:
                due.append(job)
        return due

    def look_at_wait(self, job: str, at: float) -> None:
        """Names it among the ``overdue`` from that time on."""
        heapq.heappush(self._deadlines, (at, job))
        if self._deadlines[0] == (at, job):
            self.sooner.set()

    @property
    def next_overdue(self) -> float | None:
        """When the next one may be."""
        return self._deadlines[0][0] if self._deadlines else None

    def ahead(self, record: Record) -> int:
        jobs = self.pools[record.spec.pool]
        if record.state is State.WAITING:
            place = (order(record), record.id)
            before = sum(bisect.bisect_left(line, place) for line in jobs.lines.values())
            return len(jobs.queued) + before
        return sum(1 for job in jobs.queued if job < record.id)

    def held_by(self, worker: str) -> list[Record]:
        """Live jobs whose current attempt the record gives to ``worker``."""
        return [self._jobs[job].record for job in self._workers[worker] if job in self._jobs]

    def holders(self) -> list[str]:
        return [worker for worker, jobs in self._workers.items() if jobs]

    def queued(self) -> list[Record]:
        return [self._jobs[job].record for pool in self.pools.values() for job in list(pool.queued)]

    def grants(self, worker: str, key: AttemptKey) -> bool:
        stored = self._jobs.get(key.job)
        if stored is None or not stored.record.state.held:
            return False
        current = stored.record.current
        return current is not None and (current.number, current.worker) == (key.attempt, worker)

    def _add(self, record: Record) -> None:
        if counts(record):
            self._places.setdefault(record.owner, set()).add(record.id)
        pool = self.pools[record.spec.pool]
        current = record.current
        limit = record.spec.queue_timeout
        if limit is not None and not record.state.held:
            self.look_at_wait(record.id, waits_since(record) + limit)
        if record.state is State.WAITING:
            if record.not_before is None:
                line_up(pool, record)
            else:
                heapq.heappush(pool.delayed, (record.not_before, record.id))
        elif record.state is State.QUEUED:
            pool.queued[record.id] = requirement(record)
        elif current is not None:
            pool.held[record.id] = (current.worker, requirement(record))
            self._workers[current.worker].add(record.id)
            self.holding.set()

    def _drop(self, record: Record) -> None:
        if counts(record):
            self._leave(record)
        pool = self.pools[record.spec.pool]
        current = record.current
        if record.state is State.WAITING:
            step_out(pool, record)
        pool.queued.pop(record.id, None)
        pool.held.pop(record.id, None)
        if current is not None:
            self._workers[current.worker].discard(record.id)

    def _leave(self, record: Record) -> None:
        self._places[record.owner].discard(record.id)
        if not self._places[record.owner]:
            del self._places[record.owner]
        self.freed.set()


def delayed_until(record: Record) -> float | None:
    return record.not_before if record.state is State.WAITING else None


def line_of(record: Record) -> Line:
    resources = record.spec.resources
    kept = keeps_place(record)
    return resources.cpus, resources.memory, resources.gpus, record.owner, kept


def line_up(pool: PoolJobs, record: Record) -> None:
    """Into its line, once: a fact that leaves it waiting puts a second entry into ``delayed``."""
    line = pool.lines.setdefault(line_of(record), [])
    place = (order(record), record.id)
    at = bisect.bisect_left(line, place)
    if line[at : at + 1] != [place]:
        line.insert(at, place)


def step_out(pool: PoolJobs, record: Record) -> None:
    """Out of its line, if it stands in one: a retry may not have come due."""
    line = pool.lines.get(line_of(record), [])
    place = (order(record), record.id)
    at = bisect.bisect_left(line, place)
    if at < len(line) and line[at] == place:
        del line[at]
        if not line:
            del pool.lines[line_of(record)]
