"""A log reads the same before, while and after it is sealed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bus import subjects
from bus.connection import Bus
from bus.logs import Fenced, LogArchive, LogGap, LogWriter, read_attempt, read_job
from bus.objects import Objects
from bus.records import Records
from schemas.job import Attempt, AttemptEnd, Fact, Reason, Record, State
from schemas.log import Cursor, LogChunk, Span, Stream
from schemas.requests import LogEnd, LogPosition
from schemas.spec import JobSpec
from services.archive.config import ArchiveConfig
from services.archive.sealing import Rank, Sealer
from services.archive.service import run

JOB = "00000001-0000"
RANK = Rank(JOB, 1, 0, "w1")


def attempt(number: int = 1, end: int | None = None, worker: str = "w1") -> Attempt:
    told = (
        AttemptEnd(reason=Reason.EXIT, exit_code=0, log_ends={0: end}) if end is not None else None
    )
    return Attempt(
        number=number, worker=worker, claim="c", nonce="n", granted_at=1.0, end=told,
        ended_at=time.time() if told else None,
    )  # fmt: skip


def record(*attempts: Attempt, state: State = State.RUNNING) -> Record:
    return Record(
        id=JOB, owner="me", spec=JobSpec(), bundle="b", state=state, submitted_at=1.0,
        changed_at=time.time(), attempt=len(attempts), attempts=attempts,
    )  # fmt: skip


async def write(bus: Bus, after: Record, fact: Fact) -> None:
    records = Records(bus)
    try:
        expected = (await records.get(JOB)).sequence
    except Exception:
        expected = 0
    await records.write(after, fact, expected)


def chunk(offset: int, data: bytes, number: int = 1) -> LogChunk:
    return LogChunk(number, 0, offset, 1.0, (Span(Stream.STDOUT, len(data)),), data)


async def say(bus: Bus, *lines: bytes, number: int = 1, worker: str = "w1") -> int:
    writer = LogWriter(bus, JOB, number, 0, worker)
    offset = 0
    for line in lines:
        await writer.publish(chunk(offset, line, number))
        offset += len(line)
    return offset


async def text(pieces: Any) -> bytes:
    found = b""
    async for piece in pieces:
        found += f"<{piece.size} lost>".encode() if isinstance(piece, LogGap) else piece.data
    return found


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


async def test_only_one_writer_gets_through_the_fence(bus: Bus) -> None:
    one, other = (LogWriter(bus, JOB, 1, 0, "w1") for _ in range(2))
    await one.publish(chunk(0, b"one\n"))
    with pytest.raises(Fenced):
        await other.publish(chunk(0, b"other\n"))


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
        end = await bus.request(
            subjects.request("archive", "position", "w1"),
            LogPosition(job=JOB, attempt=1, rank=0),
            LogEnd,
        )
    assert end.offset == 4
    writer = LogWriter(bus, JOB, 1, 0, "w1")
    writer.resume(end)
    await writer.publish(chunk(4, b"c\n"))
    assert await text(read_attempt(bus, record(attempt()), Cursor(1, 0, 0), wait=False)) == (
        b"a\nb\nc\n"
    )


async def test_of_two_sealers_one_wins_and_the_other_cleans_up(bus: Bus) -> None:
    await say(bus, b"a\n", b"b\n")
    await asyncio.gather(*(Sealer(bus).seal(RANK, 4) for _ in range(4)))
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


async def test_attempts_follow_one_another_and_a_lost_one_ends_where_it_is_stored(bus: Bus) -> None:
    await say(bus, b"first\n")
    end = await say(bus, b"second\n", number=2, worker="w2")
    lost = AttemptEnd(reason=Reason.WORKER_LOST)
    first = attempt().model_copy(update={"end": lost})
    both = record(first, attempt(2, end, "w2"), state=State.SUCCEEDED)
    await write(bus, both, Fact.SUCCEEDED)
    assert await text(read_job(bus, JOB, wait=True)) == b"first\nsecond\n"


async def test_only_the_worker_of_the_record_is_believed(bus: Bus) -> None:
    await say(bus, b"true\n")
    await say(bus, b"false\n", worker="w9")
    await write(bus, record(attempt(end=5), state=State.SUCCEEDED), Fact.SUCCEEDED)
    assert await text(read_job(bus, JOB, wait=True)) == b"true\n"
