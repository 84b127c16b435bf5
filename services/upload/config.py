"""What can be set of the upload service?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from schemas.quota import Quota


@dataclass(frozen=True)
class UploadConfig:
    """Limits of a bundle, in bytes and counts."""

    scratch: Path | None = None
    """Folder for zips that are being checked; None: the machine's temporary one."""
    most_files: int = 100_000
    most_bytes: int = 64 << 30
    """Of all files together, unpacked."""
    most_ratio: int = 200
    """Unpacked to packed; judged from ``ratio_from`` bytes on."""
    ratio_from: int = 64 << 20
    abandoned_after: float = 86_400.0
    """Seconds after which a raw upload that nobody submitted is deleted."""
    quota: Quota = field(default_factory=Quota)
    """Of users for whom nothing else was set; the scheduler has to be told the same."""
