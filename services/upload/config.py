"""What can be set of the upload service?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
