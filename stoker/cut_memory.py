"""Which big files were cut before, and have not changed since?

As git does, by size, times and inode. A file that was written to just before it was read is not
remembered: it could change once more without another time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

VERSION = 1
"""Of the way files are cut: pieces that were cut otherwise would not be found again."""
SETTLED = 2.0
"""Seconds since the last change from which on a file's times are believed."""
KEPT = 30 * 86_400.0
MOST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Known:
    """A file that was cut."""

    size: int
    digest: str
    pieces: bytes


Marks = tuple[int, int, int, int, int]


class Memory:
    """Of one folder, in a file of its own; without one, of this process alone."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known: dict[str, tuple[Marks, Known]] = read(file) if file else {}
        self._used: dict[str, tuple[Marks, Known]] = {}

    @classmethod
    def of(cls, folder: Path) -> Memory:
        name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
        return cls(cache_folder() / f"{name}.cut")

    def get(self, path: Path, status: os.stat_result) -> Known | None:
        found = self._known.get(key_of(path))
        if found is None or found[0] != marks_of(status):
            return None
        self._used[key_of(path)] = found
        return found[1]

    def note(self, path: Path, status: os.stat_result, known: Known) -> None:
        """``status`` from before it was read."""
        changed = max(status.st_mtime, status.st_ctime)
        if known.size == status.st_size and time.time() - changed > SETTLED:
            self._used[key_of(path)] = (marks_of(status), known)

    def save(self) -> None:
        """What was asked for or noted since; that it cannot be kept is no error."""
        if self._file is not None and self._used != self._known:
            with contextlib.suppress(OSError):
                write(self._file, self._used)
                forget_old(self._file.parent)


def cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "stoker"


def key_of(path: Path) -> str:
    return os.fsencode(path).hex()


def marks_of(status: os.stat_result) -> Marks:
    return (
        status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev,
    )  # fmt: skip


def read(file: Path) -> dict[str, tuple[Marks, Known]]:
    """Nothing where it cannot be read."""
    import msgpack

    try:
        if file.stat().st_size > MOST_BYTES:
            return {}
        version, rows = msgpack.unpackb(file.read_bytes(), use_list=False)
        if version != VERSION:
            return {}
        return {
            key: (tuple(marks), Known(int(size), str(digest), bytes(pieces)))
            for key, marks, size, digest, pieces in rows
        }
    except (OSError, ValueError, TypeError, msgpack.UnpackException):
        return {}


def write(file: Path, known: dict[str, tuple[Marks, Known]]) -> None:
    """As a whole, or not at all; for nobody else to read."""
    import msgpack

    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    rows = [(key, marks, one.size, one.digest, one.pieces) for key, (marks, one) in known.items()]
    number, name = tempfile.mkstemp(dir=file.parent, suffix=".part")
    try:
        with os.fdopen(number, "wb") as target:
            target.write(msgpack.packb((VERSION, rows)))
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def forget_old(folder: Path) -> None:
    for file in folder.glob("*.cut"):
        if time.time() - file.stat().st_mtime > KEPT:
            file.unlink(missing_ok=True)
