"""What does a job need to know of a bundle that is stored?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StoredBundle:
    """One that can be run."""

    digest: str
    size: int
    """Bytes of all files."""
    files: tuple[str, ...] | None
    """None where the list was too long to keep."""
    notes: tuple[str, ...] = ()
    scope: str = ""
    """Among whose pieces it lies; empty where it is one archive."""
