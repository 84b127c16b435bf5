"""Three servers keep each stream three times: the one that leads is killed, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from agent.config import AgentConfig
from agent.main import run_agent
from bus import subjects
from bus.connection import Bus
from bus.errors import BusError
from bus.follow import follow
from bus.layout import STREAMS, declare
from bus.link import BusConfig
from bus.objects import Objects
from schemas.job import State
from schemas.requests import Submit, Submitted
from schemas.spec import JobSpec
from schemas.worker import Capacity
from services.archive.config import ArchiveConfig
from services.archive.service import run as run_archive
from services.scheduler.config import SchedulerConfig
from services.scheduler.service import run as run_scheduler
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from tests.integration.cluster import NAMES, Cluster, cluster, current, leader_of
from tests.integration.house import PATIENCE, SMALL, House, dummy, once, zipped

READERS = 30
LATE = b"x" * 300_000
LINES = 800
PRINTER = f"""\
import time
for number in range({LINES}):
    print(f"line {{number}}", flush=True)
    time.sleep(0.015)
"""


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path) as running:
        yield running


@pytest.fixture
async def house(servers: Cluster, tmp_path: Path) -> AsyncIterator[House]:
    config = BusConfig(servers=servers.urls, name="house")
    async with Bus.connect(config) as bus:
        await declare(bus, replicas=3)
        async with asyncio.TaskGroup() as tasks:
            parts = [
                tasks.create_task(run_scheduler(bus, SchedulerConfig(replicas=3))),
                tasks.create_task(run_upload(bus, UploadConfig())),
                tasks.create_task(run_archive(bus, ArchiveConfig())),
            ]
            house = House(bus, config, tmp_path, tasks)
            yield house
            for task in (*house.agents, *parts):
                task.cancel()


def agent(house: House, runtime: str) -> None:
    """One of a pool of its own, so that each job meets the runtime that it is made for."""
    config = AgentConfig(
        name=runtime,
        work=house.folder / runtime,
        runtime=runtime,
        pool=runtime,
        capacity=Capacity(cpus=8, memory=1 << 40, slots=64),
    )
    house.agents.append(house.tasks.create_task(run_agent(house.config, config)))


class Load:
    """Submissions one after the other, each repeated until it is answered."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.accepted: list[str] = []
        self.stopping = False

    async def bundle(self) -> str:
        await Objects(self._bus).put("uploads", "load", once(zipped({"main.py": ""})))
        return (await self._ask("load", upload="load")).record.bundle

    async def run(self, name: str, bundle: str) -> None:
        number = 0
        while not self.stopping:
            number += 1
            await self._submit(f"{name}-{number}", bundle)
            await asyncio.sleep(0.05)

    async def _submit(self, key: str, bundle: str) -> None:
        while True:
            try:
                self.accepted.append((await self._ask(key, bundle=bundle)).record.id)
                return
            except BusError:
                await asyncio.sleep(0.1)

    async def _ask(self, key: str, **source: str) -> Submitted:
        spec = JobSpec.model_validate(
            {"resources": SMALL, "environment": dummy(LINES=3), "pool": "dummy"}
        )
        asked = Submit(owner="tester", key=key, spec=spec, **source)
        return await self._bus.request(subjects.request("upload", "submit"), asked, Submitted)

    async def until(self, number: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.accepted) < number:  # noqa: ASYNC110  # no event for it
                await asyncio.sleep(0.05)


async def lead(bus: Bus, stream: str, server: str) -> None:
    """Hands the stream to that server."""
    placement = {"placement": {"preferred": server}}

    async def leads() -> bool:
        if await leader_of(bus, stream) == server:
            return True
        await bus.api(f"STREAM.LEADER.STEPDOWN.{stream}", placement)
        return False

    await until(leads)


async def caught_up(bus: Bus) -> None:
    """Every server has all that any has."""
    for stream in STREAMS:
        await until(partial(current, bus, stream.name))


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Also through the errors of an election."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(BusError):
                if await holds():
                    return
            await asyncio.sleep(0.1)


async def test_the_leader_is_killed_under_load_and_nothing_is_lost(
    house: House, servers: Cluster
) -> None:
    agent(house, "dummy")
    agent(house, "process")
    printer = await house.submit({"main.py": PRINTER}, pool="process")
    await house.printed(await house.running(printer), b"line 20\n")
    load = Load(house.bus)
    bundle = await load.bundle()
    async with asyncio.TaskGroup() as tasks:
        for number in range(4):
            tasks.create_task(load.run(f"w{number}", bundle))
        await load.until(20)
        for stream in ("JOBS", "LOGS"):
            await lead(house.bus, stream, NAMES[0])
        await servers.kill(NAMES[0])
        before = len(load.accepted)
        await load.until(before + 20)
        load.stopping = True
    await servers.start(NAMES[0])
    await caught_up(house.bus)
    assert len(set(load.accepted)) == len(load.accepted)
    for job in load.accepted:
        record = await house.ended(job)
        assert (record.state, record.attempt) == (State.SUCCEEDED, 1)
        assert (await house.log(record)).count(b"\n") == 3
    record = await house.ended(printer)
    assert (record.state, record.attempt) == (State.SUCCEEDED, 1)
    lines = [line for line in (await house.log(record)).splitlines() if line.startswith(b"line")]
    assert lines == [b"line %d" % number for number in range(LINES)]


async def test_what_was_acknowledged_is_read_also_where_a_server_lags(servers: Cluster) -> None:
    """A reader may be given to any server; the frozen one has heard of none of the writes."""
    written = [f"stoker.job.lag-{number}.none" for number in range(READERS)]
    async with Bus.connect(BusConfig(servers=servers.urls[1:2])) as bus:
        await declare(bus, replicas=3)
        for stream in ("JOBS", "OBJ_uploads"):
            await lead(bus, stream, NAMES[1])
        servers.processes[NAMES[0]].send_signal(signal.SIGSTOP)
        try:
            await Objects(bus).put("uploads", "late", once(LATE))
            for subject in written:
                await bus.append(subject, LATE[:100_000])
            readers = [asyncio.ensure_future(read(bus, subject)) for subject in written]
            await asyncio.sleep(0)
        finally:
            servers.processes[NAMES[0]].send_signal(signal.SIGCONT)
        assert await asyncio.gather(*readers) == [1] * READERS
        assert b"".join([data async for data in Objects(bus).get("uploads", "late")]) == LATE


async def read(bus: Bus, subject: str) -> int:
    async with asyncio.timeout(PATIENCE):
        return len([one async for one in follow(bus, "JOBS", subject, stop_at_end=True)])
