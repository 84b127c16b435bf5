"""Is an image here, has another worker built it, or is it built here?"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.environments import Fleet
from agent.image_blobs import LostBlob
from agent.runtimes.docker_archive import NotThatWay, Saving, archive, save
from agent.runtimes.docker_engine import Engine, EngineError, out_of_space
from agent.runtimes.docker_images import Images, gone, image_name, say
from agent.runtimes.docker_leftovers import Leftovers
from agent.runtimes.docker_pool_registry import NotFromRegistry, PoolRegistry
from agent.runtimes.docker_threads import Threads
from agent.runtimes.protocol import CannotPrepare, Output
from agent.shares import CannotExport
from bus.errors import BusError
from schemas.environments import Asked, LeaseKey, SharedImage, Turn
from schemas.reason import Reason
from schemas.worker import Grant

log = logging.getLogger(__name__)

SAVE_SECONDS = 3600.0
MEBIBYTE = 1 << 20
ROUNDS = 3
"""Images of others that are tried before it is built here alone."""

Make = Callable[[Output], Awaitable[None]]
"""Builds it on this machine. Raises ``CannotPrepare``."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One environment for one attempt."""

    key: str
    grant: Grant
    make: Make
    layers: tuple[str, ...]
    """Of the base image: every worker that wants the environment has it."""
    tell: Callable[[bool], None]
    """Hears whether it is here already."""


class Sharing:
    """The images of one engine, and those of the fleet."""

    def __init__(
        self, engine: Engine, threads: Threads, images: Images, leftovers: Leftovers, work: Path
    ) -> None:
        self.images = images
        self.fleet: Fleet | None = None
        """None as long as there is no bus: all is built here."""
        self.registry: PoolRegistry | None = None
        """None: images travel through the object store."""
        self._engine = engine
        self._threads = threads
        self._leftovers = leftovers
        self._folder = work / "shares"

    async def made(self, wanted: Wanted, output: Output) -> tuple[str, bool]:
        """The image's id, and whether it was there already; raises ``CannotPrepare``.

        Where it is there, nobody else is asked.
        """
        await self._threads.run(self._leftovers.used, wanted.key)
        name = image_name(wanted.key)
        found = await self.images.find(name)
        wanted.tell(found is not None)
        if found is not None:
            if self.fleet is not None:
                self.fleet.shares.seen(wanted.grant, wanted.key)
            return str(found["Id"]), True
        async with self.images.makings.alone(name, output) as heard:
            found = await self.images.find(name)
            if found is not None:
                return str(found["Id"]), True
            await self._come_by(wanted, heard)
            found = await self.images.find(name)
        if found is None:
            raise gone(name)
        return str(found["Id"]), False

    async def _come_by(self, wanted: Wanted, output: Output) -> None:
        if self.fleet is None:
            await wanted.make(output)
            return
        for _ in range(ROUNDS):
            turn = await self.fleet.turn(
                wanted.grant, wanted.key, partial(self._is_here, wanted.key), output
            )
            if turn is None or await self._take(self.fleet, turn, wanted, output):
                return
        await self._alone(wanted, "what was shared of it cannot be had", output)

    async def _is_here(self, key: str) -> bool:
        return await self.images.find(image_name(key)) is not None

    async def _take(self, fleet: Fleet, turn: Asked, wanted: Wanted, output: Output) -> bool:
        """Whether it is here now; not where another worker makes it by now."""
        if turn.turn is Turn.FETCH and turn.image is not None:
            next_turn = await self._fetched(fleet, turn, turn.image, wanted, output)
            if next_turn is None or next_turn.turn in (Turn.WAIT, Turn.FETCH):
                return next_turn is None
            turn = next_turn
        if turn.turn is Turn.BUILD and turn.lease is not None:
            build = fleet.building(turn.lease, wanted.grant, wanted.layers, output)
            async with build as heard:
                await wanted.make(heard)
            return True
        await self._alone(wanted, turn.because, output)
        return True

    async def _alone(self, wanted: Wanted, why: str, output: Output) -> None:
        say(output)(f"building it here alone: {why}")
        await wanted.make(output)

    async def _fetched(
        self, fleet: Fleet, turn: Asked, image: SharedImage, wanted: Wanted, output: Output
    ) -> Asked | None:
        """None where it is here now, or else what to do instead."""
        try:
            if image.reference:
                await self._pulled(turn, image, wanted, output)
            else:
                await self._loaded(fleet, turn, image, wanted, output)
            await self._threads.run(self._leftovers.loaded, wanted.key)
            return None
        except (NotFromRegistry, LostBlob) as error:
            full_disk(error)
            say(output)(f"what {turn.builder} shared cannot be used: {error}")
            lost = error.digest if isinstance(error, LostBlob) else image.config.digest
            # One of those who cannot have it builds; the others wait for that.
            answer = await fleet.lost(wanted.grant, wanted.key, turn.number, lost)
            if answer is None or answer.turn in (Turn.ALONE, Turn.FAIL):
                return alone(str(error))
            return answer
        except (BusError, EngineError, NotThatWay) as error:
            full_disk(error)
            return alone(f"the one of {turn.builder} cannot be had: {error}")

    async def _pulled(
        self, turn: Asked, image: SharedImage, wanted: Wanted, output: Output
    ) -> None:
        if self.registry is None:
            raise NotFromRegistry("it lies in a registry, and this worker is told of none")
        say(output)(f"fetching it from {self.registry.host}: {turn.builder} built it")
        await self.registry.take(image, wanted.key, say(output), output)

    async def _loaded(
        self, fleet: Fleet, turn: Asked, image: SharedImage, wanted: Wanted, output: Output
    ) -> None:
        size = f"{image.size / MEBIBYTE:.1f} MiB"
        say(output)(f"fetching it: {turn.builder} built it ({size})")
        folder = await self._new_folder()
        try:
            files = await fleet.fetch(wanted.grant, wanted.key, image, folder)
            tar = partial(archive, image, files, image_name(wanted.key))
            await self.images.load(tar)
        finally:
            remove = asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            await asyncio.shield(remove)

    async def _new_folder(self) -> Path:
        def make() -> Path:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(dir=self._folder))

        return await asyncio.to_thread(make)

    async def export(
        self, lease: LeaseKey, layers: tuple[str, ...], folder: Path
    ) -> tuple[SharedImage, dict[str, Path]]:
        """For others: pushed, or what the engine gives of it, in ``folder``.

        Raises ``CannotExport``.
        """
        if self.registry is not None:
            key = lease.key
            try:
                return await self.registry.push(key, lease.pool, partial(warn, key)), {}
            except NotFromRegistry as error:
                warn(key, f"it goes through the object store: {error}")
        return await self._exported(lease.key, layers, folder)

    async def _exported(
        self, key: str, layers: tuple[str, ...], folder: Path
    ) -> tuple[SharedImage, dict[str, Path]]:
        name = image_name(key)
        stopped = threading.Event()
        link = self._engine.link(SAVE_SECONDS)

        def abort() -> None:
            stopped.set()
            link.abort()

        try:
            found = await self.images.find(name)
            if found is None:
                raise CannotExport("it is not on its builder's machine any more", lasting=False)
            known = frozenset(layer.removeprefix("sha256:") for layer in layers)
            saving = Saving(folder, known, stopped.is_set)
            saved = await self._threads.run(save, link, name, str(found["Id"]), saving, abort=abort)
        except NotThatWay as error:
            raise CannotExport(str(error), lasting=True) from error
        except EngineError as error:
            raise CannotExport(str(error), lasting=False) from error
        finally:
            link.close()
        return saved.image, dict(saved.files)


def warn(key: str, words: str) -> None:
    log.warning("environment %s: %s", key[:8], words)


def full_disk(error: Exception) -> None:
    """Raises ``CannotPrepare`` where that is why."""
    if out_of_space(str(error)):
        raise CannotPrepare(str(error), Reason.DISK_FULL) from error


def alone(why: str) -> Asked:
    return Asked(turn=Turn.ALONE, because=why)
