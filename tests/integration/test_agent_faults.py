"""An agent whose broker restarts, and one whose job prints without end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from bus.connection import Bus
from bus.server import EmbeddedServer
from schemas.job import State
from tests.integration.house import House, open_house

GROWTH = 64 << 20
"""Bytes that a process may grow under a flood."""


@pytest.fixture
async def house(server: EmbeddedServer, bus: Bus, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(server.url, bus, tmp_path) as opened:
        yield opened


async def test_a_log_is_whole_although_the_broker_was_killed(
    house: House, server: EmbeddedServer
) -> None:
    house.agent("process")
    code = (
        "import time\n"
        "for i in range(400):\n    print(f'line {i}', flush=True)\n    time.sleep(0.01)\n"
    )
    job = await house.submit({"main.py": code})
    running = await house.running(job)
    await house.printed(running, b"line 20\n")
    os.kill(server.pid, signal.SIGKILL)
    record = await house.ended(job)
    assert (record.state, record.attempt) == (State.SUCCEEDED, 1)
    lines = [line for line in (await house.log(record)).splitlines() if line.startswith(b"line")]
    assert lines == [b"line %d" % number for number in range(400)]


async def test_memory_stays_flat_under_a_flood(house: House) -> None:
    house.agent("process")
    await house.ended(await house.submit({"main.py": "print(1)"}))
    before = psutil.Process().memory_info().rss
    line = "x" * 99
    code = f"import sys\nfor _ in range(1000):\n    sys.stdout.write('{line}\\n' * 1000)\n"
    job = await house.submit({"main.py": code})
    most = before
    ended = asyncio.ensure_future(house.ended(job))
    while not ended.done():
        most = max(most, psutil.Process().memory_info().rss)
        await asyncio.wait((ended,), timeout=0.1)
    record = ended.result()
    assert record.state is State.SUCCEEDED
    assert record.current is not None
    assert record.current.end is not None
    assert record.current.end.log_ends[0] >= 100_000_000
    assert most - before < GROWTH
