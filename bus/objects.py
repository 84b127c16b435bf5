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
from dataclasses import replace
from typing import Any

from nats.aio.client import Client
from nats.errors import ConnectionClosedError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from bus.clock import server_time
from bus.connection import API_TIMEOUT, Bus
from bus.errors import Corrupt, NotFound, StoreFull, Unanswered
from bus.follow import follow, stored_time
from bus.headers import EXPECTED, ROLLUP
from bus.health import broken
from bus.layout import STREAMS
from bus.link import ask
from bus.object_meta import CHUNK as CHUNK
from bus.object_meta import ObjectInfo as ObjectInfo
from bus.object_meta import meta_json, meta_subject, read_info

WINDOW = 8
"""Chunks on their way at one time, in either direction."""
CHUNK_TIMEOUT = 30.0
"""Seconds that one chunk may take to be stored or to come."""
QUICK = 64 * 1024
"""Bytes that are hashed sooner than a thread is asked to."""


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

        The name exists only once everything is stored. A put that fails takes its chunks away;
        what one that was killed leaves, ``sweep`` frees.
        Raises ``StoreFull`` and ``Unanswered``.
        """
        client = await self._bus.bulk()
        put = Put(self._bus, client, bucket, name)
        old = None if expected == 0 else await self.find(bucket, name)
        try:
            async for piece in rechunk(chunks, CHUNK):
                await put.add(piece)
            info = await put.finish(metadata or {}, expected)
        except BaseException as error:
            await self._abandon(put)
            if isinstance(error, Unanswered) and (told := await self._broken(bucket)):
                raise StoreFull(told) from error
            raise
        if old is not None:
            await self._purge(bucket, old.chunk_subject)
        return info

    async def _broken(self, bucket: str) -> str:
        """A stream that met a full disk answers nothing: that is no reason to try it again."""
        name = f"OBJ_{bucket}"
        return await broken(self._bus, next(one for one in STREAMS if one.name == name))

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
        check = Check(info)
        if info.chunks:
            async with contextlib.aclosing(self._chunks(info)) as chunks:
                async for data in chunks:
                    await check.add(data)
                    yield data
        check.done()

    async def read(self, info: ObjectInfo) -> bytes:
        """All of a small object, without a consumer; raises ``Corrupt``."""
        check, parts, cursor = Check(info), [], 0
        for _ in range(info.chunks):
            data, cursor = await self.chunk(info, cursor)
            await check.add(data)
            parts.append(data)
        check.done()
        return b"".join(parts)

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
        """The first chunk behind the stream sequence ``cursor``, and its own sequence.

        Any server of a cluster answers, also one that does not have it yet: then its leader says.
        """
        asked = {"seq": cursor + 1, "next_by_subj": info.chunk_subject}
        client = await self._bus.bulk()
        subject = f"$JS.API.DIRECT.GET.OBJ_{info.bucket}"
        try:
            reply = await ask(client, subject, json.dumps(asked).encode(), API_TIMEOUT)
        except (NatsTimeout, NoRespondersError, ConnectionClosedError) as error:
            raise Unanswered(subject, API_TIMEOUT) from error
        headers = reply.headers or {}
        if "Nats-Sequence" in headers:
            return reply.data, int(headers["Nats-Sequence"])
        return await self._leaders_chunk(info, asked)

    async def _leaders_chunk(self, info: ObjectInfo, asked: dict[str, Any]) -> tuple[bytes, int]:
        try:
            answer = await self._bus.api(f"STREAM.MSG.GET.OBJ_{info.bucket}", asked)
        except NotFound as error:
            raise Corrupt(f"{info.bucket}/{info.name}: a chunk is missing") from error
        message = answer["message"]
        return base64.b64decode(message.get("data", "")), int(message["seq"])

    async def delete(self, bucket: str, name: str) -> None:
        """Marks it as deleted and frees its chunks. No such object is no error."""
        found = await self.find(bucket, name)
        if found is None:
            return
        gone = meta_json(found, deleted=True)
        await self._bus.append(meta_subject(bucket, name), gone, {ROLLUP: "sub"})
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

    async def sweep(self, bucket: str, age: float) -> int:
        """Frees chunks without a name whose last one came ``age`` seconds ago; their objects."""
        now = await server_time(self._bus, f"OBJ_{bucket}")
        orphans = await self._chunk_subjects(bucket)
        async for info in self.list(bucket):
            orphans.discard(info.chunk_subject)
        freed = 0
        for subject in orphans:
            last = await self._last_time(bucket, subject)
            if last is not None and last < now - age:
                await self._purge(bucket, subject)
                freed += 1
        return freed

    async def _chunk_subjects(self, bucket: str) -> set[str]:
        found: set[str] = set()
        while True:
            body = {"subjects_filter": f"$O.{bucket}.C.>", "offset": len(found)}
            info = await self._bus.api(f"STREAM.INFO.OBJ_{bucket}", body)
            page = info["state"].get("subjects") or {}
            found.update(page)
            if not page or len(found) >= info.get("total", 0):
                return found

    async def _last_time(self, bucket: str, subject: str) -> float | None:
        """When the last chunk was stored; None where there is none any more."""
        try:
            found = await self._bus.api(f"STREAM.MSG.GET.OBJ_{bucket}", {"last_by_subj": subject})
        except NotFound:
            return None
        return stored_time(found["message"])

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
        await hash_in(self._digest, piece)
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
        headers = {ROLLUP: "sub"}
        if expected is not None:
            headers[EXPECTED] = str(expected)
        revision = await self._bus.append(subject, meta_json(info), headers)
        return replace(info, revision=revision)

    async def settle(self) -> None:
        """Waits for what is on its way: a chunk stored after the purge would stay for ever."""
        await asyncio.gather(*self._flying, return_exceptions=True)

    async def _send(self, piece: bytes) -> None:
        await self._bus.append_once(self.subject, piece, timeout=CHUNK_TIMEOUT, client=self._client)


class Check:
    """Whether what came is what was stored."""

    def __init__(self, info: ObjectInfo) -> None:
        self._info = info
        self._digest = hashlib.sha256()
        self._size = 0

    async def add(self, data: bytes) -> None:
        await hash_in(self._digest, data)
        self._size += len(data)

    def done(self) -> None:
        info = self._info
        if self._size != info.size or self._digest.hexdigest() != info.digest:
            raise Corrupt(
                f"{info.bucket}/{info.name}: {self._size} bytes read, {info.size} were stored"
            )


async def hash_in(digest: hashlib._Hash, data: bytes) -> None:
    if len(data) <= QUICK:
        digest.update(data)
    else:
        await asyncio.to_thread(digest.update, data)


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
