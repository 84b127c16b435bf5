"""Which workers are there, what do they hold, and which of them fell silent?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bus.clock import ServerClock
from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import BusError, Corrupt
from bus.follow import follow, last_sequence
from bus.kv import OPERATION, Bucket
from schemas.worker import Beat, Capacity, WorkerRecord
from services.scheduler.config import SchedulerConfig

log = logging.getLogger(__name__)

WRITE_EVERY = 2.0
"""Most seconds between two writes of a worker whose beats only change its load: the other
replicas hear of it by these alone, so with a short ``lost_after`` they come more often."""


@dataclass
class Known:
    """One worker, as this replica knows it."""

    record: WorkerRecord
    silence: float = 0.0
    """Seconds without a sign, counted only while JetStream took our own writes."""
    written: float = 0.0
    """Monotonic seconds of the last write to the bucket."""
    heard: float = field(default_factory=time.monotonic)
    """Monotonic seconds of the last sign."""
    holding: float = 0.0
    """Seconds of that silence since it was given something: then, it was there."""
    there: bool = True
    """False of one that is known from the bucket and was last heard of long ago."""


class Roster:
    """The workers: from beats that came here and from what the other replicas wrote."""

    def __init__(
        self,
        bus: Bus,
        config: SchedulerConfig,
        clock: ServerClock,
        why_aside: Callable[[str, float], str],
    ) -> None:
        """``why_aside`` tells of a worker why it is given nothing; empty where it may have work."""
        self._bus = bus
        self._clock = clock
        self._why_aside = why_aside
        self._bucket = Bucket(bus, "workers")
        self._drains = Bucket(bus, "drains")
        self._canary = Bucket(bus, "requests")
        self._config = config
        self._write_every = min(WRITE_EVERY, config.shortest / 6)
        self._outage = False
        self._known: dict[str, Known] = {}
        self._own: set[int] = set()
        """Sequences of our own writes that the listener has not come to yet."""
        self._followed = 0
        self._written = 0
        """The bucket's last sequence at the look before: all up to it should have come by now."""
        self._draining: set[str] = set()

    async def load(self) -> None:
        self._draining = set(await self._drains.all())

    def online(self, pool: str | None = None) -> dict[str, WorkerRecord]:
        """Those heard of within what their pool allows."""
        return {
            name: known.record
            for name, known in self._known.items()
            if self._online(known) and pool in (None, known.record.beat.pool)
        }

    def _online(self, known: Known) -> bool:
        return known.there and known.silence < self._config.patience(known.record.beat.pool)

    async def hear(self, beat: Beat) -> bool:
        """Notes the beat; whether it changed what the policy looks at."""
        before = self._known.get(beat.worker)
        drain = beat.worker in self._draining
        aside = self.aside(beat.worker) or beat.shortage
        record = WorkerRecord(beat=beat, heard_at=self._clock.now(), drain=drain, aside=aside)
        changed = before is None or matter(before.record) != matter(record)
        was_silent = before is not None and not self._online(before)
        known = Known(record, written=before.written if before else 0.0)
        self._known[beat.worker] = known
        if changed or time.monotonic() - known.written >= self._write_every:
            known.written = time.monotonic()
            await self._tell(record)
        return changed or was_silent

    async def _tell(self, record: WorkerRecord) -> None:
        """The other replicas and the page; what cannot be stored now is told by a later beat."""
        try:
            sequence = await self._bucket.put(record.beat.worker, encode(record)[0])
        except BusError as error:
            log.warning("%s is not told of: %s", record.beat.worker, error)
            return
        if sequence > self._followed:
            self._own.add(sequence)

    def aside(self, worker: str) -> str:
        return self._why_aside(worker, self._clock.now())

    def drains(self, worker: str) -> bool:
        """Whether an admin asked it to take nothing new."""
        return worker in self._draining

    async def drain(self, worker: str, drain: bool) -> None:
        """Outlives restarts of agent, scheduler and broker."""
        if drain:
            await self._drains.put(worker, b"1")
        else:
            await self._drains.delete(worker)
        self._note_drain(worker, drain)
        known = self._known.get(worker)
        if known is not None:
            await self._tell(known.record)

    async def listen(self, changed: asyncio.Event) -> None:
        """Takes in what other replicas heard."""
        live = False
        async for delivery in follow(
            self._bus, "KV_workers", "$KV.workers.>", last_per_subject=True
        ):
            self._followed = delivery.sequence
            if delivery.sequence in self._own:
                self._own = {later for later in self._own if later > delivery.sequence}
            else:
                with contextlib.suppress(Corrupt):  # a key that was deleted, for one
                    if self._take(decode(WorkerRecord, delivery.data, None), live):
                        changed.set()
            live = live or delivery.pending == 0

    def _take(self, record: WorkerRecord, live: bool) -> bool:
        """What is written now is a sign of life, whatever the other replica's clock says.

        Whether it changed what the policy looks at.
        """
        name = record.beat.worker
        known = self._known.get(name)
        if known is not None:
            before = known.record.heard_at
            if before == record.heard_at or (before > record.heard_at and not live):
                return False  # the same beat again, or one from before ours
        allowed = self._config.patience(record.beat.pool)
        there = live or self._clock.now() - record.heard_at < allowed
        record = record.model_copy(update={"drain": name in self._draining})
        self._known[name] = Known(record, written=known.written if known else 0.0, there=there)
        return known is None or not self._online(known) or matter(known.record) != matter(record)

    async def listen_drains(self, changed: asyncio.Event) -> None:
        """Takes in what admins asked of other replicas."""
        async for delivery in follow(self._bus, "KV_drains", "$KV.drains.>", last_per_subject=True):
            name = delivery.subject.removeprefix("$KV.drains.")
            self._note_drain(name, OPERATION not in delivery.headers)
            changed.set()

    def _note_drain(self, name: str, drain: bool) -> None:
        if drain:
            self._draining.add(name)
        else:
            self._draining.discard(name)
        known = self._known.get(name)
        if known is not None:
            known.record = known.record.model_copy(update={"drain": drain})

    async def grow_silent(self, seconds: float, holders: list[str]) -> list[tuple[str, float]]:
        """Counts ``seconds`` of silence, if JetStream takes a write now; who is lost by it.

        Each with the silence that it was allowed. After an outage of the store everybody's silence
        counts from its end, and of ``holders`` that this replica never heard from its first call:
        they were cut off, too, and need a moment to come back. An outage in which nobody held
        anything goes unnoticed: silence before a worker was given something never counts.
        """
        if holders and not await self._hears_all():
            self._outage = True
            return []
        now, holding = time.monotonic(), frozenset(holders)
        lost = []
        for name, known in self._known.items():
            cut_off = self._outage and (self._online(known) or not known.there)
            more = min(seconds, now - known.heard)
            known.silence = 0.0 if cut_off else known.silence + more
            known.holding = 0.0 if cut_off or name not in holding else known.holding + more
        self._outage = False
        for name in holders:
            if name not in self._known:
                self._known[name] = Known(unheard(name), there=False)
            known = self._known[name]
            patience = self._patience(known)
            if min(known.silence, known.holding) >= patience:
                lost.append((name, patience))
        return lost

    async def _hears_all(self) -> bool:
        """Whether JetStream takes our writes, and others' news of the workers have come here."""
        before, self._written = self._written, 0
        try:
            await self._canary.put("canary.scheduler", b"")
            self._written = await last_sequence(self._bus, "KV_workers")
        except BusError as error:
            log.warning("nobody is judged lost while the bus does not answer: %s", error)
            return False
        if self._followed < before:
            log.warning("nobody is judged lost while news of the workers are late")
            return False
        return True

    def _patience(self, known: Known) -> float:
        beat = known.record.beat
        allowed = self._config.patience(beat.pool)
        return max(allowed, self._config.restart_grace) if beat.leaving else allowed


def unheard(name: str) -> WorkerRecord:
    empty = Capacity()
    beat = Beat(worker=name, session="", sent_at=0.0, pool="", capacity=empty, free=empty)
    return WorkerRecord(beat=beat, heard_at=0.0)


def matter(record: WorkerRecord) -> tuple[object, ...]:
    beat = record.beat
    return (
        beat.session,
        beat.pool,
        beat.capacity,
        beat.draining,
        beat.leaving,
        record.drain,
        record.aside,
        beat.labels,
        len(beat.held),
    )
