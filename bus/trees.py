"""Which trees does somebody need, and is all that they name there?

The bucket ``trees`` holds them under ``<scope>.<kind>.<id>``; a piece lives while one of them names
it. A tree is written before its pieces are looked for, and they are looked for after every sweep
that may not have seen it: what is ``whole`` stays so.
"""

from __future__ import annotations

import asyncio
import logging
import time

from bus.chunks import ChunkStore
from bus.clock import server_time
from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import Conflict, NotFound, Unanswered
from bus.kv import Bucket, KeyValue
from bus.link import backoff
from schemas.message import Message
from schemas.tree import StoredTree, Sweep, Tree, TreeHead

log = logging.getLogger(__name__)

BUCKET = "trees"
BUNDLE, DATA = "bundle", "data"
"""Kinds: the same files may be needed as both."""
TRIES = 8
SWEEP_SECONDS = 30.0
"""What one sweep of a scope may take; it stops well before."""
AGAIN = 0.2
FRESH = 600.0
"""Seconds after which an entry that somebody needs again is written anew: who looked at it before,
and would remove it, is told by its revision. Nothing is removed that young."""


class Trees:
    """All of them, for the services that name them."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, BUCKET)
        self._chunks = ChunkStore(bus)

    async def find(self, scope: str, kind: str, tree: str) -> StoredTree | None:
        """None where there is none that is whole."""
        _, stored = await self._entry(key_of(scope, kind, tree))
        return stored if stored is not None and stored.whole else None

    async def get(self, scope: str, kind: str, tree: str) -> StoredTree:
        """Raises ``NotFound``."""
        found = await self.find(scope, kind, tree)
        if found is None:
            raise NotFound(f"there is no {kind} {tree}")
        return found

    async def keep(
        self, scope: str, kind: str, head: TreeHead, tree: Tree, now: float
    ) -> list[bytes]:
        """From now on its pieces stay; or those that are missing: put them, and ask again.

        Repeated, or done by two at one time, it comes to the same.
        """
        key = key_of(scope, kind, tree.id)
        for attempt in range(TRIES):
            entry, stored = await self._entry(key)
            try:
                if entry is not None and stored is not None and stored.whole:
                    await self._refresh(key, stored, entry.revision, now)
                    return []
                if entry is not None and stored is not None and stored.head == head:
                    # Of somebody who is at it, or died of it.
                    revision = await self._refresh(key, stored, entry.revision, now)
                else:
                    revision = await self._write(key, StoredTree(head=head, at=now), entry)
                await self._swept(scope)
                digests = (*head.digests, *(digest for digest, _ in tree.each_piece()))
                missing = await self._chunks.missing(scope, digests)
                if missing:
                    return missing
                whole = StoredTree(head=head, at=now, whole=True)
                await self._bucket.update(key, encode(whole)[0], revision)
                return []
            except Conflict:
                log.info("%s is being kept by somebody else, too", key)
                await asyncio.sleep(backoff(attempt, AGAIN))
        raise Conflict(f"{key} is written again and again")

    async def _refresh(self, key: str, stored: StoredTree, revision: int, now: float) -> int:
        """Its revision from now on. Raises ``Conflict``."""
        if now - stored.at < FRESH:
            return revision
        fresh = stored.model_copy(update={"at": now})
        return await self._bucket.update(key, encode(fresh)[0], revision)

    async def remove(self, key: str, revision: int) -> bool:
        """Whether it went: what was needed again since it had that revision stays.

        Its pieces are collected later, unless another one names them.
        """
        try:
            await self._bucket.delete(key, revision)
        except Conflict:
            log.info("%s is needed again", key)
            return False
        return True

    async def all_of(self, scope: str) -> dict[str, tuple[StoredTree, int]]:
        """By key, with their revisions; also those that are not whole (yet)."""
        found = await self._bucket.all(scope)
        return {
            key: (decode(StoredTree, one.value, None), one.revision) for key, one in found.items()
        }

    async def scopes(self) -> set[str]:
        return {key.partition(".")[0] for key in await self._bucket.all()} - {"sweep"}

    async def _entry(self, key: str) -> tuple[KeyValue | None, StoredTree | None]:
        entry = await self._bucket.get(key)
        return entry, decode(StoredTree, entry.value, None) if entry else None

    async def _write(self, key: str, message: Message, entry: KeyValue | None) -> int:
        """In the place of ``entry``. Raises ``Conflict``."""
        data = encode(message)[0]
        if entry is not None:
            return await self._bucket.update(key, data, entry.revision)
        try:
            return await self._bucket.create(key, data)
        except Conflict:
            if await self._bucket.get(key) is not None:
                raise
        return await self._bucket.put(key, data)  # it was deleted: a mark is in its place

    # ---- sweeps

    async def begin_sweep(self, scope: str) -> int | None:
        """What ``end_sweep`` needs to know; None where somebody else sweeps it."""
        now = await server_time(self._bus, f"KV_{BUCKET}")
        key, message = f"sweep.{scope}", Sweep(until=now + SWEEP_SECONDS)
        entry = await self._bucket.get(key)
        if entry is not None and decode(Sweep, entry.value, None).until > now:
            return None
        try:
            return await self._bucket.update(
                key, encode(message)[0], entry.revision if entry else 0
            )
        except Conflict:
            return None

    async def end_sweep(self, scope: str, revision: int) -> None:
        """Overwritten, not deleted: whoever begins the next one expects this one."""
        await self._bucket.update(f"sweep.{scope}", encode(Sweep(until=0.0))[0], revision)

    async def _swept(self, scope: str) -> None:
        """Until no sweep is at work that may have begun before what was just written."""
        deadline = time.monotonic() + SWEEP_SECONDS + 1.0
        while (entry := await self._bucket.get(f"sweep.{scope}")) is not None:
            now = await server_time(self._bus, f"KV_{BUCKET}")
            if decode(Sweep, entry.value, None).until < now:
                return
            if time.monotonic() > deadline:
                raise Unanswered(f"the sweep of {scope}", SWEEP_SECONDS)
            await asyncio.sleep(AGAIN)


def key_of(scope: str, kind: str, tree: str) -> str:
    return f"{scope}.{kind}.{tree}"
