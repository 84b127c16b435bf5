"""How is a zip made of many files while it is being sent, without keeping any of it?"""

from __future__ import annotations

import contextlib
import io
import stat
import time
import zipfile
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any

from schemas.outputs import OutputFile

BIG = 1 << 31
"""Bytes from which on a file is written with 64-bit sizes."""
FIRST, LAST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)
"""The times that a zip can hold."""

Read = Callable[[OutputFile], AsyncGenerator[bytes, None]]


class Sink(io.RawIOBase):
    """What the archive writes, until it is taken."""

    def __init__(self) -> None:
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


async def zipped(top: str, files: Iterable[OutputFile], read: Read) -> AsyncGenerator[bytes, None]:
    """The archive, part by part; not compressed: what trainings write hardly ever shrinks."""
    sink = Sink()
    names: set[str] = set()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            info = described(file, free_name(f"{top}/{safe_name(file.path)}", names))
            with archive.open(info, "w", force_zip64=file.size >= BIG) as member:
                async with contextlib.aclosing(read(file)) as pieces:
                    async for data in pieces:
                        member.write(data)
                        yield sink.take()
    yield sink.take()


def described(file: OutputFile, name: str) -> zipfile.ZipInfo:
    moment = time.gmtime(min(max(file.modified, 0.0), 2**40))[:6]
    info = zipfile.ZipInfo(name, min(max(moment, FIRST), LAST))
    info.external_attr = (stat.S_IFREG | file.mode) << 16
    info.create_system = 3
    info.file_size = file.size
    return info


def safe_name(path: str) -> str:
    """No system reads a folder above, a drive or a line's end out of it."""
    return "".join("_" if c in '\\:*?"<>|' or ord(c) < 32 or ord(c) == 127 else c for c in path)


def free_name(name: str, names: set[str]) -> str:
    number, free = 1, name
    while free in names:
        number += 1
        free = f"{name}~{number}"
    names.add(free)
    return free
