"""Where do outputs lie, and how is a part of one read?

``$O.outputs.C.<job>.<sha256>`` holds one chunk, ``$O.outputs.M.<job>.<attempt>`` the head of an
attempt's manifest. A chunk is named by its content, within its job: the same bytes are stored once,
and nobody learns from it what other jobs have.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

from nats.errors import ConnectionClosedError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from bus import manifests
from bus.codec import decode, encode
from bus.connection import API_TIMEOUT, Bus
from bus.errors import Conflict, Corrupt, NotFound, Unanswered
from bus.headers import EXPECTED, ROLLUP
from bus.link import ask
from bus.objects import CHUNK_TIMEOUT, WINDOW, hash_in
from schemas.outputs import CHUNK, DIGEST, Manifest, OutputFile, OutputsHead

STREAM = "OBJ_outputs"
PAGE = 10_000
"""Names of chunks in one answer."""
REMOVED_AT_ONCE = 16


def chunk_subject(job: str, digest: str = "*") -> str:
    return f"$O.outputs.C.{job}.{digest}"


def head_subject(job: str, attempt: int | str = "*") -> str:
    return f"$O.outputs.M.{job}.{attempt}"


@dataclass(frozen=True)
class StoredHead:
    """A head and the sequence that the next write must expect."""

    head: OutputsHead
    sequence: int


class OutputStore:
    """All outputs of the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def put(self, job: str, digest: bytes, data: bytes) -> None:
        """Once: where it is there already, nothing is written."""
        client = await self._bus.bulk()
        try:
            await self._bus.append(
                chunk_subject(job, digest.hex()),
                data,
                {EXPECTED: "0"},
                timeout=CHUNK_TIMEOUT,
                client=client,
            )
        except Conflict:
            return

    async def chunk(self, job: str, digest: bytes) -> bytes:
        """Raises ``NotFound``, and ``Corrupt`` where it is not what its name says."""
        subject = chunk_subject(job, digest.hex())
        data = await self._direct(subject)
        if data is None:
            answer = await self._bus.api(f"STREAM.MSG.GET.{STREAM}", {"last_by_subj": subject})
            data = base64.b64decode(answer["message"].get("data", ""))
        check = hashlib.sha256()
        await hash_in(check, data)
        if check.digest() != digest:
            raise Corrupt(f"a chunk of the outputs of {job} was damaged: {digest.hex()}")
        return data

    async def _direct(self, subject: str) -> bytes | None:
        """From any server of a cluster; None where that one does not have it."""
        client = await self._bus.bulk()
        body = json.dumps({"last_by_subj": subject}).encode()
        try:
            reply = await ask(client, f"$JS.API.DIRECT.GET.{STREAM}", body, API_TIMEOUT)
        except (NatsTimeout, NoRespondersError, ConnectionClosedError) as error:
            raise Unanswered(subject, API_TIMEOUT) from error
        return reply.data if "Nats-Sequence" in (reply.headers or {}) else None

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

    async def chunks(self, job: str, digests: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
        """In their order. Raises ``NotFound`` and ``Corrupt``."""
        coming: deque[asyncio.Task[bytes]] = deque()
        left = iter(digests)
        try:
            while True:
                while len(coming) < WINDOW and (digest := next(left, None)) is not None:
                    coming.append(asyncio.ensure_future(self.chunk(job, digest)))
                if not coming:
                    return
                yield await coming.popleft()
        finally:
            for task in coming:
                task.cancel()
            await asyncio.gather(*coming, return_exceptions=True)

    async def stored(self, job: str, page: int = 0) -> tuple[list[bytes], bool]:
        """A page of the digests that the job has, and whether more follow."""
        names = await self._subjects(chunk_subject(job), page * PAGE)
        digests = [bytes.fromhex(name.rpartition(".")[2]) for name in names[:PAGE]]
        return digests, len(names) > PAGE

    async def all_stored(self, job: str) -> set[bytes]:
        names = self._subjects_of(chunk_subject(job))
        return {bytes.fromhex(name.rpartition(".")[2]) async for name in names}

    async def jobs(self) -> set[str]:
        """Those that have chunks or heads."""
        found = set()
        for pattern in (chunk_subject("*"), head_subject("*")):
            async for name in self._subjects_of(pattern):
                found.add(name.split(".")[3])
        return found

    async def _subjects(self, pattern: str, offset: int) -> list[str]:
        body = {"subjects_filter": pattern, "offset": offset}
        info = await self._bus.api(f"STREAM.INFO.{STREAM}", body)
        return sorted(info["state"].get("subjects") or {})

    async def _subjects_of(self, pattern: str) -> AsyncIterator[str]:
        """Page by page: there may be hundreds of thousands."""
        offset = 0
        while page := await self._subjects(pattern, offset):
            offset += len(page)
            for name in page:
                yield name

    # ---- manifests

    async def head(self, job: str, attempt: int) -> StoredHead | None:
        try:
            answer = await self._bus.api(
                f"STREAM.MSG.GET.{STREAM}", {"last_by_subj": head_subject(job, attempt)}
            )
        except NotFound:
            return None
        message = answer["message"]
        data = base64.b64decode(message["data"])
        return StoredHead(decode(OutputsHead, data, None), message["seq"])

    async def attempts(self, job: str) -> list[int]:
        """Those that have a head, in order."""
        names = self._subjects_of(head_subject(job))
        return sorted([int(name.rpartition(".")[2]) async for name in names])

    async def write_head(self, head: OutputsHead, expected: int) -> int:
        """Raises ``Conflict`` where somebody wrote since ``expected`` was read."""
        data, headers = encode(head)
        headers |= {ROLLUP: "sub", EXPECTED: str(expected)}
        return await self._bus.append(head_subject(head.job, head.attempt), data, headers)

    async def manifest(self, head: OutputsHead) -> Manifest:
        """Raises ``NotFound`` and ``Corrupt``."""
        if not head.round:
            return Manifest()
        return manifests.unpack(await self.joined(head.job, head.chunks, head.size))

    async def joined(self, job: str, chunks: bytes, size: int) -> bytes:
        parts = [part async for part in self.chunks(job, cut(chunks))]
        data = b"".join(parts)
        if len(data) != size:
            raise Corrupt(f"a manifest of {job} has {len(data)} bytes instead of {size}")
        return data

    # ---- removing

    async def remove(self, job: str, digests: Iterable[bytes]) -> int:
        """Frees those chunks; how many."""
        subjects = [chunk_subject(job, digest.hex()) for digest in digests]
        for start in range(0, len(subjects), REMOVED_AT_ONCE):
            await asyncio.gather(*map(self._purge, subjects[start : start + REMOVED_AT_ONCE]))
        return len(subjects)

    async def remove_job(self, job: str) -> None:
        """Its heads first: what is named is never missing."""
        await self._purge(head_subject(job))
        await self._purge(chunk_subject(job))

    async def _purge(self, subject: str) -> None:
        await self._bus.api(f"STREAM.PURGE.{STREAM}", {"filter": subject})


def cut(digests: bytes) -> Iterator[bytes]:
    """The single digests of a row of them."""
    return (digests[at : at + DIGEST] for at in range(0, len(digests), DIGEST))
