"""What is installed in an attempt's environment, and does its record name it?"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from agent.reports import Reporter
from agent.runtimes.protocol import Prepared
from bus import subjects
from bus.connection import Bus
from bus.errors import BusError, Refused
from schemas.message import Empty
from schemas.packages import KeepPackages, bounded, digest_of, packed
from schemas.worker import Grant, Report

log = logging.getLogger(__name__)

END_WAITS = 5.0
"""Seconds that an end waits for the list of an image that was never looked into before."""
TRIES = 2
AWAY_SECONDS = 60.0
REMEMBERED = 1024


@dataclass
class Kept:
    """Digests of lists that the service has; of one agent."""

    known: OrderedDict[str, None] = field(default_factory=OrderedDict)
    away_until: float = 0.0
    """Monotonic seconds until which nobody is asked: no end waits for who does not answer."""

    def add(self, digest: str) -> None:
        self.known[digest] = None
        while len(self.known) > REMEMBERED:
            self.known.popitem(last=False)


class PackageList:
    """Of one attempt. Nothing that goes wrong here costs a job anything."""

    def __init__(self, bus: Bus, worker: str, kept: Kept, reporter: Reporter) -> None:
        self._bus = bus
        self._subject = subjects.request("environments", "packages", worker)
        self._kept = kept
        self._reporter = reporter
        self._learning: asyncio.Task[None] | None = None

    def begin(self, tasks: asyncio.TaskGroup, grant: Grant, prepared: Prepared) -> None:
        """The reports name the environment from now on, and its packages once they are known."""
        self._reporter.environment = prepared.environment
        if prepared.packages is not None:
            self._learning = tasks.create_task(self._learn(grant, prepared))

    async def _learn(self, grant: Grant, prepared: Prepared) -> None:
        assert prepared.packages is not None
        try:
            text = bounded(await prepared.packages())
            digest = digest_of(text)
            if text and await self._keep(grant, digest, text):
                update = {"packages": digest}
                self._reporter.environment = prepared.environment.model_copy(update=update)
        except Exception:
            log.exception("the packages of %s", grant.job)

    async def _keep(self, grant: Grant, digest: str, text: str) -> bool:
        if digest in self._kept.known:
            return True
        if time.monotonic() < self._kept.away_until:
            return False
        told = KeepPackages(
            job=grant.job, attempt=grant.attempt, nonce=grant.nonce, packed=packed(text)
        )
        try:
            await self._bus.request(self._subject, told, Empty, attempts=TRIES)
        except BusError as error:
            log.info("the packages of %s are not kept: %s", grant.job, error)
            if not isinstance(error, Refused):
                self._kept.away_until = time.monotonic() + AWAY_SECONDS
            return False
        self._kept.add(digest)
        return True

    async def named_in(self, report: Report) -> Report:
        """The end, which waits a little for a list that is on its way."""
        if self._learning is not None:
            await asyncio.wait((self._learning,), timeout=END_WAITS)
            self._learning.cancel()
        if report.environment is None or self._reporter.environment is None:
            return report
        return report.model_copy(update={"environment": self._reporter.environment})
