"""How does a worker put what was measured on the bus, and how is it read there?"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from nats.aio.msg import Msg

from bus import subjects
from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import Corrupt
from bus.follow import Delivery
from schemas.metrics import WORKER, Samples, Watch

log = logging.getLogger(__name__)

MESSAGE_ID = "Nats-Msg-Id"
"""What comes again with the same one within two minutes is stored once."""
TIMEOUT = 5.0
"""Seconds that one message may take to be stored."""
WATCH = subjects.request("metrics", "watch")
"""Heard by all replicas, not by one of them."""


class MetricWriter:
    """Publishes the samples of one attempt, or with ``of_worker`` those of a worker itself."""

    def __init__(self, bus: Bus, job: str, attempt: int, worker: str) -> None:
        self._bus = bus
        self._subject = subjects.metric(job, attempt, worker)

    @classmethod
    def of_worker(cls, bus: Bus, worker: str) -> MetricWriter:
        return cls(bus, WORKER, 0, worker)

    async def publish(self, samples: Samples, message_id: str = "") -> None:
        """Stored when it returns; at most ``SAMPLES_POINTS`` of them in one message.

        Where it may be repeated give the same ``message_id`` each time.
        Raises ``StoreFull`` and ``Unanswered``.
        """
        data, headers = encode(samples)
        headers[MESSAGE_ID] = message_id or secrets.token_hex(12)
        await self._bus.append(self._subject, data, headers, timeout=TIMEOUT)


@dataclass(frozen=True, slots=True)
class Place:
    """Whose metrics: an attempt's, or a worker's own."""

    job: str
    part: str
    """The attempt's number; of a worker's own its name, and the job is ``WORKER``."""

    @classmethod
    def of(cls, job: str, attempt: int) -> Place:
        return cls(job, str(attempt))

    @classmethod
    def of_worker(cls, worker: str) -> Place:
        return cls(WORKER, worker)

    @property
    def attempt(self) -> int:
        """0 of a worker's own."""
        return 0 if self.job == WORKER else int(self.part)

    def __str__(self) -> str:
        return f"{self.job}.{self.part}"


def place_of(subject: str) -> tuple[Place, str]:
    """Of a message: the place, and who sent it; raises ``ValueError`` for any other subject."""
    job, attempt, worker = subjects.parse_metric(subject)
    if subject != subjects.metric(job, attempt, worker) or (job == WORKER and attempt):
        raise ValueError(f"{subject} is nobody's")
    if job == WORKER:
        return Place.of_worker(worker), worker
    return Place.of(job, attempt), worker


def read_samples(delivery: Delivery) -> Samples | None:
    """None where it cannot be read."""
    try:
        return decode(Samples, delivery.data, delivery.headers)
    except Corrupt as error:
        log.warning("%s: samples that cannot be read: %s", delivery.subject, error)
        return None


async def watch(bus: Bus, job: str) -> None:
    """Says that somebody looks at that job now: its numbers are taken in sooner for some time."""
    await bus.publish(WATCH, Watch(job=job))


@contextlib.asynccontextmanager
async def watches(bus: Bus, on_watch: Callable[[str], None]) -> AsyncIterator[None]:
    """Calls back with the job of each ``watch`` for as long as the context lasts."""

    async def heard(message: Msg) -> None:
        try:
            on_watch(decode(Watch, message.data, dict(message.headers or {})).job)
        except Corrupt as error:
            log.info("a nudge that cannot be read: %s", error)

    async with bus.subscribe(WATCH, heard):
        yield
