"""How does an upload become a job?"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import secrets
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from bus import subjects
from bus.audit import note
from bus.clock import ServerClock
from bus.connection import Bus
from bus.errors import BusError, Conflict, Corrupt, NotFound, Refused
from bus.kv import Bucket
from bus.objects import ObjectInfo, Objects
from bus.quotas import QuotaTable
from bus.records import Records
from bus.serve import Route, serve
from schemas.audit import AuditEntry, Deed
from schemas.ids import job_id
from schemas.job import Entry, Fact, Record, State
from schemas.requests import Admit, Admitted, FetchBundle, Submit, Submitted
from services.upload.admission import Admission, OverQuota
from services.upload.bundle import Bundle, canonical, canonical_bytes, check_entry, inspect
from services.upload.config import UploadConfig
from services.upload.fetches import Fetches
from services.upload.named_secrets import advice, check_secrets
from services.upload.refusals import BadBundle

log = logging.getLogger(__name__)

SMALL = 4 << 20
"""Bytes up to which a bundle is handled in memory and in one go."""
CHECKS = 2
"""Big bundles that are checked at one time; the others wait."""
REMEMBERED = 1024
LISTING_BYTES = 256 * 1024
"""Longest list of file names that is kept with a bundle."""
ORPHANS_AFTER = 3600.0
"""Seconds after its last chunk when a put that was killed is swept."""
SWEEP_EVERY = 3600.0


async def run(bus: Bus, config: UploadConfig) -> None:
    """Until cancelled; replicas run side by side."""
    await Uploads(bus, config).run()


@dataclass(frozen=True)
class StoredBundle:
    """What a job needs to know of a bundle that is stored."""

    digest: str
    size: int
    files: tuple[str, ...] | None
    """None where the list was too long to keep."""
    notes: tuple[str, ...] = ()


class Uploads:
    """One replica of the service."""

    def __init__(self, bus: Bus, config: UploadConfig) -> None:
        self._bus = bus
        self._config = config
        self._clock = ServerClock(bus)
        self._objects = Objects(bus)
        self._records = Records(bus)
        self._requests = Bucket(bus, "requests")
        self._known: OrderedDict[str, StoredBundle] = OrderedDict()
        self._fetches = Fetches(bus, lambda digest: self._known.pop(digest, None))
        self._checks = asyncio.Semaphore(CHECKS)
        self._quotas = QuotaTable(bus, config.quota)
        self._admission = Admission(bus, self._quotas)

    async def run(self) -> None:
        routes = {
            subjects.request("upload", "admit"): Route(Admit, self._on_admit),
            subjects.request("upload", "submit"): Route(Submit, self._on_submit),
            subjects.request("upload", "fetch", "*"): Route(FetchBundle, self._fetches.on_fetch),
        }
        await self._clock.look()
        await self._quotas.load()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._clock.keep())
            tasks.create_task(self._quotas.listen())
            tasks.create_task(self._sweep())
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
        earlier = await self._earlier(key) if asked.upload is not None else None
        try:
            answer = earlier or await self._admit(asked, await self._checked(asked), key)
        except BadBundle as error:
            # The same request, repeated, may have been done and its upload deleted meanwhile.
            earlier = await self._earlier(key)
            if earlier is None:
                await self._forget_upload(asked)
                raise Refused(error.problem) from error
            answer = earlier
        await self._forget_upload(asked)
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
        bundle = await self._bundle(asked)
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

    async def _bundle(self, asked: Submit) -> StoredBundle:
        if asked.bundle is not None:
            return await self._stored(asked.bundle)
        if asked.upload is None:
            raise BadBundle("no_bundle", "a job needs a bundle: send a zip, or name a stored one")
        return await self._accept(asked.upload, asked.owner)

    async def _stored(self, digest: str) -> StoredBundle:
        if digest in self._known:
            return self._known[digest]
        info = await self._objects.find("bundles", digest)
        if info is None:
            raise BadBundle("no_such_bundle", f"no bundle {digest} is stored; send the zip", 404)
        listing = info.metadata.get("files")
        files = tuple(listing.split("\n")) if listing else None
        return self._remember(StoredBundle(digest, int(info.metadata.get("size", "0")), files))

    def _remember(self, bundle: StoredBundle) -> StoredBundle:
        self._known[bundle.digest] = bundle
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return bundle

    async def _accept(self, upload: str, owner: str) -> StoredBundle:
        """Checks the raw zip and stores its canonical form, if that is not there yet."""
        try:
            info = await self._objects.info("uploads", upload)
        except NotFound as error:
            raise BadBundle(
                "no_such_upload", "the upload is not there any more; send it again", 404
            ) from error
        self._admission.check_upload(owner, info.size)
        if info.size <= SMALL:
            return await self._accept_from(info, owner)
        async with self._checks:
            return await self._accept_from(info, owner)

    async def _accept_from(self, info: ObjectInfo, owner: str) -> StoredBundle:
        scratch = str(self._config.scratch) if self._config.scratch else None
        with tempfile.SpooledTemporaryFile(max_size=SMALL, dir=scratch) as spooled:
            file = cast(BinaryIO, spooled)
            await self._load(info, file)
            bundle = await asyncio.to_thread(inspect, file, info.size, self._config)
            await self._admission.check_storage(owner, bundle.digest, bundle.size)
            await self._store(file, bundle)
        return self._remember(StoredBundle(bundle.digest, bundle.size, bundle.files, bundle.notes))

    async def _load(self, info: ObjectInfo, file: BinaryIO) -> None:
        try:
            if info.size <= SMALL:
                file.write(await self._objects.read(info))
                return
            async with contextlib.aclosing(self._objects.get("uploads", info.name)) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
        except (NotFound, Corrupt) as error:
            raise BadBundle(
                "upload_lost", "the upload was damaged or deleted meanwhile; send it again", 409
            ) from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise BadBundle(
                "no_room", "the server has no room to check it; free some and send it again", 507
            ) from error

    async def _store(self, file: BinaryIO, bundle: Bundle) -> None:
        if await self._objects.find("bundles", bundle.digest) is not None:
            return
        listing = "\n".join(bundle.files)
        metadata = {"size": str(bundle.size), "count": str(len(bundle.members))}
        if len(listing.encode()) <= LISTING_BYTES:
            metadata["files"] = listing
        await self._objects.put("bundles", bundle.digest, packed(file, bundle), metadata=metadata)

    async def _forget_upload(self, asked: Submit) -> None:
        if asked.upload is not None:
            try:
                await self._objects.delete("uploads", asked.upload)
            except BusError as error:
                log.info("upload %s stays until it is swept: %s", asked.upload, error)

    # ---- sweep

    async def _sweep(self) -> None:
        """Deletes raw uploads that nobody submitted, and what puts that were killed left."""
        while True:
            try:
                async for info in self._objects.list("uploads"):
                    if self._clock.now() - info.modified > self._config.abandoned_after:
                        await self._objects.delete("uploads", info.name)
                for bucket in ("uploads", "bundles"):
                    freed = await self._objects.sweep(bucket, ORPHANS_AFTER)
                    if freed:
                        log.info("freed %d unfinished objects in %s", freed, bucket)
            except BusError as error:
                log.warning("abandoned uploads stay for now: %s", error)
            except Exception:
                log.exception("sweeping the uploads failed")
            await asyncio.sleep(SWEEP_EVERY)


async def packed(file: BinaryIO, bundle: Bundle) -> AsyncIterator[bytes]:
    """The canonical form, made in a thread."""
    if bundle.size <= SMALL:
        yield await asyncio.to_thread(canonical_bytes, file, bundle)
        return
    pieces = canonical(file, bundle)
    while batch := await asyncio.to_thread(take, pieces):
        yield batch


def take(pieces: Iterator[bytes], size: int = 1 << 20) -> bytes:
    """About ``size`` bytes of the pieces; none at their end."""
    taken = bytearray()
    for piece in pieces:
        taken += piece
        if len(taken) >= size:
            break
    return bytes(taken)


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
        state=State.WAITING,
        submitted_at=now,
        changed_at=now,
        retry_of=asked.retry_of,
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
