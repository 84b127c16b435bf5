"""Whose is a job? It never changes, so that one look is enough."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from bus.errors import BusError
from bus.records import Records

MOST_KEPT = 50_000
AT_ONCE = 16
"""Records that are read at one time."""


class Owners:
    """Job to owner, least lately used first."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def of(self, jobs: Iterable[str]) -> dict[str, str]:
        """Of those that are there, and can be read now."""
        wanted = list(dict.fromkeys(jobs))
        owners = await asyncio.gather(*(self._one(job) for job in wanted))
        return {job: owner for job, owner in zip(wanted, owners, strict=True) if owner is not None}

    async def _one(self, job: str) -> str | None:
        if job not in self._kept:
            async with self._slots:
                try:
                    self._kept[job] = (await self._records.get(job)).record.owner
                except BusError:
                    return None
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(job)
        return self._kept[job]
