"""What came of one attempt: from its log, from its worker, from its outputs?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bus import subjects
from bus.follow import follow
from bus.logs import UNTOLD, final_offset, read_attempt
from bus.metrics import Place, read_samples
from bus.outputs import OutputStore
from schemas.job import Attempt, Record
from schemas.log import Cursor, LogChunk
from schemas.metrics import WORKER, Samples, Source
from services.metrics.curves import Curves, Ways
from services.metrics.event_files import EventFiles
from services.metrics.growing import News

log = logging.getLogger(__name__)

SENT = frozenset({Source.MACHINE, Source.MLFLOW})
"""What a worker may tell; everything else is read here."""
MESSAGES = 200
"""Of a worker that are taken in at one time."""
BATCH = 16
"""Messages asked for at one time; each may have half a MiB."""
QUICK = 16 * 1024
"""Bytes of a log that are looked through sooner than a thread is asked to."""
SAME = 1e-3
"""Seconds by which the times of one message may differ after being rounded on the way."""


@dataclass(frozen=True, slots=True)
class Folded:
    """What became of a call."""

    more: bool = False
    """There is more to be taken in at once."""
    whole: bool = False
    """All that the attempt told is in the index, and it is over."""
    theirs: bool = False
    """Another replica takes it in."""


class Folder:
    """Takes in what came of one attempt, or of a worker itself; one call after the other."""

    def __init__(self, ways: Ways, place: Place, worker: str) -> None:
        self._ways = ways
        self._place = place
        self._worker = worker
        self._curves = Curves(ways, place, worker)
        self._files = EventFiles(OutputStore(ways.bus), place.job, place.attempt)
        self._lock = asyncio.Lock()
        self._met = False
        """Whether messages of the worker lie in the stream that are in the index, or will be."""

    @property
    def busy(self) -> bool:
        return self._lock.locked()

    async def fold(self, record: Record, attempt: Attempt, *, mine: bool = False) -> Folded:
        """What came since the last call. Raises ``BusError``: then nothing of it is stored.

        With ``mine`` also where another replica was at it a moment ago.
        """
        return await self._safely(lambda: self._fold(record, attempt), mine)

    async def fold_worker(self) -> Folded:
        """What a worker measured of itself."""
        return await self._safely(self._fold_worker, False)

    async def _safely(self, fold: Callable[[], Awaitable[Folded]], mine: bool) -> Folded:
        """Half of it is nothing: after a failure all begins from the index again."""
        async with self._lock:
            if not mine and await self._curves.theirs():
                return Folded(theirs=True)
            try:
                await self._curves.open()
                return await fold()
            except BaseException:
                self._curves.forget()
                raise

    async def _fold_worker(self) -> Folded:
        news = News()
        more = await self._hear(news)
        if news.anything or self._heard_more:
            return await self._saved(news, {"blocks": self._young()}, Folded(more))
        await self._clear()
        return Folded(more)

    @property
    def _heard_more(self) -> bool:
        """By its time, too: after a broker was killed a sequence may stand for another message."""
        head, read = self._curves.head, self._curves.read
        return (read.heard, read.heard_at) != (head.heard, head.heard_at)

    def _young(self) -> object:
        oldest = self._ways.clock.now() - self._ways.config.keep_worker
        return tuple(one for one in self._curves.head.blocks if one.until > oldest)

    async def _fold(self, record: Record, attempt: Attempt) -> Folded:
        news = News()
        head = self._curves.head
        more = await self._hear(news)
        more |= await self._read_log(record, attempt, news)
        over = not more and self._over(record, attempt)
        changed, left = await self._read_files(news, over)
        more |= left
        whole = over and not more
        if whole:
            self._curves.reader.finish(self._ways.clock.now())
            self._take(news)
        something = head.anything or news.anything
        changed["complete"] = whole
        if self._differs(news, changed, something):
            return await self._saved(news, changed, Folded(more, whole))
        await self._clear()
        return Folded(more, whole)

    def _differs(self, news: News, changed: dict[str, object], something: bool) -> bool:
        """Whether there is something to be written: not that a log without numbers goes on."""
        head, read = self._curves.head, self._curves.read
        unsaved = read.log_offset - head.log_offset >= self._ways.config.save_every
        told = any(getattr(head, name) != value for name, value in changed.items())
        return news.anything or self._heard_more or unsaved or (something and told)

    async def _saved(self, news: News, changed: dict[str, object], folded: Folded) -> Folded:
        if not await self._curves.save(news, changed):
            return Folded(theirs=True)
        await self._clear()
        return folded

    # ---- from the worker

    async def _clear(self) -> None:
        """Frees the messages that are in the index."""
        if self._met:
            body = {"filter": self._subject, "seq": self._curves.head.heard + 1}
            await self._ways.bus.api("STREAM.PURGE.METRICS", body)
            self._met = False

    @property
    def _subject(self) -> str:
        return subjects.metric(self._place.job, self._place.attempt, self._worker)

    async def _hear(self, news: News) -> bool:
        """What the worker sent; whether there is more."""
        read = self._curves.read
        stream = follow(self._ways.bus, "METRICS", self._subject, stop_at_end=True, batch=BATCH)
        taken = 0
        async with contextlib.aclosing(stream) as deliveries:
            async for delivery in deliveries:
                self._met = True
                if delivery.sequence <= read.heard and delivery.time <= read.heard_at + SAME:
                    continue
                samples = read_samples(delivery)
                if samples is not None:
                    self._believe(samples, news)
                read.heard, read.heard_at = delivery.sequence, delivery.time
                taken += 1
                if taken == MESSAGES:
                    return True
        return False

    def _believe(self, samples: Samples, news: News) -> None:
        if samples.source not in SENT or (
            self._place.job == WORKER and samples.source is not Source.MACHINE
        ):
            log.warning("%s: a worker tells nothing of %s", self._subject, samples.source)
            return
        news.left_out += max(0, samples.left_out)
        news.params.update(samples.params)
        for name, column in samples.columns.items():
            try:
                news.add((samples.source, name), column.points())
            except ValueError as error:
                log.warning("%s: %s", self._subject, error)

    # ---- from the log

    async def _read_log(self, record: Record, attempt: Attempt, news: News) -> bool:
        read, reader = self._curves.read, self._curves.reader
        begun = read.log_offset
        cursor = Cursor(attempt.number, 0, begun)
        source = read_attempt(self._ways.bus, record, cursor, wait=False)
        async with contextlib.aclosing(source) as pieces:
            async for piece in pieces:
                if not isinstance(piece, LogChunk):
                    reader.gap()
                elif len(piece.data) > QUICK:
                    await asyncio.to_thread(reader.feed, piece)
                else:
                    reader.feed(piece)
                read.log_offset = piece.end
                if read.log_offset - begun >= self._ways.config.log_at_once:
                    break
        self._take(news)
        return read.log_offset - begun >= self._ways.config.log_at_once

    def _take(self, news: News) -> None:
        news.nameless += self._curves.reader.left_out
        news.add_all(self._curves.reader.take())

    def _over(self, record: Record, attempt: Attempt) -> bool:
        """Whether the attempt has ended and its log was read to its end."""
        final = final_offset(record, attempt.number, 0)
        if final == UNTOLD:
            return record.state.ended
        return final is not None and self._curves.read.log_offset >= final

    # ---- from its outputs

    async def _read_files(self, news: News, over: bool) -> tuple[dict[str, object], bool]:
        """Which fields of the index change by it, and whether there is more."""
        if not over and not self._files.due(self._ways.config.outputs_every):
            return {}, False
        round_, files, more = await self._files.read(self._curves.head, news)
        return {"round": round_, "files": files}, more


def late_outputs(record: Record, attempt: Attempt, now: float, most: float) -> bool:
    """Whether outputs may still come that the attempt's end did not wait for."""
    outputs = attempt.end.outputs if attempt.end else None
    return outputs is not None and not outputs.stored and now - record.changed_at < most
