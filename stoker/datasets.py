"""How does a client put data, look at it, get it back and delete it?"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from stoker.answers import StokerError, Unreachable
from stoker.cut_memory import Memory
from stoker.cutting import cut_files
from stoker.outputs import Cut, OutputFile, save
from stoker.packing import File, PackingError, checked_name, unfit
from stoker.sending import Sender, Tell
from stoker.transport import Progress, Transport

NAME = re.compile(
    r"^(?:(?P<owner>[a-z0-9_-]{1,63})/)?(?P<name>[a-z0-9-]{1,63})(?:@v?(?P<version>\d{1,9}))?$"
)
MOST_FILES = 200_000
"""What a server takes of one version."""
FILES_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a dataset."""

    number: int
    size: int
    """Bytes of all files."""
    files: int
    at: float
    """Unix seconds."""
    note: str = ""
    tree: str = ""
    """Id of what it holds."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Data under one name, with the versions that are there."""

    owner: str
    name: str
    versions: tuple[Version, ...]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def newest(self) -> Version:
        return self.versions[-1]


@dataclass(frozen=True, slots=True)
class Named:
    """``[OWNER/]NAME[@VERSION]``"""

    name: str
    owner: str = "~"
    """``~``: one's own."""
    version: int | None = None

    @classmethod
    def of(cls, text: str) -> Named:
        found = NAME.match(text)
        if found is None:
            raise StokerError(
                f"{text!r} is no data: write NAME, NAME@VERSION or OWNER/NAME, of a-z, 0-9 and '-'"
            )
        version = int(found["version"]) if found["version"] else None
        return cls(found["name"], found["owner"] or "~", version)

    def path(self, place: str = "", **asked: object) -> str:
        given = {"version": self.version, **asked}
        query = urlencode({name: value for name, value in given.items() if value is not None})
        path = f"/api/v1/data/{quote(self.owner)}/{quote(self.name)}{place}"
        return f"{path}?{query}" if query else path


class Datasets:
    """The part of ``Client`` that is about data."""

    transport: Transport

    def put_data(
        self,
        name: str,
        path: str | Path,
        *,
        note: str = "",
        reading: Progress | None = None,
        sending: Tell | None = None,
    ) -> tuple[Dataset, bool]:
        """A folder, or one file, as the newest version of ``name``; whether it is a new one.

        Only pieces that the server has not are sent; after a cut, the same call goes on.
        """
        named, source = Named.of(name), Path(path)
        if named.version or named.owner != "~":
            raise StokerError(f"{name}: write the name alone; the version is the next one of yours")
        files, _ = data_files(source)
        memory = Memory.of(source)
        cut = cut_files(files, memory, reading)
        memory.save()
        answer = Sender(self.transport, cut, sending).submit(
            f"/api/v1/data/{quote(named.name)}", {"note": note}, secrets.token_hex(16)
        )
        return read_dataset(answer["dataset"]), bool(answer["created"])

    def datasets(self) -> tuple[Dataset, ...]:
        """Those that one may use, by owner and name."""
        answer = self.transport.get("/api/v1/data")
        return tuple(read_dataset(row) for row in answer["datasets"])

    def dataset(self, name: str) -> Dataset:
        named = Named.of(name)
        return read_dataset(self.transport.get(Named(named.name, named.owner).path()))

    def remove_data(self, name: str) -> None:
        """A version, or all of them."""
        self.transport.delete(Named.of(name).path())

    def data_listing(self, name: str) -> tuple[int, tuple[OutputFile, ...]]:
        """The version, the newest where none is named, and its files."""
        named = Named.of(name)
        rows: list[Any] = []
        after: str | None = None
        while True:
            path = named.path("/files", after=after, limit=FILES_AT_ONCE)
            answer = self.transport.get(path)
            rows += answer["files"]
            named = Named(named.name, named.owner, int(answer["version"]))
            if not answer.get("more"):
                at = float(answer["at"])
                return int(answer["version"]), tuple(read_file(row, at) for row in rows)
            after = rows[-1]["path"]

    def get_data(self, name: str, folder: str | Path, progress: Progress | None = None) -> int:
        """Writes it below ``folder``; the version. What is there already is not fetched again."""
        version, files = self.data_listing(name)
        named, target = Named.of(name), Path(folder)
        named = Named(named.name, named.owner, version)
        target.mkdir(parents=True, exist_ok=True)
        done, told = 0, progress or (lambda _: None)
        for file in files:
            self._save_data(named, file, target, behind(told, done))
            done += file.size
        return version

    def _save_data(
        self, named: Named, file: OutputFile, folder: Path, progress: Callable[[int], None]
    ) -> None:
        path = named.path(f"/files/{quote(file.path, safe='/')}")

        def source(start: int) -> Iterator[bytes]:
            headers = {"Range": f"bytes={start}-", "If-Range": f'"{file.sha256}"'}
            return self.transport.stream(path, headers if start else None)

        def send() -> Path:
            try:
                return save(folder, file, source, progress)
            except Cut as error:
                raise Unreachable(str(error)) from error

        self.transport.repeated(send)


def read_dataset(row: Mapping[str, Any]) -> Dataset:
    versions = tuple(
        Version(
            int(one["number"]),
            int(one["size"]),
            int(one["files"]),
            float(one["at"]),
            str(one.get("note") or ""),
            str(one.get("tree") or ""),
        )
        for one in row.get("versions") or ()
    )
    return Dataset(str(row["owner"]), str(row["name"]), versions, row)


def read_file(row: Mapping[str, Any], at: float) -> OutputFile:
    return OutputFile(
        str(row["path"]), int(row["size"]), int(row["mode"]) & 0o777, at, str(row["sha256"])
    )


def data_files(source: Path) -> tuple[list[File], dict[str, str]]:
    """All of a folder, or the one file, and what is left out with the reason. Nothing is read yet.

    Raises ``PackingError``.
    """
    if source.is_file():
        return [File(checked_name(source.name), source, source.stat().st_size)], {}
    if not source.is_dir():
        raise PackingError(f"there is no {source}")
    files: list[File] = []
    skipped: dict[str, str] = {}
    for name, path, size in walked(source, source.resolve(), "", skipped):
        files.append(File(checked_name(name), path, size))
        if len(files) > MOST_FILES:
            raise PackingError(
                f"{source} has more than {MOST_FILES:,} files: put them into archives, such as tar,"
                " zip or parquet, or into several datasets"
            )
    if not files:
        raise PackingError(f"{source} holds no file")
    return files, skipped


def walked(
    folder: Path, root: Path, prefix: str, skipped: dict[str, str]
) -> Iterator[tuple[str, Path, int]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            path, name = Path(entry.path), prefix + entry.name
            if why := unfit(entry, path, root):
                skipped[name] = why
            elif entry.is_dir(follow_symlinks=False):
                yield from walked(path, root, f"{name}/", skipped)
            else:
                yield name, path, entry.stat().st_size


def behind(progress: Progress, done: int) -> Progress:
    """Counts on from ``done`` bytes."""
    return lambda here: progress(done + here)


def mount_path(text: str) -> str:
    """Where ``NAME[@VERSION][:/PATH]`` is to be found, as the server reads it."""
    what, colon, path = text.rpartition(":/")
    if colon and not path.startswith("/"):
        return f"/{path}"
    return f"/data/{(what or text).rpartition('/')[2].partition('@')[0]}"
