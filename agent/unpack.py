"""How does a bundle's archive become files, and is it the bundle that was granted?

Pure file work, meant for a thread. The archive comes from our own service, but nothing is written
outside of the folder and nothing beyond the budget, whoever made it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

import zstandard

MOST_FILES = 1_000_000
SMALL_TREE = 256 << 10
"""Bytes of files up to which copying a tree is cheaper than handing it to a thread."""
COPY_BYTES = 1 << 20


class BadArchive(Exception):
    """The archive is not the bundle that it should be."""


def unpack(archive: Path, into: Path, digest: str, most_bytes: int) -> int:
    """Bytes of all files. Raises ``BadArchive``; what was written until then stays."""
    manifest = hashlib.sha256()
    total = 0
    try:
        with archive.open("rb") as packed:
            stream = zstandard.ZstdDecompressor().stream_reader(packed)
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for number, member in enumerate(tar):
                    total += member.size
                    if total > most_bytes or number >= MOST_FILES:
                        raise BadArchive("the bundle is larger than its record says")
                    manifest.update(write_member(tar, member, into))
    except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise BadArchive(f"the bundle's archive is damaged: {error}") from error
    if manifest.hexdigest() != digest:
        raise BadArchive("the bundle that arrived is not the one that was granted")
    return total


def write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> bytes:
    """The file's line of the manifest."""
    path = PurePosixPath(member.name)
    if not member.isfile() or path.is_absolute() or ".." in path.parts:
        raise BadArchive(f"{member.name!r} does not belong into a bundle")
    target = into / path
    target.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o755 if member.mode & 0o100 else 0o644
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    source = tar.extractfile(member)
    assert source is not None
    digest = hashlib.sha256()
    with source, os.fdopen(os.open(target, flags, mode), "wb") as file:
        for piece in pieces(source):
            digest.update(piece)
            file.write(piece)
    return f"{member.name}\0{mode:o}\0{member.size}\0{digest.hexdigest()}\n".encode()


def pieces(source: IO[bytes]) -> Iterator[bytes]:
    while piece := source.read(COPY_BYTES):
        yield piece


def copy_tree(source: str, target: str) -> None:
    """A copy of its own for one attempt: programs write into their folder."""
    os.mkdir(target)
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                copy_tree(entry.path, os.path.join(target, entry.name))
            else:
                copy_file(entry, os.path.join(target, entry.name))


def copy_file(entry: os.DirEntry[str], target: str) -> None:
    status = entry.stat(follow_symlinks=False)
    if status.st_size > COPY_BYTES:
        shutil.copyfile(entry.path, target)
        os.chmod(target, status.st_mode & 0o777)
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    reading = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writing = os.open(target, flags, status.st_mode & 0o777)
        try:
            os.write(writing, os.read(reading, COPY_BYTES))
        finally:
            os.close(writing)
    finally:
        os.close(reading)
