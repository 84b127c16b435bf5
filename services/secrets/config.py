"""What can be set of the service ``secrets``?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SecretsConfig:
    """One replica."""

    keys: Path
    """The file of keys that values are locked by; every replica needs the same. Made where it is
    missing and nothing was locked yet."""
    identified: bool = False
    """Every worker of this bus has an identity: values are sealed for its key, or not given."""
    sweep_every: float = 60.0
    """Seconds between two looks for values that an older key locks."""
