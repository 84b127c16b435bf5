"""How do an attempt's measurements get onto the bus, with nobody waiting for it?

They are collected for a moment and sent in one message, which is acknowledged before the next one
goes. While the bus is away they wait here, within bounds; what comes beyond is counted, and the
next message says how many were left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Callable

from bus.errors import BusError
from bus.metrics import MetricWriter
from schemas.metrics import (
    MOST_PARAMS,
    MOST_SERIES,
    NAME_LENGTH,
    SAMPLES_POINTS,
    TEXT_LENGTH,
    Column,
    Points,
    Samples,
    Source,
)

log = logging.getLogger(__name__)

FULL = (
    f"more is measured than is kept ({MOST_SERIES} series), or than gets through: some points are"
    " left out, and counted"
)

COLLECT = 0.5
"""Seconds between two messages, so that a flood of points is a few of them."""
WAITING_MOST = 400_000
"""Points that may wait: 40 seconds of ten thousand each, ten megabytes."""
SAMPLES_PARAMS = 100
"""Parameters in one message, which holds no points then."""
PAUSE_MOST = 5.0
"""Most seconds between two tries."""
LAST_SECONDS, LEAVING_SECONDS = 60.0, 3.0
"""How long the last messages may take once the program has ended, and when the agent is leaving."""
AGAIN = 0.5
"""Seconds between two tries of those."""


class SampleQueue:
    """Of one attempt and source. ``add``, ``set`` and ``left_out`` never wait."""

    def __init__(
        self, writer: MetricWriter, name: str, source: Source, say: Callable[[str], None]
    ) -> None:
        """``say`` hears the first time that something is left out."""
        self._writer = writer
        self._name = name
        self._say = say
        self._source = source
        self._points: dict[str, Points] = {}
        self._waiting = 0
        """Points that no message has yet."""
        self._next: tuple[Samples, str] | None = None
        """On its way, with the id under which it is sent until it has arrived."""
        self._params: dict[str, str] = {}
        self._left_out = 0
        self._told_left_out = False
        self._news = asyncio.Event()
        self._over = asyncio.Event()

    def add(self, name: str, step: int, time: float, value: float) -> None:
        if self._waiting >= WAITING_MOST:
            self.left_out(1)
            return
        points = self._points.get(name)
        if points is None:
            points = self._points[name] = Points()
        points.add(step, time, value)
        self._waiting += 1
        self._news.set()

    def set(self, name: str, value: str) -> None:
        if name in self._params or len(self._params) < MOST_PARAMS:
            self._params[name[:NAME_LENGTH]] = value[:TEXT_LENGTH]
            self._news.set()

    def left_out(self, points: int) -> None:
        self._left_out += points
        self._news.set()
        if not self._told_left_out:
            self._told_left_out = True
            self._say(FULL)

    def finish(self) -> None:
        """Nothing comes any more: ``run`` ends when all is sent, or soon."""
        self._over.set()
        self._news.set()

    async def run(self) -> None:
        """Until ``finish``; cancelled, it sends once more what there is."""
        try:
            while not self._over.is_set():
                await self._news.wait()
                await self._pause(COLLECT)
                self._news.clear()
                await self._send_all()
        finally:
            await self._send_last()

    async def _send_all(self) -> None:
        failures = 0
        while self._anything and not self._over.is_set():
            try:
                await self._send()
                failures = 0
            except BusError as error:
                failures += 1
                log.info("%s: its measurements wait: %s", self._name, error)
                await self._pause(min(PAUSE_MOST, 0.1 * 2**failures) * (0.5 + random.random()))

    async def _send_last(self) -> None:
        try:
            async with asyncio.timeout(LAST_SECONDS if self._over.is_set() else LEAVING_SECONDS):
                while self._anything:
                    try:
                        await self._send()
                    except BusError:
                        await asyncio.sleep(AGAIN)
        except TimeoutError:
            log.warning("%s: the last of its measurements are lost", self._name)

    @property
    def _anything(self) -> bool:
        return bool(self._next or self._points or self._params or self._left_out)

    async def _send(self) -> None:
        """The next message; the same one as long as it has not arrived. Raises ``BusError``."""
        if self._next is None:
            self._next = self._taken(), secrets.token_hex(12)
        await self._writer.publish(*self._next)
        self._next = None

    def _taken(self) -> Samples:
        left_out, self._left_out = self._left_out, 0
        names = list(self._params)[:SAMPLES_PARAMS]
        params = {name: self._params.pop(name) for name in names}
        room = 0 if params else SAMPLES_POINTS
        columns: dict[str, Column] = {}
        for name in list(self._points):
            points = self._points.pop(name)
            if len(points) > room:
                self._points[name] = points.part(room, len(points))
                points = points.part(0, room)
            if len(points):
                columns[name] = Column.packed(points)
            room -= len(points)
            self._waiting -= len(points)
            if not room:
                break
        return Samples(source=self._source, columns=columns, params=params, left_out=left_out)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()
