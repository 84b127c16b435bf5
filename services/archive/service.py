"""How does the archive run: ends of attempts, long logs, and questions about where a log ends?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

from bus import layout, subjects
from bus.clock import ServerClock
from bus.connection import Bus
from bus.consume import Done, Later, Outcome, consume
from bus.errors import BusError, NotFound
from bus.follow import Delivery
from bus.health import watch_streams
from bus.logs import UNTOLD, final_offset
from bus.records import Records, read_change
from bus.sealed import LogArchive
from bus.serve import Route, serve
from schemas.job import Attempt, Record
from schemas.requests import LogEnd, LogPosition
from services.archive.config import ArchiveConfig
from services.archive.quiet import Quiet
from services.archive.retention import Retention
from services.archive.sealing import Rank, Sealer, last_message

log = logging.getLogger(__name__)

MISSING_AGAIN = 5.0
"""Seconds after which a log that lacks its end is looked at again."""
MOST_LATE = 10_000
"""Logs noted for bytes that came after they were complete."""


async def run(bus: Bus, config: ArchiveConfig) -> None:
    """Until cancelled; replicas share the work."""
    archive = Archive(bus, config)
    await archive.clock.look()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(archive.clock.keep())
        tasks.create_task(watch_streams(bus))
        tasks.create_task(archive.sweep())
        tasks.create_task(archive.sweep_orphans())
        tasks.create_task(Retention(bus, config, archive.clock).run())
        tasks.create_task(
            consume(
                bus, "JOBS", layout.ARCHIVE.name, archive.on_end, concurrency=config.side_by_side
            )
        )
        position = subjects.request("archive", "position", "*")
        await serve(bus, {position: Route(LogPosition, archive.on_position)}, "archive")


class Archive:
    """One replica."""

    def __init__(self, bus: Bus, config: ArchiveConfig) -> None:
        self._bus = bus
        self._config = config
        self._sealer = Sealer(bus)
        self.clock = ServerClock(bus)
        self._quiet = Quiet()
        self._records = Records(bus)
        self._full = False
        """Whether the stream is half full."""
        self._ends: dict[str, int] = {}
        """Subject of a long log to where its sealed part ends."""
        self._late: set[Rank] = set()
        """Complete logs for which more came."""

    # ---- ends

    async def on_end(self, delivery: Delivery) -> Outcome:
        """Seals every attempt that has ended, once it has rested and its log is whole."""
        record = read_change(delivery).record
        rest = delivery.time + self._config.seal_after - self.clock.now()
        if rest > 0 and not self._full:
            return Later(min(rest, self._config.seal_after))
        for attempt in record.attempts:
            if final_offset(record, attempt.number, 0) is None:
                continue
            if not await self._seal(record, attempt):
                return Later(min(MISSING_AGAIN, self._config.late))
        return Done()

    async def _seal(self, record: Record, attempt: Attempt) -> bool:
        """False where the rest of the log may still come, or another replica is at it.

        The log of a lost attempt stays open until its job has ended: its worker may come back.
        """
        ranks = sorted(attempt.end.log_ends) if attempt.end else []
        for number in ranks or [0]:
            rank = Rank(record.id, attempt.number, number, attempt.worker)
            final = final_offset(record, attempt.number, number)
            assert final is not None
            if final == 0:
                continue
            if final != UNTOLD and await self._may_come(rank, final):
                return False
            open_yet = final == UNTOLD and not record.state.ended
            index = await self._sealer.seal(rank, None if open_yet else max(final, 0))
            if not open_yet and not index.complete:
                return False
        return True

    async def _may_come(self, rank: Rank, final: int) -> bool:
        """Whether the log lacks its end and somebody may still be sending it."""
        last = await last_message(self._bus, rank)
        if last is not None and last.end >= final:
            return False
        if self._quiet.seconds(rank, last.sequence if last else 0) > self._config.late:
            return False
        index = await self._sealer.index(rank)
        return index is None or index.settled < final

    # ---- questions

    async def on_position(self, asked: LogPosition, subject: str) -> LogEnd:
        """Where a writer goes on: behind the last message, or behind what is sealed."""
        rank = Rank(asked.job, asked.attempt, asked.rank, subjects.asker(subject))
        last, index = await asyncio.gather(last_message(self._bus, rank), self._sealer.index(rank))
        if index is not None and index.worker != rank.worker:
            index = None
        sealed, settled = (index.end, index.settled) if index else (0, 0)
        if last is None:
            return LogEnd(offset=sealed, sequence=0, sealed=settled)
        if index and index.complete and len(self._late) < MOST_LATE:
            self._late.add(rank)
        return LogEnd(offset=max(last.end, sealed), sequence=last.sequence, sealed=settled)

    # ---- sweeps

    async def sweep(self) -> None:
        """Seals the long logs of attempts that still run, and what came late."""
        clock, config = asyncio.get_running_loop().time, self._config
        begun = clock()
        while True:
            every = config.full_sweep_every if self._full else config.sweep_every
            # From one's begin to the next one's: a long sweep must not put off the next.
            await asyncio.sleep(max(0.0, begun + every - clock()))
            begun = clock()
            try:
                while self._late:
                    await self._sealer.seal(self._late.pop(), None)
                await self._sweep_long()
            except BusError as error:
                log.warning("long logs stay in the stream for now: %s", error)
            except Exception:
                log.exception("sweeping the stream of logs failed")

    async def _sweep_long(self) -> None:
        info = await self._bus.api("STREAM.INFO.LOGS", {"subjects_filter": subjects.LOGS_ALL})
        self._full = half_full(info)
        counts: dict[str, int] = info["state"].get("subjects") or {}
        long = {s: count for s, count in counts.items() if count >= self._config.look_messages}
        self._ends = {subject: end for subject, end in self._ends.items() if subject in long}
        each = iter(long.items())
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._config.side_by_side):
                    tasks.create_task(self._look_at(each))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _look_at(self, logs: Iterator[tuple[str, int]]) -> None:
        """One after the other; others take from the same ones."""
        for subject, count in logs:
            await self._look(subject, count)

    async def _look(self, subject: str, count: int) -> None:
        """Seals the log where it is long enough; drops what its job knows nothing of."""
        try:
            rank = Rank(*subjects.parse_log(subject))
        except ValueError:
            await self._drop(subject)
            return
        last = await last_message(self._bus, rank)
        if last is None:
            return
        if subject not in self._ends:
            if not await self._belongs(rank):
                await self._drop(subject)
                return
            index = await self._sealer.index(rank)
            self._ends[subject] = index.end if index else 0
        size = last.end - self._ends[subject]
        if count >= self._config.seal_messages or size >= self._config.seal_bytes:
            self._ends[subject] = (await self._sealer.seal(rank, None)).end

    async def _belongs(self, rank: Rank) -> bool:
        """Whether the record names that worker for the attempt: nobody else's words are kept."""
        try:
            record = (await self._records.get(rank.job)).record
        except NotFound:
            return False
        return any((a.number, a.worker) == (rank.attempt, rank.worker) for a in record.attempts)

    async def _drop(self, subject: str) -> None:
        log.warning("%s: no job knows of this log; it is dropped", subject)
        await self._bus.api("STREAM.PURGE.LOGS", {"filter": subject})

    async def sweep_orphans(self) -> None:
        """What archives that were killed left behind; never what is being written right now."""
        while True:
            try:
                freed = await LogArchive(self._bus).sweep(self._config.orphans_after)
                if freed:
                    log.info("freed %d blocks that a killed archive left behind", freed)
            except BusError as error:
                log.warning("orphaned blocks stay for now: %s", error)
            except Exception:
                log.exception("sweeping the sealed logs failed")
            await asyncio.sleep(86_400)


def half_full(info: dict[str, Any]) -> bool:
    most = int(info["config"].get("max_bytes", -1))
    return most > 0 and int(info["state"]["bytes"]) * 2 > most
