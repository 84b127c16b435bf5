"""How long after the submit request does a follower see the first line of a container?"""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import docker

from benchmarks import floors
from benchmarks.stack import Stack, running_stack
from benchmarks.table import Figure, percentile
from schemas.spec import JobSpec

P50_OVER_BARE = 60.0
P99_OVER_BARE = 250.0
"""Milliseconds on top of the bare SDK's."""
ROUNDS = 40
OUTPUT = "o"


async def docker_first_line(rounds: int = ROUNDS) -> list[Figure]:
    """Ours and the bare SDK's in turn, so that both meet the same machine."""
    ours, bare = [], []
    async with running_stack("docker") as stack:
        bundle = await stack.stored()
        image = await stack.image()
        with floors.program_folder(stack.folder / "bare") as folder, ThreadPoolExecutor(1) as pool:
            config = floors.hardened(image, folder, JobSpec())
            client = docker.APIClient(timeout=60)
            for _ in range(rounds):
                ours.append(await first_line(stack, bundle))
                bare.append(await in_thread(pool, client, config))
            client.close()
    return [
        told("p50", 0.5, ours, bare, P50_OVER_BARE),
        told("p99", 0.99, ours, bare, P99_OVER_BARE),
    ]


def told(name: str, share: float, ours: list[float], bare: list[float], over: float) -> Figure:
    reference = percentile(bare, share) * 1000
    return Figure(
        f"submit → first line, Docker, {name}",
        percentile(ours, share) * 1000,
        "ms",
        bar=reference + over,
        beside="bare SDK, create → first line",
        reference=reference,
        note="Prefect (process) 4,400 ms, Ray 4,000 ms, jobd (process) 47 ms" if over < 100 else "",
    )


async def in_thread(
    pool: ThreadPoolExecutor, client: docker.APIClient, config: dict[str, Any]
) -> float:
    loop = asyncio.get_running_loop()
    result = await loop.run_in_executor(pool, floors.bare_container, client, config)
    return result.first_line


async def first_line(stack: Stack, bundle: str) -> float:
    """Seconds from the submit request to the program's first bytes on the WebSocket."""
    begun = time.perf_counter()
    job = await stack.submit(bundle, {})
    return await follow_first_line(stack, job["id"], begun)


async def follow_first_line(stack: Stack, job: str, begun: float) -> float:
    """Seconds from ``begun``; returns when the job has ended."""
    path = f"{stack.url}/api/v1/jobs/{job}/log/ws"
    seen = None
    async with asyncio.timeout(30), stack.http.ws_connect(path) as follower:
        async for message in follower:
            if seen is None and has_output(message):
                seen = time.perf_counter() - begun
            if is_end(message):
                break
    if seen is None:
        raise RuntimeError("the log ended without a line of the program")
    await stack.ended(job)
    return seen


def has_output(message: aiohttp.WSMessage) -> bool:
    if message.type is not aiohttp.WSMsgType.BINARY:
        return False
    length = int.from_bytes(message.data[:4], "big")
    header = json.loads(message.data[4 : 4 + length])
    return any(letter == OUTPUT for letter, _ in header["spans"])


def is_end(message: aiohttp.WSMessage) -> bool:
    return message.type is aiohttp.WSMsgType.TEXT and json.loads(message.data)["type"] == "end"
