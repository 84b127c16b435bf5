"""Where do lists of what is installed in environments lie? Each once, under its digest."""

from __future__ import annotations

from bus.connection import Bus
from bus.kv import Bucket
from schemas.packages import BadPackages, digest_of, unpacked


class PackageStore:
    """The bucket ``packages``: the oldest go when it is full."""

    def __init__(self, bus: Bus) -> None:
        self._bucket = Bucket(bus, "packages")

    async def put(self, packed: bytes) -> str:
        """The digest of the list; raises ``BadPackages``. Put once more, it stays longer."""
        digest = digest_of(unpacked(packed))
        await self._bucket.put(digest, packed)
        return digest

    async def get(self, digest: str) -> str | None:
        """None where it is not there (any more)."""
        found = await self._bucket.get(digest)
        try:
            text = unpacked(found.value) if found else None
        except BadPackages:
            return None
        return text if text is not None and digest_of(text) == digest else None
