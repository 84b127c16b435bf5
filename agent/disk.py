"""Is there room on the disks that an agent fills, and how much has to be made? Shims use it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MEBIBYTE = 1 << 20
FULL = 4 * MEBIBYTE
"""Bytes free below which a disk is full."""


@dataclass(frozen=True, slots=True)
class DiskBounds:
    """What has to stay free where the agent works."""

    floor: int = 256 * MEBIBYTE
    """Bytes free below which nothing new is taken, until twice as many are free again."""

    @property
    def pressure(self) -> int:
        """Bytes free below which room is made."""
        return 4 * self.floor

    @property
    def relief(self) -> int:
        """Bytes free up to which it is made."""
        return 8 * self.floor


def free_bytes(place: Path) -> int:
    """For this user, on the file system of ``place``."""
    told = os.statvfs(place)
    return told.f_bavail * told.f_frsize


def is_full(place: Path) -> bool:
    """Whether a program that wrote there and failed may have failed for want of room."""
    try:
        return free_bytes(place) < FULL
    except OSError:
        return False


def wanted(free: int, bounds: DiskBounds) -> int:
    """Bytes to free; 0 where there is room. Pure."""
    return bounds.relief - free if free < bounds.pressure else 0


def shortage(free: int, bounds: DiskBounds, before: str) -> str:
    """Why nothing new is taken, in words that follow a worker's name; empty where it is. Pure.

    ``before`` is the answer to the last question: who is short does not start again at the edge.
    """
    least = 2 * bounds.floor if before else bounds.floor
    if free >= least:
        return ""
    return f"takes nothing new: less than {bounds.floor // MEBIBYTE} MiB of its disk were free"


class Disks:
    """The work directory's, and the one on which the runtime keeps what it makes."""

    def __init__(self, work: Path, other: Path | None, bounds: DiskBounds) -> None:
        self._places = (work, other or work)
        self._bounds = bounds

    @property
    def free(self) -> int:
        """Bytes, where the least are free."""
        return min(map(free_bytes, self._places))

    def wanted(self) -> tuple[int, int]:
        """Bytes to free for the work directory, and for the runtime."""
        work, other = (wanted(free_bytes(place), self._bounds) for place in self._places)
        return work, other

    def shortage(self, before: str) -> str:
        return shortage(self.free, self._bounds, before)
