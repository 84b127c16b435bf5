"""How soon does everything flow again after the broker was killed?"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import aiohttp

from benchmarks.chaos.house import House, Wish, open_house
from benchmarks.chaos.requests import Requests
from benchmarks.chaos.watch import Watch, watched
from benchmarks.table import Figure, percentile
from bus.server import answers
from schemas.job import State

FLOWS_AGAIN = 5.0
"""Seconds."""
ROUNDS = 10
PAUSE = 0.3
"""Seconds between the broker's death and its next start."""
PROGRAM = """\
import sys, time
until = time.time() + float(sys.argv[1])
while time.time() < until:
    print(f"at {time.time():.3f}", flush=True)
    time.sleep(0.05)
"""
SMALL = {"grace": 1, "resources": {"cpus": 0.1, "memory": "64m"}}


async def figures() -> list[Figure]:
    ends, lines = [], []
    async with open_house(Wish(own_network=False, own_engine=False)) as house:
        requests = Requests(house, pause=0.1)
        await requests.upload(PROGRAM, {**SMALL, "arguments": ["0"]})
        async with watched(house.nats) as watch:
            for _ in range(ROUNDS):
                end, line = await one_death(house, requests, watch)
                ends.append(end)
                lines.append(line)
    return [
        told("a new submission → its recorded end", ends),
        told("a running job's line → a follower", lines),
    ]


def told(name: str, times: list[float]) -> Figure:
    shown = ", ".join(f"{one:.1f}" for one in sorted(times))
    return Figure(
        f"broker restarted → {name}, worst",
        max(times),
        "s",
        bar=FLOWS_AGAIN,
        note=f"from when it answers again, p50 {percentile(times, 0.5):.1f} s; all: {shown}",
    )


async def one_death(house: House, requests: Requests, watch: Watch) -> tuple[float, float]:
    """Seconds from when the broker answers again: to the end of a new job, to the first line."""
    talker = await requests.submit({**SMALL, "arguments": ["600"]})
    await watch.until(talker, lambda record: record.state is State.RUNNING)
    restarted: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    follower = asyncio.create_task(first_line_after(house, talker, restarted))
    await asyncio.sleep(1)
    house.parts["nats"].kill(PAUSE)
    await asyncio.sleep(PAUSE / 2)
    while not await answers(house.nats):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    up = time.time()
    restarted.set_result(up)
    job = await requests.submit({**SMALL, "arguments": ["0"]})
    end = await watch.until(job, lambda record: record.state.ended)
    async with asyncio.timeout(60):
        line = await follower
    await requests.cancel(talker)
    await watch.until(talker, lambda record: record.state.ended)
    return end.at - up, line - up


async def first_line_after(house: House, job: str, restarted: asyncio.Future[float]) -> float:
    """When a follower read the first line that was printed after the broker answered again."""
    while True:
        try:
            async for text in lines_of(house, job):
                at = float(text.rpartition(" ")[2])
                if restarted.done() and at >= restarted.result():
                    return time.time()
        except (aiohttp.ClientError, OSError):
            await asyncio.sleep(0.1)


async def lines_of(house: House, job: str) -> AsyncIterator[str]:
    """Whole lines as the WebSocket brings them."""
    rest = b""
    async with house.http.ws_connect(f"{house.url}/api/v1/jobs/{job}/log/ws") as ws:
        async for message in ws:
            if message.type is aiohttp.WSMsgType.TEXT and json.loads(message.data)["type"] == "end":
                return
            if message.type is not aiohttp.WSMsgType.BINARY:
                continue
            length = int.from_bytes(message.data[:4], "big")
            *whole, rest = (rest + message.data[4 + length :]).split(b"\n")
            for line in whole:
                if line.startswith(b"at "):
                    yield line.decode()
