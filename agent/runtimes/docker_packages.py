"""What did pip download on this machine before, and who may add to that?

A cache decides what later installs get, also those of other owners: environments are shared. So it
is written to only while nothing but the base image's own pip runs, in a container in which pip
cannot start another program (``deploy/job/install.sh``), for requirements that name packages and
nothing else. Whatever has to build a package runs code of strangers, and reads alone. Each base
image has a folder of its own: who brings another pip fills that one's
(docs/decisions/0019-registries-and-caches.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.runtimes.choice import PYPROJECT, REQUIREMENTS, requirement_lines
from agent.runtimes.docker_container import JOB_USER

TARGET = "/var/cache/stoker/pip"
"""Where an installation finds it."""
SIZE = 10 << 30
LOOK_EVERY = 5.0
"""Seconds between two looks at how large it is, while it grows."""
SOURCES = (REQUIREMENTS, PYPROJECT)
PLAIN_FILE = re.compile(r"^[A-Za-z0-9][\w./-]*\.(?:txt|in)$")
PLAIN_LINE = re.compile(
    r"^(?:-[rc]\s*[\w./-]+"
    r"|[A-Za-z0-9][\w.-]*\s*(?:\[[\w.,\s-]*\])?\s*(?:[<>=!~(][\w.*+!,<>=~()\s]*)?(?:;[^#@/:-]*)?"
    r"(?:\s--hash[= ]sha256:[0-9a-f]{64})*(?:\s+#.*)?)$"
)
"""A package, its versions and where it is wanted: no address, no option but hashes."""


@dataclass(frozen=True, slots=True)
class Cache:
    """As one installation finds it."""

    folder: Path
    writable: bool

    def mount(self) -> dict[str, Any]:
        return {
            "Type": "bind",
            "Source": str(self.folder),
            "Target": TARGET,
            "ReadOnly": not self.writable,
        }

    def read_only(self) -> Cache:
        return replace(self, writable=False)


class Packages:
    """Of one worker: ``packages/<base image>/``."""

    def __init__(self, root: Path, size: int = SIZE) -> None:
        self._root = root
        self._size = size

    def cache(self, source: str, files: Mapping[str, bytes], base: str) -> Cache | None:
        """None where there is none for it. ``base``: id of the base image. Blocking."""
        if not self._size or source not in SOURCES or os.getuid() != 0:
            return None
        folder = self._root / base.removeprefix("sha256:")[:32]
        try:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            os.chown(folder, JOB_USER, JOB_USER)
        except OSError:
            return None
        return Cache(folder, is_plain(files))

    @contextlib.asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """While something is added, and after it."""

        async def watch() -> None:
            while True:
                await asyncio.sleep(LOOK_EVERY)
                await asyncio.to_thread(self.trim)

        watching = asyncio.ensure_future(watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            await asyncio.shield(asyncio.to_thread(self.trim))

    def trim(self, wanted: int = 0) -> int:
        """The oldest downloads go beyond the size, and ``wanted`` bytes in any case; how many went.

        Blocking. What an installation reads at this moment it downloads again.
        """
        files = sorted(downloads(self._root))
        total = sum(size for _, size, _ in files)
        goal = min(self._size, max(0, total - wanted) if wanted else self._size)
        gone = 0
        for _, size, path in files:
            if total <= goal:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size
            gone += 1
        return gone


def downloads(root: Path) -> Iterator[tuple[float, int, str]]:
    """Time, size and path of all that lies there; links are not followed."""
    for place, _, names in os.walk(root):
        for name in names:
            path = os.path.join(place, name)
            with contextlib.suppress(OSError):
                status = os.lstat(path)
                yield status.st_mtime, status.st_size, path


def is_plain(files: Mapping[str, bytes]) -> bool:
    """Whether these requirements name packages of the usual index and nothing else. Pure."""
    return all(
        PLAIN_FILE.match(name) and all(map(PLAIN_LINE.match, requirement_lines(name, data)))
        for name, data in files.items()
    )
