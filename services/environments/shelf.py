"""Which entries and blobs are written down, and how does one change?"""

from __future__ import annotations

import logging
from collections.abc import Callable

from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import BusError, Conflict
from bus.kv import Bucket, KeyValue
from schemas.environments import EnvironmentEntry, StoredBlob
from services.environments.rules import Decision

log = logging.getLogger(__name__)

TRIES = 32
"""Of one change that others come before: a hundred workers may ask for one key at once."""

Change = Callable[[EnvironmentEntry | None], EnvironmentEntry | None]
"""What an entry becomes; None where it stays as it is."""


class Shelf:
    """The bucket ``environments``."""

    def __init__(self, bus: Bus) -> None:
        self._bucket = Bucket(bus, "environments")

    async def entry(self, pool: str, key: str) -> EnvironmentEntry | None:
        found = await self._bucket.get(entry_name(pool, key))
        return read_entry(found)

    async def decide(
        self, pool: str, key: str, rule: Callable[[EnvironmentEntry | None], Decision]
    ) -> Decision:
        """By what is there; written before it is told."""
        name = entry_name(pool, key)
        for _ in range(TRIES):
            found = await self._bucket.get(name)
            decision = rule(read_entry(found))
            if decision.entry is None or await self._write(name, decision.entry, found):
                return decision
        raise BusError(f"others change {name} all the time")

    async def change(self, pool: str, key: str, change: Change) -> None:
        name = entry_name(pool, key)
        for _ in range(TRIES):
            found = await self._bucket.get(name)
            entry = change(read_entry(found))
            if entry is None or await self._write(name, entry, found):
                return
        raise BusError(f"others change {name} all the time")

    async def _write(
        self, name: str, message: EnvironmentEntry | StoredBlob, before: KeyValue | None
    ) -> bool:
        try:
            await self._bucket.update(name, encode(message)[0], before.revision if before else 0)
        except Conflict:
            return False
        return True

    # Blobs.

    async def blob(self, pool: str, digest: str) -> StoredBlob | None:
        return read_blob(await self._bucket.get(blob_name(pool, digest)))

    async def count_on(self, pool: str, digest: str, now: float) -> StoredBlob | None:
        """The blob, which stays for a while from now on; None where it is not there (any more)."""
        name = blob_name(pool, digest)
        for _ in range(TRIES):
            found = await self._bucket.get(name)
            blob = read_blob(found)
            if blob is None:
                return None
            if await self._write(name, blob.model_copy(update={"at": now}), found):
                return blob
        raise BusError(f"others change {name} all the time")

    async def add(self, pool: str, digest: str, blob: StoredBlob) -> None:
        """Where somebody else stored the same meanwhile, his stays."""
        await self._write(blob_name(pool, digest), blob, None)

    async def drop_blob(self, pool: str, digest: str, seen: StoredBlob) -> bool:
        """Whether it is gone; not where somebody counts on it since it was ``seen``."""
        found = await self._bucket.get(blob_name(pool, digest))
        if found is not None and read_blob(found) == seen:
            await self._bucket.erase(found.revision)
            found = await self._bucket.get(blob_name(pool, digest))
        left = read_blob(found)
        return left is None or left.upload != seen.upload

    async def drop_entry(self, name: str, seen: EnvironmentEntry) -> None:
        found = await self._bucket.get(f"env.{name}")
        if found is not None and read_entry(found) == seen:
            await self._bucket.erase(found.revision)

    async def all(self) -> tuple[dict[str, EnvironmentEntry], dict[str, StoredBlob]]:
        """Entries by ``<pool>.<key>``, blobs by ``<pool>.<digest>``."""
        entries = {name: read_entry(one) for name, one in (await self._bucket.all("env")).items()}
        blobs = {name: read_blob(one) for name, one in (await self._bucket.all("blob")).items()}
        return (
            {name.partition(".")[2]: one for name, one in entries.items() if one},
            {name.partition(".")[2]: one for name, one in blobs.items() if one},
        )


def entry_name(pool: str, key: str) -> str:
    return f"env.{pool}.{key}"


def blob_name(pool: str, digest: str) -> str:
    return f"blob.{pool}.{digest}"


def read_entry(found: KeyValue | None) -> EnvironmentEntry | None:
    return decode(EnvironmentEntry, found.value, None) if found else None


def read_blob(found: KeyValue | None) -> StoredBlob | None:
    return decode(StoredBlob, found.value, None) if found else None
