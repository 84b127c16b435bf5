"""An archive that dies anywhere keeps every byte once, in order, and leaves nothing lying about."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from bus import subjects
from bus.logs import Fenced, LogWriter, read_attempt
from bus.objects import Objects
from bus.records import Records
from bus.rows import row_log
from bus.sealed import LogArchive
from schemas.job import Fact, State
from schemas.log import Cursor
from schemas.requests import LogEnd, LogPosition
from tests.crash.child import Program
from tests.crash.harness import EVERYTHING, Play, Scenario, cases, crash_everywhere
from tests.crash.worlds import Server, World
from tests.integration.log_tools import JOB, attempt, chunk, record, say, text, write

LINES = [b"%059d\n" % n if n % 3 else b"%029d\r%029d\n" % (n, n + 100) for n in range(10)]
"""Some are painted over."""
SIZE = 60 * len(LINES)
CONFIG = {
    "seal_after": 0.0, "late": 0.5, "sweep_every": 0.05, "look_messages": 2, "seal_messages": 6,
}  # fmt: skip
SMALL_BLOCKS = {
    "services.archive.sealing:BLOCK": 100,
    "services.archive.sealing:ROUND": 2,
    "services.archive.service:MISSING_AGAIN": 0.2,
    "bus.sealed:INLINE": 0,
}
ROWS_TOO = SMALL_BLOCKS | {
    "bus.sealed:ROWS_INLINE": 0,
    "bus.sheet:SCREEN_ROWS": 2,
    "services.archive.rows:SHORT": 0,
}
"""Rows and the screen have objects of their own."""


async def position(world: World) -> LogEnd:
    """As an agent asks before it goes on, and until all is sealed."""
    subject = subjects.request("archive", "position", "w1")
    return await world.ask(subject, LogPosition(job=JOB, attempt=1, rank=0), LogEnd)


async def sealed(world: World, end: int) -> None:
    while (await position(world)).sealed < end:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def read(world: World) -> bytes:
    """What is there now, without waiting for more; raises where it is not whole up to its end."""
    newest = (await Records(world.bus).get(JOB)).record
    return await text(read_attempt(world.bus, newest, Cursor(1, 0, 0), wait=False))


async def whole(world: World, lines: list[bytes]) -> None:
    assert await read(world) == b"".join(lines)
    assert await rows(world) == [line.rsplit(b"\r")[-1].rstrip(b"\n") for line in lines]


async def rows(world: World) -> list[bytes]:
    """As they would be shown now."""
    newest = (await Records(world.bus).get(JOB)).record
    log = await row_log(world.bus, newest, newest.attempts[0], 0)
    return [row async for run in log.all() for row in run.data.split(b"\n")]


async def tidy(world: World, left: int) -> None:
    """The stream is trimmed, and each object is named by the index or swept."""
    await world.until_messages("LOGS", left)
    await LogArchive(world.bus).sweep(-1.0)
    stored = await LogArchive(world.bus).index(JOB, 1, 0)
    assert stored is not None
    names = {info.name async for info in Objects(world.bus).list("logs")}
    assert names == {f"{JOB}.1.0", *stored.index.objects}
    ends = [(block.start, block.end) for block in stored.index.blocks]
    assert all(before[1] <= after[0] for before, after in pairwise(ends)), ends


async def a_log_that_ended(world: World) -> None:
    await write(world.bus, record(attempt()), Fact.RUNNING)
    end = await say(world.bus, *LINES)
    await write(world.bus, record(attempt(end=end), state=State.SUCCEEDED), Fact.SUCCEEDED)
    await whole(world, LINES)
    await sealed(world, end)
    await whole(world, LINES)
    await tidy(world, left=0)
    await whole(world, LINES)


async def a_long_log_that_still_grows(world: World) -> None:
    await write(world.bus, record(attempt()), Fact.RUNNING)
    writer, offset = LogWriter(world.bus, JOB, 1, 0, "w1"), 0
    for n, line in enumerate(LINES):
        await writer.publish(chunk(offset, line))
        offset += len(line)
        if n == 7:
            await sealed(world, 60)
            writer.resume(await position(world))
        await whole(world, LINES[: n + 1])
    told = await position(world)
    assert told.offset == SIZE
    await write(world.bus, record(attempt(end=SIZE), state=State.FAILED), Fact.FAILED)
    await sealed(world, SIZE)
    await whole(world, LINES)
    await tidy(world, left=0)
    await whole(world, LINES)


async def bytes_that_come_late(world: World) -> None:
    """The log was complete with a gap; then its worker comes back."""
    await write(world.bus, record(attempt()), Fact.RUNNING)
    await say(world.bus, *LINES[:5])
    await write(world.bus, record(attempt(end=SIZE), state=State.FAILED), Fact.FAILED)
    await sealed(world, SIZE)
    assert await read(world) == b"".join(LINES[:5]) + b"<300 lost>"
    assert (await position(world)).offset == 300
    await say_the_rest(world)
    while (await position(world)).offset < SIZE or await world.messages("LOGS"):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await whole(world, LINES)
    await tidy(world, left=0)


async def say_the_rest(world: World) -> None:
    """As an agent does: a trim of the archive may take away what the writer goes on from."""
    writer = LogWriter(world.bus, JOB, 1, 0, "w1")
    writer.resume(await position(world))
    for n in range(5, len(LINES)):
        try:
            await writer.publish(chunk(60 * n, LINES[n]))
        except Fenced:
            writer.resume(await position(world))
            await writer.publish(chunk(60 * n, LINES[n]))


async def a_lost_attempt_and_its_successor(world: World) -> None:
    await write(world.bus, record(attempt()), Fact.RUNNING)
    await say(world.bus, *LINES[:4])
    gone = attempt().model_copy(update={"end": None})
    both = record(gone, attempt(2, worker="w2"))
    await write(world.bus, both, Fact.RETRYING)
    await say(world.bus, *LINES, number=2, worker="w2")
    await write(
        world.bus, record(gone, attempt(2, SIZE, "w2"), state=State.SUCCEEDED), Fact.SUCCEEDED
    )
    for number in (1, 2):
        while True:
            stored = await LogArchive(world.bus).index(JOB, number, 0)
            if stored and stored.index.complete:
                break
            await asyncio.sleep(0.05)
    await world.until_messages("LOGS", 0)
    newest = (await Records(world.bus).get(JOB)).record
    for number, lines in ((1, LINES[:4]), (2, LINES)):
        pieces = read_attempt(world.bus, newest, Cursor(number, 0, 0), wait=True)
        assert await text(pieces) == b"".join(lines)


PLAYS = [
    a_log_that_ended,
    a_long_log_that_still_grows,
    bytes_that_come_late,
    a_lost_attempt_and_its_successor,
]
WITH_ROWS = [a_log_that_ended, a_long_log_that_still_grows]


@pytest.mark.parametrize(("play", "replicas"), cases(PLAYS, [a_long_log_that_still_grows]))
async def test_a_log_survives_a_crash_anywhere(
    worlds: Server, tmp_path: Path, play: Play, replicas: int
) -> None:
    settings = ROWS_TOO if play in WITH_ROWS or EVERYTHING else SMALL_BLOCKS
    program = Program("archive", CONFIG, settings)
    outcome = await crash_everywhere(worlds, Scenario(program, play, replicas), tmp_path)
    outcome.check(at_least=6)
