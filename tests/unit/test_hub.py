"""Does every viewer of a log get every byte once, whoever else looks?"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from bus.logs import LogGap
from schemas.job import Record, State
from schemas.log import Cursor, LogChunk, Span, Stream
from schemas.spec import JobSpec
from ui.hub import FeedFailed, Frame, Hub

JOB = Record(
    id="0d4k8q2m-7xv3",
    owner="local",
    spec=JobSpec(),
    bundle="0" * 64,
    state=State.RUNNING,
    submitted_at=0.0,
    changed_at=0.0,
)


class Log:
    """A log that grows; counts its readers."""

    def __init__(self) -> None:
        self.chunks: list[LogChunk] = []
        self.done = False
        self.reads: list[int] = []
        self.changed = asyncio.Event()
        self.broken = False

    def add(self, data: bytes) -> None:
        offset = self.chunks[-1].cursor.offset if self.chunks else 0
        spans = (Span(Stream.STDOUT, len(data)),)
        self.chunks.append(LogChunk(1, 0, offset, 1.0, spans, data))
        self._wake()

    def end(self) -> None:
        self.done = True
        self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def read(self, record: Record, after: Cursor) -> AsyncIterator[LogChunk | LogGap]:
        self.reads.append(after.offset)
        at = 0
        while True:
            while at < len(self.chunks):
                chunk = self.chunks[at]
                at += 1
                if chunk.cursor.offset > after.offset:
                    yield chunk.after(after.offset)
            if self.broken:
                raise RuntimeError("the store is away")
            if self.done:
                return
            await self.changed.wait()


def data_of(frame: Frame) -> bytes:
    assert isinstance(frame.body, bytes)
    length = int.from_bytes(frame.body[:4], "big")
    return frame.body[4 + length :]


async def collect(hub: Hub, offset: int = 0) -> bytes:
    parts = []
    place = offset
    async for frame in hub.frames(JOB, Cursor(1, 0, offset)):
        assert frame.start == place, "a gap or a repeat"
        place = frame.end
        parts.append(data_of(frame))
    return b"".join(parts)


async def test_many_viewers_read_the_store_once() -> None:
    log = Log()
    async with asyncio.TaskGroup() as group:
        hub = Hub(log.read, group)
        viewers = [group.create_task(collect(hub)) for _ in range(20)]
        for number in range(50):
            log.add(b"line %d\n" % number)
            await asyncio.sleep(0)
        log.end()
        texts = await asyncio.gather(*viewers)
    assert len(set(texts)) == 1
    assert texts[0].count(b"\n") == 50
    assert log.reads == [0]


async def test_a_late_viewer_gets_everything_and_then_the_tail() -> None:
    log = Log()
    async with asyncio.TaskGroup() as group:
        hub = Hub(log.read, group)
        early = group.create_task(collect(hub))
        for number in range(2000):
            log.add(b"%06d " % number + b"x" * 4000 + b"\n")
            await asyncio.sleep(0)
        late = group.create_task(collect(hub))
        middle = group.create_task(collect(hub, 4008 * 1000 + 17))
        for _ in range(20):
            await asyncio.sleep(0)
        log.add(b"the tail\n")
        log.end()
        assert await late == await early
        assert await middle == (await early)[4008 * 1000 + 17 :]
    assert hub.feeds == 0


async def test_a_slow_viewer_reads_the_store_by_itself_and_holds_nobody_up() -> None:
    log = Log()
    for _ in range(200):
        log.add(b"y" * 100_000)
    log.end()
    slow: list[bytes] = []
    async with asyncio.TaskGroup() as group:
        hub = Hub(log.read, group)
        frames = hub.frames(JOB, Cursor(1, 0, 0))
        slow.append(data_of(await anext(frames)))
        assert len(await collect(hub)) == 20_000_000
        async for frame in frames:
            slow.append(data_of(frame))
    assert sum(map(len, slow)) == 20_000_000
    assert len(log.reads) == 2, "one by the feed, one by the viewer that fell behind"


async def test_viewers_of_every_pace_get_every_byte_once() -> None:
    log = Log()
    for number in range(400):
        log.add(b"%06d" % number * 8_000)
    log.end()
    pace = random.Random(7)

    async def look(breaks: int) -> int:
        place = 0
        async for frame in hub.frames(JOB, Cursor(1, 0, 0)):
            assert frame.start == place, "a gap or a repeat"
            place = frame.end
            for _ in range(int(pace.expovariate(1 / breaks)) if breaks else 0):
                await asyncio.sleep(0)
        return place

    async with asyncio.TaskGroup() as group:
        hub = Hub(log.read, group)
        lookers = [group.create_task(look(share)) for share in (0, 1, 1, 2, 10, 30)]
    assert {looker.result() for looker in lookers} == {400 * 48_000}


async def test_the_feed_keeps_little_however_slow_its_only_viewer_is() -> None:
    log = Log()
    for _ in range(500):
        log.add(b"z" * 100_000)
    async with asyncio.TaskGroup() as group:
        hub = Hub(log.read, group)
        frames = hub.frames(JOB, Cursor(1, 0, 0))
        await anext(frames)
        for _ in range(2000):
            await asyncio.sleep(0)
        (feed,) = hub._feeds.values()
        assert feed.position < 4_000_000
        hub.close()


async def test_a_store_that_is_away_is_told() -> None:
    log = Log()
    log.add(b"something")
    log.broken = True
    async with asyncio.TaskGroup() as group:
        hub = Hub(log.read, group)
        with pytest.raises(FeedFailed):
            await collect(hub)


async def test_the_last_viewer_ends_the_feed() -> None:
    log = Log()
    log.add(b"something")
    async with asyncio.TaskGroup() as group:
        hub = Hub(log.read, group)
        frames = hub.frames(JOB, Cursor(1, 0, 0))
        await anext(frames)
        assert hub.feeds == 1
        await frames.aclose()  # type: ignore[attr-defined]
        assert hub.feeds == 0
