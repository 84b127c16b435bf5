"""What does a builder say, and does it still count?"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable

from bus import subjects
from bus.clock import ServerClock
from bus.errors import NotFound
from bus.images import ImageStore
from bus.serve import Route
from schemas.environments import (
    CHUNK,
    AskMissing,
    Blob,
    BuildFailed,
    BuiltImage,
    CannotShare,
    DoneSharing,
    EnvironmentEntry,
    LeaseAnswer,
    LeaseBeat,
    LeaseKey,
    Missing,
    Phase,
    PutChunk,
    StartSharing,
    StoredBlob,
)
from schemas.reason import Kind
from services.environments.believed import Believed
from services.environments.config import EnvironmentsConfig
from services.environments.grants import refused
from services.environments.rules import changed, holds, renewed
from services.environments.shelf import Shelf

log = logging.getLogger(__name__)

PUTS = 32
"""At one time in one replica, of half a MiB each."""

REMEMBERED = 1024
SENT_AGAIN = 2
"""So many times the bytes of the largest image may come: requests are repeated."""

ChangeOne = Callable[[EnvironmentEntry], EnvironmentEntry | None]
"""What a lease's entry becomes; None where it stays as it is."""


class Leases:
    """Answers builders."""

    def __init__(
        self, shelf: Shelf, store: ImageStore, clock: ServerClock, config: EnvironmentsConfig
    ) -> None:
        self._shelf = shelf
        self._store = store
        self._clock = clock
        self._config = config
        self._believed = Believed()
        self._stored: OrderedDict[str, int] = OrderedDict()
        """Upload to the bytes that came here."""

    def routes(self) -> dict[str, Route]:
        def route(verb: str) -> str:
            return subjects.request("environments", verb, "*")

        return {
            route("beat"): Route(LeaseBeat, self.on_beat),
            route("built"): Route(BuiltImage, self.on_built),
            route("share"): Route(StartSharing, self.on_share),
            route("missing"): Route(AskMissing, self.on_missing),
            route("put"): Route(PutChunk, self.on_put, concurrency=PUTS),
            route("done"): Route(DoneSharing, self.on_done),
            route("failed"): Route(BuildFailed, self.on_failed),
            route("alone"): Route(CannotShare, self.on_alone),
        }

    async def on_beat(self, beat: LeaseBeat, subject: str) -> LeaseAnswer:
        until = self._clock.now() + self._config.lease
        return await self._leased(beat, subject, lambda entry: renewed(entry, beat, until))

    async def on_built(self, told: BuiltImage, subject: str) -> LeaseAnswer:
        def built(entry: EnvironmentEntry) -> EnvironmentEntry | None:
            if entry.phase is not Phase.BUILDING:
                return None
            until = self._clock.now() + self._config.share_begins
            return changed(entry, phase=Phase.BUILT, until=until)

        return await self._leased(told, subject, built)

    async def on_share(self, told: StartSharing, subject: str) -> LeaseAnswer:
        def sharing(entry: EnvironmentEntry) -> EnvironmentEntry:
            until = self._clock.now() + self._config.lease
            return changed(entry, phase=Phase.SHARING, until=until)

        return await self._leased(told, subject, sharing)

    async def on_failed(self, told: BuildFailed, subject: str) -> LeaseAnswer:
        """A bundle's own failure is told to all who wait; after any other, one of them tries."""
        phase = Phase.FAILED if told.reason.kind is Kind.USER else Phase.FREE

        def failed(entry: EnvironmentEntry) -> EnvironmentEntry:
            return changed(entry, phase=phase, reason=told.reason, detail=told.detail)

        return await self._leased(told, subject, failed)

    async def on_alone(self, told: CannotShare, subject: str) -> LeaseAnswer:
        def alone(entry: EnvironmentEntry) -> EnvironmentEntry:
            until = self._clock.now() + self._config.alone_for
            return changed(entry, phase=Phase.ALONE, until=until, detail=told.detail)

        return await self._leased(told, subject, alone)

    async def _leased(self, told: LeaseKey, subject: str, change: ChangeOne) -> LeaseAnswer:
        """What the holder of the lease says, done; what another says changes nothing."""
        worker = subjects.asker(subject)
        seen: EnvironmentEntry | None = None

        def apply(entry: EnvironmentEntry | None) -> EnvironmentEntry | None:
            nonlocal seen
            seen = entry if holds(entry, told, worker) else None
            return change(seen) if seen is not None else None

        await self._shelf.change(told.pool, told.key, apply)
        return LeaseAnswer(holds=seen is not None, wanted=seen is not None and seen.wanted)

    async def on_missing(self, asked: AskMissing, subject: str) -> Missing:
        await self._upload(asked, subject)
        now = self._clock.now()
        found = await asyncio.gather(
            *(self._shelf.count_on(asked.pool, digest, now) for digest in asked.digests)
        )
        pairs = zip(asked.digests, found, strict=True)
        return Missing(digests=tuple(digest for digest, blob in pairs if blob is None))

    async def on_put(self, told: PutChunk, subject: str) -> LeaseAnswer:
        upload = await self._upload(told, subject)
        if not told.data or (told.index + 1) * CHUNK > self._config.most_image:
            detail = f"an image may have {self._config.most_image} bytes, and a chunk has some"
            raise refused("too_large", detail, 413)
        self._count(upload, len(told.data))
        if hashlib.sha256(told.data).digest() != told.sha256:
            raise refused("bad_chunk", "a chunk's digest is not that of its bytes")
        await self._store.put(upload, told.digest, told.index, told.data)
        return LeaseAnswer(holds=True)

    def _count(self, upload: str, size: int) -> None:
        """A lease stores one image: what is sent again and again must not fill the store."""
        self._stored[upload] = self._stored.get(upload, 0) + size
        self._stored.move_to_end(upload)
        while len(self._stored) > REMEMBERED:
            self._stored.popitem(last=False)
        if self._stored[upload] > SENT_AGAIN * self._config.most_image:
            raise refused("too_large", "more was sent than an image may have", 413)

    async def on_done(self, told: DoneSharing, subject: str) -> LeaseAnswer:
        worker = subjects.asker(subject)
        entry = await self._shelf.entry(told.pool, told.key)
        if told.image.size > self._config.most_image:
            raise refused("too_large", f"an image may have {self._config.most_image} bytes", 413)
        if entry is None or not holds(entry, told, worker):
            return LeaseAnswer(holds=False)
        blobs = {blob.digest: blob for blob in told.image.blobs}
        upload = entry.upload
        await asyncio.gather(*(self._have(told.pool, one, upload) for one in blobs.values()))

        def ready(entry: EnvironmentEntry) -> EnvironmentEntry:
            now = self._clock.now()
            return changed(entry, phase=Phase.READY, image=told.image, used_at=now, tail=b"")

        answer = await self._leased(told, subject, ready)
        if answer.holds:
            where = told.image.reference or f"{told.image.size} bytes"
            log.info("%s shares %s: %s", worker, told.key[:8], where)
        return answer

    async def _have(self, pool: str, blob: Blob, upload: str) -> None:
        """Written down, if it is stored: here before, or under this lease."""
        now = self._clock.now()
        if await self._shelf.count_on(pool, blob.digest, now) is not None:
            return
        try:
            last = await self._store.chunk(upload, blob.digest, blob.chunks - 1)
        except NotFound as error:
            raise refused("lost_layer", f"layer {blob.digest[:12]} was not stored", 409) from error
        if (blob.chunks - 1) * CHUNK + len(last) != blob.size:
            raise refused("bad_chunk", f"layer {blob.digest[:12]} has another size")
        await self._shelf.add(pool, blob.digest, StoredBlob(size=blob.size, upload=upload, at=now))

    async def _upload(self, told: LeaseKey, subject: str) -> str:
        """Under which the holder of the lease stores; raises ``Refused`` for anybody else."""
        worker = subjects.asker(subject)
        known = ("lease", told.pool, told.key, str(told.number), told.token, worker)
        upload = self._believed.get(known)
        if upload is not None:
            return upload
        entry = await self._shelf.entry(told.pool, told.key)
        if entry is None or not holds(entry, told, worker):
            raise refused("not_granted", f"{worker} has no lease of it any more", 403)
        return self._believed.put(known, entry.upload)
