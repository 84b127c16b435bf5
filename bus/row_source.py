"""Where do the bytes come from that the rows of a log are cut out of?"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Sequence

from bus.connection import Bus
from bus.log_places import Source
from bus.logs import LogGap
from bus.sealed import LogArchive, StoredIndex
from schemas.job import Attempt
from schemas.log import LogChunk, LogIndex, Sealed

KEPT = 4
"""Blocks that stay unpacked: the next question is often about the same ones."""
RECENT = 4 << 20
"""Newest bytes of the stream that stay."""
MARK = 4 << 20
"""Bytes of the stream between two places at which it can be entered."""
LOOKS = 3
"""Times that a log is looked at which is sealed and trimmed meanwhile."""


class Moved(Exception):
    """What the stream held was sealed meanwhile."""


class RawLog:
    """One log by its offsets: the sealed blocks, and what lies in the stream behind them."""

    def __init__(self, bus: Bus, job: str, attempt: Attempt, rank: int) -> None:
        self._key = (job, attempt.number, rank)
        self._archive = LogArchive(bus)
        self._source = Source(bus, job, attempt, rank)
        self._stored: StoredIndex | None = None
        self._starts: list[int] = []
        """Of the sealed blocks."""
        self._unpacked: OrderedDict[int, list[LogChunk]] = OrderedDict()
        self._loading: dict[int, asyncio.Lock] = {}
        self._marks: list[tuple[int, int]] = []
        """Offset of a chunk in the stream, and the sequence before it."""
        self._recent: deque[LogChunk] = deque()
        self._recent_bytes = 0

    @property
    def archive(self) -> LogArchive:
        return self._archive

    @property
    def index(self) -> LogIndex:
        return self._stored.index if self._stored else LogIndex(worker="")

    async def look(self) -> None:
        """What is sealed now. Raises ``Corrupt``."""
        self._stored = await self._archive.index(*self._key)
        self._starts = [block.start for block in self.index.blocks]

    async def sealed_meanwhile(self) -> bool:
        """Whether the index was replaced since the last look."""
        known = self._stored.revision if self._stored else 0
        return await self._archive.revision(*self._key) != known

    # ---- in order

    async def behind(self, offset: int) -> AsyncGenerator[LogChunk | LogGap, None]:
        """All that is stored behind ``offset``; what is missing is told.

        Raises ``Moved`` where the archive took away from the stream what was to be read next: look
        again, and read on.
        """
        _, number, rank = self._key
        start = offset
        async with contextlib.aclosing(self._chunks(offset)) as chunks:
            async for chunk, sequence in chunks:
                if chunk.offset > offset:
                    if sequence and await self.sealed_meanwhile():
                        raise Moved
                    yield LogGap(number, rank, offset, chunk.offset - offset)
                offset = chunk.end
                yield chunk
        if offset < self.index.settled:
            size = self.index.settled - offset
            yield LogGap(number, rank, offset, size, self.index.deleted)
        elif offset == start and await self.sealed_meanwhile():
            raise Moved

    async def _chunks(self, offset: int) -> AsyncGenerator[tuple[LogChunk, int], None]:
        """Each with its sequence; 0 where it is sealed."""
        _, number, rank = self._key
        index = self.index
        async with contextlib.aclosing(self._archive.read(number, rank, index, offset)) as sealed:
            async for chunk in sealed:
                yield chunk, 0
        if index.complete:
            return
        after = max(offset, index.end)
        async with contextlib.aclosing(self._source.follow(0, after)) as stream:
            async for chunk, sequence in stream:
                if not self._marks or chunk.offset >= self._marks[-1][0] + MARK:
                    self._marks.append((chunk.offset, sequence - 1))
                yield chunk, sequence

    def remember(self, chunk: LogChunk) -> None:
        """Of the newest chunks, which were just read."""
        self._recent.append(chunk)
        self._recent_bytes += len(chunk.data)
        while self._recent_bytes > RECENT and len(self._recent) > 1:
            self._recent_bytes -= len(self._recent.popleft().data)

    # ---- anywhere

    async def between(self, start: int, stop: int) -> list[LogChunk]:
        """The chunks that hold these bytes; fewer where some are lost."""
        for left in reversed(range(LOOKS)):
            found = touching(self._recent, start, stop)
            if not covers(found, start, stop):
                found = await self._stored_between(start, stop)
            if covers(found, start, stop) or not left or not await self.sealed_meanwhile():
                return found
            await self.look()
        raise AssertionError("the last look returns")

    async def since(self, at: float, start: int, stop: int) -> int:
        """The first chunk between two offsets that was read at that time or later; ``stop``."""
        for block in self.index.blocks[max(0, bisect_right(self._starts, start) - 1) :]:
            if block.start >= stop:
                return stop
            if block.end > start and (block.until is None or block.until >= at):
                for chunk in touching(await self._block(block), start, stop):
                    if chunk.time >= at:
                        return max(start, chunk.offset)
        for chunk in await self.between(max(start, self.index.end), stop):
            if chunk.time >= at:
                return max(start, chunk.offset)
        return stop

    async def _stored_between(self, start: int, stop: int) -> list[LogChunk]:
        found: list[LogChunk] = []
        blocks = self.index.blocks
        for block in blocks[max(0, bisect_right(self._starts, start) - 1) :]:
            if block.start >= stop:
                break
            if block.end > start:
                found += touching(await self._block(block), start, stop)
        if stop <= self.index.end or self.index.complete:
            return found
        offset = max(start, self.index.end)
        after = max((before for at, before in self._marks if at <= offset), default=0)
        async with contextlib.aclosing(self._source.follow(after, offset)) as stream:
            async for chunk, _ in stream:
                if chunk.offset >= stop:
                    break
                found.append(chunk)
        return found

    async def _block(self, block: Sealed) -> list[LogChunk]:
        async with self._loading.setdefault(block.start, asyncio.Lock()):
            if block.start not in self._unpacked:
                _, number, rank = self._key
                found = await self._archive.chunks(number, rank, block)
                if not found:
                    return []  # Lost, or not to be had right now: the next question asks again.
                self._unpacked[block.start] = found
                if len(self._unpacked) > KEPT:
                    self._unpacked.popitem(last=False)
            self._unpacked.move_to_end(block.start)
            self._loading.pop(block.start, None)
            return self._unpacked[block.start]


def touching(chunks: Sequence[LogChunk] | deque[LogChunk], start: int, stop: int) -> list[LogChunk]:
    return [chunk for chunk in chunks if chunk.end > start and chunk.offset < stop]


def covers(chunks: Sequence[LogChunk], start: int, stop: int) -> bool:
    """Whether the chunks, which are in order, have all those bytes."""
    for chunk in chunks:
        if chunk.offset > start:
            return False
        start = max(start, chunk.end)
    return start >= stop
