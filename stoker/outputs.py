"""What did a job write, and how does it get into a folder of this machine, and nowhere else?

A job may have chosen any name: every folder is opened below the one before it, never through a
link, and a file appears under its name only when it is whole. What was cut off goes on where it
stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoker.answers import StokerError

FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
PART = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
BLOCK = 1 << 20

Source = Callable[[int], Iterator[bytes]]
"""The file's bytes from an offset on."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One file that a job wrote."""

    path: str
    size: int
    mode: int
    modified: float
    """Unix seconds, by the worker's clock."""
    sha256: str
    kind: str = "unknown"


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is stored of one attempt's outputs."""

    job: str
    attempt: int
    files: tuple[OutputFile, ...]
    size: int
    final: bool
    """The program is over, and everything is stored."""
    over: str
    """Which limit was met; empty where none was."""
    notes: tuple[tuple[str, str], ...]
    """What is not kept, and why; the first of ``left_out``."""
    left_out: int
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def under(self, path: str) -> tuple[OutputFile, ...]:
        """The file of that path, or all in the folder of that path."""
        path = path.strip("/")
        return tuple(f for f in self.files if f.path == path or f.path.startswith(f"{path}/"))


def read_outputs(answer: Mapping[str, Any], rows: list[Any]) -> Outputs:
    return Outputs(
        answer["job"],
        answer["attempt"],
        tuple(read_file(row) for row in rows),
        answer["size"],
        bool(answer["final"]),
        answer.get("over") or "",
        tuple((note["path"], note["why"]) for note in answer.get("notes") or ()),
        answer.get("left_out") or 0,
        answer,
    )


def read_file(row: Mapping[str, Any]) -> OutputFile:
    return OutputFile(
        str(row["path"]), int(row["size"]), int(row["mode"]) & 0o777, float(row["modified"]),
        str(row["sha256"]), str(row.get("kind") or "unknown"),
    )  # fmt: skip


def save(folder: Path, file: OutputFile, source: Source, progress: Callable[[int], None]) -> Path:
    """Writes the file below ``folder``, which exists; what is there already is not read again.

    ``progress`` is told the bytes of it that are there. Raises ``StokerError``; where the source
    ends too soon, what came stays, and the next call goes on behind it.
    """
    parts = safe_parts(file.path)
    with below(folder, parts[:-1]) as place:
        name = parts[-1]
        if not holds(place, name, file):
            part = f".stoker-{file.sha256[:24]}.part"
            fill(place, part, file, source, progress)
            put_in_place(place, part, name, file)
        progress(file.size)
    return folder.joinpath(*parts)


def safe_parts(path: str) -> list[str]:
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part or os.sep in part for part in parts):
        raise StokerError(f"{path!r} is not a path inside a folder; nothing was written for it")
    return parts


@contextlib.contextmanager
def below(folder: Path, parts: list[str]) -> Iterator[int]:
    """A descriptor of the folder, made where it is missing."""
    place = os.open(folder, os.O_RDONLY)
    try:
        for part in parts:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=place)
            try:
                inner = os.open(part, FOLDER, dir_fd=place)
            except OSError as error:
                raise StokerError(
                    f"{folder}/{'/'.join(parts)}: {part!r} is there and is no folder of its own"
                ) from error
            os.close(place)
            place = inner
        yield place
    finally:
        os.close(place)


def holds(place: int, name: str, file: OutputFile) -> bool:
    """Whether the same file lies there."""
    try:
        descriptor = os.open(name, READ, dir_fd=place)
    except OSError:
        return False
    seen = os.fstat(descriptor)
    if not stat.S_ISREG(seen.st_mode) or seen.st_size != file.size:
        os.close(descriptor)
        return False
    with open(descriptor, "rb") as there:
        return digest_of(there) == file.sha256


def digest_of(file: Any) -> str:
    digest = hashlib.sha256()
    while block := file.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()


def fill(
    place: int, part: str, file: OutputFile, source: Source, progress: Callable[[int], None]
) -> None:
    descriptor = os.open(part, PART, 0o600, dir_fd=place)
    with open(descriptor, "r+b") as target:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StokerError(f"{part} is there and is no file; remove it")
        if os.fstat(descriptor).st_size > file.size:
            target.truncate(0)
        digest = hashlib.sha256()
        while block := target.read(BLOCK):
            digest.update(block)
        done = target.tell()
        progress(done)
        if done < file.size:
            for block in source(done):
                target.write(block)
                digest.update(block)
                done += len(block)
                progress(done)
        if done < file.size:
            raise Cut(f"{file.path} was cut off after {done} of {file.size} bytes")
        if digest.hexdigest() != file.sha256:
            target.truncate(0)
            raise StokerError(f"{file.path} came damaged; get it again")


class Cut(StokerError):
    """A file ended before its end."""


def put_in_place(place: int, part: str, name: str, file: OutputFile) -> None:
    try:
        os.chmod(part, file.mode | 0o600, dir_fd=place)
        os.utime(part, (file.modified, file.modified), dir_fd=place)
        os.replace(part, name, src_dir_fd=place, dst_dir_fd=place)
    except OSError as error:
        raise StokerError(f"{file.path} cannot be written: {error.strerror}") from error
