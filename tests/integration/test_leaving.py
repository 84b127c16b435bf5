"""Signals to a real ``stoker agent``: it finishes what runs, or leaves it to the next one."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus.codec import decode
from bus.connection import Bus
from bus.kv import Bucket
from bus.server import EmbeddedServer
from schemas.job import State
from schemas.worker import WorkerRecord
from tests.integration.house import House, open_house

ROOT = Path(__file__).resolve().parents[2]
UNTIL_TOLD = """
import pathlib, time
for number in range(100_000):
    print(f"line {number}", flush=True)
    if pathlib.Path("%s").exists():
        break
    time.sleep(0.02)
"""


@pytest.fixture
async def house(server: EmbeddedServer, bus: Bus, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(server.url, bus, tmp_path) as opened:
        yield opened


class Agent:
    """One process of the command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def says(self, words: str) -> str:
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            while line := (await self.process.stderr.readline()).decode():
                if words in line:
                    return line
        raise AssertionError(f"it never said {words!r}")

    async def gone(self) -> int:
        async with asyncio.timeout(20):
            return await self.process.wait()


@asynccontextmanager
async def agent(house: House) -> AsyncIterator[Agent]:
    command = (
        *(sys.executable, "-m", "stoker", "agent", "--name", "w1", "--runtime", "process"),
        *("--nats", house.config.servers[0], "--work", str(house.folder / "w1")),
    )
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield Agent(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_first_signal_lets_it_finish_and_tells_for_how_long(house: House) -> None:
    done = house.folder / "done"
    async with agent(house) as running:
        job = await house.submit({"main.py": UNTIL_TOLD % done}, timeout=3590)
        await house.running(job)
        running.process.send_signal(signal.SIGTERM)
        assert "1 attempt runs, for 59 min" in await running.says("takes nothing new")
        waiting = await house.submit({"main.py": ""})
        done.touch()
        assert await running.gone() == 0
    assert (await house.ended(job)).state is State.SUCCEEDED
    async with agent(house):
        assert (await house.ended(waiting)).state is State.SUCCEEDED


@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGHUP,)])
async def test_a_job_goes_on_for_the_next_agent_when_it_leaves(
    house: House, bus: Bus, signals: tuple[signal.Signals, ...]
) -> None:
    done = house.folder / "done"
    async with agent(house) as first:
        job = await house.submit({"main.py": UNTIL_TOLD % done})
        record = await house.running(job)
        for number in signals:
            first.process.send_signal(number)
            await asyncio.sleep(0.1)
        assert await first.gone() == 0
    entry = await Bucket(bus, "workers").get("w1")
    assert entry is not None
    assert decode(WorkerRecord, entry.value, None).beat.leaving
    async with agent(house):
        await house.printed(record, b"line 50\n")
        done.touch()
        over = await house.ended(job)
    assert (over.state, over.attempt) == (State.SUCCEEDED, 1)
    numbers = [
        int(line[5:]) for line in (await house.log(over)).splitlines() if line[:5] == b"line "
    ]
    assert numbers == list(range(len(numbers)))
