"""Which files are read now, which stay as they were stored, and what is too much? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.output_scan import COUNTED, Found, Scan
from schemas.outputs import MOST_BYTES, MOST_FILES, OutputFile

APPENDED = "tfevents"
UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one attempt; 0 for none."""

    size: int = MOST_BYTES
    """Bytes."""
    files: int = MOST_FILES


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When outputs are looked at. All in seconds."""

    every: float = 30.0
    """Between two looks while the program runs; 0: only at its end."""
    still: float = 5.0
    """A file that was written to more recently is left for the next look."""
    patience: float = 30.0
    """How long the end of the attempt waits while nothing of its outputs gets through."""
    longest: float = 3600.0
    """How long it waits at most."""


@dataclass(frozen=True, slots=True)
class Known:
    """A file that was stored, and how it looked then."""

    found: Found
    file: OutputFile


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of what was found."""

    read: tuple[Found, ...]
    keep: tuple[Known, ...]
    """As they were stored: unchanged, or changing just now."""
    over: str
    """The sentence that says which limit was met; empty where none was."""


def plan(
    scan: Scan, known: Mapping[str, Known], limits: Limits, now: float, still: float | None
) -> Plan:
    """``still`` None: the program is over, and everything is read that has changed."""
    chosen, over = fitting(scan, known, limits)
    read: list[Found] = []
    keep: list[Known] = []
    for found in chosen:
        before = known.get(found.path)
        if before is not None and same(before.found, found):
            keep.append(before)
        elif still is None or appended_to(found.path) or is_still(found, now, still):
            read.append(found)
        elif before is not None:
            keep.append(before)
    return Plan(tuple(read), tuple(keep), over)


def same(one: Found, other: Found) -> bool:
    return (one.size, one.changed) == (other.size, other.changed)


def appended_to(path: str) -> bool:
    """Whether what lies there is whole at any time: event files of TensorBoard, whose curves would
    else be seen when the program has stopped writing to them."""
    return APPENDED in path.rpartition("/")[2]


def grew(before: Found, after: Found) -> bool:
    return before.changed[0] == after.changed[0] and after.size >= before.size


def is_still(found: Found, now: float, still: float) -> bool:
    """A time in the future counts as long past: clocks of files can be set."""
    return not now - still < found.modified <= now


def fitting(scan: Scan, known: Mapping[str, Known], limits: Limits) -> tuple[list[Found], str]:
    """Those that may be kept: what was kept before, then the smallest first."""
    count = len(scan.files) + scan.more
    size = sum(found.size for found in scan.files)
    if within(count, limits.files) and within(size, limits.size):
        return scan.files, ""
    ordered = sorted(scan.files, key=lambda one: (one.path not in known, one.size, one.path))
    chosen: list[Found] = []
    held = 0
    for found in ordered:
        if not within(len(chosen) + 1, limits.files):
            break
        if within(held + found.size, limits.size):
            chosen.append(found)
            held += found.size
    return chosen, sentence(scan, count, size, limits, len(chosen), held)


def within(value: int, limit: int) -> bool:
    return not limit or value <= limit


def sentence(scan: Scan, count: int, size: int, limits: Limits, kept: int, held: int) -> str:
    many = f"more than {COUNTED}" if scan.endless else str(count)
    least = "at least " if scan.more or scan.endless else ""
    allowed = " and ".join(
        text
        for limit, text in (
            (limits.files, f"{limits.files} files"),
            (limits.size, told(limits.size)),
        )
        if limit
    )
    return (
        f"its outputs are too large: {many} files with {least}{told(size)}, where {allowed} are"
        f" allowed; {kept} files with {told(held)} were kept, the smallest first"
    )


def told(size: int) -> str:
    for unit, name in UNITS:
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} bytes"
