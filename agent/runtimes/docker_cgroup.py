"""What can be had of a container without its engine? The kernel tells, where it can be seen."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PLACES = (
    "memory/docker/{id}",
    "memory/system.slice/docker-{id}.scope",
    "system.slice/docker-{id}.scope",
    "docker/{id}",
    "user.slice/user-{user}.slice/user@{user}.service/user.slice/docker-{id}.scope",
)
"""Version 1 and 2 of control groups, with the engine's and with systemd's names; rootless."""
PEAKS = ("memory.max_usage_in_bytes", "memory.peak", "memory.current")
"""The last one where the kernel keeps no peak: what is used now."""
CACHES = (b"total_inactive_file ", b"inactive_file ")


class ControlGroup:
    """Of one container that runs. Reads two small files a look; never asks the engine."""

    def __init__(self, container: str, root: Path = ROOT) -> None:
        places = (root / place.format(id=container, user=os.getuid()) for place in PLACES)
        self._folder = next((place for place in places if place.is_dir()), None)

    def kill(self) -> None:
        """SIGKILL to all in it; nothing from another container, where their ids are hidden."""
        if self._folder is None:
            return
        with contextlib.suppress(OSError, ValueError):
            for text in (self._folder / "cgroup.procs").read_text().split():
                if int(text) > 0:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(text), signal.SIGKILL)

    def peak(self) -> int | None:
        """Bytes, without the files that the kernel caches for it; None where nothing is told."""
        if self._folder is None:
            return None
        for name in PEAKS:
            try:
                peak = int((self._folder / name).read_bytes())
                return max(0, peak - cached(self._folder / "memory.stat"))
            except (OSError, ValueError):
                continue
        return None


def cached(stat: Path) -> int:
    """Bytes that the kernel gives up before it kills; version 1 sums over groups below first."""
    lines = stat.read_bytes().splitlines()
    for name in CACHES:
        for line in lines:
            if line.startswith(name):
                return int(line.removeprefix(name))
    return 0
