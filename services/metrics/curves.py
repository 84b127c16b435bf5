"""How do an attempt's news become part of its index, with nothing lost in between?

Blocks first, then the index by compare-and-set, which also says how far every source was read, then
what is of no use any more. Killed anywhere, the next one goes on from the index.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from bus.clock import ServerClock
from bus.connection import Bus
from bus.errors import Conflict, Corrupt, NotFound
from bus.metric_blocks import Batch, pack, unpack
from bus.metric_store import MetricStore, StoredMetrics
from bus.metrics import Place
from schemas.metric_head import Block, MetricsHead
from services.metrics.config import MetricsConfig
from services.metrics.growing import News, grown
from services.metrics.log_reader import LogReader

log = logging.getLogger(__name__)

BLOCK_POINTS = 20_000
"""In a new block: whatever they are, they fit into one message."""
QUICK = 2_000
"""Points that are packed sooner than a thread is asked to."""
DOUBLE = 2
"""A block is joined with the one before it where that is not so many times as large: each point is
written again a few times, and there are few blocks."""


@dataclass(frozen=True)
class Ways:
    """What every attempt's curves need."""

    bus: Bus
    store: MetricStore
    clock: ServerClock
    config: MetricsConfig


@dataclass
class Read:
    """How far the sources were read."""

    log_offset: int = 0
    heard: int = 0
    heard_at: float = 0.0

    @classmethod
    def of(cls, head: MetricsHead) -> Read:
        return cls(head.log_offset, head.heard, head.heard_at)


class Curves:
    """The index of one attempt, as this replica wrote or read it last."""

    def __init__(self, ways: Ways, place: Place, worker: str) -> None:
        self._ways = ways
        self.place = place
        self.worker = worker
        self._stored: StoredMetrics | None = None
        self._tail: Batch = {}
        self.reader = LogReader()
        self.read = Read()
        """Further than the index says only where the log has no numbers."""
        self._lost_at: float | None = None
        """When another replica was last seen to be faster, by the monotonic clock."""
        self._lost_to = 0
        """The sequence that it had written by then."""

    @property
    def head(self) -> MetricsHead:
        assert self._stored is not None
        return self._stored.head

    async def open(self) -> None:
        """Reads the index where it is not known. Raises ``BusError``."""
        if self._stored is not None:
            return
        stored = await self._get() or StoredMetrics(self.place, MetricsHead(worker=self.worker), 0)
        head = stored.head
        self._tail = self._unpack(head)
        self.reader = LogReader(head.log_state)
        self.read = Read.of(head)
        self._stored = stored

    def _unpack(self, head: MetricsHead) -> Batch:
        try:
            return unpack(head.tail)
        except Corrupt as error:
            log.error("%s: its newest points are lost: %s", self.place, error)
            return {}

    async def _get(self) -> StoredMetrics | None:
        try:
            return await self._ways.store.get(self.place)
        except Corrupt as error:
            log.error("%s: its metrics begin anew: %s", self.place, error)
            await self._ways.store.remove(self.place)
            return None

    async def theirs(self) -> bool:
        """Whether another replica takes this in: it was faster, and has gone on since."""
        if self._lost_at is None:
            return False
        if time.monotonic() - self._lost_at < self._ways.config.theirs_for:
            return True
        stored = await self._get()
        written = stored.sequence if stored else 0
        moved, self._lost_to = written != self._lost_to, written
        self._lost_at = time.monotonic() if moved else None
        return moved

    def forget(self) -> None:
        """The index is read again before anything else is done with it."""
        self._stored = None

    async def save(self, news: News, changed: dict[str, object]) -> bool:
        """Everything that came, how far all was read, and other fields of the index.

        False where another replica was faster: nothing of it is stored then.
        """
        assert self._stored is not None
        head, kept = grown(self.head.model_copy(update=changed), news)
        before, tail = self.head.blocks, joined(self._tail, kept)
        new, old = await self._seal(head, tail) if sum(map(len, tail.values())) else ([], [])
        blocks = tuple(one for one in head.blocks if one not in old) + tuple(new)
        packed = b"" if new else await packed_in_time(tail)
        update = {
            "at": self._ways.clock.now(),
            "blocks": blocks,
            "tail": packed,
            "tail_points": 0 if new else sum(map(len, tail.values())),
            "log_offset": self.read.log_offset,
            "log_state": self.reader.state(),
            "heard": self.read.heard,
            "heard_at": self.read.heard_at,
        }
        try:
            self._stored = await self._ways.store.write(
                self.place, head.model_copy(update=update), self._stored.sequence
            )
        except Conflict:
            await self._lost(new)
            return False
        self._lost_at = None
        self._tail = {} if new else tail
        gone = {one.id for one in before} - {one.id for one in blocks}
        await self._ways.store.drop(self.place, gone)
        return True

    async def _lost(self, new: list[Block]) -> None:
        log.info("%s: another replica took it in", self.place)
        self.forget()
        self._lost_at = time.monotonic()
        await self._ways.store.drop(self.place, [one.id for one in new])

    async def _seal(self, head: MetricsHead, tail: Batch) -> tuple[list[Block], list[Block]]:
        """New blocks in place of the tail and of old ones; none where it is short yet."""
        data = await packed_in_time(tail)
        if len(data) <= self._ways.config.tail:
            return [], []
        old = list(to_join(head.blocks, len(data), self._ways.config.block))
        if old:
            tail = joined(await self._unpacked(old), tail)
        return [await self._put(part) for part in cut(tail)], old

    async def _unpacked(self, blocks: list[Block]) -> Batch:
        whole: Batch = {}
        for block in blocks:
            try:
                data = await self._ways.store.block(self.place, block)
                whole = joined(whole, await asyncio.to_thread(unpack, data))
            except (NotFound, Corrupt) as error:
                log.error("%s: a block of metrics is lost: %s", self.place, error)
        return whole

    async def _put(self, part: Batch) -> Block:
        data = await packed_in_time(part)
        times = [
            time for points in part.values() for time in (min(points.times), max(points.times))
        ]
        return Block(
            id=await self._ways.store.put_block(self.place, data),
            points=sum(map(len, part.values())),
            size=len(data),
            since=min(times),
            until=max(times),
        )


def joined(first: Batch, second: Batch) -> Batch:
    """Both, in order; neither is changed."""
    if not first:
        return second
    whole = dict(first)
    for key, points in second.items():
        before = whole.get(key)
        if before is None:
            whole[key] = points
        else:
            both = before.part(0, len(before))
            both.extend(points)
            whole[key] = both
    return whole


def to_join(blocks: tuple[Block, ...], size: int, most: int) -> tuple[Block, ...]:
    """The last of the blocks that are written anew together with what is behind them."""
    taken = 0
    for block in reversed(blocks):
        points = sum(one.points for one in blocks[len(blocks) - taken - 1 :])
        if block.size > DOUBLE * size or size + block.size > most or points > BLOCK_POINTS:
            break
        size += block.size
        taken += 1
    return blocks[len(blocks) - taken :]


def cut(batch: Batch, most: int = BLOCK_POINTS) -> list[Batch]:
    """Parts of at most so many points; of each series the order stays."""
    parts: list[Batch] = [{}]
    room = most
    for key, points in batch.items():
        at = 0
        while at < len(points):
            if not room:
                parts.append({})
                room = most
            stop = min(len(points), at + room)
            parts[-1][key] = points if (at, stop) == (0, len(points)) else points.part(at, stop)
            room -= stop - at
            at = stop
    return parts


async def packed_in_time(batch: Batch) -> bytes:
    if not batch:
        return b""
    if sum(map(len, batch.values())) <= QUICK:
        return pack(batch)
    return await asyncio.to_thread(pack, batch)
