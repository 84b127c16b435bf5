"""How is a log sealed: from the stream into compressed blocks, with nothing lost in between?

Blocks first, then the index (by compare-and-set), then the trim: a crash anywhere leaves a log that
reads the same, and another run finishes the work.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass, field

from bus import subjects
from bus.blocks import pack_block
from bus.connection import Bus
from bus.errors import Conflict, NotFound
from bus.follow import Delivery, follow, stored_time
from bus.sealed import LogArchive, StoredIndex
from schemas.log import LogChunk, LogIndex, Sealed, read_log
from services.archive.effort import Effort
from services.archive.rows import RowRound, RowSealer

log = logging.getLogger(__name__)

BLOCK = 4 << 20
"""Bytes of one block before compression."""
BLOCK_CHUNKS = 16_384
"""Most messages of one block: tiny ones weigh more in memory than their bytes."""
ROUND = 8
"""Blocks after which the index is written and the stream trimmed."""
BATCH = 16
"""Messages asked for at one time; each has up to 512 KiB."""


@dataclass(frozen=True)
class Rank:
    """Names one log."""

    job: str
    attempt: int
    rank: int
    worker: str

    @property
    def name(self) -> tuple[str, int, int]:
        return self.job, self.attempt, self.rank

    @property
    def subject(self) -> str:
        return subjects.log(self.job, self.attempt, self.rank, self.worker)


@dataclass(frozen=True)
class Last:
    """The last message of a log in the stream."""

    end: int
    """Offset behind it; 0 where it cannot be read."""
    sequence: int
    time: float
    """Unix seconds at which it was stored."""


@dataclass
class Round:
    """What one round has read and sealed."""

    offset: int
    sequence: int = 0
    """Of the last message that was read."""
    blocks: list[Sealed] = field(default_factory=list)
    more: bool = False
    """Whether the stream held more than one round takes."""
    rows: RowRound = field(default_factory=RowRound)

    @property
    def objects(self) -> tuple[str, ...]:
        blocks = tuple(block.object for block in self.blocks if block.object)
        return (*blocks, *self.rows.objects)


class Sealer:
    """Seals one log at a time; any number of them side by side."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._archive = LogArchive(bus)
        self._effort = Effort()

    async def index(self, rank: Rank) -> LogIndex | None:
        stored = await self._archive.index(*rank.name)
        return stored.index if stored else None

    async def seal(self, rank: Rank, final: int | None) -> LogIndex:
        """Seals what is stored; the index as this run left it.

        With ``final`` the log is complete there, gap or not; what came later is appended all the
        same. Where another replica was faster, the index is an older one.
        """
        stored = await self._archive.index(*rank.name)
        stored = stored or StoredIndex(LogIndex(worker=rank.worker), 0)
        if stored.index.complete:
            final = stored.index.final
        rows = RowSealer(self._archive, rank.name)
        while True:
            done = await self._round(rank, stored.index, final is not None, rows)
            index = grown(stored.index, done, final)
            if index != stored.index:
                written = await self._write(rank, StoredIndex(index, stored.revision), done)
                if written is None:
                    return stored.index
                await self._archive.drop(set(stored.index.objects) - set(index.objects))
                stored = written
            await self._trim(rank, done.sequence, index.complete)
            if not done.more:
                return index

    async def _write(self, rank: Rank, index: StoredIndex, done: Round) -> StoredIndex | None:
        """None where another replica was faster: what this one stored is of no use then."""
        try:
            return await self._archive.write_index(*rank.name, index)
        except Conflict:
            log.info("%s: another replica sealed it", rank.subject)
            await self._archive.drop(done.objects)
            return None

    async def _round(self, rank: Rank, index: LogIndex, ends: bool, rows: RowSealer) -> Round:
        """One block is read while the one before it is stored."""
        done = Round(index.end)
        adding: list[asyncio.Task[Sealed]] = []
        try:
            async with (
                asyncio.TaskGroup() as tasks,
                contextlib.aclosing(self._read(rank, done)) as read,
            ):
                async for chunks, whole in read:
                    if adding:
                        await adding[-1]
                    alone = ends and not (index.blocks or adding or whole)
                    painting = rows.add(index, chunks)
                    adding.append(tasks.create_task(self._add(rank, chunks, alone, painting)))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        done.blocks = [block.result() for block in adding]
        done.rows = await rows.finish()
        return done

    async def _read(self, rank: Rank, done: Round) -> AsyncGenerator[tuple[list[LogChunk], bool]]:
        """What makes a block each, at most ``ROUND`` times, and whether it is a whole one."""
        chunks: list[LogChunk] = []
        size = blocks = 0
        stream = follow(self._bus, "LOGS", rank.subject, stop_at_end=True, batch=BATCH)
        async with contextlib.aclosing(stream) as deliveries:
            async for delivery in deliveries:
                done.sequence = delivery.sequence
                chunk = readable(rank, delivery)
                if chunk is None or chunk.end <= done.offset:
                    continue
                chunks.append(chunk.after(done.offset))
                done.offset = chunk.end
                size += len(chunks[-1].data)
                if size >= BLOCK or len(chunks) >= BLOCK_CHUNKS:
                    blocks += 1
                    done.more = blocks == ROUND and delivery.pending > 0
                    yield chunks, True
                    if blocks == ROUND:
                        return
                    chunks, size = [], 0
        if chunks:
            yield chunks, False

    async def _add(
        self,
        rank: Rank,
        chunks: list[LogChunk],
        inline: bool,
        painting: Coroutine[None, None, None],
    ) -> Sealed:
        """Stores the block while its rows are painted."""
        try:
            async with asyncio.TaskGroup() as tasks:
                block = tasks.create_task(self._block(rank, chunks, inline))
                tasks.create_task(painting)
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return block.result()

    async def _block(self, rank: Rank, chunks: list[LogChunk], inline: bool) -> Sealed:
        size = chunks[-1].end - chunks[0].offset
        level = self._effort.level(whole=size >= BLOCK or len(chunks) >= BLOCK_CHUNKS)
        data, seconds = await asyncio.to_thread(packed, chunks, level)
        self._effort.took(level, seconds)
        return await self._archive.write_block(rank.name, chunks, data, inline)

    async def _trim(self, rank: Rank, sequence: int, complete: bool) -> None:
        """Up to ``sequence``, which stays itself: a purge of all would reset the writer's fence.

        Of a complete log it goes, too, since nobody writes there any more.
        """
        if sequence:
            body = {"filter": rank.subject, "seq": sequence + 1 if complete else sequence}
            await self._bus.api("STREAM.PURGE.LOGS", body)


def packed(chunks: list[LogChunk], level: int) -> tuple[bytes, float]:
    """The block, and the seconds of a processor that it took."""
    begun = time.thread_time()
    return pack_block(chunks, level), time.thread_time() - begun


def grown(index: LogIndex, done: Round, final: int | None) -> LogIndex:
    return index.model_copy(
        update={
            "blocks": (*index.blocks, *done.blocks),
            "complete": index.complete or (final is not None and not done.more),
            "final": max(done.offset, final or 0),
            "rows": done.rows.behind(index.rows),
            "screen": done.rows.screen or index.screen,
        }
    )


def readable(rank: Rank, delivery: Delivery) -> LogChunk | None:
    """None for what a reader would leave out, too."""
    try:
        return read_log(rank.attempt, rank.rank, delivery.headers, delivery.data)
    except (KeyError, ValueError) as error:
        log.warning("%s: a log message cannot be read: %s", delivery.subject, error)
        return None


async def last_message(bus: Bus, rank: Rank) -> Last | None:
    try:
        answer = await bus.api("STREAM.MSG.GET.LOGS", {"last_by_subj": rank.subject})
    except NotFound:
        return None
    message = answer["message"]
    sequence, time = int(message["seq"]), stored_time(message)
    headers = parse_headers(base64.b64decode(message.get("hdrs", "")))
    data = base64.b64decode(message.get("data", ""))
    chunk = readable(rank, Delivery(rank.subject, sequence, headers, data, 0, time))
    return Last(chunk.end if chunk else 0, sequence, time)


def parse_headers(raw: bytes) -> dict[str, str]:
    """NATS headers as JetStream stores them: ``NATS/1.0`` and lines of ``Name: value``."""
    headers = {}
    for line in raw.decode("utf-8", "replace").split("\r\n")[1:]:
        name, separator, value = line.partition(":")
        if separator:
            headers[name] = value.strip()
    return headers
