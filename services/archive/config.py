"""What can be set of the archive?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of a pool's logs is kept; None: all."""

    age: float | None = None
    """Seconds after the job's end."""
    size: int | None = None
    """Bytes as stored."""


@dataclass(frozen=True)
class ArchiveConfig:
    """All times in seconds."""

    seal_after: float = 60.0
    """How long a log rests in the stream after its attempt ended: sealing is in no hurry."""
    late: float = 120.0
    """How long after an end nothing may come before the rest of a log is a gap."""
    sweep_every: float = 30.0
    full_sweep_every: float = 2.0
    """The same while the stream is half full; then no log rests, either."""
    look_messages: int = 64
    """Messages of a running attempt in the stream from which on its size is looked at."""
    seal_messages: int = 4096
    seal_bytes: int = 2 << 20
    """A running attempt's log is sealed once it has either in the stream."""
    side_by_side: int = 2
    """Logs that are sealed at one time; as many more of attempts that still run."""
    orphans_after: float = 3600.0
    """Age at which what a killed archive left behind is deleted."""
    keep: Keep = Keep()
    pools_keep: Mapping[str, Keep] = field(default_factory=dict)
    """The same for single pools."""
    retention_every: float = 3600.0

    def keep_of(self, pool: str) -> Keep:
        return self.pools_keep.get(pool, self.keep)

    @property
    def limited(self) -> bool:
        return any(keep != Keep() for keep in (self.keep, *self.pools_keep.values()))
