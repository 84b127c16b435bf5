"""Clocks an hour apart between machines change nothing but the times that are shown."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bus.clock import server_time
from bus.connection import Bus
from bus.kv import Bucket
from bus.link import BusConfig
from bus.logs import LogWriter, read_job
from bus.objects import Objects
from bus.sealed import LogArchive
from bus.server import EmbeddedServer
from schemas.job import Fact, Record, State
from services.archive.config import ArchiveConfig
from services.archive.service import run as run_archive
from tests.integration.house import House, dummy
from tests.integration.log_tools import JOB, attempt, chunk, record, text, write

HOUR = 3600.0
AHEAD, BEHIND = "+1h", "-1h"
LINES = 40
ARCHIVE = """\
import asyncio, sys
from bus.connection import Bus
from bus.link import BusConfig
from services.archive.config import ArchiveConfig
from services.archive.service import run

async def main():
    async with Bus.connect(BusConfig(servers=(sys.argv[1],), name="archive")) as bus:
        await run(bus, ArchiveConfig(seal_after=0.5, late=3.0))

asyncio.run(main())
"""


@pytest.fixture(params=[HOUR, -HOUR], ids=["ahead", "behind"])
def apart(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """The clock of this process is an hour off the NATS server's."""
    hour: float = request.param
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + hour)
    return hour


async def test_the_late_end_of_a_log_is_waited_for(bus: Bus, apart: float) -> None:
    config = ArchiveConfig(seal_after=0.0, late=20.0)
    async with asyncio.TaskGroup() as tasks:
        archive = tasks.create_task(run_archive(bus, config))
        await write(bus, record(attempt(end=4), state=State.SUCCEEDED), Fact.SUCCEEDED)
        await until_looked_at(bus)
        writer = LogWriter(bus, JOB, 1, 0, "w1")
        await writer.publish(chunk(0, b"late"))
        await until_sealed(bus, JOB)
        archive.cancel()
    assert await text(read_job(bus, JOB, wait=True)) == b"late"


async def until_looked_at(bus: Bus) -> None:
    """The archive has had the end in its hands, and gave it back."""
    async with asyncio.timeout(10):
        while True:
            info = await bus.api("CONSUMER.INFO.JOBS.archive")
            if info["delivered"]["consumer_seq"] and not info["num_pending"]:
                return
            await asyncio.sleep(0.05)


async def until_sealed(bus: Bus, job: str, number: int = 1) -> None:
    async with asyncio.timeout(40):
        while True:
            stored = await LogArchive(bus).index(job, number, 0)
            if stored is not None and stored.index.complete:
                return
            await asyncio.sleep(0.1)


async def test_what_is_being_put_is_not_swept(bus: Bus, apart: float) -> None:
    await bus.append("$O.bundles.C.new", b"a chunk of what has no name yet")
    assert await Objects(bus).sweep("bundles", 600.0) == 0


async def test_the_stores_own_time_is_asked_for(bus: Bus, apart: float) -> None:
    assert abs(await server_time(bus, "JOBS") + apart - time.time()) < HOUR / 2


@contextlib.asynccontextmanager
async def machine(clock: str, folder: Path, *command: str) -> AsyncIterator[Callable[[], None]]:
    """A process on a machine whose clock is off, by libfaketime; gives what kills it."""
    folder.mkdir()
    with open(folder / "log", "wb") as output:
        process = await asyncio.create_subprocess_exec(
            "faketime", "--exclude-monotonic", "-f", clock, sys.executable, *command,
            stdout=output, stderr=output, start_new_session=True,
            env={**os.environ, "STOKER_DATA": str(folder)},
        )  # fmt: skip

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    try:
        yield kill
    finally:
        kill()
        await process.wait()


@pytest.mark.faketime
@pytest.mark.timeout(200)  # eight processes of Python start, on a machine that may be busy
async def test_a_house_of_machines_whose_clocks_are_an_hour_off(
    bus: Bus, server: EmbeddedServer, tmp_path: Path
) -> None:
    """Two of each service and two workers, half of them an hour ahead, half of them behind."""
    nats = ("--nats", server.url)
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        kills: dict[str, Callable[[], None]] = {}

        async def start(name: str, clock: str, *command: str) -> None:
            one = machine(clock, tmp_path / name, *command)
            kills[name] = await stack.enter_async_context(one)

        for name, clock in (("ahead", AHEAD), ("behind", BEHIND)):
            serve = ("-m", "stoker", "serve")
            scheduler = (*serve, "scheduler", "--lost-after", "12s", *nats)
            await start(f"scheduler-{name}", clock, *scheduler)
            await start(f"upload-{name}", clock, *serve, "upload", *nats)
            await start(f"archive-{name}", clock, "-c", ARCHIVE, server.url)
            work = ("--work", str(tmp_path / f"agent-{name}" / "work"))
            agent = ("-m", "stoker", "agent", "--runtime", "dummy", "--name", name, *work)
            await start(f"agent-{name}", clock, *agent, "--pool", "p", *nats)
        # A second attempt asks it for a checkpoint before it begins.
        await start("outputs", AHEAD, "-m", "stoker", "serve", "outputs", *nats)
        await until_there(bus, {"ahead", "behind"})
        house = House(bus, BusConfig(servers=(server.url,)), tmp_path, tasks)
        prints = dummy(LINES=LINES)
        jobs = [await house.submit(pool="p", environment=prints) for _ in range(8)]
        for job in jobs:
            await check(house, await house.ended(job), 1)
        long = await house.submit(pool="p", environment=dummy(SLEEP=60))
        victim = (await house.running(long)).attempts[-1].worker
        kills[f"agent-{victim}"]()
        again = await house.until(long, lambda one: one.attempt == 2 and one.state is State.RUNNING)
        assert again.attempts[-1].worker != victim
        assert (await house.cancel(long)).state in (State.CANCELLING, State.CANCELLED)
        assert (await house.ended(long)).state is State.CANCELLED
        for job in jobs:
            await until_sealed(bus, job)
            await check(house, await house.ended(job), 1)


async def check(house: House, ended: Record, attempts: int) -> None:
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, attempts), ended.timeline
    assert (await house.log(ended)).count(b"\n") == LINES


async def until_there(bus: Bus, workers: set[str]) -> None:
    async with asyncio.timeout(90):
        while set(await Bucket(bus, "workers").all()) != workers:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
