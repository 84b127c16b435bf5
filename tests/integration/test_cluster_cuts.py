"""Three servers that do not hear each other, or one that is frozen: submissions go on, all is kept.

Each part of the house has connections of its own; most of them are at the server that is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bus.connection import Bus
from bus.layout import declare
from bus.link import BusConfig
from services.archive.config import ArchiveConfig
from services.archive.service import run as run_archive
from services.scheduler.config import SchedulerConfig
from services.scheduler.service import run as run_scheduler
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from tests.integration.cluster import NAMES, Cluster, cluster_that_can_be_cut
from tests.integration.cluster_load import Load, agent, caught_up, lead, nothing_is_lost, printer
from tests.integration.house import House
from tests.integration.switch import Switch

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(180)]

LINES = 2400
LOADS = 4
SELDOM = 0.4
"""Seconds between two submissions: many more and the cuts are not what the time goes into."""
ENOUGH = 20
"""Submissions that are accepted before, and after, and while the majority works."""
ALONE = 15.0
FROZEN = 30.0
"""Seconds."""


@dataclass
class Cut:
    """A cluster, its wires, and a house that uses it."""

    servers: Cluster
    network: Switch
    house: House
    buses: list[Bus]
    """Of which the first half is connected to the first server."""


@pytest.fixture
async def cut(tmp_path: Path) -> AsyncIterator[Cut]:
    async with contextlib.AsyncExitStack() as stack:
        servers, network = await stack.enter_async_context(cluster_that_can_be_cut(tmp_path))
        config = BusConfig(servers=servers.urls, name="house")
        buses = [await stack.enter_async_context(Bus.connect(config)) for _ in range(LOADS)]
        await declare(buses[0], replicas=3)
        for number, bus in enumerate(buses):
            await go_to(bus, servers.urls[number % 2])
        async with asyncio.TaskGroup() as tasks:
            house = House(buses[1], config, tmp_path, tasks)
            parts = [
                tasks.create_task(part)
                for bus in buses[:2]
                for part in (
                    run_scheduler(bus, SchedulerConfig(replicas=3)),
                    run_upload(bus, UploadConfig()),
                    run_archive(bus, ArchiveConfig()),
                )
            ]
            yield Cut(servers, network, house, buses)
            for task in (*house.agents, *parts):
                task.cancel()


async def go_to(bus: Bus, url: str) -> None:
    """Whichever server it found first."""
    for client in (bus.nc, await bus.bulk()):
        async with asyncio.timeout(20):
            while client.connected_url is None or client.connected_url.geturl() != url:
                if client.is_connected:
                    await client.force_reconnect()
                await asyncio.sleep(0.1)


async def shaken(cut: Cut, breaking: Callable[[list[Load]], Awaitable[None]]) -> None:
    """Under load, with a program that prints all the while."""
    house = cut.house
    near = BusConfig(servers=cut.servers.urls[:1], name="worker")
    agent(house, "dummy", near)
    agent(house, "process", near)
    printing = await house.submit(printer(LINES), pool="process")
    await house.printed(await house.running(printing), b"line 20\n")
    loads = [Load(bus, SELDOM) for bus in cut.buses]
    bundle = await loads[0].bundle()
    async with asyncio.TaskGroup() as tasks:
        for number, load in enumerate(loads):
            tasks.create_task(load.run(f"w{number}", bundle))
        await more(loads)
        for stream in ("JOBS", "LOGS", "WORK_dummy"):
            await lead(house.bus, stream, NAMES[0])
        await breaking(loads)
        await more(loads)
        for load in loads:
            load.stopping = True
    await caught_up(house.bus)
    accepted = [job for load in loads for job in load.accepted]
    await nothing_is_lost(house, accepted, printing, LINES)


async def more(loads: list[Load]) -> None:
    """Wherever they were submitted."""
    for load in loads:
        await load.until(len(load.accepted) + ENOUGH // len(loads))


async def test_a_leader_that_is_cut_off_stops_nobody(cut: Cut) -> None:
    async def breaking(loads: list[Load]) -> None:
        cut.network.cut(NAMES[0])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(ALONE))
            tasks.create_task(more(loads))
        cut.network.mend(NAMES[0])

    await shaken(cut, breaking)


async def test_three_servers_that_do_not_hear_each_other_go_on_together(cut: Cut) -> None:
    async def breaking(loads: list[Load]) -> None:
        cut.network.cut(*NAMES)
        await asyncio.sleep(ALONE)
        cut.network.mend(*NAMES)

    await shaken(cut, breaking)


async def test_a_leader_that_is_frozen_stops_nobody(cut: Cut) -> None:
    async def breaking(loads: list[Load]) -> None:
        frozen = cut.servers.processes[NAMES[0]]
        frozen.send_signal(signal.SIGSTOP)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(asyncio.sleep(FROZEN))
                tasks.create_task(more(loads))
        finally:
            frozen.send_signal(signal.SIGCONT)

    await shaken(cut, breaking)
