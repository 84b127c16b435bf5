"""What of the shared images goes?"""

from __future__ import annotations

import asyncio
import logging
import time

from bus.clock import ServerClock
from bus.errors import BusError
from bus.images import ImageStore
from services.environments.config import EnvironmentsConfig
from services.environments.keeping import orphans, surplus, unnamed
from services.environments.shelf import Shelf

log = logging.getLogger(__name__)


class Sweeper:
    """Looks now and then; replicas may do it at the same time."""

    def __init__(
        self, shelf: Shelf, store: ImageStore, clock: ServerClock, config: EnvironmentsConfig
    ) -> None:
        self._shelf = shelf
        self._store = store
        self._clock = clock
        self._config = config
        self._orphans_at = time.monotonic() + config.orphans_every

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._config.sweep_every)
            try:
                await self.round()
                if time.monotonic() >= self._orphans_at:
                    self._orphans_at = time.monotonic() + self._config.orphans_every
                    await self.drop_orphans()
            except BusError as error:
                log.warning("images that nobody needs stay for now: %s", error)
            except Exception:
                log.exception("sweeping the images failed")

    async def round(self) -> None:
        """Entries first: what an image names is never missing."""
        entries, blobs = await self._shelf.all()
        now = self._clock.now()
        sizes = {name: blob.size for name, blob in blobs.items()}
        for name in surplus(entries, sizes, now, self._config):
            log.info("environment %s is not shared any more", name)
            await self._shelf.drop_entry(name, entries[name])
        entries, blobs = await self._shelf.all()
        for name in unnamed(blobs, entries, now, self._config):
            pool, _, digest = name.partition(".")
            if await self._shelf.drop_blob(pool, digest, blobs[name]):
                await self._store.remove(blobs[name].upload, digest)

    async def drop_orphans(self) -> None:
        """What builders stored that were given up. What is stored is read before what counts."""
        stored = await self._store.stored()
        entries, blobs = await self._shelf.all()
        for upload, digest in orphans(stored, blobs, entries.values()):
            log.info("freeing what a builder left of layer %s", digest[:12])
            await self._store.remove(upload, digest)
