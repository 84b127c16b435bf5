"""How do many browsers watch one log's rows while it is read, painted and encoded once?

A feed reads on where the archive's screen ends and tells all its viewers in turn: at once where it
was quiet, and then at most so often a second. A viewer that cannot take a frame is left behind, and
gets a fresh ``hello`` with the live rows as soon as it can: nothing is kept for it meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol

from bus.rows import RowLog
from schemas.job import Record
from schemas.log import Cursor, LogChunk
from ui.frames import control_frame
from ui.frames import pieces as slices
from ui.hub import FeedFailed, Read
from ui.logs import Piece
from ui.row_changes import Changes
from ui.row_frames import Position, pieces, position_of, rows_frame
from ui.streams import reading
from ui.ws_messages import Messages

logger = logging.getLogger(__name__)

OFTEN, SELDOM = 0.033, 0.04
"""Seconds between two frames of a feed: for few viewers, and for many."""
MANY = 200
"""Viewers."""
LOOK_AGAIN = 0.1
"""Seconds between two looks at viewers that were left behind."""
TURN_SECONDS = 0.01
"""Reading what is there already lets others have their turn after this long."""
SLICE = 64 * 1024
"""Bytes that are painted at one time."""

FeedKey = tuple[str, int, int, int]
"""Job, attempt, rank, and how often the attempt had been reinstated."""


Open = Callable[[Record, Cursor], AbstractAsyncContextManager[RowLog]]
"""The rows of what is stored of an attempt and rank; while it is open, the feed makes it go on."""


class Viewer(Protocol):
    """One browser, as a feed sees it."""

    def can_take(self, *, again: bool) -> bool:
        """Whether frames can go out at once; ``again`` asks it of one that was left behind."""

    def give(self, messages: Messages) -> None:
        """Hands them to the network; called where ``can_take`` said yes."""


class Feed:
    """The rows of one attempt's log, as they come."""

    def __init__(self, attempt: int, rank: int) -> None:
        self.failed = False
        self.task: asyncio.Task[None] | None = None
        self._cursor = Cursor(attempt, rank)
        self._changes = Changes()
        self._news = asyncio.Event()
        self._viewers: dict[Viewer, asyncio.Future[None]] = {}
        """Each with what is done when it has been told all, to the end."""
        self._behind: set[Viewer] = set()

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    def join(self, viewer: Viewer) -> asyncio.Future[None]:
        """Done when the log has ended and the viewer was told; raises ``FeedFailed``."""
        self._viewers[viewer] = over = asyncio.get_running_loop().create_future()
        self._behind.add(viewer)
        self._news.set()
        return over

    def leave(self, viewer: Viewer) -> None:
        self._viewers.pop(viewer, None)
        self._behind.discard(viewer)

    async def run(self, record: Record, opened: Open, read: Read) -> None:
        """Until cancelled, or until reading fails: then every viewer hears of it."""
        try:
            async with opened(record, self._cursor) as log:
                after = self._cursor._replace(offset=log.end)
                async with asyncio.TaskGroup() as group:
                    if not log.complete:
                        group.create_task(self._read(log, read(record, after)))
                    group.create_task(self._tell(log))
        except Exception as error:
            logger.warning("reading the rows of a log failed: %s", error)
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.failed = True
        failure = FeedFailed()
        failure.__cause__ = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        for over in self._viewers.values():
            if not over.done():
                over.set_exception(failure)

    async def _read(self, log: RowLog, source: AsyncIterator[Piece]) -> None:
        clock = asyncio.get_running_loop().time
        turn = clock()
        async with reading(source) as found:
            async for piece in found:
                for part in slices(piece, SLICE) if isinstance(piece, LogChunk) else (piece,):
                    self._changes.add(log.feed(part))
                    self._news.set()
                    if clock() - turn > TURN_SECONDS:
                        await asyncio.sleep(0)
                        turn = clock()
                if log.heavy:
                    await log.lighten()
        last = log.screen.live()[-1:]  # Where nothing changes, it says that all is there.
        self._changes.add(log.finish() or last)
        self._news.set()

    async def _tell(self, log: RowLog) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN if self._behind else None):
                    await self._news.wait()
            self._news.clear()
            began = clock()
            self._tell_all(log)
            pause = OFTEN if len(self._viewers) <= MANY else SELDOM
            took = clock() - began
            await asyncio.sleep(max(pause - took, took / 2))

    def _tell_all(self, log: RowLog) -> None:
        position = position_of(log, self._cursor)
        if self._changes.too_many:
            self._changes.forget()
            self._behind.update(self._viewers)
        if self._changes:
            runs = self._changes.take()
            self._tell_changes(
                Messages([rows_frame(position, part) for run in runs for part in pieces(run)])
            )
        back = [viewer for viewer in self._behind if viewer.can_take(again=True)]
        if back:
            opening = self._opening(log, position)
            for viewer in back:
                self._behind.discard(viewer)
                viewer.give(opening)
        if position.complete:
            self._tell_end()

    def _tell_changes(self, messages: Messages) -> None:
        for viewer in self._viewers:
            if viewer in self._behind:
                continue
            if viewer.can_take(again=False):
                viewer.give(messages)
            else:
                self._behind.add(viewer)

    def _opening(self, log: RowLog, position: Position) -> Messages:
        hello = control_frame("hello", **position.values(), complete=position.complete)
        live = [rows_frame(position, part) for run in log.screen.live() for part in pieces(run)]
        return Messages([hello, *live])

    def _tell_end(self) -> None:
        for viewer, over in self._viewers.items():
            if viewer not in self._behind and not over.done():
                over.set_result(None)


class RowHub:
    """The feeds of this process; each lives as long as somebody watches."""

    def __init__(self, opened: Open, read: Read, group: asyncio.TaskGroup) -> None:
        self._open = opened
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
        for key, feed in list(self._feeds.items()):
            self._drop(key, feed)

    async def show(self, record: Record, attempt: int, rank: int, viewer: Viewer) -> None:
        """Until the log of that attempt is over and the viewer was told all of it.

        Raises ``FeedFailed`` where the store cannot be read.
        """
        key = (record.id, attempt, rank, record.returns(attempt))
        feed = self._feeds.get(key)
        if feed is None or feed.failed:
            feed = self._feeds[key] = Feed(attempt, rank)
            feed.task = self._group.create_task(feed.run(record, self._open, self._read))
        over = feed.join(viewer)
        try:
            await over
        finally:
            feed.leave(viewer)
            if not feed.viewers:
                self._drop(key, feed)

    def _drop(self, key: FeedKey, feed: Feed) -> None:
        if self._feeds.get(key) is feed:
            del self._feeds[key]
        if feed.task is not None:
            feed.task.cancel()
