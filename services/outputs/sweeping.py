"""What of the stored outputs does nobody need any more?"""

from __future__ import annotations

import asyncio
import logging

from bus.clock import ServerClock
from bus.errors import BusError, Corrupt, NotFound
from bus.outputs import OutputStore
from bus.records import Records
from schemas.job import Record
from services.outputs.config import OutputsConfig
from services.outputs.rules import collectable, expired, unnamed

log = logging.getLogger(__name__)


FIRST = 300.0
"""Seconds after the start: what is restarted often has to sweep, too."""


class Sweeper:
    """Marks and sweeps one job after the other; replicas may do it at the same time."""

    def __init__(
        self, store: OutputStore, records: Records, clock: ServerClock, config: OutputsConfig
    ) -> None:
        self._store = store
        self._records = records
        self._clock = clock
        self._config = config
        self._done: set[str] = set()
        """Ended jobs in which nothing is left to collect."""

    async def run(self) -> None:
        pause = min(FIRST, self._config.sweep_every)
        while True:
            await asyncio.sleep(pause)
            pause = self._config.sweep_every
            try:
                await self.round()
            except BusError as error:
                log.warning("outputs that nobody needs stay for now: %s", error)
            except Exception:
                log.exception("sweeping the outputs failed")

    async def round(self) -> None:
        jobs = await self._store.jobs()
        self._done &= jobs
        for job in sorted(jobs):
            try:
                await self._look(job)
            except (Corrupt, NotFound) as error:
                log.error("the outputs of %s are not swept: %s", job, error)

    async def _look(self, job: str) -> None:
        record = await self._record(job)
        if record is None:
            return  # Whoever lost the records may get them back.
        if expired(record, self._clock.now(), self._config):
            await self._store.remove_job(job)
            log.info("the outputs of %s were deleted", job)
            return
        if job in self._done:
            return
        numbers = await self._store.attempts(job)
        heads = [one.head for n in numbers if (one := await self._store.head(job, n))]
        if not collectable(record, heads, self._clock.now(), self._config):
            return
        manifests = [await self._store.manifest(head) for head in heads]
        surplus = unnamed(await self._store.all_stored(job), heads, manifests)
        if surplus:
            freed = await self._store.remove(job, surplus)
            log.info("freed %d unnamed objects of the outputs of %s", freed, job)
        self._done.add(job)

    async def _record(self, job: str) -> Record | None:
        try:
            return (await self._records.get(job)).record
        except NotFound:
            return None
