"""Where in a log is a line, a time, or the start of its last lines?

Found by the archive's index, whose blocks know their lines and times: one block is read, and what
lies in the stream yet, never the whole log. Lines are counted as bytes of the log have them: a line
ends with a newline, whatever stream it belongs to.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from bus import subjects
from bus.connection import Bus
from bus.follow import follow
from bus.sealed import LogArchive
from schemas.job import Attempt, Record
from schemas.log import LogChunk, LogIndex, Sealed, read_log

PART = 4 << 20
"""Bytes of the stream that are looked at as a whole."""


@dataclass(frozen=True)
class Spot:
    """A place in a log."""

    offset: int
    line: int
    """Number of the line that the byte there belongs to, counted from 1."""


@dataclass
class Part:
    """A run of the log that is looked at as a whole: a sealed block, or some of the stream."""

    start: int
    end: int
    lines: int
    """Ends of lines in it."""
    since: float
    until: float
    block: Sealed | None = None
    after: int = 0
    """Of one in the stream: the sequence before its first message."""
    chunks: list[LogChunk] = field(default_factory=list)
    """What it holds, once somebody asked."""


class LogMap:
    """The parts of one stored log, in order, and the search in them."""

    def __init__(self, source: Source, parts: list[Part]) -> None:
        self._source = source
        self._parts = parts

    @property
    def end(self) -> Spot:
        lines = sum(part.lines for part in self._parts)
        return Spot(self._parts[-1].end if self._parts else 0, lines + 1)

    async def of_line(self, number: int) -> Spot:
        """Where that line begins; the end of the log where there are fewer."""
        if number <= 1:
            return Spot(0, 1)
        before = 0
        for part in self._parts:
            if before + part.lines >= number - 1:
                chunks = await self._chunks(part)
                return Spot(after_newlines(chunks, number - 1 - before), number)
            before += part.lines
        return self.end

    async def of_last(self, count: int) -> Spot:
        """Where the last ``count`` lines begin; one without an end yet is a line, too."""
        end = self.end
        whole = not self._parts or await self._ends_with_newline()
        return await self.of_line(max(1, end.line - count + (0 if whole else 1)))

    async def of_time(self, at: float) -> Spot:
        """The first byte that was read at that time or later; the end where none was."""
        before = 0
        for part in self._parts:
            if part.until >= at:
                for chunk in await self._chunks(part):
                    if chunk.time >= at:
                        return Spot(chunk.offset, before + 1)
                    before += chunk.data.count(b"\n")
            else:
                before += part.lines
        return self.end

    async def _ends_with_newline(self) -> bool:
        chunks = await self._chunks(self._parts[-1])
        return not chunks or chunks[-1].data.endswith(b"\n")

    async def _chunks(self, part: Part) -> list[LogChunk]:
        """Kept: the next question is often about the same part."""
        if not part.chunks:
            part.chunks = await self._source.chunks(part)
        return part.chunks


def after_newlines(chunks: list[LogChunk], count: int) -> int:
    """Offset behind the ``count``-th newline of the chunks; they hold as many."""
    for chunk in chunks:
        here = chunk.data.count(b"\n")
        if here < count:
            count -= here
            continue
        at = 0
        for _ in range(count):
            at = chunk.data.index(b"\n", at) + 1
        return chunk.offset + at
    return chunks[-1].end if chunks else 0


async def log_map(
    bus: Bus, record: Record, attempt: Attempt, rank: int, index: LogIndex | None = None
) -> LogMap:
    """Of what is stored now; ``index`` where it was read already. Raises ``BusError``."""
    source = Source(bus, record.id, attempt, rank)
    parts = await source.sealed(index or await source.index())
    return LogMap(source, parts + await source.stored(parts[-1].end if parts else 0))


class Source:
    """Where the parts of one log come from."""

    def __init__(self, bus: Bus, job: str, attempt: Attempt, rank: int) -> None:
        self._bus = bus
        self._archive = LogArchive(bus)
        self._job = job
        self._attempt = attempt.number
        self._rank = rank
        self._subject = subjects.log(job, attempt.number, rank, attempt.worker)

    async def index(self) -> LogIndex | None:
        stored = await self._archive.index(self._job, self._attempt, self._rank)
        return stored.index if stored else None

    async def sealed(self, index: LogIndex | None) -> list[Part]:
        return [await self._part(block) for block in (index.blocks if index else ())]

    async def _part(self, block: Sealed) -> Part:
        """A block that nobody counted is read: archives from before did not."""
        if block.lines is None or block.since is None or block.until is None:
            chunks = await self._archive.chunks(self._attempt, self._rank, block)
            part = part_of(chunks) if chunks else Part(block.start, block.end, 0, 0.0, 0.0)
            part.block = block
            return part
        return Part(block.start, block.end, block.lines, block.since, block.until, block)

    async def stored(self, offset: int) -> list[Part]:
        """What the stream holds behind ``offset``, without keeping the bytes."""
        parts: list[Part] = []
        async for chunk, sequence in self.follow(0, offset):
            lines = chunk.data.count(b"\n")
            if parts and parts[-1].end - parts[-1].start < PART:
                last = parts[-1]
                last.end, last.lines, last.until = chunk.end, last.lines + lines, chunk.time
            else:
                part = Part(chunk.offset, chunk.end, lines, chunk.time, chunk.time)
                part.after = sequence - 1
                parts.append(part)
        return parts

    async def chunks(self, part: Part) -> list[LogChunk]:
        if part.block is not None:
            return await self._archive.chunks(self._attempt, self._rank, part.block)
        found = []
        async for chunk, _ in self.follow(part.after, part.start):
            if chunk.offset >= part.end:
                break
            found.append(chunk)
        return found

    async def follow(self, after: int, offset: int) -> AsyncGenerator[tuple[LogChunk, int], None]:
        """What the stream holds behind a sequence and an offset, each chunk with its sequence."""
        stream = follow(self._bus, "LOGS", self._subject, after=after, stop_at_end=True)
        async with contextlib.aclosing(stream) as deliveries:
            async for delivery in deliveries:
                with contextlib.suppress(KeyError, ValueError):
                    chunk = read_log(self._attempt, self._rank, delivery.headers, delivery.data)
                    if chunk.end > offset:
                        yield chunk.after(offset), delivery.sequence
                        offset = chunk.end


def part_of(chunks: list[LogChunk]) -> Part:
    return Part(
        chunks[0].offset,
        chunks[-1].end,
        sum(chunk.data.count(b"\n") for chunk in chunks),
        chunks[0].time,
        chunks[-1].time,
    )
