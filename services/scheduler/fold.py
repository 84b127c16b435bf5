"""What does this replica know of the live jobs? A fold of ``JOBS`` in memory, indexed."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from bus.records import Stored
from schemas.job import Fact, Record, State
from schemas.worker import AttemptKey, Requirement
from services.scheduler.policy import order, requirement

Place = tuple[tuple[int, str], str]
"""Order and id of a waiting job."""


@dataclass
class PoolJobs:
    """The live jobs of one pool, by what the policy asks of them."""

    waiting: list[Place] = field(default_factory=list)
    """In the order in which they go."""
    delayed: dict[str, float] = field(default_factory=dict)
    """Waiting job to the time before which it does not go."""
    queued: dict[str, Requirement] = field(default_factory=dict)
    held: dict[str, tuple[str, Requirement]] = field(default_factory=dict)
    """Job to worker and requirement."""


class Fold:
    """Live jobs, newest record each. A fact older than what is known changes nothing."""

    def __init__(self) -> None:
        self._jobs: dict[str, Stored] = {}
        self.pools: defaultdict[str, PoolJobs] = defaultdict(PoolJobs)
        self._workers: defaultdict[str, set[str]] = defaultdict(set)

    def get(self, job: str) -> Stored | None:
        return self._jobs.get(job)

    def apply(self, record: Record, sequence: int, fact: Fact) -> bool:
        """Whether it was news."""
        known = self._jobs.get(record.id)
        if known is not None:
            if known.sequence >= sequence:
                return False
            self._drop(known.record)
        if record.state.ended:
            self._jobs.pop(record.id, None)
            return True
        self._jobs[record.id] = Stored(record, sequence, fact)
        self._add(record)
        return True

    def waiting(self, pool: str) -> Iterator[Record]:
        """In the order in which they go."""
        for _, job in list(self.pools[pool].waiting):
            stored = self._jobs.get(job)
            if stored is not None:
                yield stored.record

    def ahead(self, record: Record) -> int:
        jobs = self.pools[record.spec.pool]
        if record.state is State.WAITING:
            return len(jobs.queued) + bisect.bisect_left(jobs.waiting, (order(record), record.id))
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
        pool = self.pools[record.spec.pool]
        current = record.current
        if record.state is State.WAITING:
            bisect.insort(pool.waiting, (order(record), record.id))
            if record.not_before is not None:
                pool.delayed[record.id] = record.not_before
        elif record.state is State.QUEUED:
            pool.queued[record.id] = requirement(record)
        elif current is not None:
            pool.held[record.id] = (current.worker, requirement(record))
            self._workers[current.worker].add(record.id)

    def _drop(self, record: Record) -> None:
        pool = self.pools[record.spec.pool]
        current = record.current
        if record.state is State.WAITING:
            place = (order(record), record.id)
            at = bisect.bisect_left(pool.waiting, place)
            if at < len(pool.waiting) and pool.waiting[at] == place:
                del pool.waiting[at]
        pool.delayed.pop(record.id, None)
        pool.queued.pop(record.id, None)
        pool.held.pop(record.id, None)
        if current is not None:
            self._workers[current.worker].discard(record.id)
