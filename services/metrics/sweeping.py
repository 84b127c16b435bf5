"""What of the stored metrics does nobody need any more?"""

from __future__ import annotations

import asyncio
import logging

from bus.clock import server_time
from bus.errors import BusError, Corrupt, NotFound
from bus.metric_store import STREAM
from bus.metrics import Place
from bus.records import Records
from schemas.metrics import WORKER
from services.metrics.curves import Ways

log = logging.getLogger(__name__)

FIRST = 300.0
"""Seconds after the start: what is restarted often has to sweep, too."""


class Sweeper:
    """One attempt after the other; replicas may do it at the same time."""

    def __init__(self, ways: Ways, records: Records) -> None:
        self._ways = ways
        self._records = records

    async def run(self) -> None:
        pause = min(FIRST, self._ways.config.sweep_every)
        while True:
            await asyncio.sleep(pause)
            pause = self._ways.config.sweep_every
            try:
                await self.round()
            except BusError as error:
                log.warning("metrics that nobody needs stay for now: %s", error)
            except Exception:
                log.exception("sweeping the metrics failed")

    async def round(self) -> int:
        """How many blocks without a name were freed."""
        now = await server_time(self._ways.bus, STREAM)
        freed = 0
        for place in sorted(await self._ways.store.places(), key=str):
            try:
                freed += await self._look(place, now)
            except Corrupt as error:
                log.error("the metrics of %s are not swept: %s", place, error)
        if freed:
            log.info("freed %d blocks of metrics that nothing names", freed)
        return freed

    async def _look(self, place: Place, now: float) -> int:
        if not await self._expired(place, now):
            return await self._orphans(place, now)
        await self._ways.store.remove(place)
        log.info("the metrics of %s were deleted", place)
        return 0

    async def _expired(self, place: Place, now: float) -> bool:
        if place.job == WORKER:
            stored = await self._ways.store.get(place)
            return stored is not None and now - stored.head.at > self._ways.config.keep_worker
        keep = self._ways.config.keep
        if keep is None:
            return False
        try:
            record = (await self._records.get(place.job)).record
        except NotFound:
            return False  # Whoever lost the records may get them back.
        return record.state.ended and now - record.changed_at > keep

    async def _orphans(self, place: Place, now: float) -> int:
        """Frees what a replica that was killed, or was too late, had not named."""
        found = await self._ways.store.stored_blocks(place)
        if not found:
            return 0
        stored = await self._ways.store.get(place)
        named = {block.id for block in stored.head.blocks} if stored else set()
        freed = 0
        for block in found - named:
            at = await self._ways.store.stored_at(place, block)
            if at is not None and at < now - self._ways.config.orphans_after:
                await self._ways.store.drop(place, [block])
                freed += 1
        return freed
