"""Which images did this worker build that others may ask for, and how do they get them?

``shares/<key>.json`` holds the lease under which one is built: it is shared only when somebody
wants it, which may be after a restart, and so may be the first time that its image is seen whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from agent import image_blobs
from agent.folder import write_atomic
from bus import subjects
from bus.codec import decode
from bus.connection import Bus
from bus.errors import BusError, Corrupt, Refused
from schemas.environments import (
    DETAIL,
    BuildFailed,
    CannotShare,
    DoneSharing,
    LeaseAnswer,
    LeaseBeat,
    LeaseKey,
    SharedImage,
    StartSharing,
    Used,
)
from schemas.message import Empty
from schemas.reason import Reason
from schemas.worker import Command, Grant

log = logging.getLogger(__name__)

KEPT = 30 * 86_400.0
"""Seconds after which a lease is forgotten."""
TELL_EVERY = 3600.0
"""Seconds between two times that a use of one image is told: what is used is kept for others."""
TELL_SECONDS = 5.0
WAITING = 256
"""Images that wait to be shared; more are asked for again."""
BEAT_EVERY = 5.0
TRANSIENT = frozenset({"not_granted", "lost_layer", "bus_unavailable"})
"""Refusals that say nothing against sharing the image."""


class CannotExport(Exception):
    """The image cannot be had from the engine. ``lasting``: it never can."""

    def __init__(self, detail: str, lasting: bool) -> None:
        super().__init__(detail)
        self.lasting = lasting


Export = Callable[[LeaseKey, tuple[str, ...], Path], Awaitable[tuple[SharedImage, dict[str, Path]]]]
"""The lease, layers to leave out, folder for the rest → the image and its files: none where a
registry has it now. Raises ``CannotExport``."""


class Shares:
    """Of one worker."""

    def __init__(
        self, bus: Bus, worker: str, folder: Path, export: Export, eager: bool = False
    ) -> None:
        """``eager``: images are shared although nobody has asked yet."""
        self.eager = eager
        self._bus = bus
        self._worker = worker
        self._folder = folder
        self._export = export
        self._wanted: asyncio.Queue[str] = asyncio.Queue(WAITING)
        self._queued: set[str] = set()
        self._turn = asyncio.Semaphore(1)
        self._used: asyncio.Queue[tuple[Grant, str]] = asyncio.Queue(WAITING)
        self._told: OrderedDict[str, float] = OrderedDict()
        self._cut_off: set[str] = set()
        """Of builds that an agent before this one did not see the end of."""

    def tidy(self) -> None:
        """Removes what an agent before this one left half done. Blocking, and before all else."""
        with contextlib.suppress(OSError):
            self._tidy()

    def keep(self, lease: LeaseKey, layers: tuple[str, ...], *, whole: bool) -> None:
        """Before it is built, and once the image is ``whole``. Blocking."""
        self._cut_off.discard(lease.key)
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            noted = {"lease": lease.model_dump(), "layers": layers, "whole": whole}
            write_atomic(str(self._folder / f"{lease.key}.json"), json.dumps(noted).encode())

    def seen(self, grant: Grant, key: str) -> None:
        """The image is here: those who still wait for the end of its build may have it."""
        if key in self._cut_off:
            self._cut_off.discard(key)
            self.want(key)
        now = time.monotonic()
        if now - self._told.get(key, -TELL_EVERY) >= TELL_EVERY:
            self._told[key] = now
            self._told.move_to_end(key)
            while len(self._told) > WAITING:
                self._told.popitem(last=False)
            with contextlib.suppress(asyncio.QueueFull):
                self._used.put_nowait((grant, key))

    def want(self, key: str) -> None:
        if key not in self._queued:
            with contextlib.suppress(asyncio.QueueFull):
                self._wanted.put_nowait(key)
                self._queued.add(key)

    async def run(self) -> None:
        """Until cancelled. Those that wait their turn hold their lease meanwhile."""
        command = subjects.command(self._worker, "share")
        async with asyncio.TaskGroup() as tasks, self._bus.subscribe(command, self._on_command):
            tasks.create_task(self._tell_uses())
            while True:
                key = await self._wanted.get()
                tasks.create_task(self._shared(key))

    async def _tell_uses(self) -> None:
        """Later, and one after the other: no job waits for it."""
        while True:
            grant, key = await self._used.get()
            told = Used(job=grant.job, attempt=grant.attempt, nonce=grant.nonce, key=key)
            with contextlib.suppress(BusError):
                subject = image_blobs.subject("used", self._worker)
                await self._bus.request(subject, told, Empty, attempts=1)

    async def _shared(self, key: str) -> None:
        try:
            await self._share(key)
        except (BusError, OSError) as error:
            log.warning("environment %s is not shared now: %s", key[:8], error)
        except Exception:
            log.exception("sharing environment %s failed", key[:8])
        finally:
            self._queued.discard(key)

    async def _on_command(self, message: image_blobs.Heard) -> None:
        try:
            command = decode(Command, message.data, message.headers)
        except Corrupt as error:
            log.error("a command that is none: %s", error)
            return
        for key in command.share:
            self.want(key)

    async def _share(self, key: str) -> None:
        found = await asyncio.to_thread(self._noted, key)
        if found is None:
            return
        lease, layers = found
        if not (await self._tell("share", StartSharing(**lease.model_dump()))).holds:
            self.forget(key)
            return
        async with self._beating(lease), self._turn:
            await self._store(lease, layers)
        self.forget(key)

    async def _store(self, lease: LeaseKey, layers: tuple[str, ...]) -> None:
        began = time.monotonic()
        key = lease.model_dump()
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._folder))
        try:
            image, files = await self._export(lease, layers, folder)
            if files:
                await image_blobs.send(self._bus, self._worker, lease, image, files)
            await self._tell("done", DoneSharing(**key, image=image))
            seconds, how = time.monotonic() - began, image.reference or f"{image.size} bytes"
            log.info("shared environment %s: %s, %.1f s", lease.key[:8], how, seconds)
        except CannotExport as error:
            await self._give_up(lease, str(error), error.lasting)
        except Refused as error:
            lasting = error.problem.code not in TRANSIENT
            await self._give_up(lease, error.problem.detail, lasting)
        except OSError as error:
            await self._give_up(lease, f"its builder has no room for it: {error}", True)
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))

    async def _give_up(self, lease: LeaseKey, why: str, lasting: bool) -> None:
        """Those who wait build it: each for himself, or one of them for all."""
        log.warning("environment %s cannot be shared: %s", lease.key[:8], why)
        key, detail = lease.model_dump(), why[:DETAIL]
        if lasting:
            await self._tell("alone", CannotShare(**key, detail=detail))
        else:
            told = BuildFailed(**key, reason=Reason.AGENT_ERROR, detail=detail)
            await self._tell("failed", told)

    @contextlib.asynccontextmanager
    async def _beating(self, lease: LeaseKey) -> AsyncIterator[None]:
        async def beat() -> None:
            while True:
                await asyncio.sleep(BEAT_EVERY)
                with contextlib.suppress(BusError):
                    await self._tell("beat", LeaseBeat(**lease.model_dump()))

        beats = asyncio.ensure_future(beat())
        try:
            yield
        finally:
            beats.cancel()
            await asyncio.wait([beats])

    async def _tell(self, verb: str, told: LeaseKey) -> LeaseAnswer:
        subject = image_blobs.subject(verb, self._worker)
        return await self._bus.request(subject, told, LeaseAnswer, timeout=TELL_SECONDS)

    def _noted(self, key: str) -> tuple[LeaseKey, tuple[str, ...]] | None:
        try:
            noted = self._read(self._folder / f"{key}.json")
            return LeaseKey.model_validate(noted["lease"]), tuple(noted["layers"])
        except (OSError, ValueError, KeyError):
            return None

    def _read(self, path: Path) -> dict[str, Any]:
        noted: dict[str, Any] = json.loads(path.read_bytes())
        return noted

    def forget(self, key: str) -> None:
        (self._folder / f"{key}.json").unlink(missing_ok=True)

    def _tidy(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif time.time() - path.stat().st_mtime > KEPT:
                path.unlink(missing_ok=True)
            elif not self._is_whole(path):
                self._cut_off.add(path.stem)

    def _is_whole(self, path: Path) -> bool:
        try:
            return bool(self._read(path)["whole"])
        except (ValueError, KeyError):
            path.unlink(missing_ok=True)
            return True
