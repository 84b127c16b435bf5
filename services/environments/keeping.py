"""Which of the shared images are kept? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from schemas.environments import EnvironmentEntry, Phase, StoredBlob
from services.environments.config import EnvironmentsConfig
from services.environments.rules import LEASED


def surplus(
    entries: Mapping[str, EnvironmentEntry],
    sizes: Mapping[str, int],
    now: float,
    config: EnvironmentsConfig,
) -> list[str]:
    """The names of entries that go: by age, then the longest unused until all the rest fits.

    ``sizes``: of stored blobs by pool and digest, ``<pool>.<digest>``.
    """
    gone = [name for name, entry in entries.items() if is_old(entry, now, config)]
    left = {name: entry for name, entry in entries.items() if name not in gone}
    for name in sorted(left, key=lambda name: left[name].used_at):
        many = len(left) > config.most_entries
        if not many and total(left, sizes) <= config.most_bytes:
            break
        idle = now - left[name].used_at > config.spared
        if idle and (many or takes_room(left[name])):
            gone.append(name)
            del left[name]
    return gone


def takes_room(entry: EnvironmentEntry) -> bool:
    """In the object store: what a registry has takes none."""
    return entry.image is not None and bool(entry.image.blobs)


def is_old(entry: EnvironmentEntry, now: float, config: EnvironmentsConfig) -> bool:
    if entry.phase in (Phase.BUILDING, Phase.SHARING) and now <= entry.until:
        return False
    age = now - entry.used_at
    return age > (config.unused if entry.phase in (Phase.READY, Phase.BUILT) else config.forgotten)


def total(entries: Mapping[str, EnvironmentEntry], sizes: Mapping[str, int]) -> int:
    return sum(sizes.get(name, 0) for name in named(entries))


def named(entries: Mapping[str, EnvironmentEntry]) -> set[str]:
    """``<pool>.<digest>`` of every blob that an image needs."""
    return {
        f"{name.split('.')[0]}.{blob.digest}"
        for name, entry in entries.items()
        if entry.image is not None
        for blob in entry.image.blobs
    }


def unnamed(
    blobs: Mapping[str, StoredBlob],
    entries: Mapping[str, EnvironmentEntry],
    now: float,
    config: EnvironmentsConfig,
) -> list[str]:
    """Blobs that no image needs, and on which nobody counted of late."""
    needed = named(entries)
    return [
        name for name, blob in blobs.items() if name not in needed and now - blob.at > config.spared
    ]


def orphans(
    stored: Iterable[tuple[str, str]],
    blobs: Mapping[str, StoredBlob],
    entries: Iterable[EnvironmentEntry],
) -> list[tuple[str, str]]:
    """Uploads and digests that are no blob, and that no lease may still complete."""
    counted = {(blob.upload, name.partition(".")[2]) for name, blob in blobs.items()}
    leased = {entry.upload for entry in entries if entry.phase in LEASED}
    return [one for one in stored if one not in counted and one[0] not in leased]
