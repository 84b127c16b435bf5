"""Which pieces does no tree name, for longer than an upload takes?"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from nats.errors import ConnectionClosedError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from bus.chunks import STREAM, ChunkStore, chunk_subject
from bus.clock import server_time
from bus.connection import API_TIMEOUT, Bus
from bus.errors import BusError, Corrupt, NotFound, Unanswered
from bus.link import ask
from bus.pieces import REMOVED_AT_ONCE
from bus.trees import SWEEP_SECONDS, Trees
from schemas.tree import StoredTree

log = logging.getLogger(__name__)

AT_ONCE = REMOVED_AT_ONCE
"""Pieces that are removed between two looks at the clock, all on their way at one time: whoever is
halted among them finds the time over, and the lease is longer than their answers may take."""


class Unreadable(Exception):
    """What a tree names is not known: then nothing of its scope is removed."""


class ChunkSweep:
    """Replicas may sweep at the same time: a scope is swept by one of them."""

    def __init__(self, bus: Bus, age: float) -> None:
        self._bus = bus
        self._age = age
        self._chunks = ChunkStore(bus)
        self._trees = Trees(bus)

    async def round(self) -> int:
        """Looks at every scope; how many pieces went. Raises ``BusError``."""
        freed = 0
        for scope in sorted(await self._chunks.scopes()):
            try:
                freed += await self._look(scope)
            except Unreadable as error:
                log.error("nothing of %s is collected: %s", scope, error)
        return freed

    async def _look(self, scope: str) -> int:
        """First without a word to anybody: mostly there is nothing to do."""
        now = await server_time(self._bus, STREAM)
        await self._forget_unfinished(scope, now)
        stored = await self._chunks.all_of(scope)
        first = await self._first_since(now - self._age)
        unnamed = stored - await self._named(scope)
        old = [one for one in unnamed if not await self._came_since(scope, one, first)]
        if not old:
            return 0
        until = time.monotonic() + SWEEP_SECONDS / 2  # before the lease begins: never too late
        revision = await self._trees.begin_sweep(scope)
        if revision is None:
            return 0
        try:
            named = await self._named(scope)
        except BaseException:
            await self._trees.end_sweep(scope, revision)
            raise
        removed = await self._remove(scope, [one for one in old if one not in named], until)
        await self._trees.end_sweep(scope, revision)
        return removed

    async def _remove(self, scope: str, digests: list[bytes], until: float) -> int:
        """As many as there is time for; the next round goes on.

        After a failure the sweep is not over: what was not answered may still be done. Then its
        lease runs out.
        """
        removed = 0
        while removed < len(digests) and time.monotonic() < until:
            some = digests[removed : removed + AT_ONCE]
            await self._chunks.remove(scope, some)
            removed += len(some)
        return removed

    async def _forget_unfinished(self, scope: str, now: float) -> None:
        for key, (stored, revision) in (await self._trees.all_of(scope)).items():
            if not stored.whole and stored.at < now - self._age:
                await self._trees.remove(key, revision)

    async def _named(self, scope: str) -> set[bytes]:
        named: set[bytes] = set()
        for key, (stored, _) in (await self._trees.all_of(scope)).items():
            named.update(stored.head.digests)
            named.update(await self._pieces(scope, key, stored))
        return named

    async def _pieces(self, scope: str, key: str, stored: StoredTree) -> Iterable[bytes]:
        try:
            tree = await self._chunks.tree(scope, stored.head)
        except (NotFound, Corrupt) as error:
            if stored.whole:
                raise Unreadable(f"the tree {key} cannot be read: {error}") from error
            return ()
        return (digest for digest, _ in tree.each_piece())

    async def _first_since(self, moment: float) -> int:
        """The sequence of the first piece of any scope that was stored after it."""
        told = datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")
        return await self._sequence({"start_time": told, "next_by_subj": "$O.chunks.C.>"}) or (
            await self._last() + 1
        )

    async def _came_since(self, scope: str, digest: bytes, first: int) -> bool:
        subject = chunk_subject(scope, digest.hex())
        return await self._sequence({"seq": first, "next_by_subj": subject}) is not None

    async def _last(self) -> int:
        info = await self._bus.api(f"STREAM.INFO.{STREAM}")
        return int(info["state"]["last_seq"])

    async def _sequence(self, asked: dict[str, object]) -> int | None:
        """Of the message that is asked for; None where there is none."""
        client, subject = await self._bus.bulk(), f"$JS.API.DIRECT.GET.{STREAM}"
        try:
            reply = await ask(client, subject, json.dumps(asked).encode(), API_TIMEOUT)
        except (NatsTimeout, NoRespondersError, ConnectionClosedError) as error:
            raise Unanswered(subject, API_TIMEOUT) from error
        headers = reply.headers or {}
        if "Nats-Sequence" in headers:
            return int(headers["Nats-Sequence"])
        if headers.get("Status") == "404":
            return None
        raise BusError(f"{subject} was answered by {headers}")
