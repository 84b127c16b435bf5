"""What was sent, and never became a job?"""

from __future__ import annotations

import asyncio
import logging
import time

from bus.chunk_sweep import ChunkSweep
from bus.clock import ServerClock
from bus.connection import Bus
from bus.errors import BusError
from bus.objects import Objects

log = logging.getLogger(__name__)

ORPHANS_AFTER = 3600.0
"""Seconds after its last chunk when a put that was killed is swept."""
SWEEP_EVERY = 3600.0
PIECES_EVERY = 6 * 3600.0
"""All trees are read for it."""


class Sweeper:
    """Replicas may do it at the same time."""

    def __init__(self, bus: Bus, clock: ServerClock, abandoned_after: float) -> None:
        self._clock = clock
        self._abandoned_after = abandoned_after
        self._objects = Objects(bus)
        self._pieces = ChunkSweep(bus, abandoned_after)
        self._pieces_due = time.monotonic()

    async def run(self) -> None:
        while True:
            try:
                await self.round()
            except BusError as error:
                log.warning("abandoned uploads stay for now: %s", error)
            except Exception:
                log.exception("sweeping the uploads failed")
            await asyncio.sleep(SWEEP_EVERY)

    async def round(self) -> None:
        """Deletes raw uploads that nobody submitted, what puts that were killed left, and pieces
        that no tree names."""
        async for info in self._objects.list("uploads"):
            if self._clock.now() - info.modified > self._abandoned_after:
                await self._objects.delete("uploads", info.name)
        for bucket in ("uploads", "bundles"):
            freed = await self._objects.sweep(bucket, ORPHANS_AFTER)
            if freed:
                log.info("freed %d unfinished objects in %s", freed, bucket)
        if time.monotonic() >= self._pieces_due:
            self._pieces_due = time.monotonic() + PIECES_EVERY
            freed = await self._pieces.round()
            if freed:
                log.info("freed %d pieces that no tree names", freed)
