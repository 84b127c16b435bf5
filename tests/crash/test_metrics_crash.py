"""A service of metrics that dies anywhere tells every point once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bus.connection import Bus
from bus.errors import NotFound
from bus.logs import LogWriter
from bus.metric_blocks import unpack
from bus.metric_store import MetricStore
from bus.metrics import MetricWriter, Place
from schemas.job import Fact, State
from schemas.metrics import Column, Points, Samples, Source
from services.metrics.config import MetricsConfig
from services.metrics.service import Metrics
from services.metrics.sweeping import Sweeper
from tests.crash.child import Program
from tests.crash.harness import Play, Scenario, cases, crash_everywhere
from tests.crash.worlds import Server, World
from tests.integration.log_tools import JOB, attempt, chunk, record, write

CONFIG = {
    "look_every": 0.02, "fold_every": 0.02, "fold_watched": 0.02, "fold_worker": 0.02,
    "theirs_for": 0.2, "missing_again": 0.2, "tail": 150, "block": 700,
}  # fmt: skip
PLACE = Place.of(JOB, 1)
LINES = 12
TOLD = 40
"""Points of a line and of a message: enough of them are a block."""


def line(n: int) -> bytes:
    values = " ".join(f"s{at}={n * 31 % 17 + at / 7}" for at in range(TOLD))
    return f"step={n} {values}\n".encode()


def samples(n: int) -> Samples:
    rows = [(n * TOLD + at, float(at), n * 1.7 + at) for at in range(TOLD)]
    return Samples(
        source=Source.MLFLOW, columns={"sent": Column.of(rows)}, params={f"p{n}": str(n)}
    )


async def points(bus: Bus) -> dict[tuple[Source, str], Points]:
    stored = await MetricStore(bus).get(PLACE)
    found: dict[tuple[Source, str], Points] = {}
    if stored is None:
        return found
    blocks = [await MetricStore(bus).block(PLACE, block) for block in stored.head.blocks]
    for data in (*blocks, stored.head.tail):
        for key, part in unpack(data).items():
            found.setdefault(key, Points()).extend(part)
    for one in stored.head.series:
        assert one.count == len(found[one.source, one.name])
    return found


async def until(world: World, lines: int, messages: int) -> None:
    """Each point was told once, in order."""
    while True:
        try:
            found = await points(world.bus)
        except (LookupError, NotFound):  # a block that the next index does not name any more
            found = {}
        told = found.get((Source.LOG, "s0"), Points())
        sent = found.get((Source.MLFLOW, "sent"), Points())
        assert list(told.steps) == list(range(len(told)))
        assert list(sent.steps) == list(range(len(sent)))
        if (len(told), len(sent)) == (lines, messages * TOLD):
            return
        await asyncio.sleep(0.02)


async def a_job_that_tells_much(world: World) -> None:
    await write(world.bus, record(attempt()), Fact.RUNNING)
    writer, sender = LogWriter(world.bus, JOB, 1, 0, "w1"), MetricWriter(world.bus, JOB, 1, "w1")
    offset = 0
    for n in range(LINES):
        await writer.publish(chunk(offset, line(n)))
        offset += len(line(n))
        await sender.publish(samples(n))
        if n in (3, 8):
            await until(world, n + 1, n + 1)
    end = record(attempt(end=offset), state=State.SUCCEEDED)
    await write(world.bus, end, Fact.SUCCEEDED)
    await until(world, LINES, LINES)
    while not ((stored := await MetricStore(world.bus).get(PLACE)) and stored.head.complete):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    assert stored.head.params == {f"p{n}": str(n) for n in range(LINES)}
    await world.until_messages("METRICS", 0)
    await tidy(world)


async def tidy(world: World) -> None:
    """Each block is named, or swept."""
    metrics = Metrics(world.bus, MetricsConfig(orphans_after=-1.0))
    await Sweeper(metrics.ways, metrics.records).round()
    stored = await MetricStore(world.bus).get(PLACE)
    assert stored is not None
    named = {block.id for block in stored.head.blocks}
    assert named == await MetricStore(world.bus).stored_blocks(PLACE)
    assert len(named) > 1
    await until(world, LINES, LINES)


async def a_job_that_ended_before_anybody_looked(world: World) -> None:
    await write(world.bus, record(attempt()), Fact.RUNNING)
    writer = LogWriter(world.bus, JOB, 1, 0, "w1")
    await writer.publish(chunk(0, line(0)[:90]))
    await writer.publish(chunk(90, line(0)[90:-1]))
    end = record(attempt(end=len(line(0)) - 1), state=State.FAILED)
    await write(world.bus, end, Fact.FAILED)
    await until(world, 1, 0)


@pytest.mark.parametrize(
    ("play", "replicas"),
    cases([a_job_that_tells_much, a_job_that_ended_before_anybody_looked], [a_job_that_tells_much]),
)
async def test_metrics_survive_a_crash_anywhere(
    worlds: Server, tmp_path: Path, play: Play, replicas: int
) -> None:
    program = Program("metrics", CONFIG)
    outcome = await crash_everywhere(worlds, Scenario(program, play, replicas), tmp_path)
    outcome.check(at_least=3)
