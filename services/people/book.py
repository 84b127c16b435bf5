"""How is the bucket ``people`` read and written? Typed, by compare-and-set, without a trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from bus.codec import decode, encode
from bus.connection import Bus
from bus.kv import Bucket
from schemas.message import Message

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Kept(Generic[M]):
    value: M
    revision: int
    """That the next write must expect."""


class Book:
    """What it says is what the leader of the stream says."""

    def __init__(self, bus: Bus) -> None:
        self._bucket = Bucket(bus, "people")

    async def get(self, key: str, kind: type[M]) -> Kept[M] | None:
        entry = await self._bucket.get(key)
        return Kept(decode(kind, entry.value, None), entry.revision) if entry else None

    async def write(self, key: str, value: Message, revision: int) -> int:
        """Raises ``Conflict`` where the revision is not the newest; 0: there must be none."""
        return await self._bucket.update(key, encode(value)[0], revision)

    async def erase(self, key: str) -> bool:
        """Until there is no such key, whoever writes it at the same time; whether there was one."""
        known = False
        while (entry := await self._bucket.get(key)) is not None:
            known = True
            await self._bucket.erase(entry.revision)
        return known

    async def erase_at(self, revision: int) -> None:
        """That one alone: what was written over it meanwhile stays."""
        await self._bucket.erase(revision)

    async def all(self, below: str, kind: type[M]) -> dict[str, Kept[M]]:
        """The keys below some tokens: ``user``, ``session.alice``."""
        found = await self._bucket.all(below)
        return {
            key: Kept(decode(kind, one.value, None), one.revision) for key, one in found.items()
        }
