"""What do the attempts of an agent use, and its machine? Looked at every few seconds, and told.

Nothing waits for it. While nobody takes the samples they are kept, as many as an hour has, and the
oldest go first, with a count.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agent import gpus as graphics
from agent.machine_usage import machine_usage
from agent.runtimes.usage import Meter, Series, Usage, series_between
from bus.connection import Bus
from bus.errors import BusError
from bus.metrics import MetricWriter
from schemas.metrics import Column, Samples, Source

log = logging.getLogger(__name__)

EVERY = 5.0
KEPT = 720
"""Samples of one attempt that wait: an hour's."""
SENT_AT_ONCE = 120
"""In one message."""
KEPT_OVER = 200
"""Attempts that are over and have samples left to be sent, at most; the oldest go first."""

Key = tuple[str, int]
"""Job and attempt."""


@dataclass(frozen=True, slots=True)
class Sample:
    """All series at one moment."""

    step: int
    """Whole seconds since the program began; of a machine since 1970."""
    at: float
    """Unix seconds."""
    values: Series


class Outbox:
    """Samples of one attempt, or of the machine, on their way."""

    def __init__(self, writer: MetricWriter) -> None:
        self._writer = writer
        self._waiting: deque[Sample] = deque()
        self._flying: tuple[Samples, str] | None = None
        """Repeated as it is until somebody says that it is stored."""
        self._dropped = 0

    def add(self, sample: Sample) -> None:
        self._waiting.append(sample)
        if len(self._waiting) > KEPT:
            self._dropped += len(self._waiting.popleft().values)

    @property
    def empty(self) -> bool:
        """Whether all is stored."""
        return not (self._flying or self._waiting)

    async def send(self) -> None:
        """What waits; what nobody takes goes on waiting."""
        try:
            while self._flying or self._waiting:
                samples, id = self._flying = self._flying or (self._next(), secrets.token_hex(12))
                await self._writer.publish(samples, id)
                self._flying = None
        except BusError as error:
            log.debug("samples wait: %s", error)

    def _next(self) -> Samples:
        some = [self._waiting.popleft() for _ in range(min(SENT_AT_ONCE, len(self._waiting)))]
        dropped, self._dropped = self._dropped, 0
        return packed(some, dropped)


def packed(samples: Iterable[Sample], left_out: int = 0) -> Samples:
    rows: dict[str, list[tuple[int, float, float]]] = {}
    for sample in samples:
        for name, value in sample.values.items():
            rows.setdefault(name, []).append((sample.step, sample.at, value))
    columns = {name: Column.of(points) for name, points in rows.items()}
    return Samples(source=Source.MACHINE, columns=columns, left_out=left_out)


@dataclass(frozen=True)
class Running:
    """An attempt whose program runs."""

    key: Key
    started_at: float
    meter: Callable[[], Meter | None]
    """Blocking; None where it cannot be measured."""


@dataclass
class Watched:
    """An attempt, or the machine, between two looks."""

    outbox: Outbox
    meter: Meter | None = None
    last: Usage | None = None
    looks: int = 0


@dataclass
class Looked:
    """What one round found."""

    gpus: list[graphics.Gpu] = field(default_factory=list)
    machine: Usage | None = None
    attempts: dict[Key, Usage] = field(default_factory=dict)


class MachineSamples:
    """Of one agent."""

    def __init__(self, bus: Bus, worker: str, running: Callable[[], list[Running]]) -> None:
        self._bus = bus
        self._worker = worker
        self._running = running
        self._watched: dict[Key, Watched] = {}
        self._over: deque[Outbox] = deque()
        """Of attempts that are over, until they are empty."""
        self._lost = 0
        """How many of them were not."""
        self._machine = Watched(Outbox(MetricWriter.of_worker(bus, worker)))
        self._gpus: graphics.Gpus | None = None

    async def run(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                await self.round()
            except Exception:
                log.exception("measuring")
            await asyncio.sleep(max(0.0, begun + EVERY - time.monotonic()))

    async def round(self) -> None:
        """One look at everything, and what it found told."""
        running = {one.key: one for one in self._running()}
        for key in self._watched.keys() - running.keys():
            self._keep_over(self._watched.pop(key).outbox)
        for key in running.keys() - self._watched.keys():
            self._watched[key] = Watched(Outbox(MetricWriter(self._bus, *key, self._worker)))
        looked = await asyncio.to_thread(self._look, running)
        now = time.time()
        self._note(self._machine, looked.machine, int(now), graphics.of_machine(looked.gpus))
        for key, usage in looked.attempts.items():
            watched, step = self._watched[key], max(0, int(now - running[key].started_at))
            self._note(watched, usage, step, graphics.of_processes(looked.gpus, usage.pids))
        every = (self._machine, *self._watched.values())
        outboxes = (*(one.outbox for one in every), *self._over)
        await asyncio.gather(*(outbox.send() for outbox in outboxes))
        self._over = deque(outbox for outbox in self._over if not outbox.empty)

    def _keep_over(self, outbox: Outbox) -> None:
        self._over.append(outbox)
        if len(self._over) > KEPT_OVER:
            self._over.popleft()
            self._lost += 1
            log.warning("the last samples of %d ended attempts were not sent", self._lost)

    def _look(self, running: dict[Key, Running]) -> Looked:
        """In a thread: files of the kernel, a few for each attempt."""
        self._gpus = self._gpus or graphics.Gpus()
        found = Looked(self._gpus.read(), machine_usage())
        for key, one in running.items():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if usage := self._measured(self._watched[key], one):
                    found.attempts[key] = usage
        return found

    def _measured(self, watched: Watched, one: Running) -> Usage | None:
        """Where there is nothing to look at, it is not looked for every time."""
        watched.looks += 1
        if watched.meter is None and is_due(watched.looks):
            watched.meter = one.meter()
        usage = watched.meter.read() if watched.meter else None
        if usage is None:
            watched.meter = None
        else:
            watched.looks = 0
        return usage

    def _note(self, watched: Watched, now: Usage | None, step: int, more: Series) -> None:
        before, watched.last = watched.last, now
        if now is not None:
            values = series_between(before, now) if before else {"memory": float(now.memory)}
            watched.outbox.add(Sample(step, time.time(), {**values, **more}))


def is_due(look: int) -> bool:
    """The first ones, and then ever more seldom: 1, 2, 4, 8 … up to every 64th. Pure."""
    return look % 64 == 0 or look & (look - 1) == 0
