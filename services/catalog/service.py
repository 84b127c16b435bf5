"""How does the index keep up, and who may ask it?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from bus import subjects
from bus.connection import Bus
from bus.errors import Corrupt
from bus.follow import follow
from bus.records import Change, read_change
from bus.serve import Route, serve
from schemas.job import Record
from schemas.quota import GetUsage, Usage
from schemas.requests import JobList, ListJobs
from services.catalog.index import Index

log = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")

BATCH = 500
"""Changes of one transaction."""
PAUSE = 0.05
"""Seconds between two transactions: what comes meanwhile shares the next one."""
CATCH_UP = 1.0
"""Most seconds that a question of usage waits for facts that it wants counted."""


@dataclass(frozen=True)
class CatalogConfig:
    """Where the index lies."""

    path: Path | None = None
    """None: in memory."""


async def run(bus: Bus, config: CatalogConfig) -> None:
    """Until cancelled; each replica has an index of its own."""
    with ThreadPoolExecutor(1, "catalog") as thread:
        index = await asyncio.get_running_loop().run_in_executor(thread, Index, config.path)
        try:
            catalog = Catalog(bus, index, thread)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(catalog.fold())
                routes = {
                    subjects.request("catalog", "list"): Route(ListJobs, catalog.on_list),
                    subjects.request("catalog", "usage"): Route(GetUsage, catalog.on_usage),
                }
                await serve(bus, routes, "catalog")
        finally:
            thread.submit(index.close)  # after what a cancelled call still does there


class Catalog:
    """One replica; ``thread`` alone touches the index."""

    def __init__(self, bus: Bus, index: Index, thread: ThreadPoolExecutor) -> None:
        self._bus = bus
        self._index = index
        self._thread = thread
        self._news: asyncio.Queue[tuple[int, Change | None]] = asyncio.Queue(4 * BATCH)
        """Sequences, and None for a fact that cannot be read."""
        self._counted = 0
        """The sequence up to which everything is in the index."""
        self._more = asyncio.Condition()

    async def on_list(self, asked: ListJobs, subject: str) -> JobList:
        return await self._call(self._index.list, asked)

    async def on_usage(self, asked: GetUsage, subject: str) -> Usage:
        """As of ``sequence``, which is behind ``since`` where the facts did not come in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP), self._more:
                await self._more.wait_for(lambda: self._counted >= asked.since)
        counted = self._counted
        usage = await self._call(self._index.usage, asked)
        return usage.model_copy(update={"sequence": counted})

    async def _call(self, work: Callable[[A], B], argument: A) -> B:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, argument)

    async def fold(self) -> None:
        """Takes facts in as they come, many in one transaction when they come fast."""
        after = await self._call(self._index.place, await stream_mark(self._bus))
        self._counted = after
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(after))
            while True:
                await self._take([await self._news.get()])
                await asyncio.sleep(PAUSE)

    async def _read(self, after: int) -> None:
        deliveries = follow(self._bus, "JOBS", subjects.JOBS_ALL, after=after)
        async with contextlib.aclosing(deliveries):
            async for delivery in deliveries:
                change = None
                try:
                    change = read_change(delivery)
                except Corrupt as error:
                    log.error("fact %d is left out: %s", delivery.sequence, error)
                await self._news.put((delivery.sequence, change))

    async def _take(self, news: list[tuple[int, Change | None]]) -> None:
        while len(news) < BATCH and not self._news.empty():
            news.append(self._news.get_nowait())
        newest: dict[str, tuple[int, Record]] = {}
        for sequence, change in news:
            if change is not None:
                newest[change.record.id] = (sequence, change.record)
        if newest:
            await self._call(self._index.take, list(newest.values()))
        async with self._more:
            self._counted = news[-1][0]
            self._more.notify_all()


async def stream_mark(bus: Bus) -> int:
    """Tells one stream ``JOBS`` from another: the second at which it was made."""
    created = (await bus.api("STREAM.INFO.JOBS"))["created"]
    return int(datetime.fromisoformat(created[:19] + "+00:00").timestamp())
