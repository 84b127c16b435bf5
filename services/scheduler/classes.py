"""Which classes does a pool have, and how do its workers hear of a new one?"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping

from bus import subjects
from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import Corrupt
from bus.follow import follow
from bus.kv import Bucket
from bus.layout import declare_class, declare_pool
from schemas.worker import Capacity, ClassRecord, Command, Requirement, WorkerRecord
from services.scheduler.policy import CLASSES, class_name, widened

log = logging.getLogger(__name__)


class Classes:
    """The classes of every pool; each is one durable consumer of its work stream."""

    def __init__(self, bus: Bus, replicas: int) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, "classes")
        self._replicas = replicas
        self._pools: set[str] = set()
        self._known: dict[tuple[str, str], ClassRecord] = {}
        self._making = asyncio.Lock()
        """One at a time: many jobs that ask for the same new class at once make it once."""

    async def load(self) -> None:
        for key, entry in (await self._bucket.all()).items():
            self._take(key, entry.value)

    async def listen(self) -> None:
        """Takes in the classes that other replicas make: they may be gone when a worker asks."""
        async for delivery in follow(
            self._bus, "KV_classes", "$KV.classes.>", last_per_subject=True
        ):
            self._take(delivery.subject, delivery.data)

    def _take(self, where: str, data: bytes) -> None:
        try:
            record = decode(ClassRecord, data, None)
        except Corrupt as error:
            log.error("%s cannot be read: %s", where, error)
            return
        self._known.setdefault((record.pool, record.name), record)

    def of(self, pool: str) -> tuple[ClassRecord, ...]:
        return tuple(record for (owner, _), record in self._known.items() if owner == pool)

    async def pool(self, pool: str) -> None:
        """Makes the pool's work stream, once."""
        if pool not in self._pools:
            await declare_pool(self._bus, pool, self._replicas)
            self._pools.add(pool)

    async def ensure(
        self, pool: str, asked: Requirement, workers: Mapping[str, WorkerRecord]
    ) -> str:
        """The class that takes such a job, made where it is missing; ``workers`` are nudged."""
        if (pool, class_name(asked)) in self._known:
            return class_name(asked)
        async with self._making:
            return await self._ensure(pool, asked, workers)

    async def _ensure(
        self, pool: str, asked: Requirement, workers: Mapping[str, WorkerRecord]
    ) -> str:
        if (pool, class_name(asked)) not in self._known and len(self.of(pool)) >= CLASSES:
            asked = widened(asked, capacities(workers.values()))
        name = class_name(asked)
        if (pool, name) in self._known:
            return name
        record = ClassRecord(pool=pool, name=name, requirement=asked, used_at=time.time())
        await self.pool(pool)
        await declare_class(self._bus, record)
        await self._bucket.put(f"{pool}.{name}", encode(record)[0])
        self._known[pool, name] = record
        log.info("pool %s has a new class %s", pool, name)
        for worker in workers:
            nudge = Command(classes=self.of(pool))
            await self._bus.publish(subjects.command(worker, "classes"), nudge)
        return name


def capacities(workers: Iterable[WorkerRecord]) -> list[Capacity]:
    return [worker.beat.capacity for worker in workers]
