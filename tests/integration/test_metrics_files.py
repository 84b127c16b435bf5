"""Event files of TensorBoard become curves while they grow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bus.connection import Bus
from bus.layout import declare
from bus.metric_blocks import unpack
from bus.metric_store import MetricStore, StoredMetrics
from bus.metrics import MetricWriter, Place
from schemas.job import State
from schemas.metrics import Column, Samples, Source
from services.metrics.config import MetricsConfig
from services.metrics.service import Metrics
from services.metrics.service import run as run_metrics
from tests.integration.output_tools import JOB, Case, serving

QUICK = MetricsConfig(look_every=0.05, fold_every=0.05, missing_again=0.2, outputs_every=0.05)
TAG = (Source.TENSORBOARD, "runs/a/loss")


async def told(bus: Bus, count: int, send: Callable[[], Awaitable[object]]) -> StoredMetrics:
    """Sends until so many points are there: the writer writes when it likes."""
    async with asyncio.timeout(30):
        while True:
            await send()
            stored = await MetricStore(bus).get(Place.of(JOB, 1))
            if stored and len(unpack(stored.head.tail).get(TAG, ())) >= count:
                return stored
            await asyncio.sleep(0.02)


async def test_event_files_are_read_while_they_grow(bus: Bus, tmp_path: Path) -> None:
    writers = pytest.importorskip("tensorboardX")
    case = Case(bus, tmp_path)
    grant = await case.attempt(1)
    writer = writers.SummaryWriter(str(case.root / "runs" / "a"))
    metrics = asyncio.create_task(run_metrics(bus, QUICK))
    try:
        async with serving(bus):
            sender = case.sender(grant)

            async def send() -> None:
                writer.flush()
                await sender.round(str(case.root), final=False)
                await nudge(bus)

            for step in range(3):
                for number in range(10):
                    writer.add_scalar("loss", 1 / (1 + number), step * 10 + number)
                await told(bus, (step + 1) * 10, send)
            writer.add_scalar("loss", float("nan"), 99)
            writer.close()
            await sender.round(str(case.root), final=True)
        await case.attempt(1, State.SUCCEEDED)
        stored = await told(bus, 31, lambda: nudge(bus))
    finally:
        metrics.cancel()
        await asyncio.gather(metrics, return_exceptions=True)
    points = unpack(stored.head.tail)[TAG]
    assert list(points.steps) == [*range(30), 99]
    assert {one.name for one in stored.head.series} == {"cpu", "runs/a/loss"}
    [cursor] = stored.head.files.values()
    assert (cursor.damaged, cursor.lost) == (0, False)


async def test_a_sequence_that_stands_for_another_message_is_heard(bus: Bus) -> None:
    place = Place.of_worker("w1")
    sender = MetricWriter.of_worker(bus, "w1")
    metrics = Metrics(bus, QUICK)
    for moment in (1.0, 2.0):
        told = {"cpu": Column.of([(1, moment, moment)])}
        await sender.publish(Samples(source=Source.MACHINE, columns=told))
        assert not await metrics._fold(place, "w1")
        stored = await metrics.ways.store.get(place)
        assert stored is not None
        assert (stored.head.heard, stored.head.series[0].last) == (1, moment)
        await bus.api("STREAM.DELETE.METRICS")  # as after a kill that lost what was not on disk
        await declare(bus)


async def nudge(bus: Bus) -> None:
    """As a worker does every few seconds: it measures, and with that the attempt is looked at."""
    machine = Samples(source=Source.MACHINE, columns={"cpu": Column.of([(1, 1.0, 1.0)])})
    await MetricWriter(bus, JOB, 1, "w1").publish(machine)
