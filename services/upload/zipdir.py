"""What does a zip's directory say, and does the file agree with it to the byte?

A strict reader: one end record that closes the file, entries that tile everything before the
directory, local headers equal to the central ones. What parsers could read in two ways is refused
(PKWARE APPNOTE 6.3.10 for the layout; the rules are those of the project's security facts).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import BinaryIO

from services.upload.refusals import BadBundle

END = struct.Struct("<4s4H2LH")
END64_LOCATOR = struct.Struct("<4sLQL")
END64 = struct.Struct("<4sQ2H2L4Q")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
ENCRYPTED, DESCRIPTOR, UTF8 = 0x1, 0x8, 0x800
STRONG_OR_MASKED = 0x40 | 0x2000
STORED, DEFLATED = 0, 8
MOST_ENTRIES = 200_000
MOST_DIRECTORY = 64 << 20
"""Bytes of the central directory."""
COMMENT = 65_535


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the central directory, found equal in its local header."""

    name: bytes
    utf8: bool
    method: int
    crc: int
    packed: int
    """Compressed size in bytes."""
    size: int
    mode: int
    """Unix mode bits; 0 where there are none. Readers believe them whoever made the zip."""
    flags: int
    data_at: int = 0
    end_at: int = 0
    """Where the next entry begins: behind the data and its descriptor."""


def read_directory(file: BinaryIO, length: int) -> list[Entry]:
    """Every entry, in the order of the file; raises ``BadBundle``."""
    start, size, count, end_at = find_directory(file, length)
    if count > MOST_ENTRIES:
        raise BadBundle(
            "too_many_files", f"it holds {count} entries; at most {MOST_ENTRIES} are allowed", 413
        )
    if size > MOST_DIRECTORY or start + size != end_at:
        raise BadBundle("damaged_zip", "its directory does not lie where its end record says")
    file.seek(start)
    directory = file.read(size)
    entries = sorted(central_entries(directory, count), key=lambda entry: entry[1])
    checked, at = [], 0
    for raw, offset in entries:
        if offset != at:
            raise BadBundle(
                "damaged_zip", "there is data between its entries, or two of them overlap"
            )
        entry = check_local(file, raw, offset, start)
        checked.append(entry)
        at = entry.end_at
    if at != start:
        raise BadBundle("damaged_zip", "there is data between its entries and its directory")
    return checked


def find_directory(file: BinaryIO, length: int) -> tuple[int, int, int, int]:
    """Start, size and count of the directory, and where it must end."""
    file.seek(0)
    if length < END.size:
        raise BadBundle("not_a_zip", "it is not a .zip file; zip the folder and send that")
    tail_at = max(0, length - END.size - COMMENT)
    file.seek(tail_at)
    tail = file.read(length - tail_at)
    at = closing_record(tail)
    if at is None:
        file.seek(0)
        if file.read(4) in (b"PK\x03\x04", b"PK\x05\x06"):
            raise BadBundle(
                "truncated_zip", "the end of the zip is missing; it was cut off: send it again"
            )
        raise BadBundle("not_a_zip", "it is not a .zip file; zip the folder and send that")
    _, disk, directory_disk, here, count, size, start, _ = END.unpack_from(tail, at)
    if disk or directory_disk or here != count:
        raise BadBundle("split_zip", "it is one part of a split zip; make a single file of it")
    end_at = tail_at + at
    plain = (start, size, count)
    wide = directory64(file, end_at)
    if wide is None:
        return *plain, end_at
    for narrow, value, full in zip(plain, wide, (FULL32, FULL32, FULL16), strict=False):
        if narrow not in (value, full):
            raise BadBundle("damaged_zip", "its two end records do not agree; make the zip anew")
    return wide


def closing_record(tail: bytes) -> int | None:
    """The one end record whose comment reaches exactly to the end of the file."""
    at, found = tail.rfind(b"PK\x05\x06"), None
    while at >= 0:
        if len(tail) - at >= END.size:
            comment = END.unpack_from(tail, at)[7]
            if at + END.size + comment == len(tail):
                if found is not None:
                    raise BadBundle("damaged_zip", "it has two end records; make the zip anew")
                found = at
        at = tail.rfind(b"PK\x05\x06", 0, at)
    return found


def directory64(file: BinaryIO, end_at: int) -> tuple[int, int, int, int] | None:
    """What the ZIP64 records say, and where the directory must end; None without them."""
    locator_at = end_at - END64_LOCATOR.size
    if locator_at < 0:
        return None
    file.seek(locator_at)
    magic, disk, record_at, disks = END64_LOCATOR.unpack(file.read(END64_LOCATOR.size))
    if magic != b"PK\x06\x07":
        return None
    if disk or disks != 1 or record_at + END64.size != locator_at:
        raise BadBundle("damaged_zip", "its ZIP64 record is not where it should be")
    file.seek(record_at)
    record = END64.unpack(file.read(END64.size))
    if record[0] != b"PK\x06\x06" or record[1] != END64.size - 12 or record[4] or record[5]:
        raise BadBundle("damaged_zip", "its ZIP64 record cannot be read")
    here, count, size, start = record[6:10]
    if here != count:
        raise BadBundle("split_zip", "it is one part of a split zip; make a single file of it")
    return start, size, count, record_at


Raw = tuple[Entry, int]


def central_entries(directory: bytes, count: int) -> list[Raw]:
    """Entries and the offsets of their local headers."""
    entries: list[Raw] = []
    at = 0
    for _ in range(count):
        if at + CENTRAL.size > len(directory):
            raise BadBundle("damaged_zip", "its directory is shorter than it says")
        fields = CENTRAL.unpack_from(directory, at)
        if fields[0] != b"PK\x01\x02":
            raise BadBundle("damaged_zip", "its directory cannot be read")
        name_length, extra_length, comment_length = fields[10:13]
        name_at = at + CENTRAL.size
        extra_at = name_at + name_length
        at = extra_at + extra_length + comment_length
        if at > len(directory):
            raise BadBundle("damaged_zip", "its directory is shorter than it says")
        entries.append(
            central_entry(
                fields, directory[name_at:extra_at], directory[extra_at : at - comment_length]
            )
        )
    if at != len(directory):
        raise BadBundle("damaged_zip", "its directory is longer than it says")
    return entries


def central_entry(fields: tuple[int, ...], name: bytes, extra: bytes) -> Raw:
    flags, method, crc = fields[3], fields[4], fields[7]
    packed, size, offset = fields[8], fields[9], fields[16]
    if flags & (ENCRYPTED | STRONG_OR_MASKED):
        raise BadBundle(
            "encrypted_zip", f"{show(name)} is encrypted; send a zip without a password"
        )
    if method not in (STORED, DEFLATED):
        raise BadBundle(
            "unknown_compression", f"{show(name)} is packed by method {method}; use deflate or none"
        )
    if fields[13]:
        raise BadBundle("split_zip", "it is one part of a split zip; make a single file of it")
    size, packed, offset = wide_fields(extra, size, packed, offset)
    entry = Entry(name, bool(flags & UTF8), method, crc, packed, size, fields[15] >> 16, flags)
    return entry, offset


def wide_fields(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """The ZIP64 extra field gives those values that did not fit into 32 bits, in this order."""
    values = [size, packed, offset]
    if FULL32 not in values:
        return size, packed, offset
    wide = extra_field(extra, 1)
    for index, value in enumerate(values):
        if value == FULL32:
            if len(wide) < 8:
                raise BadBundle("damaged_zip", "a ZIP64 field is missing")
            values[index] = int.from_bytes(wide[:8], "little")
            wide = wide[8:]
    return values[0], values[1], values[2]


def extra_field(extra: bytes, kind: int) -> bytes:
    at, found = 0, None
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, at)
        if at + 4 + length > len(extra):
            raise BadBundle("damaged_zip", "an extra field is longer than its place")
        if tag == kind:
            if found is not None:
                raise BadBundle("damaged_zip", "an extra field stands twice")
            found = extra[at + 4 : at + 4 + length]
        at += 4 + length
    return found or b""


def check_local(file: BinaryIO, entry: Entry, offset: int, limit: int) -> Entry:
    """The local header must say the same; returns the entry with its data's place."""
    file.seek(offset)
    header = file.read(LOCAL.size)
    if len(header) < LOCAL.size or header[:4] != b"PK\x03\x04":
        raise BadBundle("damaged_zip", f"{show(entry.name)} is not where the directory says")
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = LOCAL.unpack(header)
    name = file.read(name_length)
    extra = file.read(extra_length)
    if name != entry.name or method != entry.method or flags != entry.flags:
        raise BadBundle("damaged_zip", f"{show(entry.name)} is described in two different ways")
    described = bool(flags & DESCRIPTOR)
    if not (described and (crc, packed, size) == (0, 0, 0)):
        wide_size, wide_packed, _ = wide_fields(extra, size, packed, 0)
        absent = described and crc == 0 and FULL32 in (size, packed)
        if not absent and (crc, wide_packed, wide_size) != (entry.crc, entry.packed, entry.size):
            raise BadBundle("damaged_zip", f"{show(entry.name)} is described in two different ways")
    data_at = offset + LOCAL.size + name_length + extra_length
    end_at = data_at + entry.packed
    if described:
        end_at = past_descriptor(file, entry, end_at, limit)
    if end_at > limit:
        raise BadBundle("damaged_zip", f"{show(entry.name)} reaches into the directory")
    return replace(entry, data_at=data_at, end_at=end_at)


def past_descriptor(file: BinaryIO, entry: Entry, at: int, limit: int) -> int:
    """Behind the data descriptor, which comes with or without a mark and in two widths."""
    file.seek(at)
    data = file.read(min(24, max(0, limit - at)))
    forms = [struct.pack("<LQQ", entry.crc, entry.packed, entry.size)]
    if max(entry.packed, entry.size) <= FULL32:
        forms.insert(0, struct.pack("<LLL", entry.crc, entry.packed, entry.size))
    fitting = [
        len(mark + form)
        for mark in (b"PK\x07\x08", b"")
        for form in forms
        if data.startswith(mark + form)
    ]
    if not fitting:
        raise BadBundle("damaged_zip", f"{show(entry.name)} does not end as the directory says")
    return at + max(fitting)


def show(name: bytes) -> str:
    """A name as it may stand in a message: printable, and not too long."""
    text = name.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in text)[:120]
