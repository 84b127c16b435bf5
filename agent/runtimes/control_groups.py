"""Which control groups is a process in, and what do they tell? Versions 1, 2, and both at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
CACHED = (b"total_inactive_file ", b"inactive_file ")
"""What the kernel gives up before it kills; version 1 sums over groups below first."""
NANO, MICRO = 1e-9, 1e-6
UNIFIED = ""
"""In place of a controller's name: the one tree of version 2."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One tree of control groups, as this process sees it."""

    root: str
    """Which group of the tree lies at ``place``."""
    place: str


@dataclass(frozen=True, slots=True)
class Groups:
    """Folders by controller; those of version 2 are all the same one."""

    cpu: Path
    memory: Path
    io: Path | None
    unified: bool

    @classmethod
    def of(cls, pid: int, proc: Path = PROC) -> Groups | None:
        """None where they cannot be seen from here, or the process is over."""
        try:
            mounts = read_mounts((proc / "self/mountinfo").read_text())
            places = read_places((proc / str(pid) / "cgroup").read_text())
        except OSError:
            return None
        found = {
            name: folder
            for name, path in places.items()
            if name in mounts and (folder := seen_at(mounts[name], path)) is not None
        }
        if "memory" in found and "cpuacct" in found:
            return cls(found["cpuacct"], found["memory"], found.get("blkio"), unified=False)
        one = found.get(UNIFIED)
        if one is None or not (one / "memory.current").exists():
            return None
        return cls(one, one, one, unified=True)

    def cpu_seconds(self) -> float:
        """Raises ``OSError`` and ``ValueError`` where the group is gone."""
        if not self.unified:
            return int((self.cpu / "cpuacct.usage").read_bytes()) * NANO
        return int(value_of((self.cpu / "cpu.stat").read_bytes(), b"usage_usec ")) * MICRO

    def memory_bytes(self) -> int:
        name = "memory.current" if self.unified else "memory.usage_in_bytes"
        used = int((self.memory / name).read_bytes())
        return max(0, used - cached((self.memory / "memory.stat").read_bytes()))

    def disk_bytes(self) -> tuple[int, int] | None:
        """Read and written. Version 1 does not know who wrote what the kernel writes later."""
        if self.io is None:
            return None
        with contextlib.suppress(OSError, ValueError):
            if self.unified:
                return io_stat((self.io / "io.stat").read_text())
            return service_bytes((self.io / "blkio.throttle.io_service_bytes").read_text())
        return None

    def processes(self) -> list[int]:
        """Their ids here; none of those that have no id here."""
        with contextlib.suppress(OSError, ValueError):
            return [
                pid for pid in map(int, (self.memory / "cgroup.procs").read_text().split()) if pid
            ]
        return []


def read_mounts(text: str) -> dict[str, Mount]:
    """Controller to where its tree is mounted, from ``mountinfo``."""
    found: dict[str, Mount] = {}
    for line in text.splitlines():
        mount, _, system = line.partition(" - ")
        fields, kind = mount.split(), system.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            found.setdefault(UNIFIED, Mount(fields[3], fields[4]))
        elif kind[0] == "cgroup":
            for option in kind[2].split(","):
                found.setdefault(option, Mount(fields[3], fields[4]))
    return found


def read_places(text: str) -> dict[str, str]:
    """Controller to the group's path in its tree, from ``/proc/PID/cgroup``."""
    found = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            found[name] = path
    return found


def seen_at(mount: Mount, path: str) -> Path | None:
    root = mount.root.rstrip("/")
    if root and path != root and not path.startswith(f"{root}/"):
        return None
    folder = Path(mount.place + path[len(root) :])
    return folder if folder.is_dir() else None


def cached(stat: bytes) -> int:
    for name in CACHED:
        with contextlib.suppress(ValueError):
            return int(value_of(stat, name))
    return 0


def value_of(text: bytes, name: bytes) -> bytes:
    """Raises ``ValueError`` where there is none."""
    for line in text.splitlines():
        if line.startswith(name):
            return line[len(name) :]
    raise ValueError(name.decode())


def io_stat(text: str) -> tuple[int, int]:
    pairs = [pair.partition("=") for line in text.splitlines() for pair in line.split()[1:]]
    return (
        sum(int(value) for name, _, value in pairs if name == "rbytes"),
        sum(int(value) for name, _, value in pairs if name == "wbytes"),
    )


def service_bytes(text: str) -> tuple[int, int]:
    rows = [line.split() for line in text.splitlines()]
    return total(rows, "Read"), total(rows, "Write")


def total(rows: Iterable[list[str]], kind: str) -> int:
    return sum(int(row[2]) for row in rows if len(row) == 3 and row[1] == kind)
