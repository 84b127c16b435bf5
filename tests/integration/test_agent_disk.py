"""The disk of a worker runs full: the attempt says so, room is made, and work goes on."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from agent import housekeeping
from agent.config import AgentConfig
from agent.disk import DiskBounds
from agent.main import run_agent
from bus import subjects
from bus.codec import decode
from bus.connection import Bus
from bus.kv import Bucket
from bus.server import EmbeddedServer
from schemas.job import Reason, State
from schemas.requests import Explain, Explanation
from schemas.worker import Capacity, WorkerRecord
from tests.integration.house import PATIENCE, SMALL, House, open_house

DISK = 64 << 20
FLOOR = 4 << 20
FILL = (
    "import os\n"
    "print('filling', flush=True)\n"
    "with open(os.environ['STOKER_OUTPUTS'] + '/model', 'wb') as file:\n"
    "    while True:\n        file.write(bytes(1 << 20))\n"
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk where the worker works."""
    place = tmp_path / "w1"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, timeout=10).returncode:
        pytest.skip("mounting takes root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=10)


@pytest.fixture
def runtime() -> str:
    return "process"


@pytest.fixture
async def house(
    server: EmbeddedServer,
    bus: Bus,
    tmp_path: Path,
    disk: Path,
    runtime: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[House]:
    monkeypatch.setattr(housekeeping, "HURRY_EVERY", 0.5)
    monkeypatch.setattr(housekeeping, "FRUITLESS", 0.5)
    async with open_house(server.url, bus, tmp_path) as opened:
        config = AgentConfig(
            name="w1",
            work=disk,
            runtime=runtime,
            base_image=os.environ.get("STOKER_BASE_IMAGE", "stoker-base:local"),
            capacity=Capacity(cpus=8, memory=1 << 40, slots=8),
            disk=DiskBounds(floor=FLOOR),
        )
        opened.agents.append(opened.tasks.create_task(run_agent(opened.config, config)))
        yield opened


async def seen(bus: Bus, holds: Callable[[WorkerRecord], bool]) -> WorkerRecord:
    """The worker as the page shows it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            entries = await Bucket(bus, "workers").all()
            if "w1" in entries:
                record = decode(WorkerRecord, entries["w1"].value, None)
                if holds(record):
                    return record
            await asyncio.sleep(0.05)


async def told(bus: Bus, job: str, text: str) -> None:
    """Waits until the reason why the job does not run yet holds ``text``."""
    asked = Explain(job=job)
    async with asyncio.timeout(PATIENCE):
        while True:
            subject = subjects.request("scheduler", "explain")
            if text in (await bus.request(subject, asked, Explanation)).text:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("runtime", ["process", pytest.param("docker", marks=pytest.mark.docker)])
async def test_a_job_that_fills_the_disk_is_told_and_the_next_one_finds_room(
    house: House, bus: Bus, disk: Path
) -> None:
    before = await house.submit({"main.py": "print(1)"})
    assert (await house.ended(before)).state is State.SUCCEEDED
    roomy = {"cpus": 0.1, "memory": "256m"}  # what lies on a tmpfs counts as memory
    job = await house.submit({"main.py": FILL}, retries=0, resources=roomy)
    record = await house.ended(job)
    assert record.state is State.FAILED
    assert record.current is not None
    assert record.current.end is not None
    assert record.current.end.reason is Reason.DISK_FULL
    assert "disk was full" in record.current.end.detail
    assert b"filling\n" in await house.log(record)
    short = await seen(bus, lambda worker: bool(worker.aside))
    assert short.aside == "takes nothing new: less than 4 MiB of its disk were free"
    assert short.beat.draining
    await seen(bus, lambda worker: not worker.aside and not worker.beat.draining)
    assert not (disk / "outputs" / f"{job}.1").exists()
    after = await house.submit({"main.py": "print(2)"})
    assert (await house.ended(after)).state is State.SUCCEEDED


async def test_a_worker_that_finds_no_room_waits_and_does_not_fail_job_after_job(
    house: House, bus: Bus, disk: Path
) -> None:
    await seen(bus, lambda worker: not worker.aside)
    strangers = disk / "somebody-elses"
    strangers.write_bytes(bytes(os.statvfs(disk).f_bavail * 4096 - (1 << 20)))
    await seen(bus, lambda worker: bool(worker.aside))
    job = await house.submit({"main.py": "print(1)"})
    await told(bus, job, "takes nothing new: less than 4 MiB of its disk were free")
    assert strangers.exists()
    strangers.unlink()
    record = await house.ended(job)
    assert (record.state, record.attempt) == (State.SUCCEEDED, 1)


async def test_an_attempt_that_finds_no_room_at_its_start_says_so(
    house: House, bus: Bus, disk: Path
) -> None:
    await seen(bus, lambda worker: not worker.aside)
    big = {"main.py": "print(1)", "data": "x" * (70 << 20)}
    job = await house.submit(big, retries=0)
    record = await house.ended(job)
    assert record.current is not None
    assert record.current.end is not None
    assert record.current.end.reason is Reason.DISK_FULL
    again = await house.submit({"main.py": "print(1)"}, resources=SMALL)
    assert (await house.ended(again)).state is State.SUCCEEDED
