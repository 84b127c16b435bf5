"""How much has a program written into its folders, and is it more than it may? Shims use it.

There is no quota for a folder that every file system knows, so it is measured: by a thread of its
own, because that takes seconds in a folder of a million files. A single file is bounded by the
kernel besides (``RLIMIT_FSIZE``, in containers).
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

BLOCK = 512
"""Bytes in which the system counts what a file takes on the disk."""
MOST_FILES = 2_000_000
"""Files and folders of one attempt: they use up the disk without a byte in them."""
FIRST_LOOK = 0.5
"""Seconds after its start at which a program is measured for the first time."""
LOOK_EVERY = 2.0
"""Seconds between two measurements."""
SHARE = 20
"""Times as long as a measurement took is waited before the next: at most 5 % of a core."""


@dataclass(frozen=True, slots=True)
class Written:
    """What lies in some folders; links count as themselves."""

    size: int = 0
    """Bytes on the disk."""
    files: int = 0
    locked: str = ""
    """A folder that the program closed to everybody, so that nobody sees what is in it."""


def written(
    folders: Iterable[Path], most: float = math.inf, most_files: float = math.inf
) -> Written:
    """Stops as soon as there is more than that. Follows no link."""
    tally = Tally([str(folder) for folder in folders])
    while tally.left and tally.size <= most and tally.files <= most_files:
        folder = tally.left.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    tally.count(entry)
                    if tally.size > most or tally.files > most_files:
                        break
        except PermissionError:
            return Written(tally.size, tally.files, os.path.basename(folder))
        except OSError:
            continue  # It went while it was measured.
    return Written(tally.size, tally.files)


class Tally:
    """What was counted so far, and the folders that were not looked into yet."""

    def __init__(self, left: list[str]) -> None:
        self.left = left
        self.size = self.files = 0
        self._seen: set[tuple[int, int]] = set()
        """Files of several names."""

    def count(self, entry: os.DirEntry[str]) -> None:
        self.files += 1
        with contextlib.suppress(FileNotFoundError):
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self.left.append(entry.path)
            elif status.st_nlink > 1:
                place = (status.st_dev, status.st_ino)
                if place in self._seen:
                    return
                self._seen.add(place)
            self.size += status.st_blocks * BLOCK


def too_much(found: Written, most: int) -> str:
    """Why the program has to end; empty where it keeps its limit. Pure."""
    if found.locked:
        return f"nobody can see what it wrote into {found.locked}: its rights leave nobody in"
    if found.files > MOST_FILES:
        return f"it made more than {MOST_FILES} files"
    if found.size > most:
        return f"it wrote more than the {most >> 20} MiB of disk that it may use"
    return ""


class Watch:
    """Measures for as long as a program runs."""

    def __init__(self, folders: tuple[Path, ...], most: int, broken: Callable[[str], None]) -> None:
        """``broken`` is called once, from the thread, with what the program did."""
        self._folders = folders
        self._most = most
        self._broken = broken
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="written", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()

    def _run(self) -> None:
        pause = 0.0
        while not self._over.wait(pause):
            began = time.monotonic()
            words = too_much(written(self._folders, self._most, MOST_FILES), self._most)
            if words:
                self._broken(words)
                return
            pause = max(LOOK_EVERY, SHARE * (time.monotonic() - began))
