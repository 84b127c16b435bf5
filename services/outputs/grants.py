"""May this worker write for this attempt? Asked of the record, not more often than needed."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from bus.clock import ServerClock
from bus.errors import NotFound, Refused
from bus.records import Records
from schemas.job import Record
from schemas.outputs import OutputsKey
from services.outputs.rules import not_granted, refusal, too_large

HOLDS = 2.0
"""Seconds for which a check is believed."""
REMEMBERED = 4096


@dataclass
class Granted:
    """An attempt that was checked."""

    until: float
    """By the monotonic clock."""
    put: int = 0
    """Bytes that came since its last manifest."""
    resumes: str = ""
    """The job that its job begins from."""


class Grants:
    """Of one replica."""

    def __init__(self, records: Records, clock: ServerClock, late: float, most: int) -> None:
        self._records = records
        self._clock = clock
        self._late = late
        self._most = most
        self._known: OrderedDict[tuple[str, int, str, str], Granted] = OrderedDict()

    async def check(self, asked: OutputsKey, worker: str, *, fresh: bool = False) -> Granted:
        """Raises ``Refused``. ``fresh`` asks the record in any case."""
        key = (asked.job, asked.attempt, asked.nonce, worker)
        known = self._known.get(key)
        if known is not None and not fresh and time.monotonic() < known.until:
            return known
        record = await self._record(asked.job)
        problem = refusal(record, asked, worker, self._clock.now(), self._late)
        if problem is not None or record is None:
            self._known.pop(key, None)
            raise Refused(problem or not_granted(f"there is no job {asked.job}"))
        known = known or Granted(0.0, resumes=record.spec.resume or "")
        known.until = time.monotonic() + HOLDS
        self._known[key] = known
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known

    def count(self, granted: Granted, size: int) -> None:
        """Between two manifests an attempt cannot need more than it may have in all."""
        granted.put += size
        if granted.put > self._most:
            raise Refused(too_large(f"more than {self._most} bytes came without a manifest"))

    async def _record(self, job: str) -> Record | None:
        try:
            return (await self._records.get(job)).record
        except NotFound:
            return None
