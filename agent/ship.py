"""How does an attempt's log get from its spool onto the bus?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from pathlib import Path

from agent.spool import Piece, SpoolReader, trim
from bus import subjects
from bus.connection import Bus
from bus.errors import BusError, StoreFull
from bus.logs import MESSAGE_BYTES, Fenced, LogWriter
from schemas.log import LogChunk, Span
from schemas.requests import LogEnd, LogPosition

log = logging.getLogger(__name__)

PACE = 0.025
"""Seconds between two small messages of a program that prints all the time."""
BIG = 64 << 10
"""A message of this size is followed by the next one at once."""
PAUSE_MOST = 5.0
"""Most seconds between two tries while the bus is away or full."""
FENCED_MOST = 5
"""Times in a row that another writer was in the way: then this attempt is superseded."""
TRIM_EVERY = 32 << 20


class Shipper:
    """One rank's log, in order, one message in flight; resumes where the stored log ends."""

    def __init__(
        self, bus: Bus, job: str, attempt: int, worker: str, spool: Path, *, resume: bool
    ) -> None:
        self._bus = bus
        self._position = LogPosition(job=job, attempt=attempt, rank=0)
        self._name = f"{job}.{attempt}"
        self._worker = worker
        self._writer = LogWriter(bus, job, attempt, 0, worker)
        self._spool = spool
        self._reader = SpoolReader(spool)
        self._lost_place = resume
        self._news = asyncio.Event()
        self._final: int | None = None
        self._trimmed = 0
        self.done = asyncio.Event()
        """Set when all is stored, or given up."""

    def news(self) -> None:
        """There may be more in the spool."""
        self._news.set()

    def finish(self, final: int) -> None:
        """The log ends at this offset: no more waiting for others."""
        self._final = final
        self._news.set()

    async def run(self) -> None:
        """Until ``finish`` was called and all is stored."""
        try:
            while not self._finished():
                await self._ship_all()
                if self._final is None:
                    await self._news.wait()
                elif not self._finished():
                    log.error("%s: its spool ends too early", self._spool)
                    break
        except Fenced as error:
            log.warning("%s: its log belongs to another now: %s", self._name, error)
        finally:
            self._reader.close()
            self.done.set()

    def _finished(self) -> bool:
        return self._final is not None and self._reader.offset >= self._final

    async def _ship_all(self) -> None:
        """Until the spool holds no more for now."""
        failures = fenced = 0
        while True:
            self._news.clear()
            try:
                if self._lost_place:
                    await self._find_place()
                piece = self._reader.read(MESSAGE_BYTES)
                if piece is None:
                    return
                await self._writer.publish(self._chunk(piece))
                failures = fenced = 0
            except Fenced:
                self._lost_place = True
                fenced += 1
                if fenced >= FENCED_MOST:
                    raise
            except BusError as error:
                self._lost_place = True
                failures += 1
                await self._pause(failures, error)
            else:
                await self._after(piece)

    async def _after(self, piece: Piece) -> None:
        if piece.end - self._trimmed >= TRIM_EVERY:
            self._trimmed = piece.end
            await self._trim()
        if len(piece.data) < BIG and self._final is None:
            await self._breathe()

    async def _breathe(self) -> None:
        """A steady trickle becomes one message every ``PACE`` seconds; its end is sent at once."""
        deadline = asyncio.get_running_loop().time() + PACE
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while self._final is None:
                    await self._news.wait()
                    self._news.clear()
        self._news.set()

    async def _find_place(self) -> None:
        """Asks where the stored log ends; goes on there."""
        end = await self.stored()
        self._writer.resume(end)
        self._reader.close()
        self._reader = SpoolReader(self._spool, end.offset)
        self._lost_place = False

    async def stored(self) -> LogEnd:
        """Where the stored log ends. Raises ``BusError``."""
        subject = subjects.request("archive", "position", self._worker)
        return await self._bus.request(subject, self._position, LogEnd)

    async def _trim(self) -> None:
        """What the archive holds need not lie here."""
        with contextlib.suppress(BusError):
            trim(self._spool, (await self.stored()).sealed)

    async def _pause(self, failures: int, error: BusError) -> None:
        if failures == 1:
            why = "is full" if isinstance(error, StoreFull) else "does not answer"
            log.warning("%s: the store of logs %s: %s", self._name, why, error)
        await asyncio.sleep(min(PAUSE_MOST, 0.05 * 2**failures) * (0.5 + random.random()))

    def _chunk(self, piece: Piece) -> LogChunk:
        spans = tuple(Span(stream, length) for stream, length in piece.spans)
        return LogChunk(self._position.attempt, 0, piece.offset, piece.time, spans, piece.data)
