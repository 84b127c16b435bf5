"""Which scalars have come to an event file of TensorBoard since it was last looked at? Pure.

A file is a row of records: length, checksum of the length, bytes, checksum of the bytes. Writers
only append. So the last record may be cut short, and is whole the next time; any other that is
damaged is passed over and counted. Where a length is damaged, the next record is looked for.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import google_crc32c

from schemas.metrics import Points
from services.metrics.event_scalars import Malformed, scalars_of

HEAD = struct.Struct("<QI")
"""Length of a record and the checksum of these eight bytes."""
LENGTH = 8
SUM = struct.Struct("<I")
RECORD_MOST = 1 << 20
"""Bytes of a record that is looked into: what is longer holds pictures, and is passed over."""
WINDOW = 4 << 20
"""Bytes that are read at a time. With no less than the longest record it always gets on."""
LENGTH_MOST = 1 << 40
"""No record is longer: its length is damaged."""
ZEROS = bytes(4)
"""The upper half of every length that there is."""
SOMETHING = re.compile(rb"[^\0]")
MASK, FULL = 0xA282EAD8, 0xFFFFFFFF
EVENTS = "tfevents"
"""In the name of every event file."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How far one event file was read."""

    offset: int = 0
    """From which the next call wants its bytes; behind the file's end where a long record is
    passed over that is not whole yet."""
    damaged: int = 0
    """Records that were lost."""
    lost: bool = False
    """Whether the beginning of the next record is being looked for."""


def is_event_file(path: str) -> bool:
    return EVENTS in path.rpartition("/")[2]


def series_name(path: str, tag: str) -> str:
    """By the file's folder within the outputs: several writers have one each."""
    folder = path.rpartition("/")[0]
    return f"{folder}/{tag}" if folder else tag


def read_events(data: bytes, state: Reading = Reading()) -> tuple[dict[str, Points], Reading]:
    """What the whole records in ``data`` say, by tag.

    ``data`` are the file's bytes from ``state.offset`` on, ``WINDOW`` at most; there is more to be
    read for as long as the offset moves.
    """
    records = Records(data, state)
    found: dict[str, Points] = {}
    for record in records:
        try:
            scalars = scalars_of(record)
        except (Malformed, struct.error):
            records.damaged += 1
            continue
        for tag, step, at, value in scalars:
            found.setdefault(tag, Points()).add(step, at, value)
    return found, Reading(state.offset + records.at, records.damaged, records.lost)


class Records:
    """Those in a window of the file that are whole and right."""

    def __init__(self, data: bytes, state: Reading) -> None:
        self._data = data
        self.at = 0
        self.damaged = state.damaged
        self.lost = state.lost

    def __iter__(self) -> Iterator[bytes]:
        while len(self._data) - self.at >= HEAD.size:
            length = length_at(self._data, self.at)
            if length is None:
                self._lose()
                continue
            self.lost = False
            begin, end = self.at + HEAD.size, self.at + HEAD.size + length
            if length > RECORD_MOST:
                self.at = end + SUM.size
                continue
            if end + SUM.size > len(self._data):
                return
            self.at = end + SUM.size
            record = self._data[begin:end]
            if SUM.unpack_from(self._data, end)[0] == checksum(record):
                yield record
            else:
                self.damaged += 1

    def _lose(self) -> None:
        """On to the next place that begins like a record, or as far as none can begin."""
        self.damaged += not self.lost
        self.lost = True
        at, last = self.at + 1, len(self._data) - HEAD.size
        while (at := self._data.find(ZEROS, at + 4) - 4) >= 0 and at <= last:
            if length_at(self._data, at) is not None:
                self.at = at
                return
            at = max(at + 1, self._past_zeros(at) - LENGTH)
        self.at = max(self.at + 1, last + 1)

    def _past_zeros(self, at: int) -> int:
        found = SOMETHING.search(self._data, at)
        return found.start() if found else len(self._data)


def length_at(data: bytes, at: int) -> int | None:
    """Of the record that begins there; None where none does."""
    length: int
    length, told = HEAD.unpack_from(data, at)
    if length > LENGTH_MOST or told != checksum(data[at : at + LENGTH]):
        return None
    return length


def checksum(data: bytes) -> int:
    """crc32c, rotated and moved: a sum over bytes that hold such sums stays a good one."""
    whole: int = google_crc32c.value(data)
    return (((whole >> 15) | (whole << 17)) + MASK) & FULL
