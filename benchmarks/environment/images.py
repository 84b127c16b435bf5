"""How soon does a job start whose environment is there, and how soon ten that need a new one?"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import docker

from agent.folder import AttemptFolder
from agent.runtimes.bases import Bases
from agent.runtimes.docker_engine import Engine
from agent.runtimes.docker_images import image_name
from agent.runtimes.docker_runtime import DockerConfig, DockerRuntime
from agent.runtimes.protocol import Preparation, Prepared
from benchmarks import floors
from benchmarks.latency import follow_first_line, in_thread
from benchmarks.stack import BASE_IMAGE, environment, running_stack, zip_of
from benchmarks.table import Figure
from bus import subjects
from bus.connection import Bus
from bus.layout import declare
from bus.link import BusConfig
from bus.records import Records
from bus.server import ServerConfig, nats_server
from schemas.environments import Phase
from schemas.ids import job_id
from schemas.job import Attempt, Fact, Record, State
from schemas.spec import JobSpec
from schemas.worker import Command, Grant
from services.environments.config import EnvironmentsConfig
from services.environments.service import run
from services.environments.shelf import Shelf

OVER_BARE = 300.0
"""Milliseconds on top of the bare container's."""
AGENTS = 10
PULLS = 1.3
SHARED_SECONDS = 300.0
TEMPLATE = """#!/bin/sh
# {mark}
set -eu
cd /opt/stoker
mkdir -p env/bin
python -c 'import os
with open("env/made", "wb") as file:
    for _ in range({mebibytes}): file.write(os.urandom(1 << 20))'
"""


# A job with another line.


async def again(rounds: int) -> list[Figure]:
    """Uploaded, stored, dispatched and started, beside a container that is started at once."""
    ours, bare = [], []
    requirements = f"# {uuid.uuid4()}\n"
    async with running_stack("docker") as stack:
        first = await stack.upload(bundle(requirements, "first"), {})
        end = await stack.ended(first["id"], 300)
        if end["state"] != "succeeded":
            raise RuntimeError(f"the first job ended as {end['state']}: {end['detail']}")
        image = await stack.image()
        with floors.program_folder(stack.folder / "bare") as folder, ThreadPoolExecutor(1) as pool:
            config = floors.hardened(image, folder, JobSpec())
            client = docker.APIClient(timeout=60)
            for number in range(rounds):
                begun = time.perf_counter()
                job = await stack.upload(bundle(requirements, str(number)), {})
                ours.append(await follow_first_line(stack, job["id"], begun))
                bare.append(await in_thread(pool, client, config))
            client.close()
    floor = statistics.median(bare) * 1000
    return [
        Figure(
            "again with another main.py: submit → first line, p50",
            statistics.median(ours) * 1000, "ms", floor + OVER_BARE,
            beside="a bare container", reference=floor,
        )
    ]  # fmt: skip


def bundle(requirements: str, line: str) -> bytes:
    return zip_of({"main.py": f"print({line!r})\n", "requirements.txt": requirements})


# Ten agents.


@dataclass(frozen=True)
class Fleet:
    """Agents' runtimes on this machine's engine, each with a folder of its own."""

    bus: Bus
    folder: Path
    agents: list[DockerRuntime]

    async def prepare(self, number: int) -> tuple[float, Prepared]:
        """When its environment was ready, by ``perf_counter``."""
        grant = await self._granted(f"w{number}")
        folder = AttemptFolder(self.folder / f"w{number}" / "attempts" / f"{grant.job}.1")
        folder.outputs.mkdir(parents=True)
        folder.job.mkdir()
        (folder.job / "main.py").write_text("print(1)\n")
        (folder.job / "requirements.txt").write_text("made\n")
        preparation = Preparation(grant, folder, f"w{number}")
        prepared = await self.agents[number].prepare(preparation, lambda stream, data: None)
        return time.perf_counter(), prepared

    async def _granted(self, worker: str) -> Grant:
        job = job_id(time.time(), uuid.uuid4().int & 0xFFFFF)
        attempt = Attempt(number=1, worker=worker, claim="c", nonce="n", granted_at=time.time())
        record = Record(
            id=job, owner="bench", spec=JobSpec(), bundle="b", state=State.RUNNING,
            submitted_at=1.0, changed_at=1.0, attempt=1, attempts=(attempt,),
        )  # fmt: skip
        await Records(self.bus).write(record, Fact.RUNNING, 0)
        return Grant(job=job, attempt=1, nonce="n", spec=JobSpec(), bundle="b")


@asynccontextmanager
async def fleet(mebibytes: int, count: int) -> AsyncIterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="stoker-images-") as name:
        folder = Path(name)
        template = folder / "install.sh"
        template.write_text(TEMPLATE.format(mark=uuid.uuid4(), mebibytes=mebibytes))
        base = environment().get(BASE_IMAGE) or Bases().image
        config = DockerConfig(bases=Bases(image=base, template=template))
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(nats_server(ServerConfig(folder / "nats")))
            connected = Bus.connect(BusConfig((server.url,), "bench"))
            bus = await stack.enter_async_context(connected)
            await declare(bus)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(tasks.create_task(run(bus, EnvironmentsConfig())).cancel)
            agents = []
            for number in range(count):
                work = folder / f"w{number}"
                work.mkdir()
                agents.append(DockerRuntime(work, f"w{number}", config))
                await agents[-1].open()
                stack.push_async_callback(agents[-1].close)
                await stack.enter_async_context(agents[-1].shared(bus))
            yield Fleet(bus, folder, agents)


async def ten(mebibytes: int) -> list[Figure]:
    """All on one engine: it has the image once it is built. One pull is measured after that."""
    async with fleet(mebibytes, AGENTS + 1) as made:
        begun = time.perf_counter()
        done = await asyncio.gather(*map(made.prepare, range(AGENTS)))
        times = [at - begun for at, _ in done]
        key = done[0][1].environment.key
        try:
            entry = await Shelf(made.bus).entry("default", key)
            builds = entry.number if entry else 0
            pull = await pulled(made, key)
        finally:
            await asyncio.to_thread(remove, key)
    build = min(times)
    return [
        Figure(f"{AGENTS} agents that need one new environment: builds", builds, "", 1.0),
        Figure(
            f"{AGENTS} agents, {mebibytes} MiB: submit → the last is ready", max(times), "s",
            build + PULLS * pull, beside="the build", reference=build,
            note=f"one pull through the store takes {pull:.1f} s",
        ),
    ]  # fmt: skip


async def pulled(made: Fleet, key: str) -> float:
    """Seconds that a worker takes whose engine lacks what is shared already."""
    builder = await Shelf(made.bus).entry("default", key)
    assert builder is not None
    nudge = Command(share=(key,))
    await made.bus.publish(subjects.command(builder.worker, "share"), nudge)
    async with asyncio.timeout(SHARED_SECONDS):
        while (entry := await Shelf(made.bus).entry("default", key)) is not None:
            if entry.phase is Phase.READY:
                break
            await asyncio.sleep(0.1)
    await asyncio.to_thread(remove, key)
    begun = time.perf_counter()
    at, _ = await made.prepare(AGENTS)
    return at - begun


def remove(key: str) -> None:
    engine = Engine()
    if engine.image(image_name(key)) is not None:
        engine.call("DELETE", f"/images/{image_name(key)}", {"force": 1})
