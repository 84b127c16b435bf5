"""Where do metrics lie, and who may change them?

``$O.metrics.M.<job>.<attempt>`` holds the index of an attempt's metrics with the newest points; it
is replaced by compare-and-set, one message at a time. ``$O.metrics.C.<job>.<attempt>.<id>`` holds a
block of older points, which never changes. What a worker measures of itself is an attempt of the
job ``worker``, numbered by its name.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import zstandard

from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import Corrupt, NotFound
from bus.follow import follow, last_sequence, stored_time
from bus.headers import EXPECTED, ROLLUP
from bus.metrics import Place
from bus.pieces import in_row
from schemas.metric_head import Block, MetricsHead

STREAM = "OBJ_metrics"
WINDOW = 8
"""Blocks on their way at one time."""
TIMEOUT = 30.0
"""Seconds that one block may take to be stored."""
MOST_HEAD = 64 << 20
"""Bytes of an index, unpacked."""


def head_subject(job: str, part: str = "*") -> str:
    return f"$O.metrics.M.{job}.{part}"


def block_subject(place: Place, block: str = "*") -> str:
    return f"$O.metrics.C.{place.job}.{place.part}.{block}"


@dataclass(frozen=True, slots=True)
class StoredMetrics:
    """An index and the sequence that its next write must expect."""

    place: Place
    head: MetricsHead
    sequence: int


class MetricStore:
    """All metrics of the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def get(self, place: Place) -> StoredMetrics | None:
        """None where there are none. Raises ``Corrupt``."""
        return await self._last(head_subject(place.job, place.part))

    async def newest(self, job: str) -> StoredMetrics | None:
        """Of that job's attempt which was written last."""
        return await self._last(head_subject(job))

    async def _last(self, subject: str) -> StoredMetrics | None:
        try:
            answer = await self._bus.api(f"STREAM.MSG.GET.{STREAM}", {"last_by_subj": subject})
        except NotFound:
            return None
        message = answer["message"]
        data = base64.b64decode(message.get("data", ""))
        return read_stored(message["subject"], data, message["seq"])

    async def attempts(self, job: str) -> list[StoredMetrics]:
        """In order."""
        names = await self._subjects(head_subject(job))
        found = [await self.get(Place(job, name.rpartition(".")[2])) for name in names]
        return sorted((one for one in found if one), key=lambda one: one.place.attempt)

    async def write(self, place: Place, head: MetricsHead, expected: int) -> StoredMetrics:
        """Raises ``Conflict`` where somebody wrote since ``expected`` was read."""
        data = zstandard.compress(encode(head)[0], 3)
        headers = {ROLLUP: "sub", EXPECTED: str(expected)}
        sequence = await self._bus.append(head_subject(place.job, place.part), data, headers)
        return StoredMetrics(place, head, sequence)

    async def put_block(self, place: Place, data: bytes) -> str:
        """The id of the block, which nothing names yet."""
        block = secrets.token_hex(8)
        client = await self._bus.bulk()
        await self._bus.append(block_subject(place, block), data, timeout=TIMEOUT, client=client)
        return block

    async def block(self, place: Place, block: Block) -> bytes:
        """Raises ``NotFound``."""
        subject = block_subject(place, block.id)
        answer = await self._bus.api(f"STREAM.MSG.GET.{STREAM}", {"last_by_subj": subject})
        return base64.b64decode(answer["message"].get("data", ""))

    async def blocks(self, place: Place, wanted: Sequence[Block]) -> AsyncGenerator[bytes, None]:
        """In their order, some on their way. Raises ``NotFound``."""
        row = in_row(partial(self.block, place), wanted, WINDOW)
        async with contextlib.aclosing(row) as blocks:
            async for block in blocks:
                yield block

    async def drop(self, place: Place, blocks: Iterable[str]) -> None:
        for block in blocks:
            await self._purge(block_subject(place, block))

    async def remove(self, place: Place) -> None:
        """The index first: what is named is never missing."""
        await self._purge(head_subject(place.job, place.part))
        await self._purge(block_subject(place))

    async def _purge(self, subject: str) -> None:
        await self._bus.api(f"STREAM.PURGE.{STREAM}", {"filter": subject})

    # ---- all of them

    async def places(self) -> set[Place]:
        """Those that have an index or blocks."""
        found = set()
        for pattern in ("$O.metrics.M.*.*", "$O.metrics.C.*.*.*"):
            async for name in self._all_subjects(pattern):
                found.add(Place(*name.split(".")[3:5]))
        return found

    async def stored_blocks(self, place: Place) -> set[str]:
        names = self._all_subjects(block_subject(place))
        return {name.rpartition(".")[2] async for name in names}

    async def stored_at(self, place: Place, block: str) -> float | None:
        """Unix seconds; None where the block is not there any more."""
        subject = block_subject(place, block)
        try:
            found = await self._bus.api(f"STREAM.MSG.GET.{STREAM}", {"last_by_subj": subject})
        except NotFound:
            return None
        return stored_time(found["message"])

    async def place(self) -> int:
        """The sequence of what was written last: ``follow`` goes on behind it."""
        return await last_sequence(self._bus, STREAM)

    async def follow(self, job: str, after: int) -> AsyncGenerator[StoredMetrics, None]:
        """Every index of the job behind that sequence as it is written, for ever."""
        source = follow(self._bus, STREAM, head_subject(job), after=after, batch=4)
        async with contextlib.aclosing(source) as deliveries:
            async for delivery in deliveries:
                yield read_stored(delivery.subject, delivery.data, delivery.sequence)

    async def _subjects(self, pattern: str, offset: int = 0) -> list[str]:
        body = {"subjects_filter": pattern, "offset": offset}
        info = await self._bus.api(f"STREAM.INFO.{STREAM}", body)
        return sorted(info["state"].get("subjects") or {})

    async def _all_subjects(self, pattern: str) -> AsyncIterator[str]:
        offset = 0
        while page := await self._subjects(pattern, offset):
            offset += len(page)
            for name in page:
                yield name


def read_stored(subject: str, data: bytes, sequence: int) -> StoredMetrics:
    """Raises ``Corrupt``."""
    try:
        unpacked = zstandard.decompress(data, max_output_size=MOST_HEAD)
    except zstandard.ZstdError as error:
        raise Corrupt(f"not an index of metrics: {error}") from error
    place = Place(*subject.split(".")[3:5])
    return StoredMetrics(place, decode(MetricsHead, unpacked, None), sequence)
