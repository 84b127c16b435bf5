"""How do many browsers watch one log while the store is read once?

One feed per attempt reads the store and keeps the newest frames, encoded once. A viewer is only a
position: it takes frames from the feed while they are there, and reads the store by itself, at its
own pace, where they are not. So a slow viewer costs nobody anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bus.logs import LogGap
from schemas.job import Record
from schemas.log import Cursor, LogChunk
from ui.frames import chunk_frame, control_frame, pieces
from ui.logs import Piece
from ui.streams import reading

log = logging.getLogger(__name__)

RING_BYTES = 2 * 1024 * 1024
"""Newest bytes of an attempt's log that its feed keeps."""

Read = Callable[[Record, Cursor], AsyncIterator[Piece]]
"""Everything of one attempt and rank after the cursor, to its end."""
FeedKey = tuple[str, int, int]
"""Job, attempt, rank."""


class FeedFailed(Exception):
    """The store could not be read; the viewer should come back with its cursor."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What is sent for the bytes ``start`` to ``end`` of a log."""

    start: int
    end: int
    body: bytes | str
    """Bytes for log, text for a control frame."""
    chunk: LogChunk | None

    def after(self, offset: int) -> Frame:
        """Without what lies before ``offset``."""
        if offset <= self.start or self.chunk is None:
            return self
        chunk = self.chunk.after(offset)
        return Frame(offset, self.end, chunk_frame(chunk), chunk)


def frames_of(piece: Piece) -> Iterator[Frame]:
    match piece:
        case LogChunk():
            for part in pieces(piece):
                yield Frame(part.offset, part.cursor.offset, chunk_frame(part), part)
        case LogGap():
            yield gap_frame(piece)


def gap_frame(gap: LogGap) -> Frame:
    body = control_frame(
        "gap", attempt=gap.attempt, rank=gap.rank, offset=gap.offset, length=gap.size, why=gap.why
    )
    return Frame(gap.offset, gap.offset + gap.size, body, None)


class Feed:
    """The newest frames of one attempt's log, and whether more will come."""

    def __init__(self, start: int, ring_bytes: int = RING_BYTES) -> None:
        self.position = start
        """Everything before it has been read from the store."""
        self.done = False
        self.error: Exception | None = None
        self.viewers = 0
        self.task: asyncio.Task[None] | None = None
        self._limit = ring_bytes
        self._ring: deque[Frame] = deque()
        self._bytes = 0
        self._first = 0
        """Number of the ring's first frame, counted from the feed's start."""
        self._taken = start
        self._changed = asyncio.Event()
        self._room = asyncio.Event()

    async def run(self, pieces: AsyncIterator[Piece]) -> None:
        """Reads to the end; never drops what the fastest viewer has not taken."""
        try:
            async with reading(pieces) as source:
                async for piece in source:
                    for frame in frames_of(piece):
                        await self._append(frame)
        except Exception as error:
            log.warning("reading a log failed: %s", error)
            self.error = error
        finally:
            self.done = True
            self._wake()

    async def _append(self, frame: Frame) -> None:
        while self._bytes > self._limit and self._ring[0].end > self._taken:
            self._room.clear()
            await self._room.wait()
        while self._bytes > self._limit:
            self._bytes -= len(self._ring.popleft().body)
            self._first += 1
        self._ring.append(frame)
        self._bytes += len(frame.body)
        self.position = frame.end
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def oldest(self) -> int:
        """Offset of the first byte that the feed still has (or will read next)."""
        return self._ring[0].start if self._ring else self.position

    def ready(self, offset: int) -> Iterator[Frame]:
        """The frames behind ``offset`` that are there now; ends early where they were dropped.

        The ring may move while the caller is busy with a frame.
        """
        index = self._first + sum(frame.end <= offset for frame in self._ring)
        while self._first <= index < self._first + len(self._ring):
            frame = self._ring[index - self._first]
            index += 1
            yield frame.after(offset)
            self._took(frame.end)

    def _took(self, offset: int) -> None:
        if offset > self._taken:
            self._taken = offset
            self._room.set()

    def reached(self, offset: int) -> bool:
        """Whether the log is over and nothing lies behind ``offset``."""
        if self.error is not None:
            raise FeedFailed from self.error
        return self.done and offset >= self.position

    async def changed(self, offset: int) -> None:
        """Returns when there is something behind ``offset``, or the end."""
        while not self.done and self.position <= offset:
            await self._changed.wait()


class Hub:
    """The feeds of this process; each lives as long as somebody watches."""

    def __init__(self, read: Read, group: asyncio.TaskGroup) -> None:
        self._read = read
        self._group = group
        self._feeds: dict[FeedKey, Feed] = {}

    @property
    def viewers(self) -> int:
        return sum(feed.viewers for feed in self._feeds.values())

    @property
    def feeds(self) -> int:
        return len(self._feeds)

    def close(self) -> None:
        """Ends every feed."""
        for key, feed in list(self._feeds.items()):
            self._drop(key, feed)

    async def frames(self, record: Record, after: Cursor) -> AsyncIterator[Frame]:
        """Every frame of one attempt and rank after the cursor, to the attempt's end.

        Raises ``FeedFailed`` where the store cannot be read.
        """
        offset = after.offset
        with self._watching(record, after) as feed:
            while not feed.reached(offset):
                if offset < feed.oldest:
                    source = self._catch_up(record, after._replace(offset=offset), feed.oldest)
                    async with reading(source) as frames:
                        async for frame in frames:
                            offset = frame.end
                            yield frame
                    continue  # the feed has gone on meanwhile
                for frame in feed.ready(offset):
                    offset = frame.end
                    yield frame
                if offset >= feed.oldest:
                    await feed.changed(offset)

    async def _catch_up(self, record: Record, after: Cursor, stop: int) -> AsyncIterator[Frame]:
        """What the feed has dropped already, from the store: at least up to ``stop``."""
        try:
            async with reading(self._read(record, after)) as source:
                async for piece in source:
                    for frame in frames_of(piece):
                        yield frame
                        if frame.end >= stop:
                            return
        except Exception as error:
            raise FeedFailed from error
        raise FeedFailed(f"the store ends before byte {stop}, which had been read from it")

    @contextmanager
    def _watching(self, record: Record, after: Cursor) -> Iterator[Feed]:
        key = (record.id, after.attempt, after.rank)
        feed = self._feeds.get(key)
        if feed is None or feed.done:
            feed = self._feeds[key] = Feed(after.offset)
            feed.task = self._group.create_task(feed.run(self._read(record, after)))
        feed.viewers += 1
        try:
            yield feed
        finally:
            feed.viewers -= 1
            if feed.viewers == 0:
                self._drop(key, feed)

    def _drop(self, key: FeedKey, feed: Feed) -> None:
        if self._feeds.get(key) is feed:
            del self._feeds[key]
        if feed.task is not None:
            feed.task.cancel()
