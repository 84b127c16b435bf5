"""Lines, times and ends of a log, found by the index: always what a scan of it all would find."""

from __future__ import annotations

import random

import pytest

from bus.connection import Bus
from bus.log_places import log_map
from bus.logs import LogWriter
from bus.sealed import LogArchive
from schemas.job import Fact, Record
from schemas.log import LogChunk, Span, Stream
from services.archive import sealing
from services.archive.sealing import Rank, Sealer
from tests.integration.log_tools import JOB, RANK, attempt, record, write

WORDS = [b"", b"a", b"epoch 1 loss=0.5", "größer ☃".encode(), b"\xff\xfe", b"x" * 70]


class World:
    """A log in random pieces, sealed up to somewhere."""

    def __init__(self, bus: Bus, seed: int) -> None:
        self.bus = bus
        self.random = random.Random(seed)
        self.data = b""
        self.times: list[tuple[int, float]] = []
        """Offset of each chunk and its time."""
        self.writer = LogWriter(bus, JOB, 1, 0, "w1")

    async def print(self, lines: int) -> None:
        text = b"\n".join(self.random.choice(WORDS) for _ in range(lines))
        text += self.random.choice((b"", b"\n"))
        at = 100.0 + len(self.times)
        while text:
            size = self.random.randint(1, 40)
            part, text = text[:size], text[size:]
            spans = (Span(Stream.STDOUT, len(part)),)
            await self.writer.publish(LogChunk(1, 0, len(self.data), at, spans, part))
            self.times.append((len(self.data), at))
            self.data += part
            at += 1.0

    def starts(self) -> list[int]:
        """Offset at which each line begins, by a scan."""
        found = [0]
        found += [place + 1 for place, byte in enumerate(self.data) if byte == 10]
        return found


@pytest.fixture
async def running(bus: Bus) -> Record:
    found = record(attempt())
    await write(bus, found, Fact.RUNNING)
    return found


@pytest.mark.parametrize("seed", range(6))
async def test_any_line_time_or_tail_is_where_a_scan_finds_it(
    bus: Bus, running: Record, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "BLOCK", 300)
    world = World(bus, seed)
    if seed:
        await world.print(40)
        await Sealer(bus).seal(RANK, None)
    await world.print(30)
    log = await log_map(bus, running, attempt(), 0)
    starts = world.starts()
    for number, start in enumerate(starts, 1):
        assert (await log.of_line(number)).offset == start
    assert log.end.offset == len(world.data)
    assert (await log.of_line(10_000)).offset == len(world.data)
    whole = world.data.split(b"\n")
    count = len(whole) - (0 if whole[-1] else 1)
    for wanted in (0, 1, 2, count - 1, count, count + 5):
        spot = await log.of_last(wanted)
        expected = starts[max(0, count - wanted)] if wanted else len(world.data)
        assert spot.offset == expected, wanted
    for _, at in world.times[:: max(1, len(world.times) // 9)]:
        spot = await log.of_time(at)
        assert spot.offset == next(place for place, time in world.times if time >= at)
        assert spot.line == world.data[: spot.offset].count(b"\n") + 1
    assert (await log.of_time(1e9)).offset == len(world.data)


async def test_the_end_of_a_long_log_takes_one_block(
    bus: Bus, running: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "BLOCK", 300)
    world = World(bus, 9)
    await world.print(200)
    await Sealer(bus).seal(Rank(JOB, 1, 0, "w1"), None)
    read = []
    chunks = LogArchive.chunks

    async def counted(self: LogArchive, number: int, rank: int, block: object) -> list[LogChunk]:
        read.append(block)
        return await chunks(self, number, rank, block)  # type: ignore[arg-type]

    monkeypatch.setattr(LogArchive, "chunks", counted)
    await (await log_map(bus, running, attempt(), 0)).of_last(2)
    assert len(read) <= 2
