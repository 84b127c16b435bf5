"""How does a decision become a fact, whoever else decides at the same moment?"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from bus.clock import ServerClock
from bus.connection import Bus
from bus.errors import BusError, Conflict, Unanswered
from bus.records import Records, Stored
from bus.tickets import withdraw_ticket
from schemas.job import Record
from schemas.lifecycle import Action
from services.scheduler.fold import Fold
from services.scheduler.transitions import Already, Refusal, Step

log = logging.getLogger(__name__)

TRIES = 8
QUIET = 1.0
"""Seconds without a step of ours after which there is time for tidying."""
MANY = 2000
"""Ended jobs that wait to be tidied: from then on it is done in any case."""
Decision = Step | Already | Refusal
Decide = Callable[[Record, float], Decision]
Follow = Callable[[Step], Awaitable[None]]
"""Carries out what follows from a step."""


class Steps:
    """Writes facts by compare-and-set and keeps the fold in step with what was written."""

    def __init__(self, bus: Bus, fold: Fold, clock: ServerClock, follow: Follow) -> None:
        self._bus = bus
        self._records = Records(bus)
        self._clock = clock
        self._follow = follow
        self._fold = fold
        self._finished: asyncio.Queue[tuple[str, str | None]] = asyncio.Queue(100_000)
        """Ended jobs whose older facts can be dropped, and the pool in which a ticket may lie."""
        self._written_at = 0.0
        self._own: set[int] = set()
        """Sequences of our own steps that the follower has not come to yet."""
        self._followed = 0

    async def take(self, job: str, decide: Decide) -> tuple[Decision, Record]:
        """Decides on the newest record until the decision could be written.

        A write that was not answered may have happened: it is decided again on what is stored.
        Raises ``NotFound``, and ``Conflict`` where too many others write: no answer to anything.
        """
        stored = self._fold.get(job) or await self._records.get(job)
        for _ in range(TRIES):
            decision = decide(stored.record, self._clock.now())
            if not isinstance(decision, Step):
                if self._fold.get(job) is stored:
                    fresh = await self._newer(stored)
                    if fresh is not None:
                        stored = fresh
                        continue
                return decision, stored.record
            try:
                sequence = await self._records.write(
                    decision.record, decision.fact, stored.sequence
                )
            except (Conflict, Unanswered) as error:
                log.info("%s: %s", job, error)
                stored = await self._records.get(job, known=stored.sequence)
                continue
            self._note(decision, sequence)
            await self._follow(decision)
            return decision, decision.record
        raise Conflict(f"too many others write to {job}")

    async def _newer(self, stored: Stored) -> Stored | None:
        """What the stream holds, if this replica's memory lags behind it."""
        fresh = await self._records.get(stored.record.id, known=stored.sequence)
        return fresh if fresh.sequence != stored.sequence else None

    def wrote(self, sequence: int) -> bool:
        """For the follower of the stream: whether the fold knows it, because it is our own step."""
        self._followed = sequence
        own = sequence in self._own
        self._own.discard(sequence)
        if len(self._own) > MANY:  # those that were tidied away before the follower came to them
            self._own = {later for later in self._own if later > sequence}
        return own

    def _note(self, step: Step, sequence: int) -> None:
        self._written_at = time.monotonic()
        # Where the answer comes after the follower was there, the fold knows more by now: the job
        # may have ended and be forgotten.
        if sequence > self._followed:
            self._fold.apply(step.record, sequence, step.fact)
            self._own.add(sequence)
        if Action.TIDY in step.actions:
            self.finish(step.record, Action.WITHDRAW_TICKET in step.actions)

    def finish(self, record: Record, ticket: bool) -> None:
        """It ended: its older facts go when there is time, and before them its ``ticket``.

        Beyond the queue they stay until a replica starts anew.
        """
        if not self._finished.full():
            self._finished.put_nowait((record.id, record.spec.pool if ticket else None))

    async def trim(self, pause: float = 0.02) -> None:
        """Drops the older facts of ended jobs, while nothing else is written or many wait."""
        while True:
            job, pool = await self._finished.get()
            await self._until_quiet()
            try:
                if pool is not None:
                    await withdraw_ticket(self._bus, pool, job)
                await self._records.keep_last(job)
            except BusError as error:
                log.info("older facts of %s stay: %s", job, error)
            await asyncio.sleep(pause)

    async def _until_quiet(self) -> None:
        while self._finished.qsize() < MANY:
            left = self._written_at + QUIET - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(left)
