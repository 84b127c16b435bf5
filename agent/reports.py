"""How is the scheduler told what an attempt has come to?"""

from __future__ import annotations

import asyncio
import logging
import random
from functools import partial
from typing import Protocol

from agent.runtimes.protocol import Exit
from bus import subjects
from bus.connection import Bus
from bus.errors import BusError
from schemas.job import AttemptEnd, Environment, Fact
from schemas.reason import Reason
from schemas.worker import Grant, Report, ReportAnswer

log = logging.getLogger(__name__)

PAUSE_MOST = 5.0
"""Most seconds between two tries of an end's report."""


class NewReport(Protocol):
    def __call__(
        self,
        *,
        fact: Fact,
        at: float,
        started_at: float | None = None,
        environment: Environment | None = None,
        end: AttemptEnd | None = None,
    ) -> Report: ...


class Reporter:
    """Speaks for one attempt."""

    def __init__(self, bus: Bus, worker: str, grant: Grant) -> None:
        self._bus = bus
        self._subject = subjects.request("scheduler", "report", worker)
        self._name = f"{grant.job}.{grant.attempt}"
        self.environment: Environment | None = None
        self.base: NewReport = partial(
            Report, worker=worker, job=grant.job, attempt=grant.attempt, nonce=grant.nonce
        )

    async def tell(self, fact: Fact, at: float, started_at: float | None) -> ReportAnswer | None:
        """Progress; None where nobody answered: the end says it all again."""
        report = self.base(fact=fact, at=at, started_at=started_at, environment=self.environment)
        try:
            return await self._bus.request(self._subject, report, ReportAnswer)
        except BusError as error:
            log.warning("%s: %s was not confirmed: %s", self._name, fact, error)
            return None

    async def tell_end(self, report: Report) -> ReportAnswer:
        """Repeats until it is answered."""
        failures = 0
        while True:
            try:
                return await self._bus.request(self._subject, report, ReportAnswer)
            except BusError as error:
                failures += 1
                log.warning("%s: its end was not confirmed yet: %s", self._name, error)
            await asyncio.sleep(min(PAUSE_MOST, 0.1 * 2**failures) * (0.5 + random.random()))


def end_report(environment: Environment | None, base: NewReport, exit: Exit) -> Report:
    end = AttemptEnd(
        reason=exit.reason,
        exit_code=exit.code,
        signal=exit.signal,
        detail=exit.detail,
        log_ends={0: exit.log_end},
        peak_memory=exit.peak_memory,
    )
    return base(
        fact=end_fact(end),
        at=exit.ended_at,
        started_at=exit.started_at,
        environment=environment,
        end=end,
    )


def end_fact(end: AttemptEnd) -> Fact:
    if end.succeeded:
        return Fact.SUCCEEDED
    return Fact.CANCELLED if end.reason is Reason.CANCELLED else Fact.FAILED
