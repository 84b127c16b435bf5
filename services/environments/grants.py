"""May this worker ask in the name of this attempt? Asked of the record, but not each time."""

from __future__ import annotations

import time
from collections import OrderedDict

from bus.errors import NotFound, Refused
from bus.records import Records
from schemas.environments import Ask, GetChunk, Used
from schemas.job import Record
from schemas.problem import Problem

HOLDS = 2.0
"""Seconds for which a check is believed."""
REMEMBERED = 4096


class Grants:
    """Of one replica."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._known: OrderedDict[tuple[str, int, str, str], tuple[float, str]] = OrderedDict()

    async def pool(self, asked: Ask | GetChunk | Used, worker: str) -> str:
        """In which the attempt runs; raises ``Refused``."""
        key = (asked.job, asked.attempt, asked.nonce, worker)
        until, pool = self._known.get(key, (0.0, ""))
        if time.monotonic() < until:
            return pool
        record = await self._record(asked.job)
        if record is None or not granted(record, asked, worker):
            self._known.pop(key, None)
            detail = f"attempt {asked.attempt} of {asked.job} is superseded"
            raise refused("not_granted", detail, 403)
        self._known[key] = (time.monotonic() + HOLDS, record.spec.pool)
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return record.spec.pool

    async def _record(self, job: str) -> Record | None:
        try:
            return (await self._records.get(job)).record
        except NotFound:
            return None


def granted(record: Record, asked: Ask | GetChunk | Used, worker: str) -> bool:
    current = record.current
    return (
        current is not None
        and record.state.held
        and (current.number, current.nonce, current.worker) == (asked.attempt, asked.nonce, worker)
    )


def refused(code: str, detail: str, status: int = 422) -> Refused:
    return Refused(
        Problem(code=code, title="Not with this environment", status=status, detail=detail)
    )


def worker_of(subject: str) -> str:
    """An agent's request ends in its own name: that is what its rights are tied to."""
    return subject.rsplit(".", 1)[1]
