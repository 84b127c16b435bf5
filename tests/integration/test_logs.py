"""A reader gets every byte of a log once and in order, whatever happens to the log meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from bus.connection import Bus
from bus.logs import Fenced, LogGap, LogWriter, read_attempt, read_job
from bus.objects import Objects
from schemas.job import AttemptEnd, Fact, Reason, State
from schemas.log import Cursor
from schemas.requests import LogEnd
from services.archive.sealing import Sealer
from tests.integration.log_tools import JOB, RANK, attempt, chunk, record, say, text, write

LINES = [b"%05d\n" % n for n in range(900)]
"""More messages than a reader asks for at one time."""
WHOLE = b"".join(LINES)


async def test_only_one_writer_gets_through_the_fence(bus: Bus) -> None:
    one, other = (LogWriter(bus, JOB, 1, 0, "w1") for _ in range(2))
    await one.publish(chunk(0, b"one\n"))
    with pytest.raises(Fenced):
        await other.publish(chunk(0, b"other\n"))


@pytest.mark.parametrize("state", [State.RUNNING, State.SUCCEEDED])
@pytest.mark.parametrize("wait", [True, False])
async def test_a_slow_reader_under_whose_feet_the_log_is_sealed_misses_nothing(
    bus: Bus, wait: bool, state: State
) -> None:
    end = await say(bus, *LINES)
    ended = record(attempt(end=end), state=State.SUCCEEDED)
    before = ended if state is State.SUCCEEDED else record(attempt())
    await write(bus, before, Fact.RUNNING)
    reader = read_attempt(bus, before, Cursor(1, 0, 0), wait=wait)
    seen = (await anext(reader)).data
    await Sealer(bus).seal(RANK, end)
    await write(bus, ended, Fact.SUCCEEDED)
    async with asyncio.timeout(30):
        assert seen + await text(reader) == WHOLE


async def test_a_lost_attempt_that_is_sealed_meanwhile_is_read_whole(bus: Bus) -> None:
    await say(bus, *LINES)
    lost = attempt().model_copy(update={"end": AttemptEnd(reason=Reason.WORKER_LOST)})
    job = record(lost, state=State.FAILED)
    await write(bus, job, Fact.FAILED)
    reader = read_attempt(bus, job, Cursor(1, 0, 0), wait=True)
    seen = (await anext(reader)).data
    await Sealer(bus).seal(RANK, 0)
    async with asyncio.timeout(30):
        assert seen + await text(reader) == WHOLE


async def test_a_sealed_block_that_is_lost_is_a_gap(bus: Bus) -> None:
    for n in range(3):
        writer = LogWriter(bus, JOB, 1, 0, "w1")
        writer.resume(LogEnd(offset=2 * n, sequence=n))
        await writer.publish(chunk(2 * n, b"%d\n" % n))
        await Sealer(bus).seal(RANK, None)
    index = await Sealer(bus).index(RANK)
    assert index is not None
    await Objects(bus).delete("logs", index.blocks[1].object)
    job = record(attempt(end=6), state=State.SUCCEEDED)
    assert await text(read_attempt(bus, job, Cursor(1, 0, 0), wait=True)) == b"0\n<2 lost>2\n"


async def test_a_follower_of_a_running_attempt_ends_with_it(bus: Bus) -> None:
    await write(bus, record(attempt()), Fact.RUNNING)
    reader = asyncio.create_task(text(read_job(bus, JOB, wait=True)))
    end = await say(bus, b"a\n", b"b\n")
    await write(bus, record(attempt(end=end), state=State.SUCCEEDED), Fact.SUCCEEDED)
    async with asyncio.timeout(10):
        assert await reader == b"a\nb\n"


async def test_a_cursor_in_the_middle_of_a_message_cuts_it(bus: Bus) -> None:
    end = await say(bus, b"abcdef", b"ghi")
    job = record(attempt(end=end), state=State.SUCCEEDED)
    for offset in range(end + 1):
        rest = await text(read_attempt(bus, job, Cursor(1, 0, offset), wait=True))
        assert rest == b"abcdefghi"[offset:]


async def test_a_gap_is_told_once_and_with_its_place(bus: Bus) -> None:
    writer = LogWriter(bus, JOB, 1, 0, "w1")
    await writer.publish(chunk(0, b"ab"))
    await writer.publish(chunk(10, b"cd"))
    job = record(attempt(end=12), state=State.SUCCEEDED)
    pieces = [p async for p in read_attempt(bus, job, Cursor(1, 0, 1), wait=True)]
    assert [p.offset for p in pieces] == [1, 2, 10]
    assert pieces[1] == LogGap(1, 0, 2, 8)


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
