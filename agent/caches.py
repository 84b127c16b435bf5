"""What lies in a cache of folders, and which go? Blocking.

A folder with a file ``complete`` in it is whole; that file's time is when it was used last.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.surplus import HOUR, Rule, Thing, going

log = logging.getLogger(__name__)

COMPLETE = "complete"


def clean(
    root: Path, rule: Rule, busy: set[str], wanted: int, size_of: Callable[[Path], int]
) -> int:
    """How many were removed. ``busy``: names of those that are in use or being made."""
    now = time.time()
    there = list(whole(root, busy, size_of))
    gone = [one.name for one in going(there, rule, now, wanted)]
    gone += half_made(root, busy, now)
    for name in gone:
        log.info("removing %s %s", root.name, name[:12])
        (root / name / COMPLETE).unlink(missing_ok=True)
        shutil.rmtree(root / name, ignore_errors=True)
    return len(gone)


def whole(root: Path, busy: set[str], size_of: Callable[[Path], int]) -> Iterator[Thing]:
    for mark in root.glob(f"*/{COMPLETE}"):
        with contextlib.suppress(FileNotFoundError):
            folder = mark.parent
            used_at = mark.lstat().st_mtime
            yield Thing(folder.name, used_at, size_of(folder), folder.name in busy)


def half_made(root: Path, busy: set[str], now: float) -> Iterator[str]:
    """What an agent that was killed was making."""
    for folder in root.iterdir():
        with contextlib.suppress(FileNotFoundError):
            old = now - folder.lstat().st_mtime > HOUR
            if old and folder.name not in busy and not (folder / COMPLETE).exists():
                yield folder.name
