"""The rows of a log are the same before, while and after it is sealed, wherever one looks."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from bus.connection import Bus
from bus.logs import LogWriter
from bus.rows import RowLog, row_log
from bus.screen import Rows, Screen
from schemas.job import Fact, Record
from schemas.log import LogChunk, Span, Stream
from services.archive import rows as archive_rows
from services.archive import sealing
from services.archive.sealing import Sealer
from tests.integration.log_tools import JOB, RANK, attempt, record, write

Row = tuple[bytes, str, float]
"""Its text, who wrote it, and when it was begun."""
WORDS = [
    b"", b"epoch 1 loss=0.5", "größer ☃".encode(), b"\xff\xfe", b"x" * 70, b"Traceback (most",
    b"\x1b[31mred\x1b[0m again", b"Epoch", b"windows\r",
]  # fmt: skip


def rows_of(runs: Sequence[Rows]) -> list[Row]:
    found: list[Row] = []
    for run in runs:
        texts = run.data.split(b"\n")
        whose = [(s.stream.value, s.time) for s in run.spans for _ in range(s.count)]
        assert len(whose) == len(texts) == run.count
        assert run.first == len(found) + 1
        found += [(text, *who) for text, who in zip(texts, whose, strict=True)]
    return found


def same(rows: list[Row], others: list[Row]) -> None:
    """Times may be those of the next message: a row may begin with half a character."""
    assert [row[:2] for row in rows] == [row[:2] for row in others]
    assert all(abs(a[2] - b[2]) <= 1.0 for a, b in zip(rows, others, strict=True))


async def all_rows(log: RowLog) -> list[Row]:
    return rows_of([run async for run in log.all()])


class World:
    """A log in random pieces, and what a screen that saw all of it at once shows."""

    def __init__(self, bus: Bus, seed: int) -> None:
        self.bus = bus
        self.random = random.Random(seed)
        self.pieces: list[LogChunk | tuple[int, int]] = []
        self.end = 0
        self.writer = LogWriter(bus, JOB, 1, 0, "w1")
        self.at = 100.0

    async def print(self, text: bytes, stream: Stream = Stream.STDOUT) -> None:
        self.at += 1.0
        chunk = LogChunk(1, 0, self.end, self.at, (Span(stream, len(text)),), text)
        await self.writer.publish(chunk)
        self.pieces.append(chunk)
        self.end = chunk.end

    def lose(self, size: int) -> None:
        self.pieces.append((self.end, size))
        self.end += size

    async def lines(self, count: int) -> None:
        text = b"".join(self.random.choice(WORDS) + b"\n" for _ in range(count))
        while text:
            size = self.random.randint(1, 60)
            part, text = text[:size], text[size:]
            await self.print(part, self.random.choice((Stream.STDOUT, Stream.STDERR)))

    async def bar(self, steps: int) -> None:
        for step in range(steps):
            await self.print(b"\r%3d%%|%-20s|" % (step, b"#" * (step * 20 // steps)), Stream.STDERR)
        await self.print(b"\n", Stream.STDERR)

    def screen(self) -> Screen:
        screen = Screen()
        for piece in self.pieces:
            if isinstance(piece, LogChunk):
                screen.feed(piece)
            else:
                screen.gap(*piece, "")
        return screen

    def expected(self, *, complete: bool = False) -> list[Row]:
        screen = self.screen()
        if complete:
            screen.finish()
        chunks = [piece for piece in self.pieces if isinstance(piece, LogChunk)]
        raw = b"".join(chunk.data for chunk in chunks)
        found: list[Row] = []
        for run in screen.take_settled():
            if run.rows is not None:
                found += rows_of([Rows(1, run.rows.data, run.rows.spans)])
                continue
            assert len(raw) == self.end, "plain rows are looked up in logs without gaps alone"
            found += self.plain(raw, chunks, run.start, run.count)
        for live in screen.live():
            found += rows_of([Rows(1, live.data, live.spans)])
        return found

    def plain(self, raw: bytes, chunks: list[LogChunk], at: int, count: int) -> list[Row]:
        found = []
        for _ in range(count):
            end = raw.find(b"\n", at)
            text = raw[at : end if end >= 0 else None].removesuffix(b"\r")
            chunk = next(chunk for chunk in chunks if chunk.offset <= at < chunk.end)
            found.append((text, chunk.spans[0].stream.value, chunk.time))
            at = end + 1
        return found


@pytest.fixture
async def running(bus: Bus) -> Record:
    found = record(attempt())
    await write(bus, found, Fact.RUNNING)
    return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few lines, and rows that are sealed from the first byte on."""
    monkeypatch.setattr(sealing, "BLOCK", 600)
    monkeypatch.setattr(archive_rows, "SHORT", 0)


@pytest.mark.parametrize("seed", range(4))
async def test_rows_are_the_same_before_and_after_each_seal(
    bus: Bus, running: Record, small: None, seed: int
) -> None:
    world = World(bus, seed)
    for _ in range(4):
        await world.lines(60)
        await world.bar(40)
        before = await all_rows(await row_log(bus, running, attempt(), 0))
        await Sealer(bus).seal(RANK, None)
        after = await all_rows(await row_log(bus, running, attempt(), 0))
        same(before, after)
        same(after, world.expected())
    index = await Sealer(bus).index(RANK)
    assert index is not None
    assert index.rows
