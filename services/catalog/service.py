"""How does the index keep up, and who may ask it?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bus import subjects
from bus.connection import Bus
from bus.errors import Corrupt
from bus.follow import follow
from bus.records import Change, read_change
from bus.serve import Route, serve
from schemas.job import Record
from schemas.requests import JobList, ListJobs
from services.catalog.index import Index

log = logging.getLogger(__name__)

BATCH = 500
"""Changes of one transaction."""
PAUSE = 0.05
"""Seconds between two transactions: what comes meanwhile shares the next one."""


@dataclass(frozen=True)
class CatalogConfig:
    """Where the index lies."""

    path: Path | None = None
    """None: in memory."""


async def run(bus: Bus, config: CatalogConfig) -> None:
    """Until cancelled; each replica has an index of its own."""
    index = await asyncio.to_thread(Index, config.path)
    try:
        catalog = Catalog(bus, index)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(catalog.fold())
            routes = {subjects.request("catalog", "list"): Route(ListJobs, catalog.on_list)}
            await serve(bus, routes, "catalog")
    finally:
        index.close()


class Catalog:
    """One replica."""

    def __init__(self, bus: Bus, index: Index) -> None:
        self._bus = bus
        self._index = index
        self._lock = asyncio.Lock()
        self._news: asyncio.Queue[Change] = asyncio.Queue(4 * BATCH)

    async def on_list(self, asked: ListJobs, subject: str) -> JobList:
        async with self._lock:
            return await asyncio.to_thread(self._index.list, asked)

    async def fold(self) -> None:
        """Takes facts in as they come, many in one transaction when they come fast."""
        after = await asyncio.to_thread(self._index.place, await stream_mark(self._bus))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(after))
            while True:
                await self._take([await self._news.get()])
                await asyncio.sleep(PAUSE)

    async def _read(self, after: int) -> None:
        deliveries = follow(self._bus, "JOBS", subjects.JOBS_ALL, after=after)
        async with contextlib.aclosing(deliveries):
            async for delivery in deliveries:
                try:
                    change = read_change(delivery)
                except Corrupt as error:
                    log.error("fact %d is left out: %s", delivery.sequence, error)
                    continue
                await self._news.put(change)

    async def _take(self, changes: list[Change]) -> None:
        while len(changes) < BATCH and not self._news.empty():
            changes.append(self._news.get_nowait())
        newest: dict[str, tuple[int, Record]] = {}
        for change in changes:
            newest[change.record.id] = (change.sequence, change.record)
        async with self._lock:
            await asyncio.to_thread(self._index.take, list(newest.values()))


async def stream_mark(bus: Bus) -> int:
    """Tells one stream ``JOBS`` from another: the second at which it was made."""
    created = (await bus.api("STREAM.INFO.JOBS"))["created"]
    return int(datetime.fromisoformat(created[:19] + "+00:00").timestamp())
