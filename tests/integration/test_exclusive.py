"""Does an exclusive job end with its lease, whatever became of its agent?"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from agent.folder import AttemptFolder
from agent.runtimes.protocol import Exit
from bus.connection import Bus
from bus.server import EmbeddedServer
from schemas.job import Reason, State
from services.scheduler.config import SchedulerConfig
from tests.integration.house import House, open_house
from tests.integration.test_leaving import UNTIL_TOLD, Agent, agent

LOST_AFTER = 5.0
Fault = Callable[[Agent, EmbeddedServer], int]
"""What it does; the process that is to be let go on."""


@pytest.fixture
async def house(server: EmbeddedServer, bus: Bus, tmp_path: Path) -> AsyncIterator[House]:
    config = SchedulerConfig(lost_after=LOST_AFTER)
    async with open_house(server.url, bus, tmp_path, config) as opened:
        yield opened


def freeze_agent(running: Agent, server: EmbeddedServer) -> int:
    os.kill(running.process.pid, signal.SIGSTOP)
    return running.process.pid


def kill_agent(running: Agent, server: EmbeddedServer) -> int:
    os.kill(running.process.pid, signal.SIGKILL)
    return 0


def freeze_broker(running: Agent, server: EmbeddedServer) -> int:
    os.kill(server.pid, signal.SIGSTOP)
    return server.pid


async def begun(house: House, *, exclusive: bool) -> AttemptFolder:
    code = UNTIL_TOLD % (house.folder / "done")
    job = await house.submit({"main.py": code}, exclusive=exclusive, retries=0, grace=1)
    await house.running(job)
    return AttemptFolder(house.folder / "w1" / "attempts" / f"{job}.1")


def lives(folder: AttemptFolder) -> bool:
    started = folder.started()
    assert started is not None
    try:
        program = psutil.Process(int(started["identity"].split("@")[0]))
        return program.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def end_of(folder: AttemptFolder) -> Exit:
    async with asyncio.timeout(LOST_AFTER + 10):
        while (data := folder.exit()) is None:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.05)
    return Exit.unpack(data)


@pytest.mark.parametrize("fault", [freeze_agent, kill_agent, freeze_broker])
async def test_it_ends_with_its_lease_and_others_go_on(
    house: House, server: EmbeddedServer, fault: Fault
) -> None:
    async with agent(house) as running:
        alone, other = await begun(house, exclusive=True), await begun(house, exclusive=False)
        frozen = fault(running, server)
        try:
            assert (await end_of(alone)).reason is Reason.LEASE_EXPIRED
            assert not lives(alone)
            assert lives(other)
            assert not frozen or psutil.Process(frozen).status() == psutil.STATUS_STOPPED
        finally:
            (house.folder / "done").touch()
            if frozen:
                os.kill(frozen, signal.SIGCONT)


async def test_it_runs_as_long_as_its_worker_is_heard(house: House) -> None:
    code = f"import time\ntime.sleep({LOST_AFTER + 1})\n"
    async with agent(house):
        job = await house.submit({"main.py": code}, exclusive=True, grace=1)
        assert (await house.ended(job)).state is State.SUCCEEDED
