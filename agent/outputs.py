"""What of the outputs of ended attempts stays on this machine, and for how long?

Those that nobody took: they were refused, or the disk was short before they were stored.
``<work>/outputs/<job>.<attempt>/``, moved there whole. A job may have put anything into its folder:
nothing here follows a link. The oldest go when there are more bytes or more attempts than may stay.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent.folder import AttemptFolder
from agent.written import written

log = logging.getLogger(__name__)

ARMED = stat.S_ISUID | stat.S_ISGID


@dataclass(frozen=True, slots=True)
class OutputBounds:
    """How much stays. The newest attempt's stay whatever their size, unless nothing is to."""

    size: int = 20 << 30
    """Bytes on the disk; 0 keeps nothing."""
    attempts: int = 1000


@dataclass(frozen=True, slots=True)
class Kept:
    """The outputs of one attempt."""

    name: str
    kept_at: float
    """Unix seconds."""
    size: int


class Outputs:
    """The folder of one agent. Blocking."""

    def __init__(self, root: Path, bounds: OutputBounds) -> None:
        self.root = root
        self._bounds = bounds
        self._sizes: dict[str, int] = {}
        """Measured once: nobody writes there any more."""

    def keep(self, folder: AttemptFolder) -> None:
        """Moves what the attempt left, where it left anything. Repeatable; ``trim`` comes later."""
        try:
            if not self._bounds.size or not holds_files(folder.outputs):
                return
            target = self.root / folder.name
            disarm(folder.outputs)
            os.rename(folder.outputs, target)
            os.utime(target)
        except FileNotFoundError:
            return  # They were moved before, or the attempt never came so far.
        except OSError as error:
            log.warning("the outputs of %s are not kept: %s", folder.name, error)

    def trim(self, wanted: int = 0) -> int:
        """Removes what is too much, and the oldest until ``wanted`` bytes more are free."""
        freed = 0
        for one in surplus(self._all(), self._bounds, wanted):
            log.info("removing the outputs of %s: %d MiB", one.name, one.size >> 20)
            shutil.rmtree(self.root / one.name, ignore_errors=True)
            self._sizes.pop(one.name, None)
            freed += one.size
        return freed

    def _all(self) -> list[Kept]:
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.root) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    kept_at = entry.stat(follow_symlinks=False).st_mtime
                    found.append(Kept(entry.name, kept_at, self._size(entry.name)))
        return found

    def _size(self, name: str) -> int:
        if name not in self._sizes:
            self._sizes[name] = written([self.root / name]).size
        return self._sizes[name]


def surplus(kept: Iterable[Kept], bounds: OutputBounds, wanted: int = 0) -> list[Kept]:
    """Which go, oldest first: beyond the bounds, or for ``wanted`` bytes. Pure."""
    newest_first = sorted(kept, key=lambda one: one.kept_at, reverse=True)
    held = 0
    staying: list[Kept] = []
    for one in newest_first:
        held += one.size
        too_much = held > bounds.size and bool(staying)
        if too_much or len(staying) == bounds.attempts or not bounds.size:
            break
        staying.append(one)
    going = newest_first[len(staying) :][::-1]
    freed = sum(one.size for one in going)
    while staying and freed < wanted:
        freed += staying[-1].size
        going.append(staying.pop())
    return going


def holds_files(folder: Path) -> bool:
    """False also for what is no folder: a program of the process runtime may have replaced it."""
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        return False
    with os.scandir(folder) as entries:
        return next(entries, None) is not None


def disarm(folder: Path) -> None:
    """No program of a job's keeps a mark that gives whoever runs it other rights."""
    for place, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(place, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode) and mode & ARMED:
                os.chmod(path, stat.S_IMODE(mode) & ~ARMED)
