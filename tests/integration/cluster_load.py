"""What do tests of a cluster need: a load of submissions, a leader of their choice?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial

from agent.config import AgentConfig
from agent.main import run_agent
from bus import subjects
from bus.connection import Bus
from bus.errors import BusError
from bus.layout import STREAMS
from bus.link import BusConfig
from bus.objects import Objects
from schemas.job import State
from schemas.requests import Submit, Submitted
from schemas.spec import JobSpec
from schemas.worker import Capacity
from tests.integration.cluster import current, leader_of
from tests.integration.house import PATIENCE, SMALL, House, dummy, once, zipped

PAUSE = 0.015


def printer(lines: int) -> dict[str, str]:
    """A program that prints so many lines, one every ``PAUSE``."""
    program = f"""\
import time
for number in range({lines}):
    print(f"line {{number}}", flush=True)
    time.sleep({PAUSE})
"""
    return {"main.py": program}


def agent(house: House, runtime: str, bus: BusConfig | None = None) -> None:
    """One of a pool of its own, so that each job meets the runtime that it is made for."""
    config = AgentConfig(
        name=runtime,
        work=house.folder / runtime,
        runtime=runtime,
        pool=runtime,
        capacity=Capacity(cpus=8, memory=1 << 40, slots=64),
    )
    house.agents.append(house.tasks.create_task(run_agent(bus or house.config, config)))


class Load:
    """Submissions one after the other, each repeated until it is answered."""

    def __init__(self, bus: Bus, pause: float = 0.05) -> None:
        self._bus = bus
        self._pause = pause
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
            await asyncio.sleep(self._pause)

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


async def nothing_is_lost(house: House, accepted: list[str], printing: str, lines: int) -> None:
    """Every job ended well at its first try, and said all that it had to say."""
    assert len(set(accepted)) == len(accepted)
    for job in accepted:
        record = await house.ended(job)
        assert (record.state, record.attempt) == (State.SUCCEEDED, 1), record.timeline
        assert (await house.log(record)).count(b"\n") == 3
    record = await house.ended(printing)
    assert (record.state, record.attempt) == (State.SUCCEEDED, 1), record.timeline
    said = [line for line in (await house.log(record)).splitlines() if line.startswith(b"line")]
    assert said == [b"line %d" % number for number in range(lines)]
