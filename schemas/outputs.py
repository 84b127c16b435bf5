"""What did an attempt write into its outputs, and how does its worker hand it over?"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.message import Message

CHUNK = 512 * 1024
"""Bytes of one piece of a file; the last one is shorter."""
DIGEST = 32
"""Bytes of a sha256."""
MOST_BYTES = 64 << 30
MOST_FILES = 20_000
"""What one attempt's outputs may have unless the scheduler says otherwise."""
PATH_BYTES = 4096
MOST_NOTES = 200
"""What was left out is named so many times; the rest is counted."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One file of a manifest."""

    path: str
    """Relative, with slashes, without ``.`` and ``..``."""
    size: int
    mode: int
    """Permission bits."""
    modified: float
    """Unix seconds, by the worker's clock."""
    digest: bytes
    """sha256 of the whole."""
    chunks: bytes
    """The sha256 of each ``CHUNK``, one after the other."""

    @property
    def count(self) -> int:
        return len(self.chunks) // DIGEST

    def chunk(self, number: int) -> bytes:
        return self.chunks[number * DIGEST : (number + 1) * DIGEST]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something in the folder that is not kept, and why."""

    path: str
    """As it can be shown: what is not UTF-8 in it stands as ``\\xNN``."""
    why: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that is kept of one attempt's folder at one moment."""

    files: tuple[OutputFile, ...] = ()
    notes: tuple[LeftOut, ...] = ()
    left_out: int = 0
    """How many there were: ``notes`` names the first of them."""
    over: str = ""
    """The sentence that says which limit was met; empty where none was."""

    @property
    def size(self) -> int:
        return sum(one.size for one in self.files)


class OutputsKey(Message):
    """Which attempt a worker speaks for: ``stoker.req.outputs.<verb>.<worker>``."""

    job: str
    attempt: int
    nonce: str


class AskStored(OutputsKey):
    """``stored``: which chunks of this job are there already?"""

    page: int = 0


class StoredChunks(Message):
    digests: bytes = b""
    """sha256 after sha256."""
    more: bool = False
    round: int = 0
    """Of the last manifest of this attempt; 0 where there is none."""


class PutChunks(OutputsKey):
    """``put``: as many as fit into one message; each may be sent any number of times."""

    digests: bytes
    chunks: tuple[bytes, ...]


class Commit(OutputsKey):
    """``commit``: from now on this is what the attempt has; its chunks must have been put."""

    round: int
    """Counts up: an older one that comes late is refused."""
    chunks: bytes
    """Of the packed manifest."""
    size: int
    """Bytes of the packed manifest."""
    final: bool = False
    """The program is over: no other one follows."""


class Committed(Message):
    """Nothing missing: it is stored."""

    missing: bytes = b""
    """Chunks that are not there (any more): put them, and ask again."""


class Sending(OutputsKey):
    """``sending``: the program is over, and so much is on its way; shown, nothing else."""

    files: int
    size: int


class OutputsHead(Message):
    """What is stored of each attempt beside its chunks: where its manifest is."""

    job: str
    attempt: int
    worker: str
    round: int = 0
    """0: there is no manifest yet."""
    at: float
    """Unix seconds, by the service's clock."""
    files: int = 0
    total: int = 0
    """Bytes of all files."""
    final: bool = False
    chunks: bytes = b""
    size: int = 0
    """Bytes of the packed manifest."""
    sending_files: int = 0
    sending_bytes: int = 0
    """What the worker is sending after the program's end; 0 when it is not, or is done."""


class OutputsEnd(Message):
    """What became of an attempt's outputs by its end."""

    files: int = 0
    size: int = 0
    """Bytes."""
    left_out: int = 0
    over: str = ""
    """The sentence that says which limit was met; empty where none was."""
    stored: bool = True
    """False where the end did not wait any longer: the worker goes on sending."""
    detail: str = ""
    """All of it, for a person."""
