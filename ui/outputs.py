"""How does this process know what is in a job's outputs?"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from bus.connection import Bus
from bus.outputs import OutputStore
from schemas.outputs import Manifest, OutputFile, OutputsHead

REMEMBERED = 200_000
"""Files in all manifests that are kept in memory; each takes about half a KiB."""


@dataclass(frozen=True)
class Listing:
    """The manifest of one attempt, as it is now."""

    head: OutputsHead
    manifest: Manifest
    by_path: dict[str, OutputFile]


class OutputReader:
    """Remembers manifests: a viewer asks for file after file of the same one."""

    def __init__(self, bus: Bus) -> None:
        self.store = OutputStore(bus)
        self._known: OrderedDict[tuple[str, int, int], Listing] = OrderedDict()
        self._held = 0

    async def attempts(self, job: str) -> list[int]:
        return await self.store.attempts(job)

    async def listing(self, job: str, attempt: int) -> Listing | None:
        """None where nothing of that attempt is stored."""
        stored = await self.store.head(job, attempt)
        if stored is None:
            return None
        key = (job, attempt, stored.sequence)
        known = self._known.get(key)
        if known is None:
            manifest = await self.store.manifest(stored.head)
            by_path = {file.path: file for file in manifest.files}
            known = self._remember(key, Listing(stored.head, manifest, by_path))
        self._known.move_to_end(key)
        return known

    def _remember(self, key: tuple[str, int, int], listing: Listing) -> Listing:
        if key not in self._known:
            self._known[key] = listing
            self._held += len(listing.by_path)
        while self._held > REMEMBERED and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._held -= len(oldest.by_path)
        return listing
