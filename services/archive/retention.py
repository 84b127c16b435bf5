"""Which sealed logs are too old, or too many, and how do they go?

A deleted log leaves its index behind, without blocks, and with the reason: readers say it instead
of showing an empty log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from bus.clock import ServerClock
from bus.connection import Bus
from bus.errors import BusError, Conflict, NotFound
from bus.objects import Objects
from bus.records import Records
from bus.sealed import LogArchive
from services.archive.config import ArchiveConfig, Keep

log = logging.getLogger(__name__)

DAY = 86_400.0
MOST_KNOWN = 200_000
"""Jobs whose pool is remembered between two sweeps."""


@dataclass(frozen=True, slots=True)
class KeptLog:
    """One sealed log of an ended job."""

    job: str
    attempt: int
    rank: int
    pool: str
    size: int
    """Bytes as stored."""
    ended_at: float
    """Unix seconds at which its job ended."""


def to_delete(logs: Iterable[KeptLog], keep: Keep, now: float) -> list[tuple[KeptLog, str]]:
    """Of one pool, the oldest first, each with the reason."""
    going, left = [], 0
    by_age = sorted(logs, key=lambda one: (one.ended_at, one.job, one.attempt, one.rank))
    young = []
    for one in by_age:
        if keep.age is not None and now - one.ended_at > keep.age:
            going.append((one, f"it was older than {keep.age / DAY:g} days"))
        else:
            young.append(one)
            left += one.size
    for one in young:
        if keep.size is None or left <= keep.size:
            break
        going.append((one, f"the logs of pool {one.pool} were more than {keep.size} bytes"))
        left -= one.size
    return going


class Retention:
    """Any number of replicas: whoever replaces an index first deletes its blocks."""

    def __init__(self, bus: Bus, config: ArchiveConfig, clock: ServerClock) -> None:
        self._config = config
        self._clock = clock
        self._objects = Objects(bus)
        self._archive = LogArchive(bus)
        self._records = Records(bus)
        self._ended: dict[str, tuple[str, float]] = {}
        """Job to its pool and its end."""

    async def run(self) -> None:
        """For ever; at once where no pool has a limit there is nothing to do."""
        while self._config.limited:
            try:
                deleted = await self.sweep()
                if deleted:
                    log.info("deleted %d logs that are not to be kept", deleted)
            except BusError as error:
                log.warning("old logs stay for now: %s", error)
            except Exception:
                log.exception("deleting old logs failed")
            await asyncio.sleep(self._config.retention_every)

    async def sweep(self) -> int:
        """How many logs were deleted."""
        pools: dict[str, list[KeptLog]] = {}
        for (job, attempt, rank), size in (await self._sizes()).items():
            known = await self._end_of(job)
            if known is not None:
                kept = KeptLog(job, attempt, rank, known[0], size, known[1])
                pools.setdefault(kept.pool, []).append(kept)
        now = self._clock.now()
        deleted = 0
        for pool, logs in pools.items():
            for one, why in to_delete(logs, self._config.keep_of(pool), now):
                deleted += await self._delete(one, why, now)
        return deleted

    async def _sizes(self) -> dict[tuple[str, int, int], int]:
        """Of every log that has blocks of its own or in its index."""
        sizes: dict[tuple[str, int, int], int] = {}
        async for info in self._objects.list("logs"):
            job, attempt, rank, *_ = info.name.split(".")
            key = (job, int(attempt), int(rank))
            sizes[key] = sizes.get(key, 0) + info.size
        return sizes

    async def _end_of(self, job: str) -> tuple[str, float] | None:
        if job not in self._ended:
            try:
                record = (await self._records.get(job)).record
            except NotFound:
                return None
            if not record.state.ended:
                return None
            if len(self._ended) >= MOST_KNOWN:
                self._ended.clear()
            self._ended[job] = record.spec.pool, record.changed_at
        return self._ended[job]

    async def _delete(self, one: KeptLog, why: str, now: float) -> bool:
        at = datetime.fromtimestamp(now, UTC)
        try:
            return await self._archive.forget(
                one.job, one.attempt, one.rank, f"deleted on {at:%Y-%m-%d}: {why}"
            )
        except Conflict:
            return False  # another replica does it
