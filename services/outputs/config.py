"""What can be set of the outputs service? Sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass

DAY = 86_400.0


@dataclass(frozen=True)
class OutputsConfig:
    """The limits here hold for everybody; those of a pool are in the grants of its jobs."""

    most_bytes: int = 1 << 40
    most_files: int = 200_000
    """Of one attempt."""
    keep: float | None = None
    """After a job's end its outputs are deleted; None: never."""
    keep_checkpoints: float | None = 30 * DAY
    """After a job's end its last checkpoint is deleted; None: never."""
    late: float = 7 * DAY
    """So long after the end its worker may still send what the end did not wait for."""
    sweep_every: float = 3600.0
    grace: float = 3600.0
    """Objects that nobody names stay so long after a job's end."""
