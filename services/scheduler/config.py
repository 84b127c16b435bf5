"""What can be set of the scheduler?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SchedulerConfig:
    """All times in seconds."""

    lost_after: float = 30.0
    """Silence after which a worker's attempts are lost."""
    restart_grace: float = 300.0
    """The same for a worker whose agent said that a successor of it will go on."""
    unknown_after: float = 10.0
    """How long a worker may fail to list an attempt that the record gives to it."""
    sweep_every: float = 5.0
    replicas: int = 1
    """Of each stream that is made."""
