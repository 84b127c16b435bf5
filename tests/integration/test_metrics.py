"""What jobs print becomes series, whoever reads them, and however odd they are."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import dataclasses
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bus.connection import Bus
from bus.metric_store import MetricStore, head_subject
from bus.metrics import MetricWriter, Place
from schemas.job import Fact, State
from schemas.metrics import MOST_SERIES, Column, Samples, Source
from services.metrics.config import MetricsConfig
from services.metrics.service import Metrics
from services.metrics.service import run as run_metrics
from stoker import command
from tests.integration.ui_run import JOB, Run
from ui.app import serving
from ui.config import UiConfig

Session = aiohttp.ClientSession
BASE = f"/api/v1/jobs/{JOB}"
QUICK = MetricsConfig(
    look_every=0.05, fold_every=0.05, fold_watched=0.05, fold_worker=0.05, theirs_for=0.3,
    missing_again=0.2, outputs_every=0.1,
)  # fmt: skip


@contextlib.asynccontextmanager
async def service(bus: Bus, config: MetricsConfig = QUICK) -> AsyncIterator[None]:
    task = asyncio.create_task(run_metrics(bus, config))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def http(bus: Bus) -> AsyncIterator[Session]:
    async with (
        serving(bus, UiConfig(port=0, sign_in=False)) as address,
        Session(address) as session,
    ):
        yield session


async def get(http: Session, path: str, **query: Any) -> Any:
    async with http.get(f"{BASE}{path}", params=query) as answer:
        return json.loads(await answer.text())


async def until_complete(bus: Bus, attempt: int = 1) -> None:
    async with asyncio.timeout(30):
        while True:
            stored = await MetricStore(bus).get(Place.of(JOB, attempt))
            if stored and stored.head.complete:
                return
            await asyncio.sleep(0.02)


def series(answer: Any, attempt: int = 0) -> dict[str, Any]:
    return {one["key"]: one for one in answer["attempts"][attempt]["series"]}


async def test_a_job_that_prints_gets_curves(bus: Bus, http: Session) -> None:
    run = Run(bus)
    await run.begin()
    async with service(bus):
        for step in range(1, 101):
            loss = "nan" if step == 50 else 1 / step
            await run.write(b"plain words\nstep=%d loss=%s\n" % (step, str(loss).encode()))
        await run.end()
        await until_complete(bus)
    listed = await get(http, "/metrics")
    loss = series(listed)["log:loss"]
    assert (loss["count"], loss["bad"], loss["first_step"], loss["last_step"]) == (100, 1, 1, 100)
    assert (loss["min"], loss["max"], loss["last"]) == (0.01, 1.0, 0.01)
    whole = await get(http, "/metrics/points", series="log:loss")
    assert whole["series"][0]["steps"] == list(range(1, 101))
    assert whole["series"][0]["bad"] == [[49, "NaN"]]
    assert whole["series"][0]["values"][49] is None
    few = await get(
        http, "/metrics/points", series="loss", points=10, axis="step", **{"from": 10, "to": 90}
    )
    assert (few["series"][0]["chosen"], few["series"][0]["reduced"]) == (81, True)
    assert len(few["series"][0]["steps"]) <= 10
    assert [49, "NaN"] not in few["series"][0]["bad"]
    assert few["series"][0]["bad"]
    unknown = await get(http, "/metrics/points", series="log:los")
    assert (unknown["code"], "log:loss" in unknown["detail"]) == ("unknown_series", True)
    async with http.get("/api/v1/sparks", params={"job": JOB}) as answer:
        [spark] = (await answer.json())["sparks"]
    assert (spark["key"], spark["last"], len(spark["values"]) <= 40) == ("log:loss", 0.01, True)


async def test_all_points_come_as_files(bus: Bus, http: Session) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    run = Run(bus)
    await run.begin()
    async with service(bus):
        for start in range(0, 30_000, 10_000):
            steps = range(start, start + 10_000)
            await run.write(b"".join(b"step=%d loss=%d acc=inf\n" % (n, n) for n in steps))
        await run.end()
        await until_complete(bus)
    async with http.get(f"{BASE}/metrics.csv") as answer:
        rows = list(csv.DictReader(io.StringIO(await answer.text())))
    told = [row for row in rows if row["name"] == "loss"]
    assert [int(row["step"]) for row in told] == list(range(30_000))
    assert {row["value"] for row in rows if row["name"] == "acc"} == {"inf"}
    async with http.get(f"{BASE}/metrics.parquet?series=log:loss") as answer:
        table = parquet.read_table(io.BytesIO(await answer.read()))
    assert table.column_names == ["attempt", "source", "name", "step", "time", "value"]
    assert table["value"].to_pylist() == [float(n) for n in range(30_000)]


async def test_what_a_worker_sends_is_believed_of_the_one_that_the_record_names(
    bus: Bus, http: Session
) -> None:
    run = Run(bus)
    await run.begin()
    cpu = Samples(source=Source.MACHINE, columns={"cpu": Column.of([(0, 5.0, 1.5)])})
    sent = Samples(
        source=Source.MLFLOW, columns={"f1": Column.of([(7, 6.0, 0.5)])}, params={"lr": "0.1"}
    )
    lie = Samples(source=Source.MACHINE, columns={"lie": Column.of([(0, 5.0, 9.0)])})
    log = Samples(source=Source.LOG, columns={"forged": Column.of([(0, 5.0, 9.0)])})
    mine = MetricWriter(bus, JOB, 1, "w1")
    await MetricWriter(bus, JOB, 1, "w2").publish(lie)
    await MetricWriter.of_worker(bus, "w1").publish(cpu)
    async with service(bus):
        for samples in (cpu, log, sent):
            await mine.publish(samples, "the same")
            await mine.publish(samples, "the same")
        await mine.publish(sent)
        await run.end()
        await until_complete(bus)
        listed = await get(http, "/metrics")
        assert set(series(listed)) == {"machine:cpu", "mlflow:f1"}
        assert [series(listed)[key]["count"] for key in series(listed)] == [1, 1]
        assert listed["attempts"][0]["params"] == {"lr": "0.1"}
        assert series(listed)["machine:cpu"]["unit"] == "cores"
        async with asyncio.timeout(30):
            while (await MetricStore(bus).get(Place.of_worker("w1"))) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    async with http.get("/api/v1/workers/w1/metrics") as answer:
        [told] = (await answer.json())["series"]
    assert (told["key"], told["times"], told["last"]) == ("machine:cpu", [], None)
    async with http.get("/api/v1/workers/nobody/metrics") as answer:
        assert answer.status == 404


async def test_odd_input_neither_hurts_nor_is_dropped_in_silence(bus: Bus, http: Session) -> None:
    run = Run(bus)
    await run.begin()
    odd = [
        b"x" * (5 << 20) + b" loss=1 step=1\n",
        bytes(range(256)) * 64 + b"\n",
        b'{"step": 1e400, "loss": ' + b"[" * 5000 + b"\n",
        b'{"step": 99999999999999999999, "loss": 3}\n',
        b"step=5 loss=inf\nstep=3 loss=-inf\nstep=4 loss=1e999\n",
        "Schritt=1 épreuve=3 step=9\n".encode(),
        b"".join(b"name%d=1 step=1\n" % n for n in range(20_000)),
    ]
    async with service(bus):
        for data in odd:
            for at in range(0, len(data), 500_000):
                await run.write(data[at : at + 500_000])
        await run.write(b"step=2 loss=0.5")
        await run.end()
        await until_complete(bus)
    listed = (await get(http, "/metrics"))["attempts"][0]
    assert len(listed["series"]) == MOST_SERIES
    assert listed["left_out"]["series"] > 19_000
    assert "further series" in listed["notes"][0]
    body = await get(http, "/metrics/points", series="log:loss", axis="time")
    [loss] = body["series"]
    assert loss["steps"][-4:] == [5, 3, 4, 2]
    assert [word for _, word in loss["bad"]] == ["Infinity", "-Infinity", "Infinity"]


async def test_a_viewer_is_told_what_is_new_and_when_all_is_told(bus: Bus, http: Session) -> None:
    run = Run(bus)
    await run.begin()
    await run.write(b"step=1 loss=3\n")
    told: list[dict[str, Any]] = []
    async with service(bus), http.ws_connect(f"{BASE}/metrics/ws") as ws, asyncio.timeout(60):
        assert (await ws.receive_json())["type"] == "hello"
        for step in range(2, 6):
            await run.write(b"step=%d loss=%d\n" % (step, step))
        await MetricWriter(bus, JOB, 1, "w1").publish(
            Samples(source=Source.MLFLOW, params={"lr": "1"})
        )
        await run.end()
        async for message in ws:
            told.append(json.loads(message.data))
    kinds = [one["type"] for one in told]
    assert (kinds[-1], "params" in kinds) == ("end", True)
    points = [s for one in told if one["type"] == "points" for s in one["series"]]
    assert points[-1]["count"] == 5
    steps = [step for one in points for step in one["steps"]]
    assert steps == sorted(set(steps)), "each point is told once"
    assert steps[-1] == 5


async def test_replicas_tell_every_point_once(bus: Bus, http: Session) -> None:
    run = Run(bus)
    await run.begin()
    async with service(bus), service(bus), service(bus):
        for step in range(300):
            await run.write(b"step=%d loss=%d\n" % (step, step))
        await run.end()
        await until_complete(bus)
    body = await get(http, "/metrics/points", series="log:loss")
    assert body["series"][0]["steps"] == list(range(300))


async def test_an_attempt_that_is_repeated_has_metrics_of_its_own(bus: Bus, http: Session) -> None:
    run = Run(bus)
    async with service(bus):
        for attempt in (1, 2):
            await run.begin(f"w{attempt}")
            await run.write(b"step=1 loss=%d\n" % attempt)
            last = attempt == 2
            fact, state = (
                (Fact.SUCCEEDED, State.SUCCEEDED) if last else (Fact.RETRYING, State.WAITING)
            )
            await run.end(fact, state)
            await until_complete(bus, attempt)
    listed = await get(http, "/metrics")
    assert [one["attempt"] for one in listed["attempts"]] == [1, 2]
    newest = await get(http, "/metrics/points", series="log:loss")
    assert (newest["attempt"], newest["series"][0]["values"]) == (2, [2.0])


async def test_a_long_log_lets_others_have_their_turn(bus: Bus) -> None:
    run, place = Run(bus), Place.of(JOB, 1)
    await run.begin()
    for step in range(9):
        await run.write(b"step=%d loss=1\n" % step)
    await run.end()
    metrics = Metrics(bus, dataclasses.replace(QUICK, turn=0.0, log_at_once=30))
    attempt = run.record.attempts[0]
    assert await metrics._end(run.record, attempt, 0.0) > 0
    assert await metrics._fold(place, "w1")
    stored = await metrics.ways.store.get(place)
    assert stored is not None
    assert 0 < stored.head.points < 9
    async with service(bus, metrics._config):
        await until_complete(bus)
    stored = await metrics.ways.store.get(place)
    assert (stored and stored.head.points) == 9


async def test_what_nothing_names_is_swept(bus: Bus) -> None:
    run = Run(bus)
    await run.begin()
    for start in range(0, 40_000, 10_000):
        lines = (b"step=%d loss=%f\n" % (n, n * 0.37) for n in range(start, start + 10_000))
        await run.write(b"".join(lines))
    await run.end()
    async with service(bus):
        await until_complete(bus)
    store, place = MetricStore(bus), Place.of(JOB, 1)
    orphan = await store.put_block(place, b"left behind")
    from services.metrics.sweeping import Sweeper

    metrics = Metrics(bus, MetricsConfig(orphans_after=-1.0))
    unreadable = Place.of("00000000-0000", 1)
    await store.put_block(unreadable, b"of whom?")
    await bus.append(head_subject(unreadable.job, unreadable.part), b"no index")
    assert await Sweeper(metrics.ways, metrics.records).round() == 1
    stored = await store.get(place)
    assert stored is not None
    named = {block.id for block in stored.head.blocks}
    assert (named, orphan in named) == (await store.stored_blocks(place), False)
    assert stored.head.points == 40_000


async def run_command(*arguments: str) -> int:
    return await asyncio.to_thread(command.run, list(arguments))


async def test_the_command_lists_and_saves(
    bus: Bus, http: Session, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = Run(bus)
    await run.begin()
    server = ("--server", str(http._base_url).rstrip("/"))
    assert await run_command("metrics", JOB, *server) != 0
    assert "nothing was measured" in capfd.readouterr().err
    async with service(bus):
        await run.write(b"step=1 loss=2.5\nstep=2 loss=nan\n")
        await run.end()
        await until_complete(bus)
    assert await run_command("metrics", JOB, *server) == 0
    out, err = capfd.readouterr()
    assert ("log:loss" in out, "NaN" in out, "complete" in err) == (True, True, True)
    assert await run_command("metrics", JOB, "--series", "los", *server) != 0
    assert "there is no series 'los'" in capfd.readouterr().err
    file = tmp_path / "m.csv"
    assert await run_command("metrics", JOB, "--csv", str(file), *server) == 0
    assert file.read_text().splitlines()[1:] == [
        "1,log,loss,1,2.000,2.5", "1,log,loss,2,2.000,NaN"
    ]  # fmt: skip
    assert [path.name for path in tmp_path.glob("m.csv*")] == ["m.csv"]
