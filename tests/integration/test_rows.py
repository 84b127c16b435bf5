"""The rows of a log are the same before, while and after it is sealed, wherever one looks."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence
from itertools import pairwise

import pytest

from bus import sealed
from bus.clock import ServerClock
from bus.connection import Bus
from bus.logs import LogWriter
from bus.objects import Objects
from bus.rows import Hits, Query, RowLog, find, row_log
from bus.screen import Rows, Screen, Settled
from bus.sealed import LogArchive
from schemas.job import Fact, Record, State
from schemas.log import LogChunk, Sealed, Span, Stream
from schemas.requests import LogEnd
from services.archive import rows as archive_rows
from services.archive import sealing
from services.archive.config import ArchiveConfig, Keep
from services.archive.retention import Retention
from services.archive.sealing import Sealer
from tests.integration.log_tools import JOB, RANK, attempt, record, say, write

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


async def test_any_window_is_what_all_rows_have_there(
    bus: Bus, running: Record, small: None
) -> None:
    world = World(bus, 5)
    await world.lines(150)
    await world.bar(60)
    await Sealer(bus).seal(RANK, None)
    await world.lines(80)
    await world.bar(30)
    log = await row_log(bus, running, attempt(), 0)
    rows = world.expected()
    assert log.total == len(rows)
    assert 0 < log.settled < log.total
    for first in range(1, log.total + 3, 7):
        for count in (1, 5, 1000):
            runs = await log.window(first, count)
            found = [row for run in runs for row in run.data.split(b"\n")]
            assert found == [row[0] for row in rows[first - 1 : first - 1 + count]], first
            assert not runs or runs[0].first == first


async def test_a_bar_is_one_row_wherever_it_was_sealed(
    bus: Bus, running: Record, small: None
) -> None:
    world = World(bus, 0)
    for _ in range(5):
        for step in range(60):
            await world.print(b"\r%3d%%" % step)
        await Sealer(bus).seal(RANK, None)
    await world.print(b"\nepoch 2\n")
    log = await row_log(bus, running, attempt(), 0)
    assert [row[0] for row in await all_rows(log)] == [b" 59%", b"epoch 2"]


async def test_the_index_of_a_long_log_has_an_entry_a_block_and_a_window_reads_two(
    bus: Bus, running: Record, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(bus, 3)
    for _ in range(20):
        await world.print(b"".join(b"%059d\n" % n for n in range(50)))
    index = await Sealer(bus).seal(RANK, None)
    assert len(index.blocks) == 20
    assert 1 <= len(index.rows) <= 20
    read = []
    chunks = LogArchive.chunks

    async def counted(self: LogArchive, number: int, rank: int, block: Sealed) -> list[LogChunk]:
        read.append(block)
        return await chunks(self, number, rank, block)

    monkeypatch.setattr(LogArchive, "chunks", counted)
    log = await row_log(bus, running, attempt(), 0)
    assert not read
    assert (await log.window(500, 20))[0].data.startswith(b"%059d" % 49)
    assert len(read) <= 3


async def test_a_short_log_is_sealed_without_a_screen(bus: Bus, running: Record) -> None:
    end = await say(bus, b"a\n", b"b\rB\n")
    index = await Sealer(bus).seal(RANK, end)
    assert not index.rows
    assert index.screen is None
    log = await row_log(bus, record(attempt(end=end)), attempt(end=end), 0)
    assert log.complete
    assert [row[0] for row in await all_rows(log)] == [b"a", b"B"]
    assert log.settled == log.total == 2


async def test_the_rows_of_a_log_that_was_sealed_without_them_are_sealed_with_its_next_block(
    bus: Bus, running: Record, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(bus, 11)
    with monkeypatch.context() as before:
        before.setattr(archive_rows, "SHORT", 1 << 30)
        await world.lines(150)
        await world.bar(40)
        index = await Sealer(bus).seal(RANK, None)
    assert not index.rows
    same(await all_rows(await row_log(bus, running, attempt(), 0)), world.expected())
    await world.lines(120)
    index = await Sealer(bus).seal(RANK, None)
    assert index.rows
    assert index.rows[0].first == 1
    same(await all_rows(await row_log(bus, running, attempt(), 0)), world.expected())


async def test_what_is_missing_is_a_row_that_says_so(
    bus: Bus, running: Record, small: None
) -> None:
    world = World(bus, 2)
    texts = [b"before %d" % n for n in range(3)]
    for text in texts:
        await world.print(text + b"\n")
    await Sealer(bus).seal(RANK, None)
    world.lose(1000)
    await world.print(b"after\n")
    expected = [*texts, b"[stoker] 1,000 bytes of the log are missing here", b"after"]
    for _ in range(2):
        log = await row_log(bus, running, attempt(), 0)
        rows = await all_rows(log)
        assert [row[0] for row in rows] == expected
        assert rows[3][1] == "s"
        await Sealer(bus).seal(RANK, None)


async def test_a_gap_at_the_end_goes_when_its_bytes_come_late(
    bus: Bus, running: Record, small: None
) -> None:
    world = World(bus, 2)
    await world.print(b"seen\n")
    await Sealer(bus).seal(RANK, 12)
    ended = record(attempt(end=12), state=State.FAILED)
    log = await row_log(bus, ended, ended.attempts[0], 0)
    assert log.complete
    lost = b"[stoker] 7 bytes of the log are missing here"
    assert [row[0] for row in await all_rows(log)] == [b"seen", lost]
    world.writer.resume(LogEnd(offset=5, sequence=0, sealed=5))
    await world.print(b"at last")
    await Sealer(bus).seal(RANK, None)
    log = await row_log(bus, ended, ended.attempts[0], 0)
    assert [row[0] for row in await all_rows(log)] == [b"seen", b"at last"]


@pytest.mark.parametrize("at_rest", [False, True])
async def test_a_row_begins_where_its_place_says(
    bus: Bus, running: Record, small: None, at_rest: bool
) -> None:
    world = World(bus, 8)
    await world.lines(120)
    await world.bar(50)
    await world.lines(130)
    await world.bar(20)
    await world.lines(20)
    if at_rest:
        await Sealer(bus).seal(RANK, None)
    log = await row_log(bus, running, attempt(), 0)
    raw = b"".join(chunk.data for chunk in world.pieces if isinstance(chunk, LogChunk))
    assert await log.offset_of(log.total + 1) == world.end
    for row in range(1, log.total + 1):
        offset = await log.offset_of(row)
        assert raw[:offset].count(b"\n") == row - 1
        assert offset == 0 or raw[offset - 1 : offset] == b"\n"
        assert await log.row_at(offset) == row
        end = raw.index(b"\n", offset)
        assert await log.row_at(end) == row


async def test_a_time_is_found_in_sealed_and_in_live_rows(
    bus: Bus, running: Record, small: None
) -> None:
    world = World(bus, 8)
    await world.lines(160)
    await Sealer(bus).seal(RANK, None)
    await world.lines(130)
    await world.bar(20)
    log = await row_log(bus, running, attempt(), 0)
    times = [row[2] for row in await all_rows(log)]
    for at in (0.0, 101.0, 150.5, times[60], times[-1]):
        expected = next(number for number, time in enumerate(times, 1) if time >= at)
        assert await log.row_at_time(at) == expected
    assert await log.row_at_time(1e12) == log.total


QUERIES = [
    Query("epoch"), Query("epoch", case=True), Query("RED again"), Query("größer"),
    Query("GRÖSSER"), Query("GRÖßER"), Query("x"), Query("", stream="e"), Query("e", stream="o"),
    Query("nowhere"), Query("#####"), Query("[31m"), Query("windows"), Query("a\nb"), Query("☃"),
]  # fmt: skip


def grep(rows: list[Row], query: Query) -> list[int]:
    """Row by row; what Python calls lower case, so Ö and ö are one."""
    found = []
    for number, (text, stream, _) in enumerate(rows, 1):
        plain = re.sub(rb"\x1b\[[0-9;]*m", b"", text).decode("utf-8", "surrogateescape")
        wanted = query.text
        if not query.case:
            plain, wanted = plain.lower(), wanted.lower()
        if wanted in plain and query.stream in ("", stream):
            found.append(number)
    return found


@pytest.mark.parametrize("seed", range(2))
async def test_a_search_finds_what_a_look_at_each_row_finds(
    bus: Bus, running: Record, small: None, seed: int
) -> None:
    world = World(bus, seed)
    known: dict[Query, Hits] = {}
    for _ in range(3):
        await world.lines(120)
        await world.bar(25)
        log = await row_log(bus, running, attempt(), 0)
        rows = await all_rows(log)
        for query in QUERIES:
            expected = grep(rows, query)
            assert list((await find(log, query)).numbers) == expected, query
            known[query] = await find(log, query, known.get(query))
            assert list(known[query].numbers) == expected, query
            assert known[query].count == len(expected)
        await Sealer(bus).seal(RANK, None)


async def test_rows_go_on_while_the_archive_seals_what_was_read(
    bus: Bus, running: Record, small: None
) -> None:
    world = World(bus, 1)
    await world.lines(50)
    log = await row_log(bus, running, attempt(), 0)
    for _ in range(4):
        seen = len(world.pieces)
        await world.lines(120)
        await world.bar(20)
        for piece in world.pieces[seen:]:
            assert isinstance(piece, LogChunk)
            log.feed(piece)
        await Sealer(bus).seal(RANK, None)
        same(await all_rows(log), world.expected())
        await log.lighten()
        same(await all_rows(log), world.expected())
        assert list((await find(log, Query("epoch"))).numbers) == grep(
            world.expected(), Query("epoch")
        )
    log.finish()
    assert log.settled == log.total
    same(await all_rows(log), world.expected(complete=True))


async def test_a_deleted_log_has_no_rows_and_leaves_no_objects(
    bus: Bus, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "INLINE", 0)
    monkeypatch.setattr(sealed, "ROWS_INLINE", 0)
    world = World(bus, 1)
    await world.bar(20)
    await world.lines(150)
    done = record(attempt(end=world.end), state=State.SUCCEEDED)
    await write(bus, done, Fact.SUCCEEDED)
    index = await Sealer(bus).seal(RANK, world.end)
    names = {info.name async for info in Objects(bus).list("logs")}
    assert names == {f"{JOB}.1.0", *index.objects}
    assert len(index.objects) > len(index.blocks) + 1
    config = ArchiveConfig(keep=Keep(age=0.0))
    assert await Retention(bus, config, ServerClock(bus)).sweep() == 1
    assert [info.name async for info in Objects(bus).list("logs")] == [f"{JOB}.1.0"]
    log = await row_log(bus, done, done.attempts[0], 0)
    assert (log.total, log.settled, log.complete) == (0, 0, True)
    assert "it was older than 0 days" in log.deleted
    assert await log.window(1, 10) == []
    assert (await find(log, Query("epoch"))).count == 0


async def test_of_two_sealers_of_rows_one_wins_and_the_other_cleans_up(
    bus: Bus, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "INLINE", 0)
    monkeypatch.setattr(sealed, "ROWS_INLINE", 0)
    world = World(bus, 1)
    for _ in range(2):
        await world.lines(150)
        await world.bar(20)
        await asyncio.gather(*(Sealer(bus).seal(RANK, None) for _ in range(3)))
    index = await Sealer(bus).index(RANK)
    assert index is not None
    names = {info.name async for info in Objects(bus).list("logs")}
    assert names == {f"{JOB}.1.0", *index.objects}
    firsts = [(entry.first, entry.last) for entry in index.rows]
    assert firsts[0][0] == 1
    assert all(before[1] + 1 == after[0] for before, after in pairwise(firsts))
    assert await LogArchive(bus).sweep(-1.0) == 0
    same(await all_rows(await row_log(bus, record(attempt()), attempt(), 0)), world.expected())


async def test_rows_whose_block_is_lost_keep_their_numbers(
    bus: Bus, running: Record, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "INLINE", 0)
    world = World(bus, 3)
    for _ in range(6):
        await world.print(b"".join(b"%059d\n" % n for n in range(50)))
    index = await Sealer(bus).seal(RANK, None)
    log = await row_log(bus, running, attempt(), 0)
    before = [row[0] for row in await all_rows(log)]
    await Objects(bus).delete("logs", index.blocks[1].object)
    log = await row_log(bus, running, attempt(), 0)
    after = [row[0] for row in await all_rows(log)]
    assert len(after) == len(before)
    assert after != before
    assert after[-100:] == before[-100:]


@pytest.mark.parametrize("good", [0, 4])
async def test_bytes_that_cannot_be_painted_are_sealed_all_the_same(
    bus: Bus, running: Record, small: None, monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    """The first blocks of the run can be."""
    paint, calls = archive_rows.paint, 0

    def broken(screen: Screen, chunks: list[LogChunk]) -> list[Settled]:
        nonlocal calls
        calls += 1
        if calls > good:
            raise ValueError("a bug")
        return paint(screen, chunks)

    world = World(bus, 1)
    await world.lines(250)
    with monkeypatch.context() as patch:
        patch.setattr(archive_rows, "paint", broken)
        index = await Sealer(bus).seal(RANK, None)
    assert calls > good
    assert index.end == world.end
    assert not index.rows
    same(await all_rows(await row_log(bus, running, attempt(), 0)), world.expected())
    await world.lines(150)
    index = await Sealer(bus).seal(RANK, None)
    assert index.rows
    same(await all_rows(await row_log(bus, running, attempt(), 0)), world.expected())


async def test_rows_are_sealed_anew_where_their_screen_cannot_be_read(
    bus: Bus, running: Record, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "INLINE", 0)
    monkeypatch.setattr(sealed, "ROWS_INLINE", 0)
    world = World(bus, 4)
    await world.bar(20)
    await world.lines(150)
    index = await Sealer(bus).seal(RANK, None)
    assert index.screen is not None
    await Objects(bus).delete("logs", index.screen.object)
    same(await all_rows(await row_log(bus, running, attempt(), 0)), world.expected())
    await world.lines(60)
    index = await Sealer(bus).seal(RANK, None)
    assert index.rows[0].first == 1
    log = await row_log(bus, running, attempt(), 0)
    assert log.screen.end == index.end
    same(await all_rows(log), world.expected())
    names = {info.name async for info in Objects(bus).list("logs")}
    assert names == {f"{JOB}.1.0", *index.objects}
