"""How does a worker stay one? It asks for a new token long before the old one runs out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

from bus.connection import Bus
from bus.errors import BusError
from bus.joining import renew
from bus.tokens import Identity, identity_of

log = logging.getLogger(__name__)

LOOK_EVERY = 3600.0
"""Most seconds between two looks at the token: a machine may have slept."""
AGAIN = 60.0
"""Seconds until the next try of one that failed."""


@contextlib.asynccontextmanager
async def renewing(bus: Bus) -> AsyncIterator[None]:
    """For as long as the context lasts; nothing where the token is not ours or never runs out."""
    path = bus.config.credentials
    if path is None or not runs_out(identity_of(Path(path))):
        yield
        return
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(keep(bus, Path(path)))
        try:
            yield
        finally:
            task.cancel()


async def keep(bus: Bus, path: Path) -> None:
    while True:
        try:
            pause = renewed_in(identity_of(path), time.time())
            if pause <= 0:
                await renew(bus, path)
                log.info("its token was renewed")
                continue
        except (BusError, OSError) as error:
            log.warning("its token was not renewed yet: %s", error)
            pause = AGAIN
        await asyncio.sleep(min(pause, LOOK_EVERY))


def runs_out(identity: Identity) -> bool:
    return identity.inbox is not None and identity.expires_at is not None


def renewed_in(identity: Identity, now: float) -> float:
    """Seconds until half of the token's time has passed. Pure."""
    if identity.expires_at is None:
        return LOOK_EVERY
    return (identity.issued_at + identity.expires_at) / 2 - now
