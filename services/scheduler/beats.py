"""What follows from a worker's beat, and from its silence?"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from bus import subjects
from bus.connection import Bus
from bus.errors import BusError, NotFound, Refused
from bus.records import Records
from schemas.job import Record, State
from schemas.problem import Problem
from schemas.worker import AttemptKey, Beat, BeatAnswer, Stop
from services.scheduler import transitions
from services.scheduler.classes import Classes
from services.scheduler.config import SchedulerConfig
from services.scheduler.fold import Fold
from services.scheduler.missing import Missing
from services.scheduler.roster import Roster
from services.scheduler.steps import Steps
from services.scheduler.transitions import Step

log = logging.getLogger(__name__)


class Beats:
    """Tells workers what to do, and finds the attempts that are lost."""

    def __init__(
        self,
        bus: Bus,
        config: SchedulerConfig,
        parts: tuple[Fold, Steps, Classes, Roster],
        wake: Callable[[str], None],
    ) -> None:
        """``wake`` is called with a pool in which jobs may go now."""
        self._bus = bus
        self._config = config
        self._fold, self._steps, self._classes, self._roster = parts
        self._wake = wake
        self._missing = Missing(config.unknown_after)

    async def on_beat(self, beat: Beat, subject: str) -> BeatAnswer:
        if subject != subjects.beat(beat.worker):
            raise Refused(Problem(code="not_you", title="A worker beats under its own name"))
        await self._classes.pool(beat.pool)
        if await self._roster.hear(beat):
            self._wake(beat.pool)
        held = self._fold.held_by(beat.worker)
        for record in self._missing.overdue(beat, held, time.monotonic()):
            await self._lose(record, beat.worker, f"{beat.worker} does not know of it any more")
        stop = [stop_of(record) for record in held if record.state is State.CANCELLING]
        stop += await self._superseded(beat)
        return BeatAnswer(
            sent_at=beat.sent_at,
            stop=tuple(stop),
            classes=self._classes.of(beat.pool),
            drain=self._roster.drains(beat.worker),
        )

    async def watch_silence(self) -> None:
        """For ever; attempts of workers that are silent for too long are lost."""
        tick = self._config.lost_after / 10
        while True:
            before = time.monotonic()
            await asyncio.sleep(tick)
            holders = self._fold.holders()
            seconds = min(time.monotonic() - before, 2 * tick)
            for worker in await self._roster.grow_silent(seconds, holders):
                for record in self._fold.held_by(worker):
                    detail = f"{worker} was silent for {self._config.lost_after:.0f} s"
                    await self._lose(record, worker, detail)

    async def _superseded(self, beat: Beat) -> list[Stop]:
        """Attempts that it holds and that no record gives to it (checked with the stream)."""
        stops = []
        for key in beat.held:
            if not self._fold.grants(beat.worker, key) and not await self._granted(beat, key):
                stops.append(
                    Stop(job=key.job, attempt=key.attempt, grace=10.0, reason="superseded")
                )
        return stops

    async def _granted(self, beat: Beat, key: AttemptKey) -> bool:
        try:
            record = (await Records(self._bus).get(key.job)).record
        except NotFound:
            return False
        except BusError as error:
            log.info("%s is not told to stop before its record was read: %s", key.job, error)
            return True
        current = record.current
        ours = current is not None and (current.number, current.worker) == (
            key.attempt,
            beat.worker,
        )
        return ours and record.state.held

    async def _lose(self, record: Record, worker: str, detail: str) -> None:
        """Asked for again until it is written."""
        attempt = record.attempt

        def decide(newest: Record, now: float) -> transitions.Step | transitions.Already:
            current = newest.current
            if current is None or (current.number, current.worker) != (attempt, worker):
                return transitions.Already()
            return transitions.lost(newest, detail, now)

        try:
            decision, after = await self._steps.take(record.id, decide)
        except BusError as error:
            log.warning("%s: %s", record.id, error)
            return
        if isinstance(decision, Step):
            log.warning("%s attempt %d is lost: %s", record.id, attempt, detail)
        self._wake(after.spec.pool)


def stop_of(record: Record) -> Stop:
    return Stop(job=record.id, attempt=record.attempt, grace=record.spec.grace, reason="cancelled")
