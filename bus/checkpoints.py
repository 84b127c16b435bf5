"""Where do checkpoints lie? Like outputs, in a bucket of their own, and one head a job.

``$O.checkpoints.C.<job>.<sha256>`` holds one piece, ``$O.checkpoints.M.<job>.last`` the head of the
last whole checkpoint, of whichever attempt. Writing it is the moment at which it takes the place of
the one before.
"""

from __future__ import annotations

import msgpack

from bus import manifests
from bus.errors import Corrupt
from bus.outputs import OutputStore, StoredHead
from schemas.checkpoints import Checkpoint
from schemas.outputs import PATH_BYTES, OutputsHead

VERSION = 1
LAST = "last"
TARGET_BYTES = 4096


class CheckpointStore(OutputStore):
    """All checkpoints of the bus."""

    bucket = "checkpoints"

    async def last(self, job: str) -> StoredHead | None:
        return await self.head(job, LAST)

    async def write_last(self, head: OutputsHead, expected: int) -> int:
        """Raises ``Conflict`` where somebody wrote since ``expected`` was read."""
        return await self.write_head(head, expected, LAST)

    async def checkpoint(self, head: OutputsHead) -> Checkpoint:
        """Raises ``NotFound`` and ``Corrupt``."""
        return unpack(await self.joined(head.job, head.chunks, head.size))


def pack(checkpoint: Checkpoint) -> bytes:
    manifest = manifests.pack(checkpoint.manifest)
    packed: bytes = msgpack.packb((VERSION, manifest, checkpoint.links), use_bin_type=True)
    return packed


def unpack(data: bytes) -> Checkpoint:
    """Raises ``Corrupt`` for what is none, or names anything outside its folder."""
    try:
        version, manifest, links = msgpack.unpackb(data)
        if version != VERSION:
            raise ValueError(f"version {version}")
        read = tuple(read_link(path, target) for path, target in links)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise Corrupt(f"not a checkpoint: {error}") from error
    checkpoint = Checkpoint(manifests.unpack(manifest), read)
    paths = [file.path for file in checkpoint.manifest.files] + [path for path, _ in read]
    manifests.check_tree(set(paths), len(paths))
    return checkpoint


def read_link(path: object, target: object) -> tuple[str, str]:
    if not isinstance(path, str) or not manifests.is_inside(path):
        raise ValueError(f"the path {path!r:.200}")
    if not is_target(target):
        raise ValueError(f"the target of the link {path!r:.200}")
    return path, str(target)


def is_target(target: object) -> bool:
    """Whether a link may have it: any text, since what it leads to is never followed here."""
    if not isinstance(target, str) or not target or "\0" in target:
        return False
    try:
        return len(target.encode()) <= min(TARGET_BYTES, PATH_BYTES)
    except UnicodeEncodeError:
        return False
