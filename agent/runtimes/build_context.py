"""What does the engine get to build from? Tar streams, made while they are sent."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

BLOCK = tarfile.BLOCKSIZE
READ_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of a context come to lie, and whose they are."""

    folder: str = ""
    """In front of every name, with its slash."""
    owner: int = 0


TOP = Place()


def files_context(files: Mapping[str, bytes], place: Place = TOP) -> Iterator[bytes]:
    """A tar of these contents alone."""
    yield from opening(place)
    folders = {parent.as_posix() for name in files for parent in PurePosixPath(name).parents}
    for folder in sorted(folders - {"."}):
        yield header(folder, 0, 0o755, place, tarfile.DIRTYPE)
    for name, data in sorted(files.items()):
        yield header(name, len(data), 0o644, place) + data + padding(len(data))
    yield bytes(2 * BLOCK)


def folder_context(folder: Path, extra: Mapping[str, bytes], place: Place = TOP) -> Iterator[bytes]:
    """A tar of a whole bundle, with ``extra`` files on top."""
    yield from opening(place)
    yield from members(folder, names_in(folder), place)
    yield from files_context(extra, place)


def chosen_context(folder: Path, names: Iterable[str]) -> Iterator[bytes]:
    """A tar of these of a bundle's files and folders alone."""
    parents = {parent.as_posix() for name in names for parent in PurePosixPath(name).parents}
    yield from members(folder, sorted({*names, *parents} - {"."}), TOP)
    yield bytes(2 * BLOCK)


def names_in(folder: Path) -> list[str]:
    """Of all files and folders, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in walk(folder))


def members(folder: Path, names: Iterable[str], place: Place) -> Iterator[bytes]:
    for name in names:
        path = folder / name
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            yield header(name, 0, 0o755, place, tarfile.DIRTYPE)
        elif stat.S_ISREG(status.st_mode):
            yield header(name, status.st_size, stat.S_IMODE(status.st_mode), place)
            yield from contents(path, status.st_size)


def opening(place: Place) -> Iterator[bytes]:
    """The folder itself, where it has to be made."""
    if place.folder:
        yield header("", 0, 0o755, place, tarfile.DIRTYPE)


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


def header(
    name: str, size: int, mode: int, place: Place = TOP, kind: bytes = tarfile.REGTYPE
) -> bytes:
    # No time of its own, so that the engine's layer cache finds it again.
    info = tarfile.TarInfo(place.folder + name)
    info.size, info.mode, info.type = size, mode, kind
    info.uid = info.gid = place.owner
    return info.tobuf(tarfile.GNU_FORMAT)


def padding(size: int) -> bytes:
    return bytes(-size % BLOCK)
