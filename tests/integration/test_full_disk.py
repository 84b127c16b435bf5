"""The store's disk is full, for real: what is refused, what goes on, what comes back by itself?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bus import subjects
from bus.connection import Bus
from bus.errors import BusError, StoreFull
from bus.health import broken_streams, watch_streams
from bus.kv import Bucket
from bus.layout import STREAMS, declare
from bus.link import BusConfig
from bus.objects import Objects
from bus.server import EmbeddedServer, ServerConfig, nats_server
from schemas.job import State
from stoker import checks
from tests.integration.disk import make_image, mounted
from tests.integration.house import dummy, once, open_house
from tests.integration.test_ui_services import HELLO, post
from ui.app import serving
from ui.config import UiConfig

pytestmark = pytest.mark.mounts

DISK = 96 << 20
PATIENCE = 40.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    make_image(tmp_path / "image", DISK)
    with mounted(tmp_path / "image", tmp_path / "disk") as folder:
        yield folder


@contextlib.asynccontextmanager
async def store(disk: Path, **settings: Any) -> AsyncIterator[tuple[EmbeddedServer, Bus]]:
    config = ServerConfig(disk / "nats", **settings)
    async with (
        nats_server(config) as server,
        Bus.connect(BusConfig(servers=(server.url,), name="test")) as bus,
    ):
        await declare(bus)
        yield server, bus


def fill(disk: Path) -> Path:
    """To the last block, with a file of somebody else's."""
    file = disk / "somebody-elses"
    with contextlib.suppress(OSError), open(file, "wb", buffering=0) as target:
        while target.write(bytes(1 << 16)):
            pass
    return file


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110  # no event for it
            await asyncio.sleep(0.1)


async def test_a_full_disk_refuses_submissions_while_jobs_go_on_and_all_is_well_afterwards(
    disk: Path, tmp_path: Path
) -> None:
    async with (
        store(disk) as (server, bus),
        open_house(server.url, bus, tmp_path) as house,
        serving(bus, UiConfig(port=0)) as address,
        aiohttp.ClientSession(address) as http,
    ):
        house.agent()
        job = await house.submit(environment=dummy(BUILD=2, LINES=5000, LINE_BYTES=100))
        await house.until(job, lambda record: record.state is State.STARTING)
        full = await asyncio.to_thread(fill, disk)

        async def refused() -> bool:
            status, problem = await post(http, HELLO)
            return (status, problem.get("type")) == (507, "urn:stoker:problem:store_full")

        await until(refused)
        assert (await house.ended(job)).state is State.SUCCEEDED
        full.unlink()

        async def accepted() -> bool:
            return (await post(http, HELLO))[0] == 201

        await until(accepted)
        record = await house.ended(job)
        lines = (await house.log(record)).splitlines()
        assert len(lines) == 5000 + 1
        later = await house.ended(await house.submit(environment=dummy(LINES=10)))
        assert later.state is State.SUCCEEDED


async def test_a_stream_that_met_a_full_disk_is_mended_once_there_is_room(disk: Path) -> None:
    async with store(disk, reserve=0) as (server, bus):
        full = await asyncio.to_thread(fill, disk)
        pid = server.pid
        with pytest.raises(BusError):
            await append_for_ever(bus)
        assert server.pid == pid
        assert list(await broken_streams(bus)) == ["JOBS"]
        full.unlink()
        await until(lambda: stores(bus))
        assert server.pid != pid
        assert await broken_streams(bus) == {}


async def test_a_server_that_nobody_looks_after_says_what_is_wrong(
    disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As one of the user's own: no upload is taken, and the doctor names the cure."""
    monkeypatch.setattr("bus.objects.CHUNK_TIMEOUT", 1.0)
    monkeypatch.setattr("bus.server.watch_room", nobody)
    async with store(disk) as (server, bus):
        full = await asyncio.to_thread(fill, disk)
        with pytest.raises(StoreFull, match="no space left"):
            await Objects(bus).put("uploads", "big", once(bytes(8 << 20)))
        full.unlink()
        async with asyncio.timeout(10):
            watch = asyncio.create_task(watch_streams(bus, 0.1))
            while "OBJ_uploads stores nothing" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            watch.cancel()
        told = await asyncio.to_thread(checks.store, (server.url,))
        assert (told.state, "OBJ_uploads" in told.text) == ("FAIL", True)
        assert "restart nats-server" in told.fix


async def nobody(server: EmbeddedServer) -> None:
    """In the place of what watches the room."""


async def append_for_ever(bus: Bus) -> None:
    while True:
        await bus.append(subjects.job("j", "queued"), bytes(4000), timeout=1)


async def stores(bus: Bus) -> bool:
    try:
        await bus.append(subjects.job("j", "queued"), bytes(4000), timeout=1)
    except BusError:
        return False
    return True


async def test_the_bounds_are_what_they_were_after_the_disk_had_been_full(disk: Path) -> None:
    async with store(disk) as (_, bus):

        async def bounds() -> dict[str, int]:
            infos = [await bus.api(f"STREAM.INFO.{stream.name}") for stream in STREAMS]
            return {info["config"]["name"]: info["config"]["max_bytes"] for info in infos}

        before = await bounds()
        full = await asyncio.to_thread(fill, disk)

        async def closed() -> bool:
            return (await bounds())["OBJ_uploads"] == 1

        await until(closed)
        await Bucket(bus, "requests").put("key", b"facts and keys have room left")
        full.unlink()

        async def as_before() -> bool:
            return await bounds() == before

        await until(as_before)
