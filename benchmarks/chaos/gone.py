"""How soon does the work of a machine that is gone run on another one?"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import docker
import psutil

from benchmarks.chaos.house import House, Wish, docker_client, open_house
from benchmarks.chaos.requests import Requests
from benchmarks.chaos.watch import Watch, watched
from benchmarks.processes import family
from benchmarks.table import Figure, percentile
from schemas.job import Record, State

OVER_LOST_AFTER = 2.0
"""Seconds."""
SPEC = {
    "arguments": ["600"],
    "grace": 1,
    "resources": {"cpus": 0.1, "memory": "64m"},
}
SHORT = {**SPEC, "arguments": ["0.3"]}
PROGRAM = "import sys, time; print('here', flush=True); time.sleep(float(sys.argv[1]))"
JOBS = 4
"""At one time, over both machines."""
ROUNDS = {5.0: 12, 30.0: 3}
"""``lost_after`` to how many machines go."""


async def figures() -> list[Figure]:
    return [await moved(lost_after, rounds) for lost_after, rounds in ROUNDS.items()]


async def moved(lost_after: float, rounds: int) -> Figure:
    times: list[float] = []
    async with open_house(Wish(lost_after=lost_after, own_engine=False)) as house:
        requests = Requests(house)
        await requests.upload(PROGRAM, SHORT)
        async with watched(house.nats) as watch:
            for number in range(rounds):
                await everywhere(house, requests, watch)
                victim = house.workers[number % len(house.workers)]
                times += await one_gone(house, requests, watch, victim)
    return Figure(
        f"machine gone → its job runs elsewhere, lost_after {lost_after:g} s, p99",
        percentile(times, 0.99),
        "s",
        bar=lost_after + OVER_LOST_AFTER,
        note=f"{len(times)} jobs on {rounds} machines; p50 {percentile(times, 0.5):.1f} s; every"
        " second machine goes without a word to the broker",
    )


async def everywhere(house: House, requests: Requests, watch: Watch) -> None:
    """Until every machine has done a job well: it has bundle and image, and is not set aside."""
    missing = set(house.workers)
    for _ in range(20):
        jobs = [await requests.submit(SHORT) for _ in range(JOBS)]
        records = [(await watch.until(job, lambda r: r.state.ended)).record for job in jobs]
        missing -= {holder(house, record) for record in records}
        if not missing:
            return
    raise RuntimeError(f"{missing} got no job")


def running(attempt: int) -> Callable[[Record], bool]:
    return lambda record: record.state is State.RUNNING and record.attempt == attempt


def holder(house: House, record: Record) -> str:
    current = record.current
    assert current is not None
    return next(w for w in house.workers if house.worker_name(w) == current.worker)


async def one_gone(house: House, requests: Requests, watch: Watch, victim: str) -> list[float]:
    """Seconds from its death until each of its jobs ran on the other machine."""
    jobs = [await requests.submit(SPEC) for _ in range(JOBS)]
    on = {job: holder(house, (await watch.until(job, running(1))).record) for job in jobs}
    gone_at = await kill_machine(house, victim)
    times = []
    for job in (job for job in jobs if on[job] == victim):
        seen = await watch.until(job, running(2), house.wish.lost_after + 60)
        times.append(seen.at - gone_at)
    await cancelled(requests, watch, jobs)
    await come_back(house, victim)
    return times


async def kill_machine(house: House, worker: str) -> float:
    """Agent, shim host, shims and containers at once; when."""
    if worker == "far" and house.network:
        await house.network.cut()
    at = time.time()
    house.parts[worker].pause = 3600.0
    for process in family([house.parts[worker].pid], house.work(worker)):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(remove_containers, house, worker)
    return at


def remove_containers(house: House, worker: str) -> None:
    with docker_client(house.engine_of(worker)) as client:
        label = f"stoker.worker={house.worker_name(worker)}"
        for one in client.containers(filters={"label": label}):
            with suppress(docker.errors.APIError):
                client.kill(one["Id"], signal="SIGKILL")


async def come_back(house: House, worker: str) -> None:
    if worker == "far" and house.network:
        await house.network.mend()
    part, now = house.parts[worker], time.time()
    await house.end(worker)
    house.start(part)
    async with asyncio.timeout(60):
        while not await house.heard(worker, now):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def cancelled(requests: Requests, watch: Watch, jobs: list[str]) -> None:
    for job in jobs:
        await requests.cancel(job)
    for job in jobs:
        await watch.until(job, lambda record: record.state.ended)
