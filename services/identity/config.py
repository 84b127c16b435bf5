"""What can be set of the service ``identity``?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class IdentityConfig:
    """One replica."""

    keys: Path
    """The folder of keys (``bus.keyring``)."""
    worker_life: float = 30 * 86_400.0
    """Seconds that a worker's token counts; the agent renews it at half of that."""
    token_grace: float = 5.0
    """Seconds after its use in which an invitation still answers the machine that used it, because
    its first answer may have been lost. Then the servers refuse it."""
    sweep_every: float = 60.0
