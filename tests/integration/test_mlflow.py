"""MLflow's real client tracks to the worker of its job, whatever becomes of the agent."""

from __future__ import annotations

import asyncio
import contextlib
import math
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.mlflow.address import URI, tracking_variables
from bus import subjects
from bus.connection import Bus
from bus.follow import follow
from bus.metrics import place_of, read_samples
from bus.server import EmbeddedServer
from schemas.job import Record, State
from schemas.metrics import Source
from schemas.spec import JobSpec
from schemas.worker import Grant
from tests.integration.house import House, open_house
from tests.plugins.mlflow_client import QUIET, SCRIPT, site_packages

pytestmark = pytest.mark.timeout(240)
PATIENCE = 100.0
RESOURCES = {"cpus": 1, "memory": "1g"}
SECRET = "hf_0123456789abcdef"


@dataclass
class Heard:
    """What one attempt told, of all messages together."""

    points: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    left_out: int = 0


@pytest.fixture
async def house(
    server: EmbeddedServer, bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    """With more patience: the client alone takes its time to be loaded."""
    monkeypatch.setattr("tests.integration.house.PATIENCE", PATIENCE)
    async with open_house(server.url, bus, tmp_path) as opened:
        yield opened


async def heard(house: House, job: str, enough: str) -> Heard:
    """Until ``enough`` is a series of it."""
    found = Heard()
    async with asyncio.timeout(PATIENCE):
        stream = follow(house.bus, "METRICS", subjects.metric(job, "*", "*"))
        async with contextlib.aclosing(stream) as deliveries:
            async for delivery in deliveries:
                samples = read_samples(delivery)
                assert samples is not None
                if samples.source is not Source.MLFLOW:
                    continue
                assert place_of(delivery.subject)[1] == "w1"
                found.params |= samples.params
                found.left_out += samples.left_out
                for name, column in samples.columns.items():
                    points = column.points()
                    rows = zip(points.steps, points.values, strict=True)
                    found.points.setdefault(name, []).extend(rows)
                if enough in found.points:
                    return found
    raise AssertionError("the stream of metrics ended")


async def submit(house: House, code: str, **environment: str) -> str:
    found = {"PYTHONPATH": str(site_packages()), **QUIET, **environment}
    return await house.submit({"main.py": code}, environment=found, resources=RESOURCES)


async def succeeded(house: House, job: str) -> Record:
    record = await house.ended(job)
    assert record.state is State.SUCCEEDED, (record.detail, await house.log(record))
    return record


async def test_a_script_tracks_unchanged_across_a_restart_of_the_agent(house: House) -> None:
    agent = house.agent("process")
    job = await submit(house, SCRIPT, WAIT="1", HF_TOKEN=SECRET)
    record = await house.running(job)
    await house.printed(record, b"first")
    await house.end(agent)
    outputs = house.folder / "w1" / "attempts" / f"{job}.1" / "outputs"
    (outputs / "go").touch()
    house.agent("process")
    text = await house.log(await succeeded(house, job))
    assert text.endswith(b"refused: INVALID_PARAMETER_VALUE\ndone\n")
    told = await heard(house, job, "second/loss")
    loss = told.points["loss"]
    assert [step for step, _ in loss] == list(range(1, 33))
    assert loss[0][1] == 0.5
    assert math.isnan(loss[1][1])
    assert told.points["acc"] == [(2, 1.0)]
    assert told.points["second/loss"] == [(1, 7.0)]
    assert told.left_out == 0
    assert told.params == {
        "lr": "0.1", "tags.team": "a", "second/lr": "0.2", "token": "[redacted HF_TOKEN]",
    }  # fmt: skip


ADDRESS = f"""
import os, pathlib, time
out = pathlib.Path(os.environ["STOKER_OUTPUTS"])
(out / "address").write_text(os.environ.get("{URI}", ""))
print("ready", flush=True)
while not (out / "go").exists():
    time.sleep(0.05)
"""


async def test_an_address_speaks_for_one_attempt_and_ends_with_it(house: House) -> None:
    house.agent("process")
    jobs = [await submit(house, ADDRESS) for _ in range(2)]
    own = await submit(house, f"import os; assert os.environ['{URI}'] == 'x'", **{URI: "x"})
    await succeeded(house, own)
    folders = [house.folder / "w1" / "attempts" / f"{job}.1" / "outputs" for job in jobs]
    for job in jobs:
        await house.printed(await house.running(job), b"ready")
    one, other = ((folder / "address").read_text() for folder in folders)
    assert await asyncio.to_thread(ask, one) == 200
    base, token = other.rsplit("/", 1)
    stranger = f"{one.rsplit('/', 1)[0]}/{token}"
    assert [await asyncio.to_thread(ask, url) for url in (stranger, base, base + "/x")] == [403] * 3
    for job, folder in zip(jobs, folders, strict=True):
        (folder / "go").touch()
        await succeeded(house, job)
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(ask, one)


def test_where_nobody_can_listen_a_script_tracks_into_its_outputs(tmp_path: Path) -> None:
    spec = JobSpec.model_validate({})
    grant = Grant(job="j", attempt=1, nonce="n", spec=spec, bundle="b")
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={
            **QUIET,
            **tracking_variables(grant, None, str(outputs)),
            "STOKER_OUTPUTS": str(outputs),
            "HOME": str(tmp_path),
            "PATH": "/usr/bin:/bin",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.endswith("done\n"), done.stderr
    assert list((outputs / "mlflow").rglob("metrics/loss"))


def ask(url: str) -> int:
    request: Any = f"{url}/api/2.0/mlflow/experiments/get?experiment_id=0"
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        return error.code
