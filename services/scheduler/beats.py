"""What follows from a worker's beat, and from its silence?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from bus import subjects
from bus.connection import Bus
from bus.errors import BusError, NotFound, Refused
from schemas.job import Record, State
from schemas.problem import Problem
from schemas.worker import AttemptKey, Beat, BeatAnswer, Stop
from services.scheduler import transitions
from services.scheduler.classes import Classes
from services.scheduler.config import SchedulerConfig
from services.scheduler.effects import stop_of
from services.scheduler.fold import Fold
from services.scheduler.missing import Missing
from services.scheduler.roster import Roster
from services.scheduler.steps import Steps
from services.scheduler.transitions import Step

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Most seconds between two looks for workers that are silent for too long."""
IDLE_EVERY = 5.0
"""The same while no worker holds anything that could be lost."""


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
        if subject != subjects.beat(beat.worker, beat.pool):
            title = "A worker beats under its own name, and for its own pool"
            raise Refused(Problem(code="not_you", title=title))
        await self._classes.pool(beat.pool)
        if await self._roster.hear(beat):
            self._wake(beat.pool)
        held = self._fold.held_by(beat.worker)
        for record in self._missing.overdue(beat, held, time.monotonic()):
            await self._lose(record, beat.worker, f"{beat.worker} does not know of it any more")
        stop = [
            stop_of(record, record.current, "cancelled")
            for record in held
            if record.state is State.CANCELLING and record.current
        ]
        for key in beat.held:
            if not await self._may_run(beat.worker, key):
                stop.append(Stop(job=key.job, attempt=key.attempt, grace=10.0, reason="superseded"))
        return BeatAnswer(
            sent_at=beat.sent_at,
            stop=tuple(stop),
            classes=self._classes.of(beat.pool),
            drain=self._roster.drains(beat.worker),
            aside=self._roster.aside(beat.worker),
            lost_after=self._config.patience(beat.pool),
        )

    async def watch_silence(self) -> None:
        """For ever; attempts of workers that are silent for too long are lost."""
        while True:
            before = time.monotonic()
            idle = not self._fold.holders()
            most = await self._until_next_look(idle)
            seconds = min(time.monotonic() - before, 2 * most)
            # What was silent before it was given something may do so without being lost.
            holders = [] if idle else self._fold.holders()
            for worker, patience in await self._roster.grow_silent(seconds, holders):
                for record in self._fold.held_by(worker):
                    await self._lose(record, worker, f"{worker} was silent for {patience:.0f} s")

    async def _until_next_look(self, idle: bool) -> float:
        """The most seconds that it may have taken; where all are ``idle``, less when one is not."""
        shortest = self._config.shortest
        if not idle:
            tick = min(LOOK_EVERY, shortest / 10)
            await asyncio.sleep(tick)
            return tick
        most = min(IDLE_EVERY, shortest / 6)
        self._fold.holding.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most):
                await self._fold.holding.wait()
        return most

    async def _may_run(self, worker: str, key: AttemptKey) -> bool:
        """Whether a record gives it the attempt that it holds; one that was lost it gets back.

        Decided with the stream where this replica's memory says no.
        """
        stored = self._fold.get(key.job)
        if stored is not None and self._fold.grants(worker, key):
            if transitions.may_resume(stored.record):
                await self._resume(key.job)
            return True
        try:
            decision, record = await self._steps.take(
                key.job,
                lambda newest, now: (
                    transitions.reinstated(newest, key, worker, now) or transitions.Already()
                ),
            )
        except NotFound:
            return False
        except BusError as error:
            log.info("%s is not told to stop before its record was read: %s", key.job, error)
            return True
        if isinstance(decision, Step):
            log.warning("%s attempt %d goes on: %s is back", key.job, key.attempt, worker)
            await self._resume(key.job)
            return True
        current = record.current
        ours = current is not None and (current.number, current.worker) == (key.attempt, worker)
        return ours and record.state.held

    async def _resume(self, job: str) -> None:
        """What is known to run is running again; a later beat repeats what fails."""
        try:
            await self._steps.take(job, transitions.resumed)
        except BusError as error:
            log.info("%s: %s", job, error)

    async def _lose(self, record: Record, worker: str, detail: str) -> None:
        """Asked for again until it is written."""
        attempt = record.attempt

        def decide(newest: Record, now: float) -> transitions.Step | transitions.Already:
            current = newest.current
            if current is None or (current.number, current.worker) != (attempt, worker):
                return transitions.Already()
            return transitions.lost(newest, detail, now)

        try:
            decision, _ = await self._steps.take(record.id, decide)
        except BusError as error:
            log.warning("%s: %s", record.id, error)
            return
        if isinstance(decision, Step):
            log.warning("%s attempt %d is lost: %s", record.id, attempt, detail)
