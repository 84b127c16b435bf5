"""What follows from a step that was written? Done at once, and repeated by sweep and beats."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import assert_never

from bus import subjects
from bus.connection import Bus
from bus.errors import BusError
from bus.tickets import publish_ticket, withdraw_ticket
from schemas.job import Attempt, Record, State
from schemas.lifecycle import Action
from schemas.worker import Command, Stop
from services.scheduler.fold import Fold
from services.scheduler.transitions import Step

log = logging.getLogger(__name__)


class Effects:
    """Carries out actions. One that fails is logged: the record says what is still to be done."""

    def __init__(self, bus: Bus, fold: Fold, wake: Callable[[str], None]) -> None:
        """``wake`` is called with a pool in which jobs may go now."""
        self._bus = bus
        self._fold = fold
        self._wake = wake

    async def follow(self, step: Step) -> None:
        for action in step.actions:
            try:
                await self._do(action, step.record)
            except BusError as error:
                log.warning("%s: %s after %s: %s", step.record.id, action, step.fact, error)

    async def _do(self, action: Action, record: Record) -> None:
        match action:
            case Action.RELEASE:
                self._wake(record.spec.pool)
            case Action.PUBLISH_TICKET:
                await self.publish(record)
            case Action.WITHDRAW_TICKET:
                await withdraw_ticket(self._bus, record.spec.pool, record.id)
            case Action.STOP:
                await self._stop(record)
            case Action.TIDY:
                pass  # Steps does it when there is time.
            case _:
                assert_never(action)

    async def publish(self, record: Record) -> bool:
        """The ticket of a queued job; whether it was missing."""
        assert record.class_name is not None
        missing = await publish_ticket(self._bus, record.spec.pool, record.class_name, record.id)
        if self._fold.get(record.id) is None:  # it was cancelled meanwhile
            await withdraw_ticket(self._bus, record.spec.pool, record.id)
        return missing

    async def _stop(self, record: Record) -> None:
        for attempt in record.attempts:
            reason = why_stopped(record, attempt)
            if reason:
                stop = stop_of(record, attempt, reason)
                subject = subjects.command(attempt.worker, "stop")
                await self._bus.publish(subject, Command(stop=(stop,)))


def why_stopped(record: Record, attempt: Attempt) -> str:
    """Why the attempt should not run; empty where it may, or where it has ended by itself."""
    if attempt.number == record.attempt:
        return "cancelled" if record.state is State.CANCELLING else ""
    return "preempted" if attempt.number == record.attempts[-1].number else ""


def stop_of(record: Record, attempt: Attempt, reason: str) -> Stop:
    return Stop(job=record.id, attempt=attempt.number, grace=record.spec.grace, reason=reason)
