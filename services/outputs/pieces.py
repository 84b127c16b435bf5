"""How do pieces of a worker's files get into one of the stores?

Every message may come twice and at any replica: a piece is written once.
"""

from __future__ import annotations

import asyncio
import hashlib

from bus import subjects
from bus.errors import Refused
from bus.outputs import PAGE, OutputStore, cut
from schemas.message import Empty
from schemas.outputs import CHUNK, DIGEST, AskStored, Commit, PutChunks
from services.outputs.config import OutputsConfig
from services.outputs.grants import Grants
from services.outputs.rules import bad_chunk, too_large

MOST_IN_PUT = 256
MANIFEST_BYTES = 256 << 20


class Pieces:
    """Of one store, in one replica."""

    def __init__(self, store: OutputStore, grants: Grants, config: OutputsConfig) -> None:
        self._store = store
        self._grants = grants
        self._config = config

    async def page(self, asked: AskStored, subject: str) -> tuple[bytes, bool]:
        """Digests that the job has, and whether more follow. Raises ``Refused``."""
        await self._grants.check(asked, subjects.asker(subject))
        if not 0 <= asked.page <= self._config.most_bytes // CHUNK // PAGE + 1:
            raise Refused(bad_chunk(f"there is no page {asked.page}"))
        digests, more = await self._store.stored(asked.job, asked.page)
        return b"".join(digests), more

    async def on_put(self, asked: PutChunks, subject: str) -> Empty:
        granted = await self._grants.check(asked, subjects.asker(subject))
        digests = list(cut(asked.digests))
        if len(digests) != len(asked.chunks) or not 0 < len(digests) <= MOST_IN_PUT:
            raise Refused(bad_chunk("as many digests as chunks, and at most 256 of them"))
        self._grants.count(granted, sum(map(len, asked.chunks)))
        await asyncio.to_thread(check_chunks, digests, asked.chunks)
        pairs = zip(digests, asked.chunks, strict=True)
        await asyncio.gather(*(self._store.put(asked.job, *pair) for pair in pairs))
        return Empty()


def check_size(asked: Commit) -> None:
    """Raises ``Refused`` for what can be no manifest."""
    named = DIGEST * -(-asked.size // CHUNK)
    if not 0 < asked.size <= MANIFEST_BYTES or len(asked.chunks) != named:
        raise Refused(too_large(f"a manifest of {asked.size} bytes"))


def check_chunks(digests: list[bytes], chunks: tuple[bytes, ...]) -> None:
    for digest, data in zip(digests, chunks, strict=True):
        if not 0 < len(data) <= CHUNK:
            raise Refused(bad_chunk(f"a chunk of {len(data)} bytes"))
        if hashlib.sha256(data).digest() != digest:
            raise Refused(bad_chunk("a chunk's digest is not that of its bytes"))
