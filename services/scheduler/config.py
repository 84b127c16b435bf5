"""What can be set of the scheduler?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SchedulerConfig:
    """All times in seconds."""

    lost_after: float = 30.0
    """Silence after which a worker's attempts are lost."""
    pools_lost_after: Mapping[str, float] = field(default_factory=dict)
    """The same for single pools."""
    restart_grace: float = 300.0
    """The same for a worker whose agent said that a successor of it will go on."""
    unknown_after: float = 10.0
    """How long a worker may fail to list an attempt that the record gives to it."""
    sweep_every: float = 5.0
    replicas: int = 1
    """Of each stream that is made."""

    def patience(self, pool: str) -> float:
        """Seconds of silence that a worker of that pool is allowed."""
        return self.pools_lost_after.get(pool, self.lost_after)

    @property
    def shortest(self) -> float:
        return min((self.lost_after, *self.pools_lost_after.values()))
