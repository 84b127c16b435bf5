"""How do a worker's files become the outputs of a job?

A worker sends chunks in any order and then a manifest that names them. Every message may come twice
and at any replica: a chunk is written once, a manifest only in the place of the one before it.
"""

from __future__ import annotations

import asyncio
import logging
import time

from bus import subjects
from bus.clock import ServerClock
from bus.connection import Bus
from bus.errors import BusError, Conflict, Corrupt, NotFound, Refused
from bus.outputs import PAGE, OutputStore, StoredHead, cut
from bus.records import Records
from bus.serve import Route, serve
from schemas.message import Empty
from schemas.outputs import (
    AskStored,
    Commit,
    Committed,
    Manifest,
    OutputsHead,
    OutputsKey,
    PutChunks,
    Sending,
    StoredChunks,
)
from services.outputs.checkpoints import Checkpoints
from services.outputs.collecting import collect
from services.outputs.config import OutputsConfig
from services.outputs.grants import Grants
from services.outputs.pieces import Pieces, check_size
from services.outputs.rules import bad_chunk, excess, not_granted, unnamed
from services.outputs.sweeping import Sweeper

log = logging.getLogger(__name__)

PUTS, COMMITS = 32, 4
"""At one time in one replica: chunks of half a MiB, manifests of some MiB."""
COLLECT_SECONDS = 5.0
"""How long a commit may free what its manifest does not name any more; the worker waits for it."""


async def run(bus: Bus, config: OutputsConfig) -> None:
    """Until cancelled; replicas run side by side."""
    await Outputs(bus, config).run()


class Outputs:
    """One replica of the service."""

    def __init__(self, bus: Bus, config: OutputsConfig) -> None:
        self._bus = bus
        self._config = config
        self._clock = ServerClock(bus)
        self._store = OutputStore(bus)
        records = Records(bus)
        self._checkpoints = Checkpoints(bus, records, self._clock, config)
        self._grants = Grants(records, self._clock, config.late, config.most_bytes)
        self._pieces = Pieces(self._store, self._grants, config)
        self._sweeper = Sweeper(self._store, records, self._clock, config)

    async def run(self) -> None:
        def route(verb: str) -> str:
            return subjects.request("outputs", verb, "*")

        routes = {
            route("stored"): Route(AskStored, self._on_stored),
            route("put"): Route(PutChunks, self._pieces.on_put, concurrency=PUTS),
            route("commit"): Route(Commit, self._on_commit, concurrency=COMMITS),
            route("sending"): Route(Sending, self._on_sending),
            **self._checkpoints.routes(),
        }
        await self._clock.look()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._clock.keep())
            tasks.create_task(self._sweeper.run())
            tasks.create_task(self._checkpoints.sweep())
            await serve(self._bus, routes, "outputs")

    async def _on_stored(self, asked: AskStored, subject: str) -> StoredChunks:
        digests, more = await self._pieces.page(asked, subject)
        before = await self._store.head(asked.job, asked.attempt)
        return StoredChunks(digests=digests, more=more, round=before.head.round if before else 0)

    async def _on_commit(self, asked: Commit, subject: str) -> Committed:
        worker = subjects.asker(subject)
        granted = await self._grants.check(asked, worker, fresh=True)
        before = await self._store.head(asked.job, asked.attempt)
        if before is not None and before.head.round >= asked.round:
            return self._again(asked, before)
        check_size(asked)
        stored = await self._store.all_stored(asked.job)
        if lacking := set(cut(asked.chunks)) - stored:
            return Committed(missing=b"".join(lacking))
        manifest = await self._manifest(asked)
        if lacking := {c for file in manifest.files for c in cut(file.chunks)} - stored:
            return Committed(missing=b"".join(list(lacking)[:PAGE]))
        sequence = await self._write(asked, worker, manifest, before)
        granted.put = 0
        try:
            await self._collect(asked, manifest, stored, sequence)
        except BusError as error:
            log.warning("%s: what is not named any more stays for now: %s", asked.job, error)
        return Committed()

    def _again(self, asked: Commit, before: StoredHead) -> Committed:
        """The same one, sent twice, was done; an older one comes too late."""
        if (before.head.round, before.head.chunks) == (asked.round, asked.chunks):
            return Committed()
        raise Refused(not_granted(f"a later manifest of {asked.job} is there already"))

    async def _manifest(self, asked: Commit) -> Manifest:
        head = OutputsHead(
            job=asked.job, attempt=asked.attempt, worker="", at=0.0, round=asked.round,
            chunks=asked.chunks, size=asked.size,
        )  # fmt: skip
        try:
            manifest = await self._store.manifest(head)
        except (Corrupt, NotFound) as error:
            raise Refused(bad_chunk(str(error))) from error
        if problem := excess(manifest, self._config):
            raise Refused(problem)
        return manifest

    async def _write(
        self, asked: Commit, worker: str, manifest: Manifest, before: StoredHead | None
    ) -> int:
        head = OutputsHead(
            job=asked.job,
            attempt=asked.attempt,
            worker=worker,
            round=asked.round,
            at=self._clock.now(),
            files=len(manifest.files),
            total=manifest.size,
            final=asked.final,
            chunks=asked.chunks,
            size=asked.size,
        )
        try:
            sequence = await self._store.write_head(head, before.sequence if before else 0)
        except Conflict as error:
            raise Refused(not_granted("another manifest came at the same moment")) from error
        if asked.final:
            log.info("%s.%d: %d files of outputs", asked.job, asked.attempt, len(manifest.files))
        return sequence

    async def _on_sending(self, asked: Sending, subject: str) -> Empty:
        """Beside the manifest that is there: what a viewer has stays whole."""
        worker = subjects.asker(subject)
        await self._grants.check(asked, worker)
        before = await self._store.head(asked.job, asked.attempt)
        head = before.head if before else None
        if head is None:
            head = OutputsHead(job=asked.job, attempt=asked.attempt, worker=worker, at=0.0)
        told = {
            "at": self._clock.now(),
            "sending_files": asked.files,
            "sending_bytes": asked.size,
        }
        try:
            await self._store.write_head(
                head.model_copy(update=told), before.sequence if before else 0
            )
        except Conflict:
            log.info("%s.%d: a manifest came meanwhile", asked.job, asked.attempt)
        return Empty()

    async def _collect(
        self, asked: OutputsKey, manifest: Manifest, stored: set[bytes], sequence: int
    ) -> None:
        """A job that replaces its checkpoints for days must not fill the store.

        Safe here alone: until it has the answer, the only writer of the job puts nothing.
        """
        until = time.monotonic() + COLLECT_SECONDS
        numbers = await self._store.attempts(asked.job)
        heads = [one.head for n in numbers if (one := await self._store.head(asked.job, n))]
        others = [
            await self._store.manifest(head) for head in heads if head.attempt != asked.attempt
        ]
        surplus = unnamed(stored, heads, [manifest, *others])
        await collect(self._store, asked.job, surplus, sequence, until)
