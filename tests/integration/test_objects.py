"""Objects come back as they were stored, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bus.connection import Bus
from bus.errors import Conflict, Corrupt, NotFound
from bus.objects import CHUNK, Objects


async def pieces(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def whole(objects: Objects, name: str) -> bytes:
    return b"".join([chunk async for chunk in objects.get("bundles", name)])


async def messages(bus: Bus) -> int:
    return int((await bus.api("STREAM.INFO.OBJ_bundles"))["state"]["messages"])


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 3 << 20])
async def test_what_is_put_is_what_is_got(bus: Bus, size: int) -> None:
    objects = Objects(bus)
    data = bytes(n * 31 % 251 for n in range(size))
    info = await objects.put("bundles", "a", pieces(data), metadata={"k": "v"})
    assert (info.size, info.chunks) == (size, -(-size // CHUNK))
    assert await whole(objects, "a") == data
    found = await objects.info("bundles", "a")
    assert (found.metadata, found.digest) == ({"k": "v"}, info.digest)


async def test_a_replaced_object_frees_its_old_chunks(bus: Bus) -> None:
    objects = Objects(bus)
    await objects.put("bundles", "a", pieces(b"x" * (2 << 20)))
    await objects.put("bundles", "a", pieces(b"new"))
    assert await whole(objects, "a") == b"new"
    assert await messages(bus) == 2


async def test_a_source_that_fails_leaves_nothing_behind(bus: Bus) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x" * (2 * CHUNK)
        raise OSError("the disk is gone")

    objects = Objects(bus)
    with pytest.raises(OSError, match="disk is gone"):
        await objects.put("bundles", "a", failing())
    assert await objects.find("bundles", "a") is None
    assert await messages(bus) == 0


async def test_a_missing_chunk_is_told_and_not_waited_for(bus: Bus) -> None:
    objects = Objects(bus)
    info = await objects.put("bundles", "a", pieces(b"x" * (3 * CHUNK)))
    first = (await objects.chunk(info, 0))[1]
    await bus.api("STREAM.MSG.DELETE.OBJ_bundles", {"seq": first})
    with pytest.raises(Corrupt):
        await whole(objects, "a")


async def test_changed_bytes_are_found_out(bus: Bus) -> None:
    objects = Objects(bus)
    info = await objects.put("bundles", "a", pieces(b"good"))
    await bus.api("STREAM.PURGE.OBJ_bundles", {"filter": info.chunk_subject})
    await bus.append(info.chunk_subject, b"evil")
    with pytest.raises(Corrupt):
        await whole(objects, "a")


async def test_a_deleted_object_is_gone_with_its_chunks(bus: Bus) -> None:
    objects = Objects(bus)
    await objects.put("bundles", "a", pieces(b"x" * CHUNK))
    await objects.put("bundles", "b", pieces(b"y"))
    await objects.delete("bundles", "a")
    await objects.delete("bundles", "never-there")
    with pytest.raises(NotFound):
        await objects.info("bundles", "a")
    assert [info.name async for info in objects.list("bundles")] == ["b"]
    assert await messages(bus) == 3


async def test_of_two_puts_that_expect_the_same_revision_one_wins(bus: Bus) -> None:
    objects = Objects(bus)
    first = await objects.put("bundles", "a", pieces(b"1"), expected=0)
    with pytest.raises(Conflict):
        await objects.put("bundles", "a", pieces(b"2"), expected=0)
    assert await whole(objects, "a") == b"1"
    await objects.put("bundles", "a", pieces(b"3"), expected=first.revision)
    assert await whole(objects, "a") == b"3"


async def test_an_object_that_is_purged_under_its_reader_is_told_and_not_waited_for(
    bus: Bus,
) -> None:
    objects = Objects(bus)
    info = await objects.put("bundles", "a", pieces(b"x" * (40 * CHUNK)))
    reader = objects.get("bundles", "a")
    await anext(reader)
    await bus.api("STREAM.PURGE.OBJ_bundles", {"filter": info.chunk_subject})
    async with asyncio.timeout(20):
        with pytest.raises(Corrupt):
            async for _ in reader:
                pass


async def test_chunks_of_a_put_that_was_killed_are_swept_when_they_are_old(bus: Bus) -> None:
    objects = Objects(bus)
    await objects.put("bundles", "a", pieces(b"x" * (2 * CHUNK)))
    for _ in range(2):
        await bus.append("$O.bundles.C.dead", b"orphan")
    assert await objects.sweep("bundles", 60.0) == 0
    assert await objects.sweep("bundles", -1.0) == 1
    assert await whole(objects, "a") == b"x" * (2 * CHUNK)
    assert await messages(bus) == 3


async def test_a_small_object_is_read_in_one_go(bus: Bus) -> None:
    objects = Objects(bus)
    data = bytes(n * 31 % 251 for n in range(2 * CHUNK + 5))
    info = await objects.put("bundles", "a", pieces(data))
    assert await objects.read(info) == data
    await objects.delete("bundles", "a")
    with pytest.raises(Corrupt):
        await objects.read(info)
