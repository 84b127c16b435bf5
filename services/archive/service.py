"""How does the archive run: ends of attempts, long logs, and questions about where a log ends?"""

from __future__ import annotations

import asyncio
import logging
import time

from bus import layout, subjects
from bus.connection import Bus
from bus.consume import Done, Later, Outcome, consume
from bus.errors import BusError
from bus.follow import Delivery
from bus.logs import UNTOLD, LogArchive, final_offset
from bus.records import read_change
from bus.serve import Route, serve
from schemas.job import Attempt, Record
from schemas.requests import LogEnd, LogPosition
from services.archive.config import ArchiveConfig
from services.archive.sealing import Rank, Sealer, last_chunk

log = logging.getLogger(__name__)


async def run(bus: Bus, config: ArchiveConfig) -> None:
    """Until cancelled; replicas share the work."""
    archive = Archive(bus, config)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(archive.sweep())
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

    async def on_end(self, delivery: Delivery) -> Outcome:
        """Seals every attempt that has ended, once it has rested and its log is whole."""
        record = read_change(delivery).record
        rest = record.changed_at + self._config.seal_after - time.time()
        if rest > 0:
            return Later(rest)
        for attempt in record.attempts:
            if final_offset(record, attempt.number, 0) is None:
                continue
            if not await self._seal(record, attempt):
                return Later(5.0)
        return Done()

    async def _seal(self, record: Record, attempt: Attempt) -> bool:
        """False where the rest of the log may still come."""
        ranks = sorted(attempt.end.log_ends) if attempt.end else []
        for number in ranks or [0]:
            rank = Rank(record.id, attempt.number, number, attempt.worker)
            final = final_offset(record, attempt.number, number)
            assert final is not None
            over = attempt.ended_at or record.changed_at
            waiting = time.time() - over < self._config.late + self._config.seal_after
            if final != UNTOLD and waiting and await self._sealer.end(rank) < final:
                return False
            if final == 0:
                continue
            await self._sealer.seal(rank, max(final, 0))
        return True

    async def on_position(self, asked: LogPosition, subject: str) -> LogEnd:
        """Where a writer goes on: behind the last message, or behind what is sealed."""
        rank = Rank(asked.job, asked.attempt, asked.rank, subject.rsplit(".", 1)[1])
        last = await last_chunk(self._bus, rank)
        stored = await LogArchive(self._bus).index(asked.job, asked.attempt, asked.rank)
        sealed = stored.index.settled if stored else 0
        if last is not None:
            return LogEnd(offset=last[0].cursor.offset, sequence=last[1], sealed=sealed)
        return LogEnd(offset=stored.index.end if stored else 0, sequence=0, sealed=sealed)

    async def sweep(self) -> None:
        """Seals the long logs of attempts that still run."""
        while True:
            await asyncio.sleep(self._config.sweep_every)
            try:
                for subject in await self._long_logs():
                    name = subjects.parse_log(subject)
                    await self._sealer.seal(Rank(*name), None)
            except BusError as error:
                log.warning("long logs stay in the stream for now: %s", error)

    async def _long_logs(self) -> list[str]:
        info = await self._bus.api("STREAM.INFO.LOGS", {"subjects_filter": subjects.LOGS_ALL})
        counts: dict[str, int] = info["state"].get("subjects") or {}
        return [name for name, count in counts.items() if count >= self._config.seal_messages]
