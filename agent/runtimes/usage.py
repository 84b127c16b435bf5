"""What has a program used so far, and what does it use now?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums since it began, but for ``memory``; None for what cannot be told."""

    at: float
    """Monotonic seconds."""
    cpu: float
    """Seconds of cores."""
    memory: int
    """Bytes now, without the files that the kernel caches and gives up before it kills."""
    read: int | None = None
    written: int | None = None
    """Bytes from and to disks."""
    received: int | None = None
    sent: int | None = None
    """Bytes over its own network interfaces."""
    pids: frozenset[int] = frozenset()
    """Of its processes, as far as they were looked at."""


class Meter(Protocol):
    """Of one program that runs. Blocking, for a fraction of a millisecond."""

    def read(self) -> Usage | None:
        """None where it is over, or cannot be seen."""


Series = dict[str, float]
RATES = (
    ("cpu", "cpu"),
    ("disk.read", "read"),
    ("disk.write", "written"),
    ("net.in", "received"),
    ("net.out", "sent"),
)
"""Series that are what came since the last look, by its time; and the sum that each is of."""


def series_between(before: Usage, now: Usage) -> Series:
    """Cores, bytes and bytes a second. Pure.

    A sum that became smaller lost a process that had been counted: nothing is told of that time.
    """
    seconds = now.at - before.at
    found: Series = {"memory": float(now.memory)}
    for name, field in RATES:
        old, new = getattr(before, field), getattr(now, field)
        if old is not None and new is not None and seconds > 0 and new >= old:
            found[name] = (new - old) / seconds
    return found
