"""How does a log get onto the bus, and how is it read back as one sequence?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from bus import subjects
from bus.connection import Bus
from bus.errors import BusError, Conflict
from bus.follow import Delivery, follow
from bus.headers import EXPECTED
from bus.records import Change, Records, read_change
from bus.sealed import LogArchive
from schemas.job import Attempt, Record
from schemas.log import Cursor, LogChunk, LogIndex, log_headers, read_log
from schemas.requests import LogEnd

log = logging.getLogger(__name__)

MESSAGE_BYTES = 512 * 1024
"""Most bytes of one log message."""
PATIENCE = (1.0, 20.0, 1.0)
"""Seconds without news after an attempt's end until the rest of its log is a gap.

After each of them the archive is asked once more whether it has sealed what is missing.
"""
UNTOLD = -1
"""The final offset of an attempt that ended without telling one."""


@dataclass(frozen=True)
class Place:
    """An attempt whose log was read to its end, and how often it had been reinstated by then."""

    attempt: int
    returns: int


def next_attempt(record: Record, read: Place) -> int | None:
    """The attempt whose log is read next; 0 where nothing follows, None where it is open yet.

    One that was reinstated goes on where it was left, also after a successor that made room; such
    a successor is not read any more.
    """
    if record.returns(read.attempt) > read.returns or record.attempt < read.attempt:
        return record.attempt if record.attempt < read.attempt else read.attempt
    numbers = (one.number for one in record.attempts)
    later = (number for number in numbers if read.attempt < number <= record.attempt)
    following = min(later, default=0)
    return following if following or record.state.ended else None


class Fenced(BusError):
    """Somebody else wrote to this log: this writer is not the one any more."""


@dataclass(frozen=True)
class LogGap:
    """Bytes that were printed and could not be kept."""

    attempt: int
    rank: int
    offset: int
    size: int
    why: str = ""
    """Where it is known: the log was deleted, say."""

    @property
    def end(self) -> int:
        return self.offset + self.size


class LogWriter:
    """Writes one rank's log in order, one message in flight, fenced by the last sequence."""

    def __init__(self, bus: Bus, job: str, attempt: int, rank: int, worker: str) -> None:
        self._bus = bus
        self._subject = subjects.log(job, attempt, rank, worker)
        self._sequence = 0

    def resume(self, end: LogEnd) -> None:
        """Goes on behind what is stored already."""
        self._sequence = end.sequence

    async def publish(self, chunk: LogChunk) -> int:
        """Stores the chunk; its sequence.

        Raises ``Fenced``, ``StoreFull``, ``Unanswered`` (ask where the log ends, resume, repeat).
        """
        headers = log_headers(chunk)
        headers[EXPECTED] = str(self._sequence)
        try:
            self._sequence = await self._bus.append(
                self._subject, chunk.data, headers, client=await self._bus.bulk()
            )
        except Conflict as error:
            raise Fenced(f"{self._subject}: {error}") from error
        return self._sequence


async def read_attempt(
    bus: Bus, record: Record, after: Cursor, *, wait: bool, index: LogIndex | None = None
) -> AsyncGenerator[LogChunk | LogGap, None]:
    """The log of one attempt and rank behind ``after``: what is sealed, then the stream, no seam.

    With ``wait`` it goes on until the attempt has ended and its final offset was reached, or did
    not come in time (then a gap says how much is missing). Without, it ends at what is stored.
    Accepts only what the worker that the record names has written. ``index`` is what the archive
    has, where it was read just now.

    A gap in the stream is believed at the last look: the archive may have sealed the bytes and
    trimmed the stream under a slow reader's feet.
    """
    attempt = next((a for a in record.attempts if a.number == after.attempt), None)
    if attempt is None:
        return
    wanted = Wanted(record, attempt, after.rank, wait)
    offset, looks = after.offset, 0
    while True:
        index = index or await sealed_index(bus, wanted)
        async with contextlib.aclosing(sealed_pieces(bus, wanted, index, offset)) as pieces:
            async for piece in pieces:
                offset, looks = piece.end, 0
                yield piece
        if index is not None and index.complete:
            return
        tail = Tail(bus, wanted, offset, PATIENCE[looks])
        async with contextlib.aclosing(tail.pieces()) as pieces:
            async for piece in pieces:
                if isinstance(piece, LogGap) and looks < len(PATIENCE) - 1:
                    looks += 1
                    break
                offset, looks = piece.end, 0
                yield piece
            else:
                if await nothing_sealed_behind(bus, wanted, offset):
                    return
        index = None


async def sealed_index(bus: Bus, wanted: Wanted) -> LogIndex | None:
    stored = await LogArchive(bus).index(wanted.record.id, wanted.attempt.number, wanted.rank)
    return stored.index if stored else None


async def nothing_sealed_behind(bus: Bus, wanted: Wanted, offset: int) -> bool:
    """False where the archive sealed the rest, and trimmed all of it, after it was asked."""
    final = final_offset(wanted.record, wanted.attempt.number, wanted.rank)
    if final is not None and 0 <= final <= offset:
        return True
    index = await sealed_index(bus, wanted)
    return index is None or index.settled <= offset


async def sealed_pieces(
    bus: Bus, wanted: Wanted, index: LogIndex | None, offset: int
) -> AsyncGenerator[LogChunk | LogGap, None]:
    """What is sealed behind ``offset``; of a complete log also the gap at its end."""
    if index is None:
        return
    number = wanted.attempt.number
    chunks = LogArchive(bus).read(number, wanted.rank, index, offset)
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            if chunk.offset > offset:
                yield LogGap(number, wanted.rank, offset, chunk.offset - offset)
            offset = chunk.end
            yield chunk
    if offset < index.settled:
        yield LogGap(number, wanted.rank, offset, index.settled - offset, index.deleted)


@dataclass(frozen=True)
class Wanted:
    """Which log is read, and whether to its end."""

    record: Record
    attempt: Attempt
    rank: int
    wait: bool


class Tail:
    """The part of a rank's log that lies in the stream, up to its end where one waits for it."""

    def __init__(self, bus: Bus, wanted: Wanted, offset: int, late: float) -> None:
        self._bus = bus
        self._job = wanted.record.id
        self._known = len(wanted.record.timeline)
        """Lines of the timeline that are known: a fact with fewer is older than the record."""
        self._attempt = wanted.attempt.number
        self._rank = wanted.rank
        self._wait = wanted.wait
        self._late = late
        self._offset = offset
        self._subject = subjects.log(self._job, self._attempt, self._rank, wanted.attempt.worker)
        self._final = final_offset(wanted.record, self._attempt, self._rank)

    async def pieces(self) -> AsyncGenerator[LogChunk | LogGap, None]:
        if self._wait and self._final is None:
            async with contextlib.aclosing(self._until_end()) as pieces:
                async for piece in pieces:
                    yield piece
        if self._final is None or self._final == UNTOLD or self._offset < self._final:
            async with contextlib.aclosing(self._stored()) as pieces:
                async for piece in pieces:
                    yield piece
        if not self._wait or self._final is None or self._offset >= self._final:
            return
        async with contextlib.aclosing(self._until_end()) as pieces:
            async for piece in pieces:
                yield piece

    async def _stored(self) -> AsyncGenerator[LogChunk | LogGap, None]:
        stream = follow(self._bus, "LOGS", self._subject, stop_at_end=True)
        async with contextlib.aclosing(stream) as deliveries:
            async for delivery in deliveries:
                for piece in self._accept(delivery):
                    yield piece

    async def _until_end(self) -> AsyncGenerator[LogChunk | LogGap, None]:
        """Two sources into one small queue: the log, and the job's facts for its end."""
        news: asyncio.Queue[Delivery | Change | Exception] = asyncio.Queue(16)
        loop = asyncio.get_running_loop()
        readers = [
            loop.create_task(self._pump(news, "LOGS", self._subject)),
            loop.create_task(self._pump(news, "JOBS", subjects.job(self._job))),
        ]
        try:
            while self._final is None or self._offset < self._final:
                try:
                    async with asyncio.timeout(None if self._final is None else self._late):
                        item = await news.get()
                except TimeoutError:
                    yield self._gap(self._final or 0)
                    return
                for piece in self._take(item):
                    yield piece
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    def _take(self, item: Delivery | Change | Exception) -> list[LogChunk | LogGap]:
        match item:
            case Delivery():
                return self._accept(item)
            case Change():
                if self._final is None and len(item.record.timeline) >= self._known:
                    self._final = final_offset(item.record, self._attempt, self._rank)
                return []
            case Exception():
                raise item

    async def _pump(
        self, news: asyncio.Queue[Delivery | Change | Exception], stream: str, subject: str
    ) -> None:
        try:
            # Not the last per subject: the server would stall for as long as a pull stands open on
            # each fact that is purged between the consumer's start and its first delivery.
            deliveries = follow(self._bus, stream, subject, batch=16)
            async with contextlib.aclosing(deliveries):
                async for delivery in deliveries:
                    await news.put(delivery if stream == "LOGS" else read_change(delivery))
        except BusError as error:
            await news.put(error)

    def _accept(self, delivery: Delivery) -> list[LogChunk | LogGap]:
        try:
            chunk = read_log(self._attempt, self._rank, delivery.headers, delivery.data)
        except (KeyError, ValueError) as error:
            log.warning("%s: a log message cannot be read: %s", delivery.subject, error)
            return []
        if chunk.end <= self._offset:
            return []
        pieces: list[LogChunk | LogGap] = []
        if chunk.offset > self._offset:
            pieces.append(self._gap(chunk.offset))
        pieces.append(chunk.after(self._offset))
        self._offset = chunk.end
        return pieces

    def _gap(self, end: int) -> LogGap:
        gap = LogGap(self._attempt, self._rank, self._offset, end - self._offset)
        self._offset = end
        return gap


def final_offset(record: Record, number: int, rank: int) -> int | None:
    """Where the attempt's log ends; None while it runs, ``UNTOLD`` where nobody said.

    A lost attempt never says: what is stored by then is all.
    """
    for attempt in record.attempts:
        if attempt.number == number and attempt.end is not None:
            return attempt.end.log_ends.get(rank, UNTOLD)
    return UNTOLD if record.state.ended or record.attempt > number else None


async def read_job(
    bus: Bus, job: str, after: Cursor | None = None, *, wait: bool
) -> AsyncGenerator[LogChunk | LogGap, None]:
    """The log of a job, attempt after attempt, behind ``after``; raises ``NotFound``.

    With ``wait`` it ends when the job has ended and its last attempt's log is complete.
    """
    record = (await Records(bus).get(job)).record
    number, rank, offset = after or Cursor()
    number = number or min((one.number for one in record.attempts), default=0)
    places: dict[int, int] = {number: offset}
    while True:
        place = Place(number, record.returns(number))
        cursor = Cursor(number, rank, places.get(number, 0))
        async with contextlib.aclosing(read_attempt(bus, record, cursor, wait=wait)) as pieces:
            async for piece in pieces:
                places[number] = piece.end
                yield piece
        record, following = await attempt_after(bus, job, place, wait)
        if not following:
            return
        number = following


async def attempt_after(bus: Bus, job: str, read: Place, wait: bool) -> tuple[Record, int | None]:
    """The newest record and what ``next_attempt`` says of it, once it says something."""
    stored = await Records(bus).get(job)
    following = next_attempt(stored.record, read)
    if following is not None or not wait:
        return stored.record, following
    facts = follow(bus, "JOBS", subjects.job(job), after=stored.sequence, batch=8)
    async with contextlib.aclosing(facts) as deliveries:
        async for delivery in deliveries:
            record = read_change(delivery).record
            following = next_attempt(record, read)
            if following is not None:
                return record, following
    raise AssertionError("following ends only with an error")
