"""How do workers agree on who builds an environment, and hand each other its image?"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from bus import subjects
from bus.clock import ServerClock
from bus.connection import Bus
from bus.errors import BusError, NotFound
from bus.images import ImageStore
from bus.records import Records
from bus.serve import Route, serve
from schemas.environments import (
    CHUNK,
    Ask,
    Asked,
    AskMissing,
    Blob,
    BuildFailed,
    BuiltImage,
    CannotShare,
    DoneSharing,
    EnvironmentEntry,
    GetChunk,
    ImageChunk,
    LeaseAnswer,
    LeaseBeat,
    LeaseKey,
    Missing,
    Phase,
    PutChunk,
    StartSharing,
    StoredBlob,
    Turn,
)
from schemas.reason import Kind
from schemas.worker import Command
from services.environments.config import EnvironmentsConfig
from services.environments.grants import Grants, refused
from services.environments.rules import Asker, Desk, Fresh, changed, holds, renewed
from services.environments.shelf import Shelf
from services.environments.sweeping import Sweeper

log = logging.getLogger(__name__)

PUTS, GETS = 32, 64
"""At one time in one replica, of half a MiB each."""
BELIEVED = 2.0
"""Seconds for which a lease, or what an image is made of, is not looked up again."""
REMEMBERED = 4096

ChangeOne = Callable[[EnvironmentEntry], EnvironmentEntry | None]
"""What a lease's entry becomes; None where it stays as it is."""


async def run(bus: Bus, config: EnvironmentsConfig) -> None:
    """Until cancelled; replicas run side by side."""
    await Environments(bus, config).run()


class Environments:
    """One replica of the service."""

    def __init__(self, bus: Bus, config: EnvironmentsConfig) -> None:
        self._bus = bus
        self._config = config
        self._clock = ServerClock(bus)
        self._shelf = Shelf(bus)
        self._store = ImageStore(bus)
        self._grants = Grants(Records(bus))
        self._sweeper = Sweeper(self._shelf, self._store, self._clock, config)
        self._believed: OrderedDict[tuple[str, ...], tuple[float, str]] = OrderedDict()

    async def run(self) -> None:
        def route(verb: str) -> str:
            return subjects.request("environments", verb, "*")

        routes = {
            route("ask"): Route(Ask, self._on_ask),
            route("beat"): Route(LeaseBeat, self._on_beat),
            route("built"): Route(BuiltImage, self._on_built),
            route("share"): Route(StartSharing, self._on_share),
            route("missing"): Route(AskMissing, self._on_missing),
            route("put"): Route(PutChunk, self._on_put, concurrency=PUTS),
            route("done"): Route(DoneSharing, self._on_done),
            route("failed"): Route(BuildFailed, self._on_failed),
            route("alone"): Route(CannotShare, self._on_alone),
            route("get"): Route(GetChunk, self._on_get, concurrency=GETS),
        }
        await self._clock.look()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._clock.keep())
            tasks.create_task(self._sweeper.run())
            await serve(self._bus, routes, "environments")

    # ---- those who need it

    async def _on_ask(self, asked: Ask, subject: str) -> Asked:
        worker = worker_of(subject)
        pool = await self._grants.pool(asked, worker)
        if asked.lost is not None:
            await self._forget_damaged(pool, asked)
        fresh = Fresh(secrets.token_hex(16), secrets.token_hex(11))
        desk = Desk(asked, Asker(worker, pool), self._clock.now(), fresh, self._config)
        decision = await self._shelf.decide(pool, asked.key, desk.decide)
        if decision.nudge:
            await self._nudge(decision.answer.builder, asked.key)
        if decision.answer.turn is Turn.BUILD:
            log.info("%s builds %s for %s", worker, asked.key[:8], asked.job)
        return decision.answer

    async def _forget_damaged(self, pool: str, asked: Ask) -> None:
        """Or the next image with that layer would be damaged, too."""
        entry = await self._shelf.entry(pool, asked.key)
        image = entry.image if entry and entry.number == asked.waited else None
        if image is None or asked.lost not in {blob.digest for blob in image.blobs}:
            return
        blob = await self._shelf.blob(pool, asked.lost)
        if blob is not None and await self._shelf.drop_blob(pool, asked.lost, blob):
            log.warning("layer %s of pool %s is damaged: it is dropped", asked.lost[:12], pool)
            await self._store.remove(blob.upload, asked.lost)

    async def _nudge(self, worker: str, key: str) -> None:
        try:
            await self._bus.publish(subjects.command(worker, "share"), Command(share=(key,)))
        except BusError as error:
            log.info("%s will be told later to share %s: %s", worker, key[:8], error)

    async def _on_get(self, asked: GetChunk, subject: str) -> ImageChunk:
        pool = await self._grants.pool(asked, worker_of(subject))
        upload = await self._upload_of(pool, asked)
        try:
            return ImageChunk(data=await self._store.chunk(upload, asked.digest, asked.index))
        except NotFound as error:
            raise refused("lost_layer", "a layer of it is not stored any more", 410) from error

    async def _upload_of(self, pool: str, asked: GetChunk) -> str:
        """Only of what the named environment is made of, in the pool of the attempt."""
        known = ("blob", pool, asked.key, asked.digest)
        upload = self._known(known)
        if upload is not None:
            return upload
        entry = await self._shelf.entry(pool, asked.key)
        image = entry.image if entry else None
        if image is None or asked.digest not in {blob.digest for blob in image.blobs}:
            raise refused("no_such_layer", "the environment has no such layer", 404)
        blob = await self._shelf.blob(pool, asked.digest)
        if blob is None:
            raise refused("lost_layer", "a layer of it is not stored any more", 410)
        return self._believe(known, blob.upload)

    # ---- the builder

    async def _on_beat(self, beat: LeaseBeat, subject: str) -> LeaseAnswer:
        until = self._clock.now() + self._config.lease
        return await self._leased(beat, subject, lambda entry: renewed(entry, beat, until))

    async def _on_built(self, told: BuiltImage, subject: str) -> LeaseAnswer:
        def built(entry: EnvironmentEntry) -> EnvironmentEntry | None:
            if entry.phase is not Phase.BUILDING:
                return None
            until = self._clock.now() + self._config.share_begins
            return changed(entry, phase=Phase.BUILT, until=until)

        return await self._leased(told, subject, built)

    async def _on_share(self, told: StartSharing, subject: str) -> LeaseAnswer:
        def sharing(entry: EnvironmentEntry) -> EnvironmentEntry:
            until = self._clock.now() + self._config.lease
            return changed(entry, phase=Phase.SHARING, until=until)

        return await self._leased(told, subject, sharing)

    async def _on_failed(self, told: BuildFailed, subject: str) -> LeaseAnswer:
        """A bundle's own failure is told to all who wait; after any other, one of them tries."""
        phase = Phase.FAILED if told.reason.kind is Kind.USER else Phase.FREE

        def failed(entry: EnvironmentEntry) -> EnvironmentEntry:
            return changed(entry, phase=phase, reason=told.reason, detail=told.detail)

        return await self._leased(told, subject, failed)

    async def _on_alone(self, told: CannotShare, subject: str) -> LeaseAnswer:
        def alone(entry: EnvironmentEntry) -> EnvironmentEntry:
            until = self._clock.now() + self._config.alone_for
            return changed(entry, phase=Phase.ALONE, until=until, detail=told.detail)

        return await self._leased(told, subject, alone)

    async def _leased(self, told: LeaseKey, subject: str, change: ChangeOne) -> LeaseAnswer:
        """What the holder of the lease says, done; what another says changes nothing."""
        worker = worker_of(subject)
        seen: EnvironmentEntry | None = None

        def apply(entry: EnvironmentEntry | None) -> EnvironmentEntry | None:
            nonlocal seen
            seen = entry if holds(entry, told, worker) else None
            return change(seen) if seen is not None else None

        await self._shelf.change(told.pool, told.key, apply)
        return LeaseAnswer(holds=seen is not None, wanted=seen is not None and seen.wanted)

    async def _on_missing(self, asked: AskMissing, subject: str) -> Missing:
        await self._upload(asked, subject)
        now = self._clock.now()
        found = [(d, await self._shelf.count_on(asked.pool, d, now)) for d in asked.digests]
        return Missing(digests=tuple(digest for digest, blob in found if blob is None))

    async def _on_put(self, told: PutChunk, subject: str) -> LeaseAnswer:
        upload = await self._upload(told, subject)
        if not told.data or (told.index + 1) * CHUNK > self._config.most_image:
            detail = f"an image may have {self._config.most_image} bytes, and a chunk has some"
            raise refused("too_large", detail, 413)
        if hashlib.sha256(told.data).digest() != told.sha256:
            raise refused("bad_chunk", "a chunk's digest is not that of its bytes")
        await self._store.put(upload, told.digest, told.index, told.data)
        return LeaseAnswer(holds=True)

    async def _on_done(self, told: DoneSharing, subject: str) -> LeaseAnswer:
        worker = worker_of(subject)
        entry = await self._shelf.entry(told.pool, told.key)
        if told.image.size > self._config.most_image:
            raise refused("too_large", f"an image may have {self._config.most_image} bytes", 413)
        if entry is None or not holds(entry, told, worker):
            return LeaseAnswer(holds=False)
        for blob in told.image.blobs:
            await self._have(told.pool, blob, entry.upload)

        def ready(entry: EnvironmentEntry) -> EnvironmentEntry:
            return changed(entry, phase=Phase.READY, image=told.image, used_at=self._clock.now())

        answer = await self._leased(told, subject, ready)
        if answer.holds:
            log.info("%s shares %s: %d bytes", worker, told.key[:8], told.image.size)
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
        worker = worker_of(subject)
        known = ("lease", told.pool, told.key, str(told.number), told.token, worker)
        upload = self._known(known)
        if upload is not None:
            return upload
        entry = await self._shelf.entry(told.pool, told.key)
        if entry is None or not holds(entry, told, worker):
            raise refused("not_granted", f"{worker} has no lease of it any more", 403)
        return self._believe(known, entry.upload)

    def _known(self, key: tuple[str, ...]) -> str | None:
        until, value = self._believed.get(key, (0.0, ""))
        return value if time.monotonic() < until else None

    def _believe(self, key: tuple[str, ...], value: str) -> str:
        self._believed[key] = (time.monotonic() + BELIEVED, value)
        self._believed.move_to_end(key)
        while len(self._believed) > REMEMBERED:
            self._believed.popitem(last=False)
        return value


def worker_of(subject: str) -> str:
    """An agent's request ends in its own name: that is what its rights are tied to."""
    return subject.rsplit(".", 1)[1]
