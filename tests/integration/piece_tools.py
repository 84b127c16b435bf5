"""What do tests of bundles in pieces need: a tree that was sent, a job of it, a worker of that?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bus import subjects
from bus.chunks import ChunkStore
from bus.connection import Bus
from bus.records import Records
from schemas.job import Record
from schemas.requests import Submit, Submitted
from schemas.spec import JobSpec
from schemas.tree import PIECE_BYTES, Tree, TreeHead, scope_of
from schemas.worker import Claim, Grant
from services.scheduler import transitions
from tests.unit.trees import tree_of


def head_of(packed: bytes) -> tuple[TreeHead, dict[bytes, bytes]]:
    parts = [packed[at : at + PIECE_BYTES] for at in range(0, len(packed), PIECE_BYTES)]
    pieces = {hashlib.sha256(part).digest(): part for part in parts}
    return TreeHead(chunks=b"".join(pieces), size=len(packed)), pieces


@dataclass
class Sender:
    """One owner, and all that they send."""

    bus: Bus
    owner: str = "ann"

    @property
    def scope(self) -> str:
        return scope_of(self.owner)

    async def send(
        self, files: Mapping[str, bytes], every: int = 300_000, but: int | None = None
    ) -> tuple[TreeHead, Tree]:
        """``but`` the piece of that number."""
        tree, pieces = tree_of(files, every)
        if but is not None:
            del pieces[tree.piece(but)[0]]
        return await self.send_packed(tree.pack(), pieces), tree

    async def send_packed(
        self, packed: bytes, pieces: Mapping[bytes, bytes] | None = None
    ) -> TreeHead:
        head, parts = head_of(packed)
        store = ChunkStore(self.bus)
        for digest, data in {**(pieces or {}), **parts}.items():
            await store.put(self.scope, digest, data)
        return head

    async def submit(self, key: str = "k", **changes: Any) -> Submitted:
        asked = Submit(**{"owner": self.owner, "key": key, "spec": JobSpec(), **changes})
        subject = subjects.request("upload", "submit")
        return await self.bus.request(subject, asked, Submitted, timeout=20)

    async def granted(self, job: Record, worker: str = "w1") -> Grant:
        """As the scheduler does it."""
        records = Records(self.bus)
        queued = transitions.queue(job, "c", 1.0)
        assert isinstance(queued, transitions.Step)
        claim = Claim(id="c", worker=worker, job=job.id)
        claimed = transitions.claim(queued.record, claim, "secret", 2.0)
        assert isinstance(claimed, transitions.Step)
        sequence = (await records.get(job.id)).sequence
        await records.write(claimed.record, claimed.fact, sequence)
        return Grant(
            job=job.id,
            attempt=1,
            nonce="secret",
            owner=job.owner,
            spec=job.spec,
            bundle=job.bundle,
            bundle_size=job.bundle_size,
            bundle_scope=job.bundle_scope,
        )
