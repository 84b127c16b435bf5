"""How do workers agree on who builds an environment, and hand each other its image?"""

from __future__ import annotations

import asyncio
import logging
import secrets

from bus import subjects
from bus.clock import ServerClock
from bus.connection import Bus
from bus.errors import BusError, NotFound
from bus.images import ImageStore
from bus.records import Records
from bus.serve import Route, serve
from schemas.environments import (
    Ask,
    Asked,
    EnvironmentEntry,
    GetChunk,
    ImageChunk,
    Turn,
    Used,
)
from schemas.message import Empty
from schemas.worker import Command
from services.environments.believed import Believed
from services.environments.config import EnvironmentsConfig
from services.environments.grants import Grants, refused
from services.environments.leases import Leases
from services.environments.packages import Packages
from services.environments.rules import (
    USED_EVERY,
    Asker,
    Desk,
    Fresh,
    changed,
)
from services.environments.shelf import Shelf
from services.environments.sweeping import Sweeper

log = logging.getLogger(__name__)

GETS = 64
"""At one time in one replica, of half a MiB each."""


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
        self._leases = Leases(self._shelf, self._store, self._clock, config)
        self._believed = Believed()
        self._packages = Packages(bus, self._grants)

    async def run(self) -> None:
        def route(verb: str) -> str:
            return subjects.request("environments", verb, "*")

        routes = {
            route("ask"): Route(Ask, self._on_ask),
            route("used"): Route(Used, self._on_used),
            route("get"): Route(GetChunk, self._on_get, concurrency=GETS),
            **self._leases.routes(),
            **self._packages.routes(),
        }
        await self._clock.look()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._clock.keep())
            tasks.create_task(self._sweeper.run())
            await serve(self._bus, routes, "environments")

    async def _on_ask(self, asked: Ask, subject: str) -> Asked:
        worker = subjects.asker(subject)
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

    async def _on_used(self, told: Used, subject: str) -> Empty:
        pool = await self._grants.pool(told, subjects.asker(subject))
        now = self._clock.now()

        def used(entry: EnvironmentEntry | None) -> EnvironmentEntry | None:
            late = entry is not None and now - entry.used_at > USED_EVERY
            return changed(entry, used_at=now) if entry is not None and late else None

        await self._shelf.change(pool, told.key, used)
        return Empty()

    async def _on_get(self, asked: GetChunk, subject: str) -> ImageChunk:
        pool = await self._grants.pool(asked, subjects.asker(subject))
        upload = await self._upload_of(pool, asked)
        try:
            return ImageChunk(data=await self._store.chunk(upload, asked.digest, asked.index))
        except NotFound as error:
            raise refused("lost_layer", "a layer of it is not stored any more", 410) from error

    async def _upload_of(self, pool: str, asked: GetChunk) -> str:
        """Only of what the named environment is made of, in the pool of the attempt."""
        known = ("blob", pool, asked.key, asked.digest)
        upload = self._believed.get(known)
        if upload is not None:
            return upload
        entry = await self._shelf.entry(pool, asked.key)
        image = entry.image if entry else None
        if image is None or asked.digest not in {blob.digest for blob in image.blobs}:
            raise refused("no_such_layer", "the environment has no such layer", 404)
        blob = await self._shelf.blob(pool, asked.digest)
        if blob is None:
            raise refused("lost_layer", "a layer of it is not stored any more", 410)
        return self._believed.put(known, blob.upload)
