"""What does the bare machine do, with no Stoker in the way?"""

from __future__ import annotations

import asyncio
import queue
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import nats

from agent.runtimes.docker_container import JOB_USER, settings
from agent.runtimes.program import limits_of
from agent.runtimes.protocol import Launch
from schemas.spec import JobSpec
from schemas.worker import Grant

PROGRAM = "print(1)\n"


def hardened(image: str, folder: Path, spec: JobSpec) -> dict[str, Any]:
    """What the engine is asked for: exactly the settings of a job's own container."""
    launch = Launch(
        runtime="docker",
        job="bare",
        attempt=1,
        worker="bare",
        folder=str(folder),
        command=("python", "main.py"),
        environment={"PYTHONUNBUFFERED": "1", "HOME": "/tmp"},
        limits=limits_of(Grant(job="bare", attempt=1, nonce="", spec=spec, bundle="")),
        details={"image": image, "user": f"{JOB_USER}:{JOB_USER}"},
    )
    return settings(launch)


@dataclass(frozen=True, slots=True)
class Bare:
    """One container of ``print(1)`` by the SDK alone, in seconds from the create call."""

    first_line: float
    end: float


def bare_container(client: docker.APIClient, config: dict[str, Any]) -> Bare:
    """Create, attach, start, read the first line, wait, remove."""
    begun = time.perf_counter()
    container = client.create_container_from_config(config)["Id"]
    with closing(client.attach_socket(container, {"stdout": 1, "stderr": 1, "stream": 1})) as sock:
        client.start(container)
        sock._sock.recv(4096)
        first_line = time.perf_counter() - begun
        client.wait(container)
    client.remove_container(container)
    return Bare(first_line, time.perf_counter() - begun)


def bare_rate(config: dict[str, Any], containers: int, workers: int) -> float:
    """Containers a second with ``workers`` threads."""

    def run() -> Iterator[Callable[[], object]]:
        with closing(docker.APIClient(timeout=60)) as client:
            while True:
                yield lambda: bare_container(client, config)

    return rate(run, containers, workers)


def rate(worker: Callable[[], Iterator[Callable[[], object]]], items: int, workers: int) -> float:
    """Items a second when ``workers`` threads share ``items`` of them. Raises what one raises."""
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    for item in range(items):
        left.put(item)

    def run() -> None:
        steps = worker()
        for step in steps:
            try:
                left.get_nowait()
            except queue.Empty:
                break
            step()

    begun = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(run) for _ in range(workers)]:
            done.result()
    return items / (time.perf_counter() - begun)


def best_concurrency(config: dict[str, Any], containers: int) -> int:
    """How many containers at a time the bare SDK starts at the best rate."""
    tried = {n: bare_rate(config, containers, n) for n in (2, 3, 4, 6)}
    return max(tried, key=lambda n: tried[n])


async def spawn_rate(interpreter: str, folder: Path, items: int, workers: int) -> float:
    """Interpreters a second that run ``print(1)`` and whose output and end are read."""
    left = iter(range(items))

    async def run() -> None:
        for _ in left:
            process = await asyncio.create_subprocess_exec(
                interpreter, "main.py", cwd=folder / "job", stdout=asyncio.subprocess.PIPE
            )
            await process.communicate()

    begun = time.perf_counter()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(run())
    return items / (time.perf_counter() - begun)


async def best_spawn_rate(
    folder: Path, items: int, interpreter: str = sys.executable
) -> tuple[float, int]:
    tried = {n: await spawn_rate(interpreter, folder, items, n) for n in (1, 2, 3, 4, 8)}
    best = max(tried, key=lambda n: tried[n])
    return tried[best], best


@contextmanager
def program_folder(folder: Path) -> Iterator[Path]:
    """``main.py`` under ``job``, as an attempt's folder has it; gives that one's parent."""
    for name in ("job", "outputs", "checkpoints", "stop"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name).chmod(0o777)
    (folder / "job" / "main.py").write_text(PROGRAM)
    yield folder


@dataclass(frozen=True, slots=True)
class Publishing:
    """Durable publishes of 1 KiB to a file stream."""

    serial: float
    """Seconds of one, the median."""
    pipelined: float
    """A second, by 64 tasks."""


async def raw_publishing(url: str, admin: Path, count: int = 2000) -> Publishing:
    """What a durable write of one record costs on the server that the stack itself uses."""
    client = await nats.connect(
        url, allow_reconnect=False, connect_timeout=5, user_credentials=str(admin)
    )
    js = client.jetstream(publish_async_max_pending=256)
    await js.add_stream(name="BENCH", subjects=["bench.>"], max_bytes=64 << 20)
    payload = b"x" * 1024
    try:
        times = []
        for number in range(200):
            begun = time.perf_counter()
            await js.publish(f"bench.{number}", payload)
            times.append(time.perf_counter() - begun)
        left = iter(range(count))

        async def run() -> None:
            for number in left:
                await js.publish(f"bench.{number}", payload)

        begun = time.perf_counter()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for _ in range(64):
                group.create_task(run())
        return Publishing(sorted(times)[100], count / (time.perf_counter() - begun))
    finally:
        await js.delete_stream("BENCH")
        await client.close()
