"""Three servers keep each stream three times: the one that leads is killed, and nothing is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from bus.connection import Bus
from bus.errors import Conflict
from bus.follow import follow
from bus.headers import EXPECTED
from bus.layout import declare
from bus.leaders import replace_leader
from bus.link import BusConfig
from bus.objects import Objects
from services.archive.config import ArchiveConfig
from services.archive.service import run as run_archive
from services.scheduler.config import SchedulerConfig
from services.scheduler.service import run as run_scheduler
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from tests.integration.cluster import NAMES, Cluster, cluster, leader_of
from tests.integration.cluster_load import (
    Load,
    agent,
    caught_up,
    lead,
    nothing_is_lost,
    printer,
    until,
)
from tests.integration.house import PATIENCE, House, once

READERS = 30
LATE = b"x" * 300_000
LINES = 800
FIRST = {EXPECTED: "0"}


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


async def test_the_leader_is_killed_under_load_and_nothing_is_lost(
    house: House, servers: Cluster
) -> None:
    agent(house, "dummy")
    agent(house, "process")
    printing = await house.submit(printer(LINES), pool="process")
    await house.printed(await house.running(printing), b"line 20\n")
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
    await nothing_is_lost(house, load.accepted, printing, LINES)


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


async def test_a_write_that_meets_another_one_under_way_waits_for_it(servers: Cluster) -> None:
    """Refused at once it would be taken for one that came too late; it may be the only one."""
    subject = "stoker.job.busy.none"
    async with Bus.connect(BusConfig(servers=servers.urls[1:2])) as bus:
        await declare(bus, replicas=3)
        await lead(bus, "JOBS", NAMES[1])
        await caught_up(bus)
        others = [servers.processes[name] for name in (NAMES[0], NAMES[2])]
        for process in others:
            process.send_signal(signal.SIGSTOP)
        try:
            writers = [asyncio.ensure_future(bus.append(subject, b"", FIRST)) for _ in range(2)]
            await asyncio.wait(writers, timeout=1)
            assert not any(writer.done() for writer in writers)
        finally:
            for process in others:
                process.send_signal(signal.SIGCONT)
        results = await asyncio.gather(*writers, return_exceptions=True)
        assert [type(one) for one in results] in ([int, Conflict], [Conflict, int]), results


async def test_a_leader_that_has_lost_count_is_replaced(servers: Cluster) -> None:
    async with Bus.connect(BusConfig(servers=servers.urls)) as bus:
        await declare(bus, replicas=3)
        await lead(bus, "JOBS", NAMES[1])
        await caught_up(bus)
        await replace_leader(bus.api, "stoker.job.any.none")
        await until(partial(is_led_by, bus, "JOBS", (NAMES[0], NAMES[2])))


async def is_led_by(bus: Bus, stream: str, servers: tuple[str, ...]) -> bool:
    return await leader_of(bus, stream) in servers
