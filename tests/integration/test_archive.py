"""A log reads the same before, while and after it is sealed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bus import subjects
from bus.blocks import pack_block
from bus.clock import ServerClock
from bus.connection import Bus
from bus.logs import LogGap, LogWriter, read_attempt, read_job
from bus.objects import Objects
from bus.sealed import LogArchive
from schemas.job import Fact, State
from schemas.log import Cursor
from schemas.requests import LogEnd, LogPosition
from services.archive import sealing
from services.archive.config import ArchiveConfig, Keep
from services.archive.retention import Retention
from services.archive.sealing import Sealer
from services.archive.service import run
from tests.integration.log_tools import JOB, RANK, attempt, chunk, record, say, text, write

NOISE = random.Random(7).randbytes(200_000)
"""Too much for a block within the index."""


@asynccontextmanager
async def archive(bus: Bus, **config: float) -> AsyncIterator[None]:
    task = asyncio.create_task(run(bus, ArchiveConfig(seal_after=0.0, **config)))  # type: ignore[arg-type]
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_complete(bus: Bus, number: int = 1) -> None:
    async with asyncio.timeout(20):
        while True:
            stored = await LogArchive(bus).index(JOB, number, 0)
            if stored is not None and stored.index.complete:
                return
            await asyncio.sleep(0.05)


async def test_a_sealed_log_reads_as_before_and_leaves_the_stream(bus: Bus) -> None:
    end = await say(bus, b"a\n", b"b\n", b"c\n")
    await write(bus, record(attempt()), Fact.RUNNING)
    done = record(attempt(end=end), state=State.SUCCEEDED)
    await write(bus, done, Fact.SUCCEEDED)
    assert await text(read_job(bus, JOB, wait=True)) == b"a\nb\nc\n"
    async with archive(bus):
        await until_complete(bus)
        async with asyncio.timeout(10):
            while (await bus.api("STREAM.INFO.LOGS"))["state"]["messages"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert await text(read_job(bus, JOB, wait=True)) == b"a\nb\nc\n"
        assert await text(read_job(bus, JOB, Cursor(1, 0, 3), wait=True)) == b"\nc\n"


async def test_who_joins_while_a_running_log_is_sealed_gets_every_byte_once(bus: Bus) -> None:
    await write(bus, record(attempt()), Fact.RUNNING)
    lines = [b"%06d\n" % n for n in range(400)]
    readers = []

    async def print_and_end() -> None:
        writer, offset = LogWriter(bus, JOB, 1, 0, "w1"), 0
        for n, line in enumerate(lines):
            await writer.publish(chunk(offset, line))
            offset += len(line)
            if n % 100 == 50:
                await Sealer(bus).seal(RANK, None)
                readers.append(asyncio.create_task(text(read_job(bus, JOB, wait=True))))
        done = record(attempt(end=offset), state=State.SUCCEEDED)
        await write(bus, done, Fact.SUCCEEDED)

    async with asyncio.timeout(30):
        await print_and_end()
        for reader in readers:
            assert await reader == b"".join(lines)


async def test_what_never_came_is_a_gap_of_its_size(bus: Bus) -> None:
    await say(bus, b"seen\n")
    done = record(attempt(end=12), state=State.FAILED)
    await write(bus, done, Fact.FAILED)
    async with archive(bus, late=0.1):
        await until_complete(bus)
        assert await text(read_job(bus, JOB, wait=True)) == b"seen\n<7 lost>"


async def test_a_hole_in_the_middle_is_shown(bus: Bus) -> None:
    writer = LogWriter(bus, JOB, 1, 0, "w1")
    await writer.publish(chunk(0, b"ab"))
    await writer.publish(chunk(10, b"cd"))
    await write(bus, record(attempt(end=12), state=State.FAILED), Fact.FAILED)
    assert await text(read_job(bus, JOB, wait=False)) == b"ab<8 lost>cd"
    await Sealer(bus).seal(RANK, 12)
    assert await text(read_job(bus, JOB, wait=False)) == b"ab<8 lost>cd"


async def test_a_writer_resumes_behind_what_is_sealed(bus: Bus) -> None:
    await say(bus, b"a\n", b"b\n")
    await write(bus, record(attempt()), Fact.RUNNING)
    await Sealer(bus).seal(RANK, None)
    async with archive(bus):
        end = await position(bus)
    assert end.offset == 4
    writer = LogWriter(bus, JOB, 1, 0, "w1")
    writer.resume(end)
    await writer.publish(chunk(4, b"c\n"))
    assert await text(read_attempt(bus, record(attempt()), Cursor(1, 0, 0), wait=False)) == (
        b"a\nb\nc\n"
    )


async def test_of_two_sealers_one_wins_and_the_other_cleans_up(bus: Bus) -> None:
    end = await say(bus, NOISE, b"b\n")
    await asyncio.gather(*(Sealer(bus).seal(RANK, end) for _ in range(4)))
    stored = await LogArchive(bus).index(JOB, 1, 0)
    assert stored is not None
    names = {info.name async for info in Objects(bus).list("logs")}
    assert names == {f"{JOB}.1.0", *(block.object for block in stored.index.blocks)}
    assert len(stored.index.blocks) == 1


async def test_sealing_again_changes_nothing(bus: Bus) -> None:
    await say(bus, b"a\n")
    for _ in range(2):
        await Sealer(bus).seal(RANK, 2)
    stored = await LogArchive(bus).index(JOB, 1, 0)
    assert stored is not None
    assert [(block.start, block.end) for block in stored.index.blocks] == [(0, 2)]


async def test_a_short_log_is_one_object(bus: Bus) -> None:
    end = await say(bus, b"a\n", b"b\n")
    await write(bus, record(attempt(end=end), state=State.SUCCEEDED), Fact.SUCCEEDED)
    await Sealer(bus).seal(RANK, end)
    assert [info.name async for info in Objects(bus).list("logs")] == [f"{JOB}.1.0"]
    assert await text(read_job(bus, JOB, wait=True)) == b"a\nb\n"


async def test_a_long_log_is_sealed_in_rounds(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "BLOCK", 100)
    monkeypatch.setattr(sealing, "ROUND", 2)
    lines = [b"%059d\n" % n for n in range(30)]
    end = await say(bus, *lines)
    await write(bus, record(attempt(end=end), state=State.SUCCEEDED), Fact.SUCCEEDED)
    index = await Sealer(bus).seal(RANK, end)
    assert (len(index.blocks), index.complete, index.settled) == (15, True, end)
    assert await text(read_job(bus, JOB, wait=True)) == b"".join(lines)


async def test_bytes_that_come_after_the_deadline_fill_their_gap(bus: Bus) -> None:
    await say(bus, b"seen\n")
    await write(bus, record(attempt(end=12), state=State.FAILED), Fact.FAILED)
    async with archive(bus, late=0.1, sweep_every=0.1):
        await until_complete(bus)
        assert await text(read_job(bus, JOB, wait=True)) == b"seen\n<7 lost>"
        writer = LogWriter(bus, JOB, 1, 0, "w1")
        writer.resume(await position(bus))
        await writer.publish(chunk(5, b"at last"))
        await position(bus)
        async with asyncio.timeout(10):
            while await text(read_job(bus, JOB, wait=True)) != b"seen\nat last":  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_a_log_that_still_comes_is_waited_for(bus: Bus) -> None:
    await write(bus, record(attempt(end=20), state=State.FAILED), Fact.FAILED)
    writer = LogWriter(bus, JOB, 1, 0, "w1")
    async with archive(bus, late=1.5):
        for offset in range(20):
            await writer.publish(chunk(offset, b"x"))
            await asyncio.sleep(0.1)
        await until_complete(bus)
    assert await text(read_job(bus, JOB, wait=True)) == 20 * b"x"


async def test_the_sweep_seals_what_is_long_and_drops_what_no_job_knows(bus: Bus) -> None:
    await write(bus, record(attempt()), Fact.RUNNING)
    lines = [b"%d\n" % n for n in range(20)]
    await say(bus, *lines)
    await say(bus, *[b"forged\n"] * 20, worker="w9")
    async with archive(bus, sweep_every=0.05, look_messages=10, seal_messages=20):
        async with asyncio.timeout(10):
            while await stored_messages(bus) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert await text(read_job(bus, JOB, wait=False)) == b"".join(lines)


async def test_a_message_that_cannot_be_read_stops_nothing(bus: Bus) -> None:
    end = await say(bus, b"a\n", b"b\n")
    await bus.append(RANK.subject, b"?", {"Stoker-Offset": "9" * 30, "Stoker-Spans": "o1"})
    await write(bus, record(attempt(end=end), state=State.SUCCEEDED), Fact.SUCCEEDED)
    async with archive(bus, late=0.2):
        assert (await position(bus)).sequence == 3
        await until_complete(bus)
    assert await text(read_job(bus, JOB, wait=True)) == b"a\nb\n"


async def test_blocks_that_no_index_names_are_freed(bus: Bus) -> None:
    await say(bus, NOISE)
    await Sealer(bus).seal(RANK, None)
    sealed = LogArchive(bus)
    for number in (1, 2):
        chunks = [chunk(0, NOISE)]
        await sealed.write_block((JOB, number, 0), chunks, pack_block(chunks), inline=False)
    assert await sealed.sweep(3600.0) == 0
    assert await sealed.sweep(-1.0) == 2
    stored = await sealed.index(JOB, 1, 0)
    assert stored is not None
    assert {info.name async for info in Objects(bus).list("logs")} == {
        f"{JOB}.1.0",
        stored.index.blocks[0].object,
    }


async def position(bus: Bus) -> LogEnd:
    return await bus.request(
        subjects.request("archive", "position", "w1"),
        LogPosition(job=JOB, attempt=1, rank=0),
        LogEnd,
    )


async def stored_messages(bus: Bus) -> int:
    return int((await bus.api("STREAM.INFO.LOGS"))["state"]["messages"])


class Killed(BaseException):
    """The process is gone: not even its clean-up runs."""


def die_after(bus: Bus, calls: int, patch: pytest.MonkeyPatch) -> None:
    """The bus does what it is asked for ``calls`` times, and nothing after that."""
    left = calls
    for name in ("append", "api"):
        real = getattr(bus, name)

        async def counted(*args: Any, real: Any = real, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return await real(*args, **named)

        patch.setattr(bus, name, counted)


async def test_a_sealer_that_is_killed_anywhere_leaves_a_whole_log(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "BLOCK", 100)
    monkeypatch.setattr(sealing, "ROUND", 2)
    lines = [b"%059d\n" % n for n in range(10)]
    end = await say(bus, *lines)
    done = record(attempt(end=end), state=State.SUCCEEDED)
    calls, killed = 0, True
    while killed:
        with monkeypatch.context() as patch:
            die_after(bus, calls, patch)
            try:
                await Sealer(bus).seal(RANK, end)
                killed = False
            except Killed:
                calls += 1
        assert await text(read_attempt(bus, done, Cursor(1, 0, 0), wait=True)) == b"".join(lines)
    assert calls > 5
    await LogArchive(bus).sweep(-1.0)
    index = await Sealer(bus).index(RANK)
    assert index is not None
    assert {info.name async for info in Objects(bus).list("logs")} == {
        f"{JOB}.1.0",
        *(block.object for block in index.blocks),
    }
    assert await stored_messages(bus) == 0


async def test_a_deleted_log_says_when_and_why(bus: Bus) -> None:
    end = await say(bus, NOISE)
    done = record(attempt(end=end), state=State.SUCCEEDED)
    await write(bus, done, Fact.SUCCEEDED)
    async with archive(bus):
        await until_complete(bus)
    assert await objects_of(bus) == 2
    config = ArchiveConfig(keep=Keep(age=0.0))
    retention = Retention(bus, config, ServerClock(bus))
    assert await retention.sweep() == 1
    assert await objects_of(bus) == 1
    pieces = [piece async for piece in read_attempt(bus, done, Cursor(1, 0, 0), wait=True)]
    assert len(pieces) == 1
    assert isinstance(pieces[0], LogGap)
    assert pieces[0].size == end
    assert "it was older than 0 days" in pieces[0].why
    assert await retention.sweep() == 0


async def test_the_log_of_a_job_that_runs_is_kept(bus: Bus) -> None:
    await say(bus, NOISE)
    await write(bus, record(attempt()), Fact.RUNNING)
    await Sealer(bus).seal(RANK, None)
    retention = Retention(bus, ArchiveConfig(keep=Keep(size=0)), ServerClock(bus))
    assert await retention.sweep() == 0


async def objects_of(bus: Bus) -> int:
    return len([info async for info in Objects(bus).list("logs")])
