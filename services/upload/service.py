"""How does an upload become a job?"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets

from bus import subjects
from bus.audit import note
from bus.clock import ServerClock
from bus.connection import Bus
from bus.errors import Conflict, NotFound, Refused
from bus.kv import Bucket
from bus.quotas import QuotaTable
from bus.records import Records
from bus.serve import Route, serve
from schemas.audit import AuditEntry, Deed
from schemas.ids import job_id
from schemas.job import Entry, Fact, Record, State
from schemas.requests import Admit, Admitted, FetchBundle, FetchPieces, FetchTree, Submit, Submitted
from services.upload.admission import Admission, OverQuota
from services.upload.bundle import check_entry
from services.upload.config import UploadConfig
from services.upload.fetches import Fetches
from services.upload.named_secrets import advice, check_secrets
from services.upload.refusals import BadBundle
from services.upload.stored import StoredBundle
from services.upload.sweeping import Sweeper
from services.upload.taking import Taking

log = logging.getLogger(__name__)

PIECES_AT_ONCE = 32
"""Answers of up to a MiB each."""


async def run(bus: Bus, config: UploadConfig) -> None:
    """Until cancelled; replicas run side by side."""
    await Uploads(bus, config).run()


class Uploads:
    """One replica of the service."""

    def __init__(self, bus: Bus, config: UploadConfig) -> None:
        self._bus = bus
        self._clock = ServerClock(bus)
        self._records = Records(bus)
        self._requests = Bucket(bus, "requests")
        self._quotas = QuotaTable(bus, config.quota)
        self._admission = Admission(bus, self._quotas)
        self._taking = Taking(bus, config, self._admission, self._clock)
        self._fetches = Fetches(bus, self._taking.forget)
        self._sweeper = Sweeper(bus, self._clock, config.abandoned_after)

    async def run(self) -> None:
        routes = {
            subjects.request("upload", "admit"): Route(Admit, self._on_admit),
            subjects.request("upload", "submit"): Route(Submit, self._on_submit),
            subjects.request("upload", "fetch", "*"): Route(FetchBundle, self._fetches.on_fetch),
            subjects.request("upload", "tree", "*"): Route(FetchTree, self._fetches.on_tree),
            subjects.request("upload", "pieces", "*"): Route(
                FetchPieces, self._fetches.on_pieces, concurrency=PIECES_AT_ONCE
            ),
        }
        await self._clock.look()
        await self._quotas.load()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._clock.keep())
            tasks.create_task(self._quotas.listen())
            tasks.create_task(self._sweeper.run())
            await serve(self._bus, routes, "upload")

    # ---- submit

    async def _on_admit(self, asked: Admit, subject: str) -> Admitted:
        """What would be refused is told before it is sent; what was submitted already, too."""
        try:
            self._admission.check_upload(asked.owner, asked.size)
            await self._admission.check_queued(asked.owner)
        except OverQuota as error:
            earlier = await self._earlier(request_key(asked.owner, asked.key))
            if earlier is None:
                raise Refused(error.problem) from error
            return Admitted(earlier=earlier)
        return Admitted(most=self._admission.most(asked.owner))

    async def _on_submit(self, asked: Submit, subject: str) -> Submitted:
        key = request_key(asked.owner, asked.key)
        # Only what costs something to check is looked up first: the key decides in any case.
        earlier = await self._earlier(key) if asked.bundle is None else None
        try:
            answer = earlier or await self._admit(asked, await self._checked(asked), key)
        except BadBundle as error:
            # The same request, repeated, may have been done and its upload deleted meanwhile.
            earlier = await self._earlier(key)
            if earlier is None:
                await self._taking.discard(asked)
                raise Refused(error.problem) from error
            answer = earlier
        await self._taking.discard(asked)
        return answer

    async def _earlier(self, key: str) -> Submitted | None:
        """The answer that this key got before."""
        before = await self._requests.get(key)
        if before is None:
            return None
        stored = await self._stored_job(before.value.decode())
        return Submitted(record=stored, created=False) if stored else None

    async def _checked(self, asked: Submit) -> StoredBundle:
        await check_secrets(self._bus, asked.owner, asked.spec)
        bundle = await self._taking.bundle(asked)
        if bundle.files is not None:
            check_entry(bundle.files, asked.spec.entry)
        return bundle

    async def _admit(self, asked: Submit, bundle: StoredBundle, key: str) -> Submitted:
        """Raises ``OverQuota``; never for a key that stands for a job already."""
        if not self._admission.counts(asked.owner):
            return await self._create(asked, bundle, key)
        async with self._admission.turn(asked.owner):
            earlier = await self._earlier(key)
            if earlier is not None:
                return earlier
            await self._admission.check(asked.owner, bundle.digest, bundle.size)
            return await self._create(asked, bundle, key)

    async def _create(self, asked: Submit, bundle: StoredBundle, key: str) -> Submitted:
        """One job per key: whoever loses the race, or comes after a crash, goes on with its id."""
        while True:
            job, mine = await self._name_job(key)
            stored = None if mine else await self._stored_job(job)
            if stored is None:
                record = new_record(job, asked, bundle, self._clock.now())
                await note(self._bus, "upload", submission(record, asked))
                try:
                    await self._records.write(record, Fact.SUBMITTED, 0)
                    log.info("%s submitted by %s", job, asked.owner)
                    notes = (*bundle.notes, *advice(asked.spec))
                    return Submitted(record=record, created=True, notes=notes)
                except Conflict:
                    stored = (await self._records.get(job)).record
            if (stored.owner, stored.bundle, stored.spec) == (
                asked.owner, bundle.digest, asked.spec,
            ) or not mine:  # fmt: skip
                return Submitted(record=stored, created=False)
            await self._requests.delete(key)

    async def _stored_job(self, job: str) -> Record | None:
        try:
            return (await self._records.get(job)).record
        except NotFound:
            return None

    async def _name_job(self, key: str) -> tuple[str, bool]:
        """The job's id under this key, and whether it was chosen just now."""
        job = job_id(self._clock.now(), secrets.randbits(20))
        try:
            await self._requests.create(key, job.encode())
            return job, True
        except Conflict:
            before = await self._requests.get(key)
        if before is None:
            await self._requests.put(key, job.encode())
            return job, True
        return before.value.decode(), False


def request_key(owner: str, key: str) -> str:
    """A key of the bucket: tokens alone, whatever people choose."""
    return ".".join(hashlib.sha256(part.encode()).hexdigest()[:40] for part in (owner, key))


def new_record(job: str, asked: Submit, bundle: StoredBundle, now: float) -> Record:
    return Record(
        id=job,
        owner=asked.owner,
        spec=asked.spec,
        bundle=bundle.digest,
        bundle_size=bundle.size,
        bundle_scope=bundle.scope,
        state=State.WAITING,
        submitted_at=now,
        changed_at=now,
        retry_of=asked.retry_of,
        pin=asked.pin,
        like=asked.like,
        timeline=(Entry(fact=Fact.SUBMITTED, at=now, text=f"by {asked.owner}"),),
    )


def submission(record: Record, asked: Submit) -> AuditEntry:
    again = f", again what {asked.retry_of} was" if asked.retry_of else ""
    return AuditEntry(
        at=record.submitted_at,
        deed=Deed.SUBMIT,
        who=asked.owner,
        target=record.id,
        detail=f"{record.name} in pool {record.spec.pool}{again}",
        address=asked.address,
    )
