"""How does this process read metrics, in bounded memory, while they are written?"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Sequence, Set

from bus.connection import Bus
from bus.errors import NotFound, Unanswered
from bus.metric_blocks import Batch, Series, unpack
from bus.metric_store import MetricStore, StoredMetrics
from bus.metrics import Place
from schemas.metric_head import Block
from schemas.metrics import Points
from ui.metric_curves import thinned

HELD = 16 << 20
"""Bytes of packed blocks that are kept: the next question is often about the same ones."""
MOST_POINTS = 2_000_000
"""Of all series of one question in memory; more are thinned on the way, peaks kept."""
THINNEST = 8_000
TRIES = 4
"""How often is begun again where blocks were joined meanwhile."""


class MetricReader:
    """Of every job."""

    def __init__(self, bus: Bus) -> None:
        self.store = MetricStore(bus)
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    async def points(
        self, stored: StoredMetrics, keys: Set[Series], since: float = 0.0
    ) -> tuple[StoredMetrics, Batch]:
        """All points of these series, in the order in which they came, thinned where too many.

        Blocks that end before ``since`` (Unix seconds) are passed over. The index may be a newer
        one than what was asked for. Raises ``NotFound`` and ``BusError``.
        """
        most = max(THINNEST, MOST_POINTS // max(1, len(keys)))
        for _ in range(TRIES):
            found: Batch = {}
            blocks = [block for block in stored.head.blocks if block.until >= since]
            try:
                async for data in self._blocks(stored.place, blocks):
                    gather(found, await asyncio.to_thread(unpack, data, keys), most)
            except NotFound:
                stored = await self._again(stored.place)
                continue
            gather(found, unpack(stored.head.tail, keys), most)
            return stored, found
        raise Unanswered(f"the metrics of {stored.place} change too quickly", 0)

    async def parts(
        self, stored: StoredMetrics, keys: Set[Series] | None
    ) -> AsyncGenerator[Batch, None]:
        """Every point once, part by part."""
        given: Counter[Series] = Counter()
        for _ in range(TRIES):
            passed: Counter[Series] = Counter()
            try:
                async for data in self.store.blocks(stored.place, stored.head.blocks):
                    batch = await asyncio.to_thread(unpack, data, keys)
                    yield fresh(batch, passed, given)
            except NotFound:
                stored = await self._again(stored.place)
                continue
            yield fresh(unpack(stored.head.tail, keys), passed, given)
            return
        raise Unanswered(f"the metrics of {stored.place} change too quickly", 0)

    async def _again(self, place: Place) -> StoredMetrics:
        stored = await self.store.get(place)
        if stored is None:
            raise NotFound(f"there are no metrics of {place} any more")
        return stored

    async def _blocks(self, place: Place, blocks: Sequence[Block]) -> AsyncGenerator[bytes, None]:
        missing = [block for block in blocks if block.id not in self._held]
        wanted = {block.id for block in missing}
        coming = self.store.blocks(place, missing)
        try:
            for block in blocks:
                if block.id in wanted:
                    data = await anext(coming)
                    self._hold(block.id, data)
                else:
                    data = self._held.get(block.id) or await self.store.block(place, block)
                yield data
        finally:
            await coming.aclose()

    def _hold(self, block: str, data: bytes) -> None:
        if block not in self._held:
            self._held[block] = data
            self._size += len(data)
        while self._size > HELD:
            _, oldest = self._held.popitem(last=False)
            self._size -= len(oldest)


def gather(found: Batch, batch: Batch, most: int) -> None:
    for key, points in batch.items():
        held = found.get(key)
        if held is None:
            found[key] = points
            continue
        held.extend(points)
        if len(held) > most:
            found[key] = thinned(held, most // 2)


def fresh(batch: Batch, passed: Counter[Series], given: Counter[Series]) -> Batch:
    """Without what was given out in an earlier try."""
    left: Batch = {}
    for key, points in batch.items():
        start, passed[key] = passed[key], passed[key] + len(points)
        if passed[key] > given[key]:
            left[key] = points.part(max(0, given[key] - start), len(points))
            given[key] = passed[key]
    return left


def size(batch: Batch) -> int:
    return sum(map(len, batch.values()))


def newest(points: Points, count: int) -> Points:
    return points.part(len(points) - count, len(points))
