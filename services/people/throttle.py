"""How long has somebody to wait after wrong passwords?

Counted before the password is looked at, so that a hundred tries at once are not a hundred free
ones; taken back where it was right. Kept in the bucket: another replica counts on.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
from collections.abc import Callable

from bus.errors import BusError, Conflict, Refused
from schemas.problem import Problem
from services.people.book import Book
from services.people.kept import Tries, tries_key

FREE_OF_NAME, FREE_OF_ADDRESS = 5, 20
"""Wrong tries that cost no waiting. An address may be a whole office."""
LONGEST = 300.0
"""Seconds to wait at most: or else a stranger locks somebody out for good."""
FORGOTTEN = 3600.0
"""Seconds after the last wrong try."""
RACES = 50
"""Lost ones before somebody is told to come back."""


def wait_for(tries: Tries | None, free: int, now: float) -> float:
    """Seconds until the next try is looked at: 1, 2, 4, … after each one that was not free."""
    if tries is None or tries.count < free or now - tries.at > FORGOTTEN:
        return 0.0
    pause = min(LONGEST, 2.0 ** min(tries.count - free, 20))
    return max(0.0, min(pause, tries.at + pause - now))


def counted(tries: Tries | None, now: float) -> Tries:
    known = tries.count if tries and now - tries.at <= FORGOTTEN else 0
    return Tries(count=known + 1, at=now)


def network(address: str) -> str:
    """What is counted as one: of IPv6 the /64 that a subscriber gets."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return address


class Throttle:
    """Over all replicas."""

    def __init__(self, book: Book, clock: Callable[[], float]) -> None:
        self._book = book
        self._clock = clock

    async def begin(self, name: str, address: str) -> None:
        """Counts one try; refuses with 429 where it comes too early."""
        if address:
            await self._count(tries_key("address", network(address)), FREE_OF_ADDRESS)
        if name:
            await self._count(tries_key("name", name), FREE_OF_NAME)

    async def right(self, name: str, address: str) -> None:
        """That try was none to count. What cannot be taken back stays: it is no harm."""
        with contextlib.suppress(BusError):
            if address:
                await self._take_back(tries_key("address", network(address)))
            if name:
                await self._book.erase(tries_key("name", name))

    async def _count(self, key: str, free: int) -> None:
        for _ in range(RACES):
            now = self._clock()
            found = await self._book.get(key, Tries)
            tries = found.value if found else None
            if pause := wait_for(tries, free, now):
                raise too_many(pause)
            try:
                await self._book.write(key, counted(tries, now), found.revision if found else 0)
                return
            except Conflict:
                continue
        raise too_many(1.0)

    async def _take_back(self, key: str) -> None:
        found = await self._book.get(key, Tries)
        if found is None:
            return
        less = found.value.model_copy(update={"count": max(0, found.value.count - 1)})
        with contextlib.suppress(Conflict):
            await self._book.write(key, less, found.revision)


def too_many(seconds: float) -> Refused:
    whole = math.ceil(seconds)
    return Refused(
        Problem(
            code="too_many_tries",
            title="Too many wrong tries",
            status=429,
            detail=f"too many wrong tries; the next one is looked at in {whole} s",
            retry_after=float(whole),
        )
    )
