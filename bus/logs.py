"""How does a log get onto the bus, and how is it read back as one sequence?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

import msgpack
import zstandard

from bus import subjects
from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import BusError, Conflict, Corrupt
from bus.follow import Delivery, follow
from bus.objects import Objects
from bus.records import EXPECTED, Change, Records, read_change
from schemas.job import Record
from schemas.log import (
    Cursor,
    LogChunk,
    LogIndex,
    Sealed,
    Span,
    Stream,
    log_headers,
    read_log,
)
from schemas.requests import LogEnd

log = logging.getLogger(__name__)

MESSAGE_BYTES = 512 * 1024
"""Most bytes of one log message."""
LATE = 20.0
"""Seconds after an attempt's end in which the rest of its log may still come."""
UNTOLD = -1
"""The final offset of an attempt that ended without telling one."""


class Fenced(BusError):
    """Somebody else wrote to this log: this writer is not the one any more."""


@dataclass(frozen=True)
class LogGap:
    """Bytes that were printed and could not be kept."""

    attempt: int
    rank: int
    offset: int
    size: int


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
            self._sequence = await self._bus.append(self._subject, chunk.data, headers)
        except Conflict as error:
            raise Fenced(f"{self._subject}: {error}") from error
        return self._sequence


def index_name(job: str, attempt: int, rank: int) -> str:
    return f"{job}.{attempt}.{rank}"


def pack_block(chunks: list[LogChunk]) -> bytes:
    """Chunks of one rank, compressed; ``unpack_block`` is its inverse."""
    rows = [
        (chunk.offset, chunk.time, [(s.stream.value, s.length) for s in chunk.spans], chunk.data)
        for chunk in chunks
    ]
    packed: bytes = zstandard.compress(msgpack.packb(rows), 3)
    return packed


def unpack_block(attempt: int, rank: int, data: bytes) -> list[LogChunk]:
    """Raises ``Corrupt``."""
    try:
        rows = msgpack.unpackb(zstandard.decompress(data))
        return [
            LogChunk(attempt, rank, offset, at, tuple(Span(Stream(s), n) for s, n in spans), body)
            for offset, at, spans, body in rows
        ]
    except (ValueError, zstandard.ZstdError, msgpack.UnpackException) as error:
        raise Corrupt(f"a sealed block cannot be read: {error}") from error


@dataclass(frozen=True)
class StoredIndex:
    """An index and the revision that its next write must expect."""

    index: LogIndex
    revision: int


class LogArchive:
    """The sealed part of logs: blocks and an index for each rank, in the bucket ``logs``."""

    def __init__(self, bus: Bus) -> None:
        self._objects = Objects(bus)

    async def index(self, job: str, attempt: int, rank: int) -> StoredIndex | None:
        info = await self._objects.find("logs", index_name(job, attempt, rank))
        if info is None:
            return None
        return StoredIndex(decode(LogIndex, await self._whole(info.name), None), info.revision)

    async def write_index(
        self, job: str, attempt: int, rank: int, stored: StoredIndex
    ) -> StoredIndex:
        """Raises ``Conflict`` where another replica was faster."""
        info = await self._objects.put(
            "logs",
            index_name(job, attempt, rank),
            once(encode(stored.index)[0]),
            expected=stored.revision,
        )
        return StoredIndex(stored.index, info.revision)

    async def write_block(
        self, job: str, attempt: int, rank: int, chunks: list[LogChunk]
    ) -> Sealed:
        data = await asyncio.to_thread(pack_block, chunks)
        start, end = chunks[0].offset, chunks[-1].cursor.offset
        name = f"{index_name(job, attempt, rank)}.{start}.{secrets.token_hex(4)}"
        await self._objects.put("logs", name, once(data))
        return Sealed(start=start, end=end, object=name, size=len(data))

    async def drop_block(self, block: Sealed) -> None:
        await self._objects.delete("logs", block.object)

    async def read(
        self, attempt: int, rank: int, index: LogIndex, offset: int
    ) -> AsyncGenerator[LogChunk, None]:
        for block in index.blocks:
            if block.end <= offset:
                continue
            data = await self._whole(block.object)
            for chunk in await asyncio.to_thread(unpack_block, attempt, rank, data):
                if chunk.cursor.offset > offset:
                    yield chunk.after(offset)

    async def _whole(self, name: str) -> bytes:
        return b"".join([chunk async for chunk in self._objects.get("logs", name)])


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def read_attempt(
    bus: Bus, record: Record, after: Cursor, *, wait: bool
) -> AsyncGenerator[LogChunk | LogGap, None]:
    """The log of one attempt and rank behind ``after``: what is sealed, then the stream, no seam.

    With ``wait`` it goes on until the attempt has ended and its final offset was reached, or did
    not come in time (then a gap says how much is missing). Without, it ends at what is stored.
    Accepts only what the worker that the record names has written.
    """
    attempt = next((a for a in record.attempts if a.number == after.attempt), None)
    if attempt is None:
        return
    offset = after.offset
    archive = LogArchive(bus)
    stored = await archive.index(record.id, attempt.number, after.rank)
    if stored is not None:
        async for chunk in archive.read(attempt.number, after.rank, stored.index, offset):
            if chunk.offset > offset:
                yield LogGap(attempt.number, after.rank, offset, chunk.offset - offset)
            offset = chunk.cursor.offset
            yield chunk
        if stored.index.complete:
            if offset < stored.index.final:
                rest = stored.index.final - offset
                yield LogGap(attempt.number, after.rank, offset, rest)
            return
    tail = Tail(bus, record, after.rank, attempt.number, attempt.worker, offset, wait)
    async with contextlib.aclosing(tail.pieces()) as pieces:
        async for piece in pieces:
            yield piece


class Tail:
    """The part of a rank's log that lies in the stream, up to its end where one waits for it."""

    def __init__(
        self,
        bus: Bus,
        record: Record,
        rank: int,
        attempt: int,
        worker: str,
        offset: int,
        wait: bool,
    ) -> None:
        self._bus = bus
        self._record = record
        self._rank = rank
        self._attempt = attempt
        self._subject = subjects.log(record.id, attempt, rank, worker)
        self._offset = offset
        self._wait = wait
        self._final: int | None = final_offset(record, attempt, rank)

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
            loop.create_task(self._pump(news, "JOBS", subjects.job(self._record.id))),
        ]
        try:
            while self._final is None or self._offset < self._final:
                try:
                    async with asyncio.timeout(None if self._final is None else LATE):
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
                if self._final is None:
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
        if chunk.cursor.offset <= self._offset:
            return []
        pieces: list[LogChunk | LogGap] = []
        if chunk.offset > self._offset:
            pieces.append(self._gap(chunk.offset))
        pieces.append(chunk.after(self._offset))
        self._offset = chunk.cursor.offset
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
    records = Records(bus)
    cursor = after or Cursor()
    while True:
        stored = await records.get(job)
        record = stored.record
        numbers = [a.number for a in record.attempts if a.number >= cursor.attempt]
        for number in numbers:
            place = cursor if cursor.attempt == number else Cursor(number, cursor.rank, 0)
            async with contextlib.aclosing(read_attempt(bus, record, place, wait=wait)) as pieces:
                async for piece in pieces:
                    yield piece
            cursor = Cursor(number + 1, cursor.rank, 0)
        if not wait:
            return
        after_sequence = stored.sequence
        if record.state.ended:
            return
        if not await next_attempt(bus, job, cursor.attempt, after_sequence):
            return


async def next_attempt(bus: Bus, job: str, number: int, after: int) -> bool:
    """Waits until attempt ``number`` exists; False where the job ended without it."""
    async with contextlib.aclosing(
        follow(bus, "JOBS", subjects.job(job), after=after, batch=8)
    ) as deliveries:
        async for delivery in deliveries:
            record = read_change(delivery).record
            if record.attempt >= max(number, 1):
                return True
            if record.state.ended:
                return False
    return False
