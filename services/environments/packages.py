"""Who may keep a list of what is installed in an environment, and how many of them?"""

from __future__ import annotations

from collections import OrderedDict

from bus import subjects
from bus.connection import Bus
from bus.packages import PackageStore
from bus.serve import Route
from schemas.message import Empty
from schemas.packages import BadPackages, KeepPackages
from services.environments.grants import Grants, refused

MOST = 8
"""Lists of one attempt: what is sent again and again must not push out those of others."""
REMEMBERED = 4096


class Packages:
    """Of one replica."""

    def __init__(self, bus: Bus, grants: Grants) -> None:
        self._store = PackageStore(bus)
        self._grants = grants
        self._sent: OrderedDict[tuple[str, int], int] = OrderedDict()

    def routes(self) -> dict[str, Route]:
        return {
            subjects.request("environments", "packages", "*"): Route(KeepPackages, self.on_keep)
        }

    async def on_keep(self, told: KeepPackages, subject: str) -> Empty:
        await self._grants.pool(told, subjects.asker(subject))
        self._count((told.job, told.attempt))
        try:
            await self._store.put(told.packed)
        except BadPackages as error:
            raise refused("bad_packages", str(error)) from error
        return Empty()

    def _count(self, attempt: tuple[str, int]) -> None:
        self._sent[attempt] = self._sent.get(attempt, 0) + 1
        self._sent.move_to_end(attempt)
        while len(self._sent) > REMEMBERED:
            self._sent.popitem(last=False)
        if self._sent[attempt] > MOST:
            raise refused("too_many", f"an attempt has at most {MOST} lists of packages", 429)
