"""Where do outputs lie, and how is a part of one read?

``$O.outputs.C.<job>.<sha256>`` holds one chunk, ``$O.outputs.M.<job>.<attempt>`` the head of an
attempt's manifest. A chunk is named by its content, within its job: the same bytes are stored once,
and nobody learns from it what other jobs have.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

from bus import manifests
from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import Corrupt, NotFound
from bus.headers import EXPECTED, ROLLUP
from bus.pieces import in_row, purge, purge_all, put_once, read_piece, subjects_of, subjects_page
from schemas.outputs import CHUNK, DIGEST, Manifest, OutputFile, OutputsHead

PAGE = 10_000
"""Names of chunks in one answer."""


def chunk_subject(job: str, digest: str = "*", bucket: str = "outputs") -> str:
    return f"$O.{bucket}.C.{job}.{digest}"


def head_subject(job: str, attempt: int | str = "*", bucket: str = "outputs") -> str:
    return f"$O.{bucket}.M.{job}.{attempt}"


@dataclass(frozen=True)
class StoredHead:
    """A head and the sequence that the next write must expect."""

    head: OutputsHead
    sequence: int


class OutputStore:
    """All outputs of the bus."""

    bucket = "outputs"

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._stream = f"OBJ_{self.bucket}"

    def _chunk(self, job: str, digest: str = "*") -> str:
        return chunk_subject(job, digest, self.bucket)

    def _head(self, job: str, attempt: int | str = "*") -> str:
        return head_subject(job, attempt, self.bucket)

    async def put(self, job: str, digest: bytes, data: bytes) -> None:
        """Once: where it is there already, nothing is written."""
        await put_once(self._bus, self._chunk(job, digest.hex()), data)

    async def chunk(self, job: str, digest: bytes) -> bytes:
        """Raises ``NotFound``, and ``Corrupt`` where it is not what its name says."""
        return await read_piece(self._bus, self._stream, self._chunk(job, digest.hex()), digest)

    async def read(
        self, job: str, file: OutputFile, start: int = 0, stop: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The bytes from ``start`` to before ``stop``, with ``WINDOW`` chunks on their way."""
        stop = file.size if stop is None else min(stop, file.size)
        if start >= stop:
            return
        digests = [file.chunk(n) for n in range(start // CHUNK, (stop - 1) // CHUNK + 1)]
        place = start // CHUNK * CHUNK
        async for data in self.chunks(job, digests):
            yield data[max(0, start - place) : stop - place]
            place += len(data)

    def chunks(self, job: str, digests: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
        """In their order. Raises ``NotFound`` and ``Corrupt``."""
        return in_row(lambda digest: self.chunk(job, digest), digests)

    async def stored(self, job: str, page: int = 0) -> tuple[list[bytes], bool]:
        """A page of the digests that the job has, and whether more follow."""
        names = await subjects_page(self._bus, self._stream, self._chunk(job), page * PAGE)
        digests = [bytes.fromhex(name.rpartition(".")[2]) for name in names[:PAGE]]
        return digests, len(names) > PAGE

    async def all_stored(self, job: str) -> set[bytes]:
        names = self._subjects_of(self._chunk(job))
        return {bytes.fromhex(name.rpartition(".")[2]) async for name in names}

    async def jobs(self) -> set[str]:
        """Those that have chunks or heads."""
        found = set()
        for pattern in (self._chunk("*"), self._head("*")):
            async for name in self._subjects_of(pattern):
                found.add(name.split(".")[3])
        return found

    def _subjects_of(self, pattern: str) -> AsyncIterator[str]:
        return subjects_of(self._bus, self._stream, pattern)

    # ---- manifests

    async def head(self, job: str, attempt: int | str) -> StoredHead | None:
        try:
            answer = await self._bus.api(
                f"STREAM.MSG.GET.{self._stream}", {"last_by_subj": self._head(job, attempt)}
            )
        except NotFound:
            return None
        message = answer["message"]
        data = base64.b64decode(message["data"])
        return StoredHead(decode(OutputsHead, data, None), message["seq"])

    async def attempts(self, job: str) -> list[int]:
        """Those that have a head, in order."""
        names = self._subjects_of(self._head(job))
        return sorted([int(name.rpartition(".")[2]) async for name in names])

    async def write_head(
        self, head: OutputsHead, expected: int, name: int | str | None = None
    ) -> int:
        """Raises ``Conflict`` where somebody wrote since ``expected`` was read."""
        data, headers = encode(head)
        headers |= {ROLLUP: "sub", EXPECTED: str(expected)}
        return await self._bus.append(self._head(head.job, name or head.attempt), data, headers)

    async def manifest(self, head: OutputsHead) -> Manifest:
        """Raises ``NotFound`` and ``Corrupt``."""
        if not head.round:
            return Manifest()
        return manifests.unpack(await self.joined(head.job, head.chunks, head.size))

    async def joined(self, job: str, chunks: bytes, size: int) -> bytes:
        data = bytearray()
        if len(chunks) == DIGEST * -(-size // CHUNK):
            async for part in self.chunks(job, cut(chunks)):
                data += part
        if len(data) != size:
            raise Corrupt(f"a manifest of {job} has {len(data)} bytes instead of {size}")
        return bytes(data)

    # ---- removing

    async def remove(self, job: str, digests: Iterable[bytes]) -> int:
        """Frees those chunks; how many."""
        subjects = [self._chunk(job, digest.hex()) for digest in digests]
        await purge_all(self._bus, self._stream, subjects)
        return len(subjects)

    async def remove_job(self, job: str) -> None:
        """Its heads first: what is named is never missing."""
        await purge(self._bus, self._stream, self._head(job))
        await purge(self._bus, self._stream, self._chunk(job))


def cut(digests: bytes) -> Iterator[bytes]:
    """The single digests of a row of them."""
    return (digests[at : at + DIGEST] for at in range(0, len(digests), DIGEST))
