"""How much memory and processor time does a stack's family of processes take?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MEBIBYTE = 1 << 20


def family(roots: Iterable[int], work: Path | None = None) -> list[psutil.Process]:
    """The processes with their descendants, and those that left the family but name its folder."""
    found: dict[int, psutil.Process] = {}
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(root)
            for one in (process, *process.children(recursive=True)):
                found[one.pid] = one
    if work is not None:
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if any(str(work) in part for part in process.cmdline()):
                    found[process.pid] = process
    return list(found.values())


def resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def proportional(process: psutil.Process) -> int:
    """Bytes with shared pages counted once over all who share them."""
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def processor_time(processes: Iterable[psutil.Process]) -> float:
    """Seconds of processor time, in user and kernel."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def label(process: psutil.Process) -> str:
    """A short name for a person: the program and what it was asked to do."""
    try:
        words = process.cmdline()
    except psutil.NoSuchProcess:
        return f"{process.pid} gone"
    short = [Path(word).name for word in words if not word.startswith("-")]
    return f"{process.pid} " + " ".join(short)[:60]


@dataclass(slots=True)
class Growth:
    """The most that each process grew over what it was at the start, in bytes."""

    start: dict[int, int]
    names: dict[int, str]
    peak: dict[int, int] = field(default_factory=dict)

    def look(self) -> None:
        for pid in self.start:
            with suppress(psutil.NoSuchProcess):
                now = resident(psutil.Process(pid))
                self.peak[pid] = max(self.peak.get(pid, 0), now)

    def worst(self) -> tuple[str, int]:
        grown = {pid: self.peak.get(pid, 0) - start for pid, start in self.start.items()}
        pid = max(grown, key=lambda one: grown[one])
        return self.names[pid], grown[pid]

    def told(self) -> str:
        return ", ".join(
            f"{self.names[pid]} +{(self.peak.get(pid, 0) - start) / MEBIBYTE:.0f} MiB"
            for pid, start in self.start.items()
        )


@asynccontextmanager
async def watched_growth(processes: list[psutil.Process]) -> AsyncIterator[Growth]:
    """Looks every 50 ms while the block runs."""
    growth = Growth({p.pid: resident(p) for p in processes}, {p.pid: label(p) for p in processes})

    async def look() -> None:
        while True:
            growth.look()
            await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(look())
        try:
            yield growth
        finally:
            growth.look()
            task.cancel()


async def processor_shares(processes: list[psutil.Process], seconds: float) -> dict[str, float]:
    """Share of one core that each process takes over ``seconds``, by its label."""
    before = {p: processor_time([p]) for p in processes}
    await asyncio.sleep(seconds)
    return {label(p): (processor_time([p]) - before[p]) / seconds for p in processes}
