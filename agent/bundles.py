"""Where does an attempt's copy of its bundle come from?

Cache: ``bundles/<digest>/files/``, unpacked once; ``complete`` beside it holds its size and, as its
time, when it was used last. The longest unused go when the cache is over its bound. What lies as
pieces has the scope of its owner behind the digest: of one owner's files none get into another's.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
from collections import defaultdict
from pathlib import Path

from agent.bundle_trees import TreeFetch
from agent.caches import COMPLETE, clean
from agent.surplus import Rule
from agent.unpack import SMALL_TREE, BadArchive, copy_tree, unpack
from bus import subjects
from bus.connection import Bus
from bus.errors import BusError
from schemas.reason import Reason
from schemas.requests import BundleChunk, FetchBundle
from schemas.worker import Grant

log = logging.getLogger(__name__)

CACHE_BYTES = 20 << 30
BUNDLE_BYTES = 64 << 30
"""Most bytes of one bundle's files, where the grant does not say how many."""
FILE_SLACK = 1 << 20
RULE = Rule(kept=10_000)


class NoBundle(Exception):
    """The bundle cannot be had. ``reason`` and the message go into the attempt's end."""

    def __init__(self, detail: str, reason: Reason) -> None:
        super().__init__(detail)
        self.reason = reason


class Bundles:
    """The cache of one agent."""

    def __init__(self, bus: Bus, worker: str, root: Path, most_bytes: int = CACHE_BYTES) -> None:
        self._bus = bus
        self._worker = worker
        self._root = root
        self._most_bytes = most_bytes
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._sizes: dict[str, int] = {}
        """Those that are known to be whole."""

    async def copy(self, grant: Grant, target: Path) -> None:
        """The bundle's files as ``target``, a folder of the attempt's own. Raises ``NoBundle``."""
        try:
            size = await self._need(grant)
            files = str(self._root / key_of(grant) / "files")
            if size <= SMALL_TREE:
                copy_tree(files, str(target))
            else:
                await asyncio.to_thread(copy_tree, files, str(target))
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = Reason.DISK_FULL if full else Reason.AGENT_ERROR
            raise NoBundle(f"unpacking the bundle: {error.strerror or error}", reason) from error

    async def clean(self, wanted: int) -> int:
        """What nobody used for long, and ``wanted`` bytes of the rest; how many went."""
        busy = {digest for digest, lock in self._locks.items() if lock.locked()}
        return await asyncio.to_thread(clean, self._root, RULE, busy, wanted, size_of)

    async def _need(self, grant: Grant) -> int:
        """Fetches the bundle unless it is here; its size."""
        key = key_of(grant)
        size = self._known(key)
        if size is not None:
            return size
        async with self._locks[key]:
            size = self._known(key)
            if size is None:
                size = await self._fetch(grant, self._root / key)
                self._sizes[key] = size
        self._locks.pop(key, None)
        await asyncio.to_thread(self._evict, key)
        return size

    def _known(self, key: str) -> int | None:
        """Its size where it is whole; marks it as used now."""
        mark = self._root / key / COMPLETE
        try:
            os.utime(mark)
            if key not in self._sizes:
                self._sizes[key] = int(mark.read_text())
        except (FileNotFoundError, ValueError):
            self._sizes.pop(key, None)
            return None
        return self._sizes[key]

    async def _fetch(self, grant: Grant, folder: Path) -> int:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        (folder / "files").mkdir(parents=True)
        budget = grant.bundle_size + FILE_SLACK if grant.bundle_size else BUNDLE_BYTES
        try:
            if grant.bundle_scope:
                fetch = TreeFetch(self._bus, self._worker, grant)
                size = await fetch.fetch(folder, self._siblings(grant), budget)
            else:
                size = await self._unpacked(grant, folder, budget)
            (folder / COMPLETE).write_text(str(size))
        except BadArchive as error:
            raise NoBundle(str(error), Reason.DATA_UNAVAILABLE) from error
        except BusError as error:
            raise NoBundle(f"fetching the bundle: {error}", Reason.DATA_UNAVAILABLE) from error
        finally:
            if not (folder / COMPLETE).exists():
                shutil.rmtree(folder, ignore_errors=True)
        return size

    async def _unpacked(self, grant: Grant, folder: Path, budget: int) -> int:
        archive = folder / "archive"
        await self._download(grant, archive)
        size = await asyncio.to_thread(unpack, archive, folder / "files", grant.bundle, budget)
        archive.unlink()
        return size

    def _siblings(self, grant: Grant) -> list[Path]:
        """Bundles of the same owner that are whole, those used last first."""
        marks = self._root.glob(f"*-{grant.bundle_scope}/complete")
        times = {mark.parent: used_at(mark) for mark in marks}
        return sorted(times, key=lambda folder: -times[folder])

    async def _download(self, grant: Grant, archive: Path) -> None:
        subject = subjects.request("upload", "fetch", self._worker)
        cursor: int | None = 0
        number = 0
        with archive.open("wb") as file:
            while cursor is not None:
                asked = FetchBundle(
                    job=grant.job,
                    attempt=grant.attempt,
                    nonce=grant.nonce,
                    bundle=grant.bundle,
                    cursor=cursor,
                    number=number,
                )
                chunk = await self._bus.request(subject, asked, BundleChunk)
                file.write(chunk.data)
                cursor, number = chunk.next, number + 1

    def _evict(self, used: str) -> None:
        marks = sorted(self._root.glob("*/complete"), key=lambda mark: mark.stat().st_mtime)
        held = sum(int(mark.read_text() or 0) for mark in marks)
        for mark in marks:
            if held <= self._most_bytes or mark.parent.name == used:
                return
            held -= int(mark.read_text() or 0)
            log.info("removing bundle %s from the cache", mark.parent.name[:12])
            mark.unlink(missing_ok=True)
            shutil.rmtree(mark.parent, ignore_errors=True)


def key_of(grant: Grant) -> str:
    """The name of its folder."""
    return f"{grant.bundle}-{grant.bundle_scope}" if grant.bundle_scope else grant.bundle


def used_at(mark: Path) -> float:
    try:
        return mark.stat().st_mtime
    except OSError:
        return 0.0


def size_of(folder: Path) -> int:
    return int((folder / COMPLETE).read_text() or 0)
