"""Which classes does a pool have, and how do its workers hear of a new one?"""

from __future__ import annotations

import logging
import time

from bus import subjects
from bus.codec import decode, encode
from bus.connection import Bus
from bus.kv import Bucket
from bus.layout import declare_class, declare_pool
from schemas.worker import ClassRecord, Command, Requirement
from services.scheduler.policy import CLASSES, class_name, rounded

log = logging.getLogger(__name__)


class Classes:
    """The classes of every pool; each is one durable consumer of its work stream."""

    def __init__(self, bus: Bus, replicas: int) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, "classes")
        self._replicas = replicas
        self._pools: set[str] = set()
        self._known: dict[tuple[str, str], ClassRecord] = {}

    async def load(self) -> None:
        for entry in (await self._bucket.all()).values():
            record = decode(ClassRecord, entry.value, None)
            self._known[record.pool, record.name] = record

    def of(self, pool: str) -> tuple[ClassRecord, ...]:
        return tuple(record for (owner, _), record in self._known.items() if owner == pool)

    async def pool(self, pool: str) -> None:
        """Makes the pool's work stream, once."""
        if pool not in self._pools:
            await declare_pool(self._bus, pool, self._replicas)
            self._pools.add(pool)

    async def ensure(self, pool: str, asked: Requirement, workers: list[str]) -> str:
        """The class that takes such a job, made where it is missing; ``workers`` are nudged."""
        if (pool, class_name(asked)) not in self._known and len(self.of(pool)) >= CLASSES:
            asked = rounded(asked)
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
