"""How does the service run: what came to logs and workers, ends of attempts, who watches?

Replicas run side by side without a word between them: whoever writes an index first goes on with
it, and the others leave it alone for as long as it grows.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict

from bus import layout, subjects
from bus.clock import ServerClock
from bus.connection import Bus
from bus.consume import Done, Later, Outcome, consume
from bus.errors import BusError, NotFound
from bus.follow import Delivery
from bus.logs import UNTOLD, final_offset
from bus.metric_store import MetricStore
from bus.metrics import Place, place_of, watches
from bus.records import Records, read_change
from schemas.job import Attempt, Record
from schemas.metrics import WORKER
from services.metrics.config import MetricsConfig
from services.metrics.curves import Ways
from services.metrics.folding import Folder, late_outputs
from services.metrics.sweeping import Sweeper

log = logging.getLogger(__name__)

REMEMBERED = 2000
"""Attempts whose index is kept in memory."""
MOST_WATCHED = 10_000
LATE_AGAIN = 30.0
"""Seconds after which outputs that come late are looked for again."""
BUSY_AGAIN = 1.0
"""The same where another replica writes this very index, or there is more than a turn can do."""


async def run(bus: Bus, config: MetricsConfig) -> None:
    """Until cancelled; replicas run side by side."""
    metrics = Metrics(bus, config)
    await metrics.clock.look()
    async with asyncio.TaskGroup() as tasks, watches(bus, metrics.on_watch):
        tasks.create_task(metrics.clock.keep())
        tasks.create_task(metrics.look_again())
        tasks.create_task(Sweeper(metrics.ways, metrics.records).run())
        end = layout.METRICS_ENDS.name
        await consume(bus, "JOBS", end, metrics.on_end, concurrency=config.side_by_side)


class Metrics:
    """One replica."""

    def __init__(self, bus: Bus, config: MetricsConfig) -> None:
        self.clock = ServerClock(bus)
        self.records = Records(bus)
        self.ways = Ways(bus, MetricStore(bus), self.clock, config)
        self._bus = bus
        self._config = config
        self._folders: OrderedDict[tuple[Place, str], Folder] = OrderedDict()
        self._counts: dict[str, int] = {}
        """Subject of a log to how many of its messages lay in the stream."""
        self._news: dict[tuple[Place, str], float] = {}
        """Whose news have not been taken in, and when that is due, by the monotonic clock."""
        self._at: dict[tuple[Place, str], float] = {}
        """When news were taken in last."""
        self._watched: dict[str, float] = {}
        """Job to when the last nudge for it came."""

    # ---- who watches

    def on_watch(self, job: str) -> None:
        if len(self._watched) >= MOST_WATCHED:
            self._watched.clear()
        if job not in self._watched:
            for key, due in self._news.items():
                if key[0].job == job:
                    self._news[key] = min(due, time.monotonic())
        self._watched[job] = time.monotonic()

    def _pause(self, place: Place) -> float:
        """Seconds between two times at which news of that place are taken in."""
        nudged = self._watched.get(place.job)
        if nudged is not None and time.monotonic() - nudged < self._config.watched_for:
            return self._config.fold_watched
        return self._config.fold_worker if place.job == WORKER else self._config.fold_every

    # ---- news

    async def look_again(self) -> None:
        """For ever: what came, and what of it is due."""
        async with asyncio.TaskGroup() as tasks:
            room = asyncio.Semaphore(self._config.side_by_side)
            while True:
                try:
                    await self._look()
                except BusError as error:
                    log.warning("what came to be measured is looked for again: %s", error)
                for key in self._due():
                    await room.acquire()
                    task = tasks.create_task(self._take_in(*key))
                    task.add_done_callback(lambda _: room.release())
                await asyncio.sleep(self._config.look_every)

    async def _look(self) -> None:
        """A log whose number of messages is another has news, and so has whoever sent samples."""
        logs = await self._subjects("LOGS", subjects.LOGS_ALL)
        for subject, count in logs.items():
            if count != self._counts.get(subject):
                self._note_log(subject)
        self._counts = logs
        for subject in await self._subjects("METRICS", subjects.METRICS_ALL):
            try:
                self._note(*place_of(subject))
            except ValueError:
                await self._drop(subject)

    async def _subjects(self, stream: str, pattern: str) -> dict[str, int]:
        info = await self._bus.api(f"STREAM.INFO.{stream}", {"subjects_filter": pattern})
        return info["state"].get("subjects") or {}

    def _note_log(self, subject: str) -> None:
        try:
            told = subjects.parse_log(subject)
        except ValueError:
            return  # the archive drops it
        if told.rank == 0:
            self._note(Place.of(told.job, told.attempt), told.worker)

    def _note(self, place: Place, worker: str) -> None:
        key = (place, worker)
        if key not in self._news:
            self._news[key] = self._at.get(key, 0.0) + self._pause(place)

    def _due(self) -> list[tuple[Place, str]]:
        now = time.monotonic()
        due = [key for key, at in self._news.items() if at <= now]
        for key in due:
            del self._news[key]
        return due

    async def _take_in(self, place: Place, worker: str) -> None:
        if len(self._at) >= MOST_WATCHED:
            self._at.clear()
        self._at[place, worker] = time.monotonic()
        try:
            again = await self._fold(place, worker)
        except BusError as error:
            log.warning("%s is taken in later: %s", place, error)
            again = True
        except Exception:
            log.exception("%s cannot be taken in", place)
            again = False
        if again:
            self._note(place, worker)

    async def _fold(self, place: Place, worker: str) -> bool:
        """Whether there is more, or another replica at it that may die."""
        folder = self._folder(place, worker)
        if place.job == WORKER:
            folded = await folder.fold_worker()
            return folded.more or folded.theirs
        found = await self._attempt(place, worker)
        if found is None:
            await self._drop(subjects.metric(place.job, place.attempt, worker))
            return False
        until = time.monotonic() + self._config.turn
        folded = await folder.fold(*found)
        while folded.more and time.monotonic() < until:
            folded = await folder.fold(*found)
        return folded.more or folded.theirs

    async def _attempt(self, place: Place, worker: str) -> tuple[Record, Attempt] | None:
        """None where the record does not name that worker: nobody else is believed."""
        try:
            record = (await self.records.get(place.job)).record
        except NotFound:
            return None
        attempt = record.find(place.attempt)
        return (record, attempt) if attempt and attempt.worker == worker else None

    async def _drop(self, subject: str) -> None:
        """What nobody asked that worker to measure."""
        await self._bus.api("STREAM.PURGE.METRICS", {"filter": subject})

    def _folder(self, place: Place, worker: str) -> Folder:
        key = (place, worker)
        folder = self._folders.get(key)
        if folder is None:
            folder = self._folders[key] = Folder(self.ways, place, worker)
        self._folders.move_to_end(key)
        for old in list(self._folders)[: max(0, len(self._folders) - REMEMBERED)]:
            if not self._folders[old].busy:
                del self._folders[old]
        return folder

    # ---- ends

    async def on_end(self, delivery: Delivery) -> Outcome:
        """Takes in all that each attempt told that is over: once, whoever dies meanwhile."""
        record = (await self.records.get(read_change(delivery).record.id)).record
        later, until = 0.0, time.monotonic() + self._config.turn
        for attempt in record.attempts:
            final = final_offset(record, attempt.number, 0)
            if final is None or (final == UNTOLD and not record.state.ended):
                continue
            later = max(later, await self._end(record, attempt, until))
            if time.monotonic() >= until:
                return Later(self._soon)
        return Later(later) if later else Done()

    @property
    def _soon(self) -> float:
        return min(BUSY_AGAIN, self._config.missing_again)

    async def _end(self, record: Record, attempt: Attempt, until: float) -> float:
        """Seconds after which it has to be looked at again; 0 where it is whole."""
        folder = self._folder(Place.of(record.id, attempt.number), attempt.worker)
        folded = await folder.fold(record, attempt, mine=True)
        while folded.more and time.monotonic() < until:
            folded = await folder.fold(record, attempt, mine=True)
        if folded.more or folded.theirs:
            return self._soon
        if not folded.whole:
            return self._config.missing_again
        late = late_outputs(record, attempt, self.clock.now(), self._config.outputs_late)
        return LATE_AGAIN if late else 0.0
