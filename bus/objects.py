"""Where do bundles, uploads and sealed logs live, and how are they moved in constant memory?

The format is that of NATS's own object store, so that ``nats object`` reads it. The client's own
``put`` waits for every chunk and its ``get`` is capped by its flow control (FACTS: nats-py 11).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

from nats.aio.client import Client
from nats.errors import ConnectionClosedError
from nats.errors import TimeoutError as NatsTimeout

from bus.connection import API_TIMEOUT, Bus, ask, raise_error
from bus.errors import Corrupt, NotFound, Unanswered
from bus.follow import follow

CHUNK = 512 * 1024
"""Bytes of one message."""
EXPECTED = "Nats-Expected-Last-Subject-Sequence"
WINDOW = 8
"""Chunks on their way at one time, in either direction."""
CHUNK_TIMEOUT = 30.0
"""Seconds that one chunk may take to be stored or to come."""


@dataclass(frozen=True)
class ObjectInfo:
    """What is known of a stored object."""

    bucket: str
    name: str
    id: str
    """Its chunks lie on ``$O.<bucket>.C.<id>``."""
    size: int
    chunks: int
    digest: str
    """sha256, as hexadecimal digits."""
    modified: float = 0.0
    metadata: dict[str, str] = field(default_factory=dict)
    revision: int = 0
    """Sequence of its description: what a put that replaces it can expect."""

    @property
    def chunk_subject(self) -> str:
        return f"$O.{self.bucket}.C.{self.id}"


class Objects:
    """Every object store of the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def put(
        self,
        bucket: str,
        name: str,
        chunks: AsyncIterable[bytes],
        *,
        metadata: dict[str, str] | None = None,
        expected: int | None = None,
    ) -> ObjectInfo:
        """Stores what ``chunks`` gives, in pieces of any size; replaces an object of that name.

        With ``expected`` only if its description still has that revision (0: never written), or
        else ``Conflict``.

        The name exists only once everything is stored. A put that fails takes its chunks away.
        Raises ``StoreFull`` and ``Unanswered``.
        """
        client = await self._bus.bulk()
        put = Put(self._bus, client, bucket, name)
        old = await self.find(bucket, name)
        try:
            async for piece in rechunk(chunks, CHUNK):
                await put.add(piece)
            info = await put.finish(metadata or {}, expected)
        except BaseException:
            await self._abandon(put)
            raise
        if old is not None:
            await self._purge(bucket, old.chunk_subject)
        return info

    async def find(self, bucket: str, name: str) -> ObjectInfo | None:
        """None where there is no such object (any more)."""
        try:
            answer = await self._bus.api(
                f"STREAM.MSG.GET.OBJ_{bucket}", {"last_by_subj": meta_subject(bucket, name)}
            )
        except NotFound:
            return None
        message = answer["message"]
        return read_info(bucket, base64.b64decode(message["data"]), revision=message["seq"])

    async def info(self, bucket: str, name: str) -> ObjectInfo:
        """Raises ``NotFound``."""
        found = await self.find(bucket, name)
        if found is None:
            raise NotFound(f"there is no object {name} in {bucket}")
        return found

    async def get(self, bucket: str, name: str) -> AsyncGenerator[bytes, None]:
        """The object's bytes, chunk by chunk; raises ``NotFound`` and ``Corrupt``.

        The digest is checked at the end: until then, what came may be wrong.
        """
        info = await self.info(bucket, name)
        digest, size = hashlib.sha256(), 0
        if info.chunks:
            async with contextlib.aclosing(self._chunks(info)) as chunks:
                async for data in chunks:
                    await asyncio.to_thread(digest.update, data)
                    size += len(data)
                    yield data
        if size != info.size or digest.hexdigest() != info.digest:
            raise Corrupt(f"{bucket}/{name}: {size} bytes read, {info.size} were stored")

    async def _chunks(self, info: ObjectInfo) -> AsyncGenerator[bytes, None]:
        left = info.chunks
        stream = follow(
            self._bus,
            f"OBJ_{info.bucket}",
            info.chunk_subject,
            batch=WINDOW,
            stop_at_end=True,
            bulk=True,
        )
        async with contextlib.aclosing(stream) as deliveries:
            async for delivery in deliveries:
                yield delivery.data
                left -= 1
                if not left:
                    return
        raise Corrupt(f"{info.bucket}/{info.name}: {left} of {info.chunks} chunks are missing")

    async def chunk(self, info: ObjectInfo, cursor: int) -> tuple[bytes, int]:
        """The first chunk behind the stream sequence ``cursor``, and its own sequence."""
        body = json.dumps({"seq": cursor + 1, "next_by_subj": info.chunk_subject}).encode()
        client = await self._bus.bulk()
        subject = f"$JS.API.DIRECT.GET.OBJ_{info.bucket}"
        try:
            reply = await ask(client, subject, body, API_TIMEOUT)
        except (NatsTimeout, ConnectionClosedError) as error:
            raise Unanswered(subject, API_TIMEOUT) from error
        headers = reply.headers or {}
        if "Nats-Sequence" not in headers:
            raise Corrupt(f"{info.bucket}/{info.name}: a chunk is missing")
        return reply.data, int(headers["Nats-Sequence"])

    async def delete(self, bucket: str, name: str) -> None:
        """Marks it as deleted and frees its chunks. No such object is no error."""
        found = await self.find(bucket, name)
        if found is None:
            return
        gone = meta_json(found, deleted=True)
        await self._bus.append(meta_subject(bucket, name), gone, {"Nats-Rollup": "sub"})
        await self._purge(bucket, found.chunk_subject)

    async def list(self, bucket: str) -> AsyncGenerator[ObjectInfo, None]:
        """Every object of the bucket, oldest change first."""
        stream = follow(
            self._bus,
            f"OBJ_{bucket}",
            f"$O.{bucket}.M.>",
            last_per_subject=True,
            stop_at_end=True,
        )
        async with contextlib.aclosing(stream) as deliveries:
            async for delivery in deliveries:
                info = read_info(bucket, delivery.data, delivery.time)
                if info is not None:
                    yield info

    async def _abandon(self, put: Put) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(API_TIMEOUT):
                await put.settle()
                await self._purge(put.bucket, put.subject)

    async def _purge(self, bucket: str, subject: str) -> None:
        await self._bus.api(f"STREAM.PURGE.OBJ_{bucket}", {"filter": subject})


class Put:
    """One upload: ``WINDOW`` chunks on their way, their order kept by the connection."""

    def __init__(self, bus: Bus, client: Client, bucket: str, name: str) -> None:
        self._bus = bus
        self._client = client
        self.bucket = bucket
        self._name = name
        self.id = secrets.token_hex(11)
        self.subject = f"$O.{bucket}.C.{self.id}"
        self._digest = hashlib.sha256()
        self._size = 0
        self._chunks = 0
        self._flying: list[asyncio.Task[None]] = []

    async def add(self, piece: bytes) -> None:
        await asyncio.to_thread(self._digest.update, piece)
        self._size += len(piece)
        self._chunks += 1
        while len(self._flying) >= WINDOW:
            await self._flying[0]
            self._flying.pop(0)
        task = asyncio.get_running_loop().create_task(self._send(piece))
        self._flying.append(task)
        await asyncio.sleep(0)

    async def finish(self, metadata: dict[str, str], expected: int | None) -> ObjectInfo:
        while self._flying:
            await self._flying[0]
            self._flying.pop(0)
        info = ObjectInfo(
            self.bucket, self._name, self.id, self._size, self._chunks, self._digest.hexdigest(),
            time.time(), metadata,
        )  # fmt: skip
        subject = meta_subject(self.bucket, self._name)
        headers = {"Nats-Rollup": "sub"}
        if expected is not None:
            headers[EXPECTED] = str(expected)
        revision = await self._bus.append(subject, meta_json(info), headers)
        return replace(info, revision=revision)

    async def settle(self) -> None:
        """Waits for what is on its way: a chunk stored after the purge would stay for ever."""
        await asyncio.gather(*self._flying, return_exceptions=True)

    async def _send(self, piece: bytes) -> None:
        try:
            reply = await ask(self._client, self.subject, piece, CHUNK_TIMEOUT)
        except (NatsTimeout, ConnectionClosedError) as error:
            raise Unanswered(self.subject, CHUNK_TIMEOUT) from error
        raise_error(json.loads(reply.data))


async def rechunk(pieces: AsyncIterable[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in chunks of exactly ``size``, but for the last one."""
    buffer = bytearray()
    async for piece in pieces:
        if not buffer and len(piece) == size:
            yield piece
            continue
        buffer += piece
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)


def meta_subject(bucket: str, name: str) -> str:
    return f"$O.{bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


def meta_json(info: ObjectInfo, deleted: bool = False) -> bytes:
    digest = base64.urlsafe_b64encode(bytes.fromhex(info.digest)).decode()
    body: dict[str, Any] = {
        "name": info.name,
        "bucket": info.bucket,
        "nuid": info.id,
        "size": 0 if deleted else info.size,
        "chunks": 0 if deleted else info.chunks,
        "digest": f"SHA-256={digest}",
        "mtime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(info.modified)),
        "metadata": info.metadata,
        "options": {"max_chunk_size": CHUNK},
    }
    if deleted:
        body["deleted"] = True
    return json.dumps(body).encode()


def read_info(
    bucket: str, data: bytes, modified: float = 0.0, revision: int = 0
) -> ObjectInfo | None:
    try:
        body = json.loads(data)
        if body.get("deleted"):
            return None
        digest = base64.urlsafe_b64decode(body["digest"].removeprefix("SHA-256=")).hex()
        return ObjectInfo(
            bucket, body["name"], body["nuid"], body["size"], body["chunks"], digest, modified,
            body.get("metadata") or {},
            revision,
        )  # fmt: skip
    except (ValueError, KeyError) as error:
        raise Corrupt(f"an object's description in {bucket} cannot be read: {error}") from error
