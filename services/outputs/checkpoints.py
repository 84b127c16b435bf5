"""Which checkpoint does a job have, and who may replace it or begin from it?

One head a job, written by whichever attempt is the current one, in the place of the one before: who
reads it gets a whole checkpoint, an older or a newer one.
"""

from __future__ import annotations

import asyncio
import logging
import time

from bus import subjects
from bus.checkpoints import CheckpointStore
from bus.clock import ServerClock
from bus.connection import Bus
from bus.errors import BusError, Conflict, Corrupt, NotFound, Refused
from bus.outputs import PAGE, StoredHead, cut
from bus.records import Records
from bus.serve import Route
from schemas.checkpoints import AskLast, Checkpoint, GetPiece, GotPiece, LastCheckpoint
from schemas.job import Record
from schemas.message import Message
from schemas.outputs import AskStored, Commit, Committed, OutputsHead, PutChunks, StoredChunks
from services.outputs.collecting import collect
from services.outputs.config import OutputsConfig
from services.outputs.grants import Grants
from services.outputs.pieces import Pieces, check_size
from services.outputs.rules import (
    bad_chunk,
    collectable,
    excess,
    forgotten,
    not_granted,
    replaces,
    unnamed,
)
from services.outputs.sweeping import FIRST

log = logging.getLogger(__name__)

PUTS, COMMITS, GETS = 32, 4, 32
COLLECT_SECONDS = 5.0


class Checkpoints:
    """One replica, beside the outputs."""

    def __init__(
        self, bus: Bus, records: Records, clock: ServerClock, config: OutputsConfig
    ) -> None:
        self._records = records
        self._clock = clock
        self._config = config
        self._store = CheckpointStore(bus)
        self._grants = Grants(records, clock, config.late, config.most_bytes)
        self._pieces = Pieces(self._store, self._grants, config)
        self._done: set[str] = set()
        """Ended jobs in which nothing is left to free."""

    def routes(self) -> dict[str, Route]:
        def route(verb: str) -> str:
            return subjects.request("outputs", f"checkpoint-{verb}", "*")

        return {
            route("stored"): Route(AskStored, self._on_stored),
            route("put"): Route(PutChunks, self._pieces.on_put, concurrency=PUTS),
            route("commit"): Route(Commit, self._on_commit, concurrency=COMMITS),
            route("last"): Route(AskLast, self._on_last),
            route("get"): Route(GetPiece, self._on_get, concurrency=GETS),
        }

    # ---- taken from a worker

    async def _on_stored(self, asked: AskStored, subject: str) -> Message:
        digests, more = await self._pieces.page(asked, subject)
        before = await self._store.last(asked.job)
        own = before is not None and before.head.attempt == asked.attempt
        return StoredChunks(
            digests=digests, more=more, round=before.head.round if before and own else 0
        )

    async def _on_commit(self, asked: Commit, subject: str) -> Committed:
        worker = subjects.asker(subject)
        granted = await self._grants.check(asked, worker, fresh=True)
        before = await self._store.last(asked.job)
        if before is not None and not replaces(asked, before.head):
            return self._again(asked, before)
        check_size(asked)
        stored = await self._store.all_stored(asked.job)
        if lacking := set(cut(asked.chunks)) - stored:
            return Committed(missing=b"".join(lacking))
        checkpoint = await self._checkpoint(asked, worker)
        files = checkpoint.manifest.files
        if lacking := {digest for file in files for digest in cut(file.chunks)} - stored:
            return Committed(missing=b"".join(list(lacking)[:PAGE]))
        head = self._head(asked, worker, checkpoint)
        try:
            sequence = await self._store.write_last(head, before.sequence if before else 0)
        except Conflict as error:
            raise Refused(not_granted("another checkpoint came at the same moment")) from error
        granted.put = 0
        log.info("%s.%d: a checkpoint of %d files", asked.job, asked.attempt, len(files))
        await self._collect(StoredHead(head, sequence), checkpoint, stored)
        return Committed()

    def _again(self, asked: Commit, before: StoredHead) -> Committed:
        """The same one, sent twice, was done; an older one comes too late."""
        head = before.head
        if (head.attempt, head.round, head.chunks) == (asked.attempt, asked.round, asked.chunks):
            return Committed()
        raise Refused(not_granted(f"a later checkpoint of {asked.job} is there already"))

    async def _checkpoint(self, asked: Commit, worker: str) -> Checkpoint:
        try:
            checkpoint = await self._store.checkpoint(self._head(asked, worker, Checkpoint()))
        except (Corrupt, NotFound) as error:
            raise Refused(bad_chunk(str(error))) from error
        if problem := excess(checkpoint.manifest, self._config, len(checkpoint.links)):
            raise Refused(problem)
        return checkpoint

    def _head(self, asked: Commit, worker: str, checkpoint: Checkpoint) -> OutputsHead:
        return OutputsHead(
            job=asked.job,
            attempt=asked.attempt,
            worker=worker,
            round=asked.round,
            at=self._clock.now(),
            files=len(checkpoint.manifest.files),
            total=checkpoint.manifest.size,
            final=asked.final,
            chunks=asked.chunks,
            size=asked.size,
        )

    async def _collect(self, last: StoredHead, now: Checkpoint, stored: set[bytes]) -> None:
        """What only the one before named. Its only writer waits for the answer meanwhile.

        What takes longer is left to the sweep.
        """
        until = time.monotonic() + COLLECT_SECONDS
        job, surplus = last.head.job, unnamed(stored, [last.head], [now.manifest])
        try:
            await collect(self._store, job, surplus, last.sequence, until)
        except BusError as error:
            log.warning("%s: what is not named any more stays for now: %s", job, error)

    # ---- given to a worker

    async def _on_last(self, asked: AskLast, subject: str) -> LastCheckpoint:
        granted = await self._grants.check(asked, subjects.asker(subject), fresh=True)
        for job in (asked.job, granted.resumes):
            found = await self._store.last(job) if job else None
            if found is not None:
                return LastCheckpoint(head=found.head)
        return LastCheckpoint()

    async def _on_get(self, asked: GetPiece, subject: str) -> GotPiece:
        granted = await self._grants.check(asked, subjects.asker(subject))
        if asked.source not in (asked.job, granted.resumes):
            raise Refused(not_granted(f"{asked.job} does not begin from {asked.source}"))
        return GotPiece(data=await self._store.chunk(asked.source, asked.digest))

    # ---- removed

    async def sweep(self) -> None:
        """Until cancelled; replicas may do it at the same time."""
        pause = min(FIRST, self._config.sweep_every)
        while True:
            await asyncio.sleep(pause)
            pause = self._config.sweep_every
            try:
                await self.round()
            except BusError as error:
                log.warning("checkpoints that nobody needs stay for now: %s", error)
            except Exception:
                log.exception("sweeping the checkpoints failed")

    async def round(self) -> None:
        jobs = await self._store.jobs()
        self._done &= jobs
        for job in sorted(jobs):
            record = await self._record(job)
            if record is None:
                continue
            if forgotten(record, self._clock.now(), self._config):
                await self._store.remove_job(job)
                log.info("the checkpoint of %s was deleted", job)
            elif job not in self._done:
                await self._free(job, record)

    async def _free(self, job: str, record: Record) -> None:
        """What no checkpoint names, once nothing more can come."""
        last = await self._store.last(job)
        heads = [last.head] if last else []
        if not collectable(record, heads, self._clock.now(), self._config):
            return
        try:
            named = [(await self._store.checkpoint(head)).manifest for head in heads]
        except (Corrupt, NotFound) as error:
            log.warning("the checkpoint of %s cannot be read: %s", job, error)
            self._done.add(job)
            return
        surplus = unnamed(await self._store.all_stored(job), heads, named)
        if await collect(self._store, job, surplus, last.sequence if last else 0):
            self._done.add(job)

    async def _record(self, job: str) -> Record | None:
        try:
            return (await self._records.get(job)).record
        except NotFound:
            return None
