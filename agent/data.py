"""Where on this machine does a job find the data that it names, and how long does that stay?

Cache: ``data/<key>/files``, fetched once; ``complete`` beside it holds its size and, as its time,
when it was used last. What no job uses goes, the longest unused first, beyond a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from agent.caches import COMPLETE, clean, whole
from agent.data_fetch import Source, fetch
from agent.data_rules import (
    DataRules,
    NoData,
    Place,
    begin_line,
    check_room,
    check_source,
    done_line,
    host_place,
    progress_line,
    told_keys,
)
from agent.data_sources import External
from agent.disk import DiskBounds, free_bytes
from agent.surplus import Rule, going
from bus.connection import Bus
from schemas.data import DataMount
from schemas.placing import data_key
from schemas.reason import Reason
from schemas.worker import Grant

log = logging.getLogger(__name__)

TELL_EVERY = 5.0
"""Seconds between two lines of a fetch that goes on."""
RULE = Rule(kept=10_000)
BOUND = Rule(kept=10_000, unused=float("inf"), spared=0.0)

Say = Callable[[str], None]
"""A line into the job's log."""


class Data:
    """The cache of one agent, and who uses what of it."""

    def __init__(
        self, bus: Bus, worker: str, root: Path, rules: DataRules, disk: DiskBounds
    ) -> None:
        self._bus = bus
        self._worker = worker
        self._root = root
        self._rules = rules
        self._disk = disk
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        """Of keys that are looked for just now, and by how many."""
        self._used: dict[str, frozenset[str]] = {}
        """Attempt to the keys that it uses."""
        self.held: tuple[str, ...] = ()
        """What is here, for the beat."""

    def use(self, attempt: str, grant: Grant) -> None:
        """From now on what it names stays here."""
        keys = (data_key(one, grant.owner) for one in grant.spec.data)
        self._used[attempt] = frozenset(keys)

    def release(self, attempt: str) -> None:
        self._used.pop(attempt, None)

    async def places(
        self, attempt: str, grant: Grant, variables: Mapping[str, str], say: Say
    ) -> tuple[Place, ...]:
        """All that the job names, fetched where it is not here. Raises ``NoData``.

        ``variables``: the job's, with its secrets: a source may ask for a password.
        """
        if not grant.spec.data:
            return ()
        self.use(attempt, grant)
        found = []
        for index, mount in enumerate(grant.spec.data):
            try:
                found.append(await self._place(grant, index, mount, variables, say))
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                reason = Reason.DISK_FULL if full else Reason.DATA_UNAVAILABLE
                raise NoData(f"{mount.text}: {error.strerror or error}", reason) from error
        await self.trim()
        return tuple(found)

    async def clean(self, wanted: int) -> int:
        """What nobody used for long, and ``wanted`` bytes of the rest; how many went."""
        gone = await asyncio.to_thread(clean, self._root, RULE, self._busy, wanted, size_of)
        await self.look()
        return gone

    async def look(self) -> None:
        """What is here is told with the next beat."""
        self.held = await asyncio.to_thread(self._listed)

    async def trim(self) -> None:
        """Down to the bound, but for what is used."""
        await asyncio.to_thread(self._trim)
        await self.look()

    @property
    def _busy(self) -> set[str]:
        """Names of folders. Of a source that is used, what it was before, too."""
        keys = set(self._locks).union(*self._used.values())
        return {name for name in os.listdir(self._root) if name.partition("-")[0] in keys}

    async def _place(
        self,
        grant: Grant,
        index: int,
        mount: DataMount,
        variables: Mapping[str, str],
        say: Say,
    ) -> Place:
        if mount.scheme == "host":
            return await asyncio.to_thread(host_place, mount, self._rules)
        key = data_key(mount, grant.owner)
        async with self._alone(key):
            if mount.source:
                return Place(mount, await self._external(key, mount, variables, say) / "files")
            if self._is_whole(key):
                say(f"data {mount.text}: cached, at {mount.path}")
            else:
                await self._fetch(key, Source(self._bus, self._worker, grant, index), say)
        return Place(mount, self._root / key / "files")

    @contextlib.asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        """One fetch of a key at a time; whoever waits finds it there."""
        lock, waiting = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks.pop(key)
            if waiting > 1:
                self._locks[key] = (lock, waiting - 1)

    async def _external(
        self, key: str, mount: DataMount, variables: Mapping[str, str], say: Say
    ) -> Path:
        check_source(mount, self._rules)
        external = External(mount, self._root, key, variables, self._rules)
        return await external.settled(self._make_room, say)

    async def _fetch(self, key: str, source: Source, say: Say) -> None:
        mount = source.grant.spec.data[source.index]
        begun = told_at = time.monotonic()
        say(begin_line(mount, mount.size, mount.files))
        await self._make_room(mount, mount.size)
        tree = await source.tree()

        def tell(done: int) -> None:
            nonlocal told_at
            now = time.monotonic()
            if now - told_at >= TELL_EVERY:
                told_at = now
                say(progress_line(mount, done, tree.size, now - begun))

        folder = self._root / key
        try:
            await fetch(source, tree, folder, tell)
        except NoData as error:
            if error.damaged:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        self._mark(key, tree.size)
        (folder / "pieces").unlink(missing_ok=True)
        say(done_line(mount, tree.size, time.monotonic() - begun))

    async def _make_room(self, mount: DataMount, size: int) -> None:
        """Raises ``NoData`` where the disk has none although all goes that can."""
        lacking = size + 2 * self._disk.floor - free_bytes(self._root)
        if lacking > 0:
            await asyncio.to_thread(clean, self._root, BOUND, self._busy, lacking, size_of)
        check_room(mount, size, free_bytes(self._root), self._disk)

    def _is_whole(self, key: str) -> bool:
        """Marks it as used now."""
        try:
            os.utime(self._root / key / COMPLETE)
        except FileNotFoundError:
            return False
        return True

    def _mark(self, key: str, size: int) -> None:
        (self._root / key / COMPLETE).write_text(str(size))

    def _trim(self) -> None:
        there = list(whole(self._root, self._busy, size_of))
        excess = sum(one.size for one in there) - self._rules.most_bytes
        if excess <= 0:
            return
        for one in going(there, BOUND, time.time(), excess):
            log.info("removing data %s from the cache", one.name[:12])
            with contextlib.suppress(OSError):
                (self._root / one.name / COMPLETE).unlink()
            shutil.rmtree(self._root / one.name, ignore_errors=True)

    def _listed(self) -> tuple[str, ...]:
        there = whole(self._root, set(), size_of)
        return told_keys(one.name for one in sorted(there, key=lambda one: -one.used_at))


def size_of(folder: Path) -> int:
    return int((folder / COMPLETE).read_text() or 0)
