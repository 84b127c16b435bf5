"""Which worker may fetch which bundle, and what is the next chunk of it?"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from bus import subjects
from bus.connection import Bus
from bus.errors import NotFound, Refused
from bus.objects import ObjectInfo, Objects
from bus.records import Records
from schemas.problem import Problem
from schemas.requests import BundleChunk, FetchBundle

MOST_CHUNKS = 1 << 20
"""A fetch's cursor holds the sequence and, below it, how many chunks came before."""
GRANT_HOLDS = 2.0
"""Seconds for which a grant that was checked is not checked again: a window of chunks."""
REMEMBERED = 1024


@dataclass(frozen=True)
class Granted:
    """A bundle that a worker may fetch."""

    info: ObjectInfo
    until: float
    """By the monotonic clock."""


class Fetches:
    """Answers ``fetch``; tells ``forget`` of a bundle that is not stored any more."""

    def __init__(self, bus: Bus, forget: Callable[[str], object]) -> None:
        self._objects = Objects(bus)
        self._records = Records(bus)
        self._forget = forget
        self._granted: OrderedDict[tuple[str, int, str, str], Granted] = OrderedDict()

    async def on_fetch(self, asked: FetchBundle, subject: str) -> BundleChunk:
        """Only the worker that the record names, and only for its current attempt."""
        info = await self._check_grant(asked, subjects.asker(subject))
        after, number = divmod(asked.cursor, MOST_CHUNKS)
        data, sequence = await self._objects.chunk(info, after)
        last = number + 1 >= info.chunks
        cursor = None if last else sequence * MOST_CHUNKS + number + 1
        return BundleChunk(data=data, next=cursor, size=info.size)

    async def _check_grant(self, asked: FetchBundle, worker: str) -> ObjectInfo:
        key = (asked.job, asked.attempt, asked.nonce, worker)
        known = self._granted.get(key)
        if known is not None and asked.cursor and time.monotonic() < known.until:
            return known.info
        record = (await self._records.get(asked.job)).record
        if (
            not record.state.held
            or not record.granted(asked.attempt, asked.nonce, worker)
            or record.bundle != asked.bundle
        ):
            raise Refused(
                Problem(
                    code="not_granted",
                    title="This attempt is not granted to this worker",
                    status=403,
                    detail=f"attempt {asked.attempt} of {asked.job} is superseded",
                )
            )
        try:
            info = await self._objects.info("bundles", asked.bundle)
        except NotFound:
            self._forget(asked.bundle)
            raise
        self._granted[key] = Granted(info, time.monotonic() + GRANT_HOLDS)
        while len(self._granted) > REMEMBERED:
            self._granted.popitem(last=False)
        return info
