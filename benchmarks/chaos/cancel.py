"""How soon after a cancel is the container of a program that does not listen gone?"""

from __future__ import annotations

import asyncio
import time

from benchmarks.chaos.house import Wish, docker_client, open_house
from benchmarks.chaos.requests import Requests
from benchmarks.chaos.watch import Watch, watched
from benchmarks.table import Figure, percentile
from schemas.job import State

GRACE = 1.0
OVER_GRACE = 2.0
"""Seconds."""
BATCHES, AT_ONE_TIME = 10, 4
PROGRAM = """\
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(float(sys.argv[1]))
"""
SPEC = {"grace": GRACE, "resources": {"cpus": 0.2, "memory": "64m"}}


async def figures() -> list[Figure]:
    times: list[float] = []
    async with open_house(Wish(own_network=False, own_engine=False)) as house:
        requests = Requests(house)
        await requests.upload(PROGRAM, {**SPEC, "arguments": ["0"]})
        async with watched(house.nats) as watch:
            for _ in range(BATCHES):
                batch = (one(requests, watch) for _ in range(AT_ONE_TIME))
                times += await asyncio.gather(*batch)
    return [
        Figure(
            "cancel → container gone, SIGTERM ignored, p99",
            percentile(times, 0.99),
            "s",
            bar=GRACE + OVER_GRACE,
            note=f"{len(times)} jobs, {AT_ONE_TIME} at a time, grace {GRACE:g} s;"
            f" p50 {percentile(times, 0.5):.2f} s",
        )
    ]


async def one(requests: Requests, watch: Watch) -> float:
    job = await requests.submit({**SPEC, "arguments": ["600"]})
    await watch.until(job, lambda record: record.state is State.RUNNING)
    await asyncio.sleep(0.5)  # until it has put SIGTERM away
    begun = time.perf_counter()
    await requests.cancel(job)
    await asyncio.to_thread(until_gone, job)
    return time.perf_counter() - begun


def until_gone(job: str) -> None:
    give_up = time.monotonic() + 60
    with docker_client(None) as client:
        while client.containers(all=True, filters={"label": f"stoker.job={job}"}):
            if time.monotonic() > give_up:
                raise RuntimeError(f"the container of {job} is still there")
            time.sleep(0.02)
