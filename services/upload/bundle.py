"""What is in a zip, and what is its canonical form?

Pure work on an open file; meant for a thread. Nothing that the zip says is believed: every byte is
inflated under a budget, its checksum compared, its stream's end checked.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import zstandard

from services.upload.config import UploadConfig
from services.upload.names import Member, members
from services.upload.refusals import BadBundle
from services.upload.zipdir import DEFLATED, read_directory, show

PIECE = 1 << 20
"""Bytes that are read or inflated at one time."""
LEVEL = 1
"""Of zstandard: several times as fast as the upload."""
LISTED = 10
"""File names in the refusal of a bundle without its entry file."""
REQUIREMENTS = ("requirements.txt", "pyproject.toml")
REQUIREMENTS_BYTES = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A sound bundle."""

    digest: str
    """sha256 of the sorted manifest of path, mode, size and content hash."""
    size: int
    """Bytes of all files."""
    members: tuple[Member, ...]
    notes: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(member.path for member in self.members)


def inspect(file: BinaryIO, length: int, config: UploadConfig) -> Bundle:
    """Reads all of it; raises ``BadBundle``."""
    entries = read_directory(file, length)
    files, notes = members(entries)
    check_sizes(files, length, config)
    manifest = hashlib.sha256()
    total = 0
    for member in files:
        digest = hashlib.sha256()
        start = b""
        for piece in inflate(file, member):
            digest.update(piece)
            if not start:
                start = piece
        check_requirements(member.path, member.entry.size, start)
        total += member.entry.size
        manifest.update(manifest_line(member, digest.hexdigest()))
    return Bundle(manifest.hexdigest(), total, tuple(files), tuple(notes))


def manifest_line(member: Member, digest: str) -> bytes:
    mode = "755" if member.executable else "644"
    return f"{member.path}\0{mode}\0{member.entry.size}\0{digest}\n".encode()


def check_sizes(files: list[Member], length: int, config: UploadConfig) -> None:
    total = sum(member.entry.size for member in files)
    check_amount(len(files), total, config)
    if total > config.ratio_from and total > length * config.most_ratio:
        raise BadBundle(
            "zip_bomb",
            f"it unpacks to {total // max(length, 1)} times its size; at most {config.most_ratio}"
            " times is allowed",
            413,
        )


def check_amount(count: int, total: int, config: UploadConfig) -> None:
    if not count:
        raise BadBundle("empty_zip", "there are no files in it")
    if count > config.most_files:
        raise BadBundle(
            "too_many_files", f"{count} files; at most {config.most_files} are allowed", 413
        )
    if total > config.most_bytes:
        raise BadBundle(
            "too_large", f"{total} bytes unpacked; at most {config.most_bytes} are allowed", 413
        )


def check_requirements(path: str, size: int, start: bytes) -> None:
    """``start``: all of the file, unless it is too large. Raises ``BadBundle``."""
    if path not in REQUIREMENTS:
        return
    if size > REQUIREMENTS_BYTES:
        raise BadBundle("bad_requirements", f"{path} is larger than 1 MiB")
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadBundle(
            "bad_requirements", f"{path} is not UTF-8 text; save it as UTF-8"
        ) from error
    if "\0" in text:
        raise BadBundle("bad_requirements", f"{path} is not text; save it as UTF-8")


def check_entry(files: tuple[str, ...], entry: str) -> None:
    """The entry file must be there, unless a Dockerfile says what runs."""
    if entry in files or "Dockerfile" in files:
        return
    scripts = [path for path in files if path.endswith(".py")]
    listed = (scripts or list(files))[:LISTED]
    more = len(scripts or files) - len(listed)
    there = ", ".join(listed) + (f" and {more} more" if more else "")
    raise BadBundle("no_entry_file", f"there is no {entry} in it; there are: {there}")


def inflate(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """The file's bytes, at most a mebibyte at a time; raises ``BadBundle``."""
    entry = member.entry
    crc, size = 0, 0
    pieces = deflated(file, member) if entry.method == DEFLATED else stored(file, member)
    for piece in pieces:
        size += len(piece)
        if size > entry.size:
            break
        crc = zlib.crc32(piece, crc)
        yield piece
    if size != entry.size or crc != entry.crc:
        raise BadBundle("damaged_zip", f"{show(entry.name)} does not unpack to what the zip says")


def stored(file: BinaryIO, member: Member) -> Iterator[bytes]:
    at, left = member.entry.data_at, member.entry.packed
    while left:
        file.seek(at)
        piece = file.read(min(PIECE, left))
        if not piece:
            raise BadBundle("truncated_zip", "the zip was cut off: send it again")
        at += len(piece)
        left -= len(piece)
        yield piece


def deflated(file: BinaryIO, member: Member) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for packed in stored(file, member):
            data = packed
            while data and not inflater.eof:
                yield inflater.decompress(data, PIECE)
                data = inflater.unconsumed_tail
            if inflater.eof and (data or inflater.unused_data):
                raise BadBundle("damaged_zip", f"{show(member.entry.name)} has data behind its end")
        while not inflater.eof:
            piece = inflater.decompress(inflater.unconsumed_tail, PIECE)
            if not piece:
                break
            yield piece
    except zlib.error as error:
        raise BadBundle("damaged_zip", f"{show(member.entry.name)} cannot be unpacked") from error
    if not inflater.eof:
        raise BadBundle("damaged_zip", f"{show(member.entry.name)} ends too early")


def canonical(file: BinaryIO, bundle: Bundle) -> Iterator[bytes]:
    """The bundle as a tar (sorted, fixed modes and times) under zstandard, piece by piece."""
    packer = zstandard.ZstdCompressor(level=LEVEL).compressobj()
    for piece in tar(file, bundle):
        packed = packer.compress(piece)
        if packed:
            yield packed
    yield packer.flush()


def tar(file: BinaryIO, bundle: Bundle) -> Iterator[bytes]:
    for member in bundle.members:
        header = tarfile.TarInfo(member.path)
        header.size = member.entry.size
        header.mode = 0o755 if member.executable else 0o644
        yield header.tobuf(tarfile.PAX_FORMAT)
        yield from inflate(file, member)
        padding = -member.entry.size % tarfile.BLOCKSIZE
        if padding:
            yield bytes(padding)
    yield bytes(2 * tarfile.BLOCKSIZE)


def canonical_bytes(file: BinaryIO, bundle: Bundle) -> bytes:
    """The same in one piece, for small bundles."""
    whole = io.BytesIO()
    for piece in canonical(file, bundle):
        whole.write(piece)
    return whole.getvalue()
