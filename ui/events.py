"""What has changed in the jobs, told live: to the lists in browsers, and to each job's page?

One reader of `JOBS` per process. A message is decoded only where somebody looks at it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

from bus import codec, subjects
from bus.connection import Bus
from bus.errors import BusError, Corrupt
from bus.follow import Delivery, follow
from bus.records import Records
from schemas.job import JobFact, Record
from schemas.requests import JobSummary
from ui.frames import control_frame
from ui.streams import reading
from ui.views import job_json

log = logging.getLogger(__name__)

BATCH_SECONDS = 0.1
"""Changes of this long go to the lists in one frame."""
BATCH_JOBS = 500
"""More changes than this in one batch: the lists are told to load again."""
SWEEP_SECONDS = 15.0
"""A watched record is read again this often, whatever the stream says."""
PAUSE_SECONDS = 1.0
"""Between two tries to follow."""
Sees = tuple[str, ...] | None
"""Owners; None: everybody."""


class Watch:
    """The newest record of one job, for everybody in this process who looks at it."""

    def __init__(self, record: Record, sequence: int) -> None:
        self.record = record
        self.sequence = sequence
        self.viewers = 0
        self._changed = asyncio.Event()
        self._frame: tuple[int, str] = (0, "")

    def offer(self, record: Record, sequence: int) -> None:
        if sequence > self.sequence:
            self.record, self.sequence = record, sequence
            self._changed.set()
            self._changed = asyncio.Event()

    async def after(self, sequence: int) -> int:
        """Waits for a record newer than ``sequence``; gives its sequence."""
        while self.sequence <= sequence:
            await self._changed.wait()
        return self.sequence

    def frame(self) -> str:
        """The control frame of the newest record, encoded once for all."""
        if self._frame[0] != self.sequence:
            self._frame = (self.sequence, control_frame("job", job=job_json(self.record)))
        return self._frame[1]


class ListViewer:
    """One browser's list: a bounded queue of frames. One that falls behind loads again."""

    def __init__(self, owners: Sees = None) -> None:
        self.owners = None if owners is None else frozenset(owners)
        """Whose jobs it is told of; None: everybody's."""
        self._frames: asyncio.Queue[str] = asyncio.Queue(maxsize=64)

    def put(self, frame: str) -> None:
        if self._frames.full():
            while not self._frames.empty():
                self._frames.get_nowait()
            frame = control_frame("reload")
        self._frames.put_nowait(frame)

    async def get(self) -> str:
        return await self._frames.get()


class Events:
    """Follows `JOBS` and tells whoever watches."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._records = Records(bus)
        self._watches: dict[str, Watch] = {}
        self._lists: set[ListViewer] = set()
        self._dirty: dict[str, JobSummary] = {}
        self._news = asyncio.Event()

    @property
    def list_viewers(self) -> int:
        return len(self._lists)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._tell_lists())
            group.create_task(self._sweep())

    @asynccontextmanager
    async def watch(self, job: str) -> AsyncIterator[Watch]:
        """Raises ``NotFound`` where there is no such job."""
        stored = await self._records.get(job)
        watch = self._watches.setdefault(job, Watch(stored.record, stored.sequence))
        watch.offer(stored.record, stored.sequence)
        watch.viewers += 1
        try:
            yield watch
        finally:
            watch.viewers -= 1
            if watch.viewers == 0:
                self._watches.pop(job, None)

    @contextmanager
    def list_viewer(self, owners: Sees = None) -> Iterator[ListViewer]:
        viewer = ListViewer(owners)
        self._lists.add(viewer)
        try:
            yield viewer
        finally:
            self._lists.discard(viewer)

    async def _follow(self) -> None:
        while True:
            try:
                source = follow(self._bus, "JOBS", subjects.JOBS_ALL, after=None)
                async with reading(source) as facts:
                    async for delivery in facts:
                        self._on_fact(delivery)
            except BusError as error:
                log.warning("following the jobs failed: %s", error)
            await asyncio.sleep(PAUSE_SECONDS)

    def _on_fact(self, delivery: Delivery) -> None:
        job, _ = subjects.parse_job(delivery.subject)
        watch = self._watches.get(job)
        if watch is None and not self._lists:
            return
        try:
            record = codec.decode(JobFact, delivery.data, delivery.headers).record
        except Corrupt as error:
            log.error("%s holds what is no fact: %s", delivery.subject, error)
            return
        if watch is not None:
            watch.offer(record, delivery.sequence)
        if self._lists:
            self._dirty[job] = JobSummary.of(record)
            self._news.set()

    async def _tell_lists(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            changes, self._dirty = self._dirty, {}
            tell_lists(changes, self._lists)
            await asyncio.sleep(BATCH_SECONDS)

    async def _sweep(self) -> None:
        """A watch that missed its news (a stream that was rebuilt, say) is put right."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for job, watch in list(self._watches.items()):
                try:
                    stored = await self._records.get(job)
                except BusError as error:
                    log.info("a watched record could not be read again: %s", error)
                else:
                    watch.offer(stored.record, stored.sequence)


def tell_lists(changes: dict[str, JobSummary], viewers: Iterable[ListViewer]) -> None:
    """Each of its own part; a frame is made once for all who see the same."""
    frames: dict[frozenset[str] | None, str | None] = {}
    for viewer in viewers:
        if viewer.owners not in frames:
            mine = seen_by(viewer.owners, changes)
            frames[viewer.owners] = list_frame(mine) if mine else None
        frame = frames[viewer.owners]
        if frame is not None:
            viewer.put(frame)


def seen_by(owners: frozenset[str] | None, changes: dict[str, JobSummary]) -> dict[str, JobSummary]:
    if owners is None:
        return changes
    return {job: change for job, change in changes.items() if change.owner in owners}


def list_frame(changes: dict[str, JobSummary]) -> str:
    if len(changes) > BATCH_JOBS:
        return control_frame("reload")
    return control_frame("jobs", jobs=[job.model_dump(mode="json") for job in changes.values()])
