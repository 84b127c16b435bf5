"""The power goes while the store is written: what was acknowledged is there afterwards.

The store lies on an ext4 in a file. In the middle of the load the server is frozen and the file
copied: what the kernel still held in memory is not in the copy, as after a cut. The copy is mounted
(its journal is replayed) and a server started on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus import subjects
from bus.connection import Bus
from bus.errors import BusError, NotFound
from bus.follow import follow
from bus.kv import Bucket
from bus.layout import declare
from bus.link import BusConfig
from bus.records import Records, read_change
from bus.server import EmbeddedServer, ServerConfig, nats_server
from schemas.job import Fact
from tests.integration.disk import copy_image, make_image, mounted
from tests.unit.test_codec import a_fact

pytestmark = pytest.mark.mounts

DISK = 256 << 20
WRITERS = 16
ENOUGH = 300
"""Acknowledged jobs after which the power goes."""


@contextlib.asynccontextmanager
async def store(folder: Path, sync_always: bool) -> AsyncIterator[tuple[EmbeddedServer, Bus]]:
    config = ServerConfig(folder / "nats", sync_always=sync_always)
    async with (
        nats_server(config) as server,
        Bus.connect(BusConfig(servers=(server.url,), name="test")) as bus,
    ):
        yield server, bus


async def write(bus: Bus, writer: int, acknowledged: list[str], enough: asyncio.Event) -> None:
    record = a_fact().record
    for number in range(100_000):
        job = f"j{writer}-{number}"
        with contextlib.suppress(BusError):
            await Records(bus).write(record.model_copy(update={"id": job}), Fact.SUBMITTED, 0)
            await Bucket(bus, "requests").put(job, job.encode())
            acknowledged.append(job)
        if len(acknowledged) >= ENOUGH:
            enough.set()


async def until_the_cut(disk: Path, image: Path, copy: Path, sync_always: bool) -> set[str]:
    """The jobs that were acknowledged before the power went."""
    acknowledged: list[str] = []
    enough = asyncio.Event()
    async with store(disk, sync_always) as (server, bus):
        await declare(bus)
        async with asyncio.TaskGroup() as tasks:
            writers = [
                tasks.create_task(write(bus, number, acknowledged, enough))
                for number in range(WRITERS)
            ]
            async with asyncio.timeout(30):
                await enough.wait()
            os.kill(server.pid, signal.SIGSTOP)
            try:
                await asyncio.to_thread(copy_image, image, copy)
            finally:
                before = set(acknowledged)
                os.kill(server.pid, signal.SIGCONT)
            for writer in writers:
                writer.cancel()
    return before


async def found_after(disk: Path, sync_always: bool) -> tuple[set[str], set[str]]:
    """The jobs in ``JOBS`` and the keys in ``requests``."""
    async with store(disk, sync_always) as (_, bus):
        jobs: set[str] = set()
        try:
            stream = follow(bus, "JOBS", subjects.JOBS_ALL, stop_at_end=True)
            async with contextlib.aclosing(stream) as deliveries:
                async for delivery in deliveries:
                    jobs.add(read_change(delivery).record.id)
            return jobs, set(await Bucket(bus, "requests").all())
        except NotFound:
            return jobs, set()


async def cut(tmp_path: Path, sync_always: bool) -> tuple[set[str], set[str], set[str]]:
    image, copy = tmp_path / "disk", tmp_path / "copy"
    make_image(image, DISK)
    with mounted(image, tmp_path / "before") as disk:
        acknowledged = await until_the_cut(disk, image, copy, sync_always)
    with mounted(copy, tmp_path / "after") as disk:
        jobs, keys = await found_after(disk, sync_always)
    assert len(acknowledged) >= ENOUGH
    return acknowledged, jobs, keys


async def test_a_power_cut_takes_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged, jobs, keys = await cut(tmp_path, sync_always=True)
    assert acknowledged - jobs == set()
    assert acknowledged - keys == set()


async def test_with_the_servers_own_default_it_would(tmp_path: Path) -> None:
    """So that the test above can fail: this is what it finds without ``sync_interval: always``."""
    acknowledged, jobs, _ = await cut(tmp_path, sync_always=False)
    assert acknowledged - jobs
