"""What can be set of the scheduler?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.outputs import MOST_BYTES, MOST_FILES
from schemas.quota import Quota
from schemas.worker import LOG_RATE, LOG_TOTAL


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
    log_rate: int = LOG_RATE
    log_total: int = LOG_TOTAL
    """What one attempt's log may get: bytes a second on average, bytes; 0 for no limit."""
    quota: Quota = field(default_factory=Quota)
    """Of users for whom nothing else was set; the upload service has to be told the same."""
    pools_log_rate: Mapping[str, int] = field(default_factory=dict)
    pools_log_total: Mapping[str, int] = field(default_factory=dict)
    """The same for single pools."""
    outputs_size: int = MOST_BYTES
    outputs_files: int = MOST_FILES
    """What one attempt's outputs may have: bytes and files; 0 for no limit."""
    pools_outputs_size: Mapping[str, int] = field(default_factory=dict)
    pools_outputs_files: Mapping[str, int] = field(default_factory=dict)
    """The same for single pools."""
    images: Mapping[str, str] = field(default_factory=dict)
    gpu_images: Mapping[str, str] = field(default_factory=dict)
    """Pool to its base image, and to that of jobs with GPUs; the empty name: all pools."""

    def base_images(self, pool: str) -> tuple[str, str]:
        """Empty where the workers say it."""
        return (
            self.images.get(pool, self.images.get("", "")),
            self.gpu_images.get(pool, self.gpu_images.get("", "")),
        )

    def patience(self, pool: str) -> float:
        """Seconds of silence that a worker of that pool is allowed."""
        return self.pools_lost_after.get(pool, self.lost_after)

    def log_bound(self, pool: str) -> tuple[int, int]:
        """Rate and total of a log in that pool."""
        return (
            self.pools_log_rate.get(pool, self.log_rate),
            self.pools_log_total.get(pool, self.log_total),
        )

    def outputs_bound(self, pool: str) -> tuple[int, int]:
        """Bytes and files of an attempt's outputs in that pool."""
        return (
            self.pools_outputs_size.get(pool, self.outputs_size),
            self.pools_outputs_files.get(pool, self.outputs_files),
        )

    @property
    def shortest(self) -> float:
        return min((self.lost_after, *self.pools_lost_after.values()))
