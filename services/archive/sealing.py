"""How is a log sealed: from the stream into compressed blocks, with nothing lost in between?

Blocks first, then the index (by compare-and-set), then the trim: a crash anywhere leaves a log that
reads the same, and another run finishes the work.
"""

from __future__ import annotations

import base64
import contextlib
import logging
from dataclasses import dataclass

from bus import subjects
from bus.connection import Bus
from bus.errors import Conflict, NotFound
from bus.follow import follow
from bus.logs import LogArchive, StoredIndex
from schemas.log import LogChunk, LogIndex, Sealed, read_log

log = logging.getLogger(__name__)

BLOCK = 4 << 20
"""Bytes of one block before compression."""


@dataclass(frozen=True)
class Rank:
    """Names one log."""

    job: str
    attempt: int
    rank: int
    worker: str

    @property
    def subject(self) -> str:
        return subjects.log(self.job, self.attempt, self.rank, self.worker)


@dataclass
class Progress:
    """What one run has read and sealed."""

    offset: int
    sequence: int = 0
    """Of the last message that is sealed."""


class Sealer:
    """Seals one log at a time; any number of them side by side."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._archive = LogArchive(bus)

    async def end(self, rank: Rank) -> int:
        """Where the log ends that is stored, sealed or not."""
        stored = await self._archive.index(rank.job, rank.attempt, rank.rank)
        last = await last_chunk(self._bus, rank)
        sealed = stored.index.end if stored else 0
        return max(sealed, last[0].cursor.offset if last else 0)

    async def seal(self, rank: Rank, final: int | None) -> None:
        """Seals what is stored. With ``final`` the log is complete there, gap or not."""
        stored = await self._archive.index(rank.job, rank.attempt, rank.rank)
        if stored is None:
            stored = StoredIndex(LogIndex(worker=rank.worker), 0)
        if stored.index.complete:
            await self._trim(rank, None)
            return
        progress = Progress(stored.index.end)
        blocks = await self._write_blocks(rank, progress)
        index = stored.index.model_copy(
            update={
                "blocks": (*stored.index.blocks, *blocks),
                "complete": final is not None,
                "final": max(progress.offset, final or 0),
            }
        )
        if index == stored.index:
            return
        try:
            await self._archive.write_index(
                rank.job, rank.attempt, rank.rank, StoredIndex(index, stored.revision)
            )
        except Conflict:
            log.info("%s: another replica sealed it", rank.subject)
            for block in blocks:
                await self._archive.drop_block(block)
            return
        await self._trim(rank, None if final is not None else progress.sequence)

    async def _write_blocks(self, rank: Rank, progress: Progress) -> list[Sealed]:
        blocks: list[Sealed] = []
        chunks: list[LogChunk] = []
        size = 0
        stream = follow(self._bus, "LOGS", rank.subject, stop_at_end=True, batch=32)
        async with contextlib.aclosing(stream) as deliveries:
            async for delivery in deliveries:
                chunk = read_log(rank.attempt, rank.rank, delivery.headers, delivery.data)
                progress.sequence = delivery.sequence
                if chunk.cursor.offset <= progress.offset:
                    continue
                chunks.append(chunk.after(progress.offset))
                progress.offset = chunk.cursor.offset
                size += len(chunk.data)
                if size >= BLOCK:
                    blocks.append(await self._block(rank, chunks))
                    chunks, size = [], 0
        if chunks:
            blocks.append(await self._block(rank, chunks))
        return blocks

    async def _block(self, rank: Rank, chunks: list[LogChunk]) -> Sealed:
        return await self._archive.write_block(rank.job, rank.attempt, rank.rank, chunks)

    async def _trim(self, rank: Rank, sequence: int | None) -> None:
        """Up to ``sequence`` but not itself: a purge of all would reset the writer's fence.

        None: everything, since nobody writes there any more.
        """
        body: dict[str, object] = {"filter": rank.subject}
        if sequence is not None:
            body["seq"] = sequence
        if sequence != 0:
            await self._bus.api("STREAM.PURGE.LOGS", body)


async def last_chunk(bus: Bus, rank: Rank) -> tuple[LogChunk, int] | None:
    """The last message of the log in the stream, and its sequence."""
    try:
        answer = await bus.api("STREAM.MSG.GET.LOGS", {"last_by_subj": rank.subject})
    except NotFound:
        return None
    message = answer["message"]
    headers = parse_headers(base64.b64decode(message.get("hdrs", "")))
    data = base64.b64decode(message.get("data", ""))
    return read_log(rank.attempt, rank.rank, headers, data), message["seq"]


def parse_headers(raw: bytes) -> dict[str, str]:
    """NATS headers as JetStream stores them: ``NATS/1.0`` and lines of ``Name: value``."""
    headers = {}
    for line in raw.decode().split("\r\n")[1:]:
        name, separator, value = line.partition(":")
        if separator:
            headers[name] = value.strip()
    return headers
