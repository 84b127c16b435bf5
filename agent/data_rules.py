"""Which data may a job find on this worker, under which key is it kept, and what is told? Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

from agent.disk import DiskBounds
from agent.runtimes.protocol import CannotPrepare
from schemas.data import HOST, DataMount
from schemas.placing import KEYS_MOST, key_start
from schemas.reason import Reason

GIBIBYTE = 1 << 30
CACHE_BYTES = 100 * GIBIBYTE


class NoData(CannotPrepare):
    """The data cannot be had here. What came ``damaged`` is fetched anew the next time."""

    def __init__(
        self, detail: str, reason: Reason = Reason.DATA_UNAVAILABLE, damaged: bool = False
    ) -> None:
        super().__init__(detail, reason)
        self.damaged = damaged


@dataclass(frozen=True, slots=True)
class DataRules:
    """What an admin of the worker set."""

    most_bytes: int = CACHE_BYTES
    """Of what is kept although no job uses it."""
    paths: tuple[Path, ...] = ()
    """Folders of this machine that jobs may have, with all that is in them."""
    sources: tuple[str, ...] = ()
    """Addresses of hosts and of folders below them; where there are some, nothing else is fetched,
    and these, and where they lead on to, may lie in a private network."""
    s3_endpoint: str = ""
    """Where ``s3://`` leads; empty: to Amazon, or where the job says."""


@dataclass(frozen=True, slots=True)
class Place:
    """Data that lies on this machine."""

    mount: DataMount
    source: Path
    """The folder, or the file, that is to be found at the mount's path."""


def told_keys(names: Iterable[str]) -> tuple[str, ...]:
    """For a beat: the most recently used first, and bounded."""
    return tuple(key_start(name) for name in islice(names, KEYS_MOST))


def host_place(mount: DataMount, rules: DataRules) -> Place:
    """Raises ``NoData``. A link that leads out of what is allowed is not followed."""
    asked = Path(mount.source.removeprefix(HOST))
    real = asked.resolve()
    if not any(real.is_relative_to(allowed.resolve()) for allowed in rules.paths):
        shared = ", ".join(map(str, rules.paths)) or "none"
        raise NoData(f"this worker does not give {asked} to jobs; its folders for them: {shared}")
    if not real.exists():
        raise NoData(f"there is no {asked} on this worker")
    return Place(mount, real)


def check_source(mount: DataMount, rules: DataRules) -> None:
    """Raises ``NoData``."""
    if mount.scheme == "http" and not rules.sources:
        raise NoData(
            f"{mount.source} comes without TLS: a worker fetches it where its admin says so"
        )
    if rules.sources and not any(lies_in(mount.source, one) for one in rules.sources):
        allowed = ", ".join(rules.sources)
        raise NoData(f"this worker does not fetch {mount.source}; it fetches from {allowed}")


def lies_in(source: str, allowed: str) -> bool:
    """The same host and port, and below its folder: a longer name is another host. Pure."""
    if any(part in (".", "..") for part in unquote(source).split("/")):
        return False
    begins = source.startswith(allowed)
    return begins and (allowed.endswith("/") or source[len(allowed) :][:1] in ("", "/", "?"))


def check_room(mount: DataMount, size: int, free: int, bounds: DiskBounds) -> None:
    """Raises ``NoData``, before anything is fetched."""
    room = free - 2 * bounds.floor
    if size > room:
        raise NoData(
            f"{mount.text} has {told(size)}, and the worker's disk has room for"
            f" {told(max(0, room))} of data",
            Reason.DISK_FULL,
        )


def told(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def begin_line(mount: DataMount, size: int, files: int) -> str:
    return f"data {mount.text}: fetching {told(size)}, {files:,} file{'' if files == 1 else 's'}"


def progress_line(mount: DataMount, done: int, size: int, seconds: float) -> str:
    share = f"{100 * done // size} %, " if size else ""
    whole = f" of {told(size)}" if size else ""
    return f"data {mount.text}: {share}{told(done)}{whole}, {told(done / max(seconds, 0.001))}/s"


def done_line(mount: DataMount, size: int, seconds: float) -> str:
    return f"data {mount.text}: {told(size)} in {seconds:.1f} s, at {mount.path}"
