"""How do an image's layers get to the service, and from it? In windows of chunks, memory flat."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

from bus import subjects
from bus.connection import Bus
from bus.errors import Refused
from bus.pieces import in_row
from schemas.environments import (
    CHUNK,
    AskMissing,
    Blob,
    GetChunk,
    ImageChunk,
    LeaseAnswer,
    LeaseKey,
    Missing,
    PutChunk,
    SharedImage,
)
from schemas.worker import Grant

WINDOW = 8
"""Chunks on their way at one time."""
CHUNK_SECONDS = 10.0
"""For one of them, before it is sent again."""
LOST = frozenset({"lost_layer", "no_such_layer"})


class Heard(Protocol):
    """What is used of a message of the bus."""

    @property
    def data(self) -> bytes: ...
    @property
    def headers(self) -> dict[str, str] | None: ...


class LostBlob(Exception):
    """A layer is missing, or is not what its name says."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"layer {digest[:12]} is missing or damaged")
        self.digest = digest


async def send(
    bus: Bus, worker: str, lease: LeaseKey, image: SharedImage, files: Mapping[str, Path]
) -> None:
    """Those blobs that are not there yet. Raises ``BusError`` and ``OSError``."""
    digests = tuple(dict.fromkeys(blob.digest for blob in image.blobs))
    asked = AskMissing(**lease.model_dump(), digests=digests)
    answer = await bus.request(subject("missing", worker), asked, Missing, timeout=CHUNK_SECONDS)
    for digest in answer.digests:
        await send_blob(bus, worker, lease, files[digest], digest)


async def send_blob(bus: Bus, worker: str, lease: LeaseKey, path: Path, digest: str) -> None:
    size = (await asyncio.to_thread(path.stat)).st_size
    key = lease.model_dump()

    async def put(index: int) -> None:
        data, sha256 = await asyncio.to_thread(read_chunk, path, index)
        told = PutChunk(**key, digest=digest, index=index, sha256=sha256, data=data)
        await bus.request(
            subject("put", worker), told, LeaseAnswer, timeout=CHUNK_SECONDS, bulk=True
        )

    async with aclosing(in_row(put, range(-(-size // CHUNK)), WINDOW)) as done:
        async for _ in done:
            pass


async def fetch(
    bus: Bus, worker: str, grant: Grant, key: str, image: SharedImage, folder: Path
) -> dict[str, Path]:
    """Digest to file. Raises ``LostBlob``, ``BusError`` and ``OSError``."""
    found: dict[str, Path] = {}
    for blob in image.blobs:
        if blob.digest not in found:
            found[blob.digest] = folder / blob.digest
            await fetch_blob(bus, worker, grant, key, blob, folder / blob.digest)
    return found


async def fetch_blob(bus: Bus, worker: str, grant: Grant, key: str, blob: Blob, path: Path) -> None:
    async def get(index: int) -> bytes:
        asked = GetChunk(
            job=grant.job,
            attempt=grant.attempt,
            nonce=grant.nonce,
            key=key,
            digest=blob.digest,
            index=index,
        )
        answer = await bus.request(
            subject("get", worker), asked, ImageChunk, timeout=CHUNK_SECONDS, bulk=True
        )
        return answer.data

    digest = hashlib.sha256()

    def add(data: bytes) -> None:
        digest.update(data)
        file.write(data)

    size = 0
    with path.open("wb") as file:
        try:
            async with aclosing(in_row(get, range(blob.chunks), WINDOW)) as chunks:
                async for data in chunks:
                    size += len(data)
                    await asyncio.to_thread(add, data)
        except Refused as error:
            if error.problem.code in LOST:
                raise LostBlob(blob.digest) from error
            raise
    if size != blob.size or digest.hexdigest() != blob.digest:
        raise LostBlob(blob.digest)


def read_chunk(path: Path, index: int) -> tuple[bytes, bytes]:
    """A piece of a file, and its sha256."""
    with path.open("rb") as file:
        file.seek(index * CHUNK)
        data = file.read(CHUNK)
    return data, hashlib.sha256(data).digest()


def subject(verb: str, worker: str) -> str:
    return subjects.request("environments", verb, worker)
