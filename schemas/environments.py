"""What do workers and the service ``environments`` tell each other about images that are built?

Two keys: a worker *asks* for an environment in the name of an attempt that it holds; whoever may
build it has a *lease*, which outlives the attempt until the image is shared.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from schemas.message import Message
from schemas.reason import Reason

CHUNK = 512 * 1024
"""Bytes of one piece of a blob; the last one is shorter."""
MOST_LAYERS = 128
"""Of one image, the base's not counted."""
TAIL = 4096
"""Bytes of a build's output that are kept for those who wait."""
DETAIL = 2000
"""Characters of the sentence that says why a build failed."""

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""sha256."""
REFERENCE = r"^(?:[^@\s]{1,400}@sha256:[0-9a-f]{64})?$"
Pool = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}$")]


class Blob(Message):
    """One layer, or the configuration, of an image."""

    digest: Digest
    size: int = Field(ge=0)

    @property
    def chunks(self) -> int:
        return -(-self.size // CHUNK)


class SharedImage(Message):
    """All that an engine needs that has the base image."""

    id: Annotated[str, Field(max_length=200)]
    """The engine's own."""
    config: Blob
    layers: Annotated[tuple[Blob, ...], Field(max_length=MOST_LAYERS)]
    """In their order, from the bottom; those of the base image are left out."""
    reference: Annotated[str, Field(max_length=500, pattern=REFERENCE)] = ""
    """Where a registry has it; ``config`` is its manifest then, and no layers are named."""

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """What of it lies in the object store."""
        return () if self.reference else (self.config, *self.layers)

    @property
    def digests(self) -> frozenset[str]:
        """Of what one who fetches it may miss."""
        return frozenset(blob.digest for blob in (self.config, *self.layers))

    @property
    def size(self) -> int:
        return sum(blob.size for blob in self.blobs)


class Phase(StrEnum):
    """Where an environment is."""

    BUILDING = "building"
    BUILT = "built"
    """On its builder's machine alone: nobody else has asked yet."""
    SHARING = "sharing"
    """Its builder stores it."""
    READY = "ready"
    FAILED = "failed"
    FREE = "free"
    """Its builder gave up for a reason that is not the bundle's: whoever asks next builds."""
    ALONE = "alone"
    """It cannot be shared: whoever needs it builds it for himself."""


class EnvironmentEntry(Message):
    """``env.<pool>.<key>`` in the bucket ``environments``; written by compare-and-set alone."""

    phase: Phase
    number: int
    """Of the lease; grows with each. The fence: what an earlier one says is refused."""
    token: str
    """Secret of the lease."""
    upload: str
    """Under which its blobs are stored."""
    worker: str
    job: str
    attempt: int
    until: float = 0.0
    """Unix seconds by the server's clock: the lease's end; of ``built``, when its builder must have
    begun to share it; of ``alone``, when it is tried once more."""
    wanted: bool = False
    """Somebody else waits for it."""
    nudged_at: float = 0.0
    tail: bytes = b""
    """The last of what the build printed."""
    printed: int = 0
    """Bytes that it printed in all."""
    image: SharedImage | None = None
    reason: Reason | None = None
    detail: str = ""
    used_at: float = 0.0


class StoredBlob(Message):
    """``blob.<pool>.<digest>`` in the same bucket."""

    size: int
    upload: str
    at: float
    """When somebody counted on it last."""


class LeaseKey(Message):
    """In whose name a builder speaks."""

    pool: Pool
    key: Key
    number: int
    token: str


class Ask(Message):
    """``stoker.req.environments.ask.<worker>``: what becomes of it? Repeated while one waits."""

    job: str
    attempt: int
    nonce: str
    key: Key
    waited: int = 0
    """Number of the lease that one waits for: its failure is one's own. 0 at first."""
    heard: int = 0
    """Bytes of that build's output that were shown already."""
    lost: Digest | None = None
    """A blob of lease ``waited`` that is missing or damaged."""


class Used(Message):
    """``….used.<worker>``: an attempt runs in it, and its worker had the image already."""

    job: str
    attempt: int
    nonce: str
    key: Key


class Turn(StrEnum):
    """What to do now."""

    BUILD = "build"
    WAIT = "wait"
    FETCH = "fetch"
    FAIL = "fail"
    ALONE = "alone"


class Asked(Message):
    """The answer."""

    turn: Turn
    number: int = 0
    lease: LeaseKey | None = None
    because: str = ""
    """Half a sentence for the log: why it is built here, or what is waited for."""
    builder: str = ""
    printed: bytes = b""
    """What came since ``heard``; the end of it where it is too much."""
    heard: int = 0
    """To be said next time."""
    image: SharedImage | None = None
    reason: Reason | None = None
    detail: str = ""


class LeaseBeat(LeaseKey):
    """``….beat.<worker>``: it goes on; the lease is renewed."""

    tail: Annotated[bytes, Field(max_length=TAIL)] = b""
    printed: int = 0


class LeaseAnswer(Message):
    """What became of a builder's message."""

    holds: bool
    """Whether it has the lease still."""
    wanted: bool = False
    """Whether somebody waits for the image."""


class BuiltImage(LeaseKey):
    """``….built.<worker>``: the image is on its builder's machine."""


class StartSharing(LeaseKey):
    """``….share.<worker>``: it is about to be stored."""


class BuildFailed(LeaseKey):
    """``….failed.<worker>``; an infrastructure's reason lets the next one try."""

    reason: Reason
    detail: Annotated[str, Field(max_length=DETAIL)] = ""


class CannotShare(LeaseKey):
    """``….alone.<worker>``: everybody builds it for himself."""

    detail: Annotated[str, Field(max_length=DETAIL)] = ""


class AskMissing(LeaseKey):
    """``….missing.<worker>``: which of these are not stored yet?"""

    digests: Annotated[tuple[Digest, ...], Field(max_length=MOST_LAYERS + 1)]


class Missing(Message):
    digests: tuple[str, ...]


class PutChunk(LeaseKey):
    """``….put.<worker>``; the same one may come twice."""

    digest: Digest
    """Of the blob."""
    index: int = Field(ge=0)
    sha256: bytes
    """Of the chunk."""
    data: Annotated[bytes, Field(max_length=CHUNK)]


class DoneSharing(LeaseKey):
    """``….done.<worker>``: all of it is stored."""

    image: SharedImage


class GetChunk(Message):
    """``….get.<worker>``: of a blob of an environment that the attempt asked for."""

    job: str
    attempt: int
    nonce: str
    key: Key
    digest: Digest
    index: int = Field(ge=0)


class ImageChunk(Message):
    data: bytes
