"""What lies in an attempt's outputs folder? Blocking; follows nothing.

A job may have put anything there, and may change it while it is read: every folder and file is
opened below the one before it, never through a link, and what was opened is looked at once more.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from schemas.outputs import MOST_NOTES, PATH_BYTES, LeftOut

DEEPEST = 64
"""Folders within one another; each takes a descriptor while it is read."""
COUNTED = 2_000_000
"""Entries that are looked at; a folder with more of them is not counted to its end."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Without waiting: what was a file a moment ago may be a FIFO that nobody writes to."""
KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file, as it was when it was seen."""

    path: str
    size: int
    mode: int
    changed: tuple[int, int, int]
    """Inode, modified and changed (nanoseconds): another one means other content."""

    @property
    def modified(self) -> float:
        return self.changed[1] / 1e9

    @classmethod
    def of(cls, path: str, seen: os.stat_result) -> Found:
        marks = (seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns)
        return cls(path, seen.st_size, stat.S_IMODE(seen.st_mode) & 0o777, marks)


@dataclass
class Scan:
    """What was found. Beyond ``most`` files are counted and not named."""

    most: int
    files: list[Found] = field(default_factory=list)
    notes: list[LeftOut] = field(default_factory=list)
    left_out: int = 0
    more: int = 0
    """Files beyond those that are named."""
    entries: int = 0
    endless: bool = False
    """There are more entries than are counted."""
    links: dict[str, str] | None = None
    """Path to target, where links are kept, too; none of them is followed."""

    def leave_out(self, path: str, why: str) -> None:
        self.left_out += 1
        if len(self.notes) < MOST_NOTES:
            self.notes.append(LeftOut(shown(path), why))

    @property
    def full(self) -> bool:
        return len(self.files) >= self.most

    def add(self, found: Found) -> None:
        self.files.append(found)


def scan(root: str, most: int, links: bool = False) -> Scan:
    """An empty one where there is no such folder. Raises ``OSError`` where it cannot be read."""
    found = Scan(most, links={} if links else None)
    try:
        top = os.open(root, FOLDER)
    except (FileNotFoundError, NotADirectoryError):
        return found
    try:
        walk(top, "", os.fstat(top).st_dev, 1, found)
    finally:
        os.close(top)
    return found


def walk(folder: int, prefix: str, device: int, depth: int, found: Scan) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            found.entries += 1
            if found.entries > COUNTED:
                found.endless = True
                return
            if found.full and not entry.is_dir(follow_symlinks=False):
                found.more += entry.is_file(follow_symlinks=False)
                continue  # Counted without asking for more than its kind.
            path = prefix + entry.name
            try:
                look(folder, entry, path, device, depth, found)
            except FileNotFoundError:
                continue  # Removed between two looks: it is not there.
            except OSError as error:
                found.leave_out(path, f"cannot be read: {error.strerror}")


def look(
    folder: int, entry: os.DirEntry[str], path: str, device: int, depth: int, found: Scan
) -> None:
    seen = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(seen.st_mode):
        look_at_link(path, os.readlink(entry.name, dir_fd=folder), found)
    elif why := unkept(path, seen, device):
        found.leave_out(path, why)
    elif stat.S_ISREG(seen.st_mode):
        found.add(Found.of(path, seen))
    elif depth >= DEEPEST:
        found.leave_out(path, f"deeper than {DEEPEST} folders")
    else:
        below = os.open(entry.name, FOLDER, dir_fd=folder)
        try:
            walk(below, f"{path}/", device, depth + 1, found)
        finally:
            os.close(below)


def look_at_link(path: str, target: str, found: Scan) -> None:
    if found.links is None or found.full:
        found.leave_out(path, f"a link to {shown(target)}: links are not kept")
    elif not (is_text(path) and is_text(target)):
        found.leave_out(path, f"a link to {shown(target)}: its name is not UTF-8")
    else:
        found.links[path] = target


def is_text(name: str) -> bool:
    try:
        return len(name.encode()) <= PATH_BYTES
    except UnicodeEncodeError:
        return False


def unkept(path: str, seen: os.stat_result, device: int) -> str:
    """Why something that is no link is not kept; empty where it is."""
    for is_kind, name in KINDS:
        if is_kind(seen.st_mode):
            return f"{name}, not a file"
    if seen.st_dev != device:
        return "on another file system"
    try:
        long = len(path.encode()) > PATH_BYTES
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return "its path is too long" if long else ""


def shown(path: str) -> str:
    """Text that can be stored and shown, whatever bytes a name holds; not longer than a line."""
    return os.fsencode(path)[:512].decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def opened(root: str, path: str) -> Iterator[int]:
    """The file at ``path`` below ``root``, opened without following anything.

    Raises ``OSError``; ``FileNotFoundError`` also where it is no regular file any more.
    """
    *folders, name = path.split("/")
    place = os.open(root, FOLDER)
    try:
        for folder in folders:
            below = os.open(folder, FOLDER, dir_fd=place)
            os.close(place)
            place = below
        file = os.open(name, FILE, dir_fd=place)
    finally:
        os.close(place)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise FileNotFoundError(path)
        yield file
    finally:
        os.close(file)
