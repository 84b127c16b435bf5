"""What does a container use? The kernel tells, by its control groups and its network."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from agent.runtimes.control_groups import PROC, Groups
from agent.runtimes.docker_engine import Engine, EngineError
from agent.runtimes.process_meter import birth_of, disk_bytes
from agent.runtimes.usage import Usage

ASKED_SINGLY = 256
"""Processes up to which each is asked what it wrote, where version 1 cannot tell."""
RECEIVED, SENT = 0, 8
"""Columns of /proc/PID/net/dev, behind the interface's name."""


@dataclass(frozen=True, slots=True)
class ContainerMeter:
    """By the first process in it: that is there as long as the container."""

    pid: int
    born: str
    groups: Groups

    def read(self) -> Usage | None:
        if birth_of(self.pid) != self.born:
            return None
        try:
            cpu, memory = self.groups.cpu_seconds(), self.groups.memory_bytes()
        except (OSError, ValueError):
            return None
        pids = self.groups.processes()
        disk = self.groups.disk_bytes()
        if not self.groups.unified and len(pids) <= ASKED_SINGLY:
            disk = disk_bytes(pids) or disk
        read, written = disk or (None, None)
        received, sent = net_bytes(self.pid) or (None, None)
        now = time.monotonic()
        return Usage(now, cpu, memory, read, written, received, sent, frozenset(pids))


def container_meter(engine: Engine, container: str) -> ContainerMeter | None:
    """None where it is over, or its processes cannot be seen from here. Asks the engine once."""
    try:
        state = engine.call("GET", f"/containers/{container}/json", timeout=5.0)["State"]
    except (EngineError, KeyError):
        return None
    pid = int(state.get("Pid") or 0)
    born = birth_of(pid) if pid else ""
    groups = Groups.of(pid) if born else None
    if groups is None or not all(container[:12] in str(at) for at in (groups.cpu, groups.memory)):
        return None
    return ContainerMeter(pid, born, groups)


def net_bytes(pid: int, proc: Path = PROC) -> tuple[int, int] | None:
    """Received and sent; None where it has no interface but the one to itself."""
    try:
        lines = (proc / str(pid) / "net/dev").read_text().splitlines()[2:]
    except OSError:
        return None
    rows = [
        row.split()
        for name, _, row in (line.partition(":") for line in lines)
        if name.strip() != "lo"
    ]
    if not rows:
        return None
    return sum(int(row[RECEIVED]) for row in rows), sum(int(row[SENT]) for row in rows)
