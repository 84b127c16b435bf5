"""What does the engine get to build from? Tar streams, made while they are sent."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

BLOCK = tarfile.BLOCKSIZE
READ_BYTES = 256 << 10
TEMPLATE = ".stoker.Dockerfile"
"""Name of the template in a context that may hold a Dockerfile of somebody else's."""


def files_context(files: Mapping[str, bytes]) -> Iterator[bytes]:
    """A tar of these contents alone."""
    for name, data in sorted(files.items()):
        yield header(name, len(data), 0o644) + data + padding(len(data))
    yield bytes(2 * BLOCK)


def folder_context(folder: Path, extra: Mapping[str, bytes]) -> Iterator[bytes]:
    """A tar of a whole bundle, with ``extra`` files on top."""
    for path in sorted(walk(folder)):
        status = path.lstat()
        name = path.relative_to(folder).as_posix()
        if stat.S_ISDIR(status.st_mode):
            yield header(name, 0, 0o755, tarfile.DIRTYPE)
        elif stat.S_ISREG(status.st_mode):
            yield header(name, status.st_size, stat.S_IMODE(status.st_mode))
            yield from contents(path, status.st_size)
    yield from files_context(extra)


def walk(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(place, name)


def contents(path: Path, size: int) -> Iterator[bytes]:
    left = size
    with path.open("rb") as file:
        while left:
            block = file.read(min(left, READ_BYTES))
            if not block:
                raise OSError(f"{path} became shorter while it was read")
            left -= len(block)
            yield block
    if size % BLOCK:
        yield padding(size)


def header(name: str, size: int, mode: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    # No owner and no time of its own, so that the engine's layer cache finds it again.
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.type = size, mode, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def padding(size: int) -> bytes:
    return bytes(-size % BLOCK)
