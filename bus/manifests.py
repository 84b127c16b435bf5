"""How does a manifest of outputs become bytes, and which ones are believed?

A worker made it: whoever reads it checks that every path stays inside a folder.
"""

from __future__ import annotations

from typing import Any

import msgpack

from bus.errors import Corrupt
from schemas.outputs import CHUNK, DIGEST, PATH_BYTES, LeftOut, Manifest, OutputFile

VERSION = 1


def pack(manifest: Manifest) -> bytes:
    files = [
        (one.path, one.size, one.mode, one.modified, one.digest, one.chunks)
        for one in manifest.files
    ]
    notes = [(one.path, one.why) for one in manifest.notes]
    packed: bytes = msgpack.packb(
        (VERSION, files, notes, manifest.left_out, manifest.over), use_bin_type=True
    )
    return packed


def unpack(data: bytes) -> Manifest:
    """Raises ``Corrupt`` for what is none, or names a file outside its folder."""
    try:
        version, files, notes, left_out, over = msgpack.unpackb(data)
        if version != VERSION:
            raise ValueError(f"version {version}")
        manifest = Manifest(
            tuple(read_file(row) for row in files),
            tuple(LeftOut(str(path), str(why)) for path, why in notes),
            int(left_out),
            str(over),
        )
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise Corrupt(f"not a manifest of outputs: {error}") from error
    check_tree({one.path for one in manifest.files}, len(manifest.files))
    return manifest


def read_file(row: Any) -> OutputFile:
    path, size, mode, modified, digest, chunks = row
    one = OutputFile(path, size, mode & 0o777, float(modified), digest, chunks)
    if not is_inside(path):
        raise ValueError(f"the path {path!r:.200}")
    whole = isinstance(size, int) and size >= 0 and len(digest) == DIGEST
    if not whole or len(chunks) != DIGEST * -(-size // CHUNK):
        raise ValueError(f"the digests of {path!r:.200}")
    return one


def is_inside(path: object) -> bool:
    """Whether it is a relative path that no system reads as a way out."""
    if not isinstance(path, str) or not path or "\0" in path:
        return False
    try:
        fits = len(path.encode()) <= PATH_BYTES
    except UnicodeEncodeError:
        return False
    return fits and all(part not in ("", ".", "..") for part in path.split("/"))


def check_tree(paths: set[str], count: int) -> None:
    """No name twice, and none that is a file and a folder. Raises ``Corrupt``."""
    if len(paths) != count:
        raise Corrupt("a manifest of outputs names a file twice")
    for path in paths:
        place = path.rfind("/")
        while place > 0:
            if path[:place] in paths:
                raise Corrupt(f"a manifest of outputs names {path[:place]!r:.200} as both")
            place = path.rfind("/", 0, place)
