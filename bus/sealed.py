"""What is sealed of the logs, and how does it lie in the bucket ``logs``?"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import zstandard

from bus.blocks import unpack_block
from bus.clock import server_time
from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import Corrupt, NotFound
from bus.objects import Objects
from bus.row_blocks import describe, pack_runs, plain_run, unpack_runs
from bus.screen import Screen, Settled
from schemas.log import LogChunk, LogIndex, Sealed, SealedRows, SealedScreen

log = logging.getLogger(__name__)

T = TypeVar("T")

INLINE = 32 * 1024
"""Bytes of a block that lies in the index itself."""
ROWS_INLINE = 512
"""Bytes of painted rows that lie in the index itself: there may be some for each block."""
FEW = 8
"""Chunks of an object that are asked for one by one: that is sooner than making a consumer."""
TRIES = 4
"""How often an object is read that came broken, or an index that is replaced meanwhile."""
PAUSE = 0.05
"""Seconds between two tries."""


def index_name(job: str, attempt: int, rank: int) -> str:
    return f"{job}.{attempt}.{rank}"


@dataclass(frozen=True)
class StoredIndex:
    """An index and the revision that its next write must expect."""

    index: LogIndex
    revision: int


class LogArchive:
    """The sealed part of logs: blocks and an index for each rank, in the bucket ``logs``."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._objects = Objects(bus)

    async def index(self, job: str, attempt: int, rank: int) -> StoredIndex | None:
        """Raises ``Corrupt``."""
        name = index_name(job, attempt, rank)
        return await again(name, lambda: self._index(name))

    async def _index(self, name: str) -> StoredIndex | None:
        info = await self._objects.find("logs", name)
        if info is None:
            return None
        data = await self._objects.read(info)
        return StoredIndex(decode(LogIndex, data, None), info.revision)

    async def revision(self, job: str, attempt: int, rank: int) -> int:
        """Of the index; 0 where there is none."""
        info = await self._objects.find("logs", index_name(job, attempt, rank))
        return info.revision if info else 0

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
        self, name: tuple[str, int, int], chunks: list[LogChunk], data: bytes, inline: bool
    ) -> Sealed:
        """``data`` is what ``pack_block`` made of them.

        With ``inline`` a short block gets no object of its own.
        """
        start = chunks[0].offset
        alone = inline and len(data) <= INLINE
        return Sealed(
            start=start,
            end=chunks[-1].end,
            object="" if alone else await self._store(*name, str(start), data),
            size=len(data),
            data=data if alone else None,
            lines=sum(chunk.data.count(b"\n") for chunk in chunks),
            since=chunks[0].time,
            until=chunks[-1].time,
        )

    async def write_rows(
        self, job: str, attempt: int, rank: int, runs: Sequence[Settled]
    ) -> SealedRows:
        """Rows that are the log's own bytes take nothing: the blocks have them."""
        entry = describe(runs)
        if plain_run(runs):
            return entry
        data = await asyncio.to_thread(pack_runs, runs)
        name = ""
        if len(data) > ROWS_INLINE:
            name = await self._store(job, attempt, rank, f"rows-{entry.first}", data)
        held = {"object": name, "size": len(data), "data": None if name else data}
        return entry.model_copy(update=held)

    async def write_screen(self, job: str, attempt: int, rank: int, screen: Screen) -> SealedScreen:
        data = await asyncio.to_thread(lambda: zstandard.compress(screen.dump(), 3))
        name = ""
        if len(data) > INLINE:
            name = await self._store(job, attempt, rank, f"screen-{screen.end}", data)
        return SealedScreen(
            end=screen.end, object=name, size=len(data), data=None if name else data
        )

    async def _store(self, job: str, attempt: int, rank: int, part: str, data: bytes) -> str:
        """The name of the object, which nothing names yet."""
        name = f"{index_name(job, attempt, rank)}.{part}.{secrets.token_hex(4)}"
        await self._objects.put("logs", name, once(data), expected=0)
        return name

    async def forget(self, job: str, attempt: int, rank: int, why: str) -> bool:
        """Deletes the blocks of a complete log; its index stays and says why.

        False where there is nothing to delete. Raises ``Conflict`` where somebody else writes. One
        that dies on the way leaves blocks that ``sweep`` frees.
        """
        stored = await self.index(job, attempt, rank)
        if stored is None or not stored.index.complete or stored.index.deleted:
            return False
        index = stored.index.model_copy(
            update={
                "blocks": (), "rows": (), "screen": None, "final": stored.index.settled,
                "deleted": why,
            }
        )  # fmt: skip
        await self.write_index(job, attempt, rank, StoredIndex(index, stored.revision))
        await self.drop(stored.index.objects)
        return True

    async def drop(self, names: Iterable[str]) -> None:
        for name in names:
            await self._objects.delete("logs", name)

    async def sweep(self, age: float) -> int:
        """Frees what an archive that was killed had not named yet, once it is that old."""
        now = await server_time(self._bus, "OBJ_logs")
        freed = await self._objects.sweep("logs", age)
        blocks: dict[str, list[str]] = {}
        async for info in self._objects.list("logs"):
            name = info.name.rsplit(".", 2)[0]
            if name.count(".") == 2 and info.modified < now - age:
                blocks.setdefault(name, []).append(info.name)
        for name, objects in blocks.items():
            job, attempt, rank = name.split(".")
            stored = await self.index(job, int(attempt), int(rank))
            named = set(stored.index.objects) if stored else set()
            for orphan in set(objects) - named:
                await self._objects.delete("logs", orphan)
                freed += 1
        return freed

    async def read(
        self, attempt: int, rank: int, index: LogIndex, offset: int
    ) -> AsyncGenerator[LogChunk, None]:
        """The sealed chunks behind ``offset``; a block that is lost is left out."""
        for block in index.blocks:
            if block.end <= offset:
                continue
            for chunk in await self.chunks(attempt, rank, block):
                if chunk.end > offset:
                    yield chunk.after(offset)

    async def chunks(self, attempt: int, rank: int, block: Sealed) -> list[LogChunk]:
        """What one block holds; nothing where it is lost."""
        try:
            data = await self._held(block)
            return await asyncio.to_thread(unpack_block, attempt, rank, data)
        except (NotFound, Corrupt) as error:
            log.error("a sealed block is lost: %s", error)
            return []

    async def runs(self, entry: SealedRows) -> list[Settled]:
        """Raises ``NotFound`` and ``Corrupt``."""
        return await asyncio.to_thread(unpack_runs, entry.first, await self._held(entry))

    async def screen(self, sealed: SealedScreen) -> Screen:
        """Raises ``NotFound`` and ``Corrupt``."""
        data = await self._held(sealed)
        try:
            return await asyncio.to_thread(lambda: Screen.load(zstandard.decompress(data)))
        except (ValueError, zstandard.ZstdError) as error:
            raise Corrupt(f"a sealed screen cannot be read: {error}") from error

    async def _held(self, one: Sealed | SealedRows | SealedScreen) -> bytes:
        """Raises ``NotFound`` and ``Corrupt``: a connection that broke on the way is neither."""
        if one.data is not None:
            return one.data
        return await again(one.object, lambda: self._object(one.object))

    async def _object(self, name: str) -> bytes:
        info = await self._objects.info("logs", name)
        if info.chunks <= FEW:
            return await self._objects.read(info)
        return b"".join([chunk async for chunk in self._objects.get("logs", name)])


async def again(name: str, read: Callable[[], Awaitable[T]]) -> T:
    """What ``read`` gives, which is asked a few times while it raises ``Corrupt``."""
    for left in reversed(range(TRIES)):
        try:
            return await read()
        except Corrupt as error:
            if not left:
                raise
            log.info("%s is read again: %s", name, error)
        await asyncio.sleep(PAUSE)
    raise AssertionError("the last try raises")


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data
