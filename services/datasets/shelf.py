"""Where do datasets stand, and who changes one at a time?"""

from __future__ import annotations

from collections.abc import Callable

from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import BusError, Conflict
from bus.kv import Bucket
from schemas.datasets import Dataset

BUCKET = "datasets"
TRIES = 20
"""Of a change that others are faster than."""


class Shelf:
    """The bucket ``datasets``."""

    def __init__(self, bus: Bus) -> None:
        self._bucket = Bucket(bus, BUCKET)

    async def get(self, owner: str, name: str) -> Dataset | None:
        found = await self._bucket.get(f"{owner}.{name}")
        return decode(Dataset, found.value, None) if found else None

    async def all(self, owner: str = "") -> dict[str, Dataset]:
        """By key; of that owner alone, where one is named."""
        found = await self._bucket.all(owner)
        return {key: decode(Dataset, one.value, None) for key, one in found.items()}

    async def change(
        self, owner: str, name: str, change: Callable[[Dataset], Dataset | None]
    ) -> Dataset:
        """``change`` gives the new one, or None for no change; asked again if others are first."""
        key = f"{owner}.{name}"
        for _ in range(TRIES):
            found = await self._bucket.get(key)
            before = (
                decode(Dataset, found.value, None) if found else Dataset(owner=owner, name=name)
            )
            after = change(before)
            if after is None:
                return before
            try:
                await self._bucket.update(key, encode(after)[0], found.revision if found else 0)
            except Conflict:
                continue
            return after
        raise BusError(f"{name} is changed by others all the time")
