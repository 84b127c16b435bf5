"""What is broken, for how long, and how is it mended?"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psutil

from benchmarks.chaos.house import SERVICES, House

FROZEN = 30.0
"""Seconds of SIGSTOP."""
SHORTEST_CUT, LONGEST_CUT = 2.0, 15.0
LONGEST_PAUSE = 6.0
"""Seconds before what was killed is started again."""

Fault = Callable[[House, random.Random], Awaitable[None]]


async def agent_killed(house: House, chance: random.Random) -> None:
    house.parts[chance.choice(house.workers)].kill(chance.uniform(0.2, LONGEST_PAUSE))


async def shim_killed(house: House, chance: random.Random) -> None:
    """One that looks after a container, where there is one; never a host."""
    hosts = {process.pid: process for process in await asyncio.to_thread(house.hosts)}
    with suppress(psutil.NoSuchProcess, IndexError):
        chance.choice([one for one in hosts.values() if one.ppid() in hosts]).kill()


async def agent_frozen(house: House, chance: random.Random) -> None:
    part = house.parts[chance.choice(house.workers)]
    frozen = part.process
    part.send(signal.SIGSTOP)
    try:
        await asyncio.sleep(FROZEN)
    finally:
        if part.process is frozen:
            part.send(signal.SIGCONT)


async def network_cut(house: House, chance: random.Random) -> None:
    assert house.network is not None
    await house.network.cut()
    try:
        await asyncio.sleep(chance.uniform(SHORTEST_CUT, LONGEST_CUT))
    finally:
        await asyncio.shield(house.network.mend())


def service_killed(name: str) -> Fault:
    async def kill(house: House, chance: random.Random) -> None:
        house.parts[name].kill(chance.uniform(0.1, LONGEST_PAUSE / 2))

    return kill


async def broker_killed(house: House, chance: random.Random) -> None:
    house.parts["nats"].kill(chance.uniform(0.1, LONGEST_PAUSE))


def engine_restarted(*, live_restore: bool) -> Fault:
    async def restart(house: House, chance: random.Random) -> None:
        assert house.engine is not None
        await house.engine.restart(live_restore=live_restore, pause=chance.uniform(0.1, 3))

    return restart


FAULTS: dict[str, Fault] = {
    "agent -9": agent_killed,
    "shim -9": shim_killed,
    "agent SIGSTOP 30 s": agent_frozen,
    "network cut": network_cut,
    **{f"{name} -9": service_killed(name) for name in SERVICES},
    "nats-server -9": broker_killed,
    "engine restart": engine_restarted(live_restore=False),
    "engine restart, live-restore": engine_restarted(live_restore=True),
}
OFTEN = {"agent -9": 3, "nats-server -9": 2, "network cut": 2}
"""How many times as often as the others; each service is one of the others."""


def drawn(chance: random.Random) -> list[tuple[str, float]]:
    """The faults of one round and when each begins; most overlap."""
    names, weights = list(FAULTS), [OFTEN.get(name, 1) for name in FAULTS]
    count = chance.choice((2, 2, 3, 3, 4))
    return [(chance.choices(names, weights)[0], chance.uniform(0, 8)) for _ in range(count)]


async def breaks(house: House, chance: random.Random, name: str, after: float) -> None:
    await asyncio.sleep(after)
    await FAULTS[name](house, chance)


def told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {counts[name]}" for name in FAULTS if counts[name])
