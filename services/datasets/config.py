"""What can be set of the datasets service? Sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.datasets import MOST_BYTES, MOST_FILES


@dataclass(frozen=True)
class DatasetsConfig:
    most_bytes: int = MOST_BYTES
    most_files: int = MOST_FILES
    """Of one version."""
    sweep_every: float = 3600.0
    abandoned_after: float = 86_400.0
    """After which a tree or a piece goes that no version names."""
