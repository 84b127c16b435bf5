"""Zips as strangers build them: each piece can be made to lie."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
REGULAR = 0o100644


@dataclass
class File:
    """One entry. ``local`` and ``central`` override fields of that header alone."""

    name: bytes = b"main.py"
    data: bytes = b"print(1)\n"
    method: int = 8
    flags: int = 0
    mode: int = REGULAR
    extra: bytes = b""
    descriptor: bytes | None = None
    packed: bytes | None = None
    local: dict[str, Any] = field(default_factory=dict)
    central: dict[str, Any] = field(default_factory=dict)
    gap: bytes = b""
    """Bytes in front of its local header."""


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def build(*files: File, **end: Any) -> bytes:
    """A zip of these entries; ``end`` overrides fields of the end record."""
    out, directory = bytearray(), bytearray()
    for file in files:
        out += file.gap
        offset = len(out)
        packed = file.packed
        if packed is None:
            packed = deflate(file.data) if file.method == 8 else file.data
        common = {
            "name": file.name,
            "method": file.method,
            "flags": file.flags,
            "crc": zlib.crc32(file.data),
            "packed": len(packed),
            "size": len(file.data),
            "extra": file.extra,
        }
        streamed = {"crc": 0, "packed": 0, "size": 0} if file.flags & 8 else {}
        out += local_header(**{**common, **streamed, **file.local})
        out += packed + (file.descriptor or b"")
        directory += central_header(
            **{
                **common,
                "mode": file.mode,
                "offset": offset,
                "system": 3,
                "disk": 0,
                **file.central,
            }
        )
    fields = {"start": len(out), "size": len(directory), "count": len(files), "comment": b"", **end}
    prefix = fields.pop("prefix", b"")
    tail = fields.pop("tail", b"")
    before_end = fields.pop("before_end", b"")
    return prefix + bytes(out) + bytes(directory) + before_end + end_record(**fields) + tail


def local_header(
    name: bytes, method: int, flags: int, crc: int, packed: int, size: int, extra: bytes
) -> bytes:
    header = LOCAL.pack(
        b"PK\x03\x04", 20, flags, method, 0, 33, crc, packed, size, len(name), len(extra)
    )
    return header + name + extra


def central_header(
    name: bytes, method: int, flags: int, crc: int, packed: int, size: int, extra: bytes,
    mode: int, offset: int, system: int, disk: int,
) -> bytes:  # fmt: skip
    header = CENTRAL.pack(
        b"PK\x01\x02", system << 8 | 20, 20, flags, method, 0, 33, crc, packed, size, len(name),
        len(extra), 0, disk, 0, mode << 16, offset,
    )  # fmt: skip
    return header + name + extra


def end_record(
    start: int, size: int, count: int, comment: bytes, disk: int = 0, here: int | None = None
) -> bytes:
    return (
        END.pack(
            b"PK\x05\x06", disk, disk, count if here is None else here, count, size, start,
            len(comment),
        )
        + comment
    )  # fmt: skip


def descriptor(data: bytes, packed: bytes, mark: bool = True, wide: bool = False) -> bytes:
    body = struct.pack("<LQQ" if wide else "<LLL", zlib.crc32(data), len(packed), len(data))
    return (b"PK\x07\x08" if mark else b"") + body
