"""What is new in a job's metrics, told once for all in this process who look at it?

The service writes an index at most once a second; what it has more of each series than the one
before is a message. A viewer that takes nothing is told to load again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import aclosing, contextmanager

from bus.errors import BusError, NotFound
from bus.metric_blocks import Batch, Series, unpack
from bus.metric_store import StoredMetrics
from schemas.metric_head import MetricsHead, SeriesHead
from schemas.metrics import Points
from ui.frames import control_frame
from ui.metric_curves import thinned
from ui.metric_views import columns, left_out_view, notes, series_view
from ui.metrics import MetricReader, newest

log = logging.getLogger(__name__)

QUEUE = 16
"""Frames of one viewer that wait."""
PAUSE_SECONDS = 1.0
MOST_POINTS = 200
"""Of one series in one message."""
MOST_BLOCKS = 4
"""New blocks of which the points are told; with more, viewers load again."""
RELOAD = control_frame("reload")
Told = tuple[int, str]
"""Number of an attempt, and a frame about it."""


class MetricViewer:
    """One page: a bounded queue."""

    def __init__(self) -> None:
        self._frames: asyncio.Queue[Told] = asyncio.Queue(QUEUE)

    def put(self, told: Told) -> None:
        if self._frames.full():
            while not self._frames.empty():
                self._frames.get_nowait()
                self._frames.task_done()
            told = (told[0], RELOAD)
        self._frames.put_nowait(told)

    async def get(self) -> Told:
        """``done`` has to be said of it before the next one."""
        return await self._frames.get()

    def done(self) -> None:
        self._frames.task_done()

    async def taken(self) -> None:
        """Returns once every frame was dealt with."""
        await self._frames.join()


class MetricFeed:
    """Of one job, for as long as somebody looks."""

    def __init__(self, reader: MetricReader, job: str) -> None:
        self._reader = reader
        self._job = job
        self._heads: dict[int, StoredMetrics] = {}
        self.viewers: set[MetricViewer] = set()
        self.task: asyncio.Task[None] | None = None

    def complete(self, attempt: int) -> bool:
        """Whether all of that attempt was told."""
        stored = self._heads.get(attempt)
        return stored is not None and stored.head.complete

    async def run(self) -> None:
        """Until cancelled."""
        first = True
        while True:
            try:
                await self._follow(first)
            except BusError as error:
                log.info("following the metrics of %s again: %s", self._job, error)
            first = False
            await asyncio.sleep(PAUSE_SECONDS)

    async def _follow(self, first: bool) -> None:
        store = self._reader.store
        place = await store.place()
        for stored in await store.attempts(self._job):
            if first:
                self._heads[stored.place.attempt] = stored
            else:
                await self._tell(stored)
        async with aclosing(store.follow(self._job, place)) as written:
            async for stored in written:
                await self._tell(stored)

    async def _tell(self, stored: StoredMetrics) -> None:
        attempt = stored.place.attempt
        before = self._heads.get(attempt)
        if before is not None and stored.sequence <= before.sequence:
            return
        self._heads[attempt] = stored
        old = before.head if before else MetricsHead(worker=stored.head.worker)
        for frame in await self._frames(old, stored):
            for viewer in self.viewers:
                viewer.put((attempt, frame))

    async def _frames(self, old: MetricsHead, stored: StoredMetrics) -> list[str]:
        new, attempt = stored.head, stored.place.attempt
        frames = []
        try:
            points = await self._points(old, stored)
        except (NotFound, BusError) as error:
            log.info("what is new in %s cannot be told: %s", stored.place, error)
            points = None
        if points is None:
            frames.append(RELOAD)
        elif points:
            frames.append(control_frame("points", attempt=attempt, series=points))
        if new.params != old.params:
            frames.append(control_frame("params", attempt=attempt, params=new.params))
        if new.left_out != old.left_out:
            told = {
                "left_out": left_out_view(new.left_out).model_dump(),
                "notes": notes(new.left_out),
            }
            frames.append(control_frame("notes", attempt=attempt, **told))
        return frames

    async def _points(
        self, old: MetricsHead, stored: StoredMetrics
    ) -> list[dict[str, object]] | None:
        """Of each series that has more what it has more; None where that is too much."""
        counts = {(one.source, one.name): one.count for one in old.series}
        grown = [one for one in stored.head.series if one.count > counts.get(key_of(one), 0)]
        if not grown:
            return []
        missing = {key_of(one): one.count - counts.get(key_of(one), 0) for one in grown}
        found = await self._newest(old, stored, missing)
        if found is None:
            return None
        return [message(one, found[key_of(one)]) for one in grown]

    async def _newest(
        self, old: MetricsHead, stored: StoredMetrics, missing: dict[Series, int]
    ) -> Batch | None:
        found = unpack(stored.head.tail, missing)
        if lacking(found, missing):
            known = {block.id for block in old.blocks}
            blocks = [block for block in stored.head.blocks if block.id not in known]
            if len(blocks) > MOST_BLOCKS:
                return None
            whole: Batch = {}
            async for data in self._reader.store.blocks(stored.place, blocks):
                extend(whole, await asyncio.to_thread(unpack, data, missing))
            extend(whole, found)
            found = whole
        if lacking(found, missing):
            return None
        return {key: newest(found[key], count) for key, count in missing.items()}


def key_of(series: SeriesHead) -> Series:
    return series.source, series.name


def lacking(found: Batch, missing: dict[Series, int]) -> bool:
    return any(key not in found or len(found[key]) < count for key, count in missing.items())


def extend(whole: Batch, batch: Batch) -> None:
    for key, points in batch.items():
        if key in whole:
            whole[key].extend(points)
        else:
            whole[key] = points


def message(series: SeriesHead, points: Points) -> dict[str, object]:
    drawn = thinned(points, MOST_POINTS)
    return {
        **series_view(series).model_dump(mode="json"),
        "first": series.count - len(points),
        "reduced": len(drawn) < len(points),
        **columns(drawn),
    }


class MetricFeeds:
    """The feeds of this process; each lives as long as somebody watches."""

    def __init__(self, reader: MetricReader, group: asyncio.TaskGroup) -> None:
        self._reader = reader
        self._group = group
        self._feeds: dict[str, MetricFeed] = {}

    @contextmanager
    def watching(self, job: str) -> Iterator[tuple[MetricFeed, MetricViewer]]:
        feed = self._feeds.get(job)
        if feed is None:
            feed = self._feeds[job] = MetricFeed(self._reader, job)
            feed.task = self._group.create_task(feed.run())
        viewer = MetricViewer()
        feed.viewers.add(viewer)
        try:
            yield feed, viewer
        finally:
            feed.viewers.discard(viewer)
            if not feed.viewers:
                self._drop(job, feed)

    def close(self) -> None:
        for job, feed in list(self._feeds.items()):
            self._drop(job, feed)

    def _drop(self, job: str, feed: MetricFeed) -> None:
        if self._feeds.get(job) is feed:
            del self._feeds[job]
        if feed.task is not None:
            feed.task.cancel()
