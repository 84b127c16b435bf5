"""What is the house that is shaken? Every part a process of its own, and two worker machines."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import docker
import psutil

from benchmarks.chaos.machines import Network, PrivateEngine, own_network, private_engine
from benchmarks.chaos.supervised import Part
from benchmarks.processes import family
from benchmarks.stack import LOCAL_IMAGE, free_port
from benchmarks.table import RESULTS
from bus.server import ServerConfig, answers, find_binary, write_config

READY = 60.0
STOKER = (sys.executable, "-m", "stoker")
BESIDE = ("upload", "archive", "catalog", "outputs", "environments", "ui")
"""Beside the schedulers."""
SERVICES = ("scheduler", "scheduler-2", *BESIDE)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a house is made of."""

    lost_after: float = 5.0
    runtime: str = "docker"
    slots: int = 4
    schedulers: int = 2
    own_network: bool = True
    """Of the worker ``far``: it can be cut."""
    own_engine: bool = True
    """Of the worker ``near``: it can be restarted."""
    sync_always: bool = True
    workers: tuple[str, ...] = ("near", "far")


@dataclass
class House:
    """All parts while they run."""

    folder: Path
    wish: Wish
    url: str
    nats: str
    http: aiohttp.ClientSession
    parts: dict[str, Part] = field(default_factory=dict)
    network: Network | None = None
    engine: PrivateEngine | None = None
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def workers(self) -> tuple[str, ...]:
        return self.wish.workers

    def worker_name(self, worker: str) -> str:
        """Unique on the machine: containers are looked for by it."""
        return f"{worker}-{self.folder.name.rpartition('-')[2].lower().replace('_', 'x')}"

    def engine_of(self, worker: str) -> str | None:
        return self.engine.socket if self.engine and worker == "near" else None

    def work(self, worker: str) -> Path:
        return self.folder / worker

    def start(self, part: Part) -> None:
        self.parts[part.name] = part
        self._tasks[part.name] = asyncio.create_task(part.keep())

    async def end(self, name: str) -> None:
        """It is not started again."""
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.wait((task,))

    async def close(self) -> None:
        """Workers first, so that they end in order; then all else, and what they left."""
        for names in (self.workers, tuple(self._tasks)):
            await asyncio.gather(*(self.end(name) for name in names if name in self._tasks))
        if self.wish.runtime == "docker":
            await asyncio.to_thread(self.remove_containers)

    def containers(self) -> list[str]:
        """Those of its workers, on both engines."""
        found = []
        for worker in self.workers:
            with docker_client(self.engine_of(worker)) as client:
                label = f"stoker.worker={self.worker_name(worker)}"
                listed = client.containers(all=True, filters={"label": label})
                found += [f"{worker}: {one['Names'][0]} {one['Status']}" for one in listed]
        return found

    def remove_containers(self) -> None:
        """From the machine's own engine; one of the house's own goes with all that it has."""
        for worker in self.workers:
            if self.engine_of(worker) is None:
                with docker_client(None) as client:
                    label = f"stoker.worker={self.worker_name(worker)}"
                    for one in client.containers(all=True, filters={"label": label}):
                        with suppress(docker.errors.APIError):
                            client.remove_container(one["Id"], force=True)

    async def heard(self, worker: str, since: float) -> bool:
        """Whether the worker was heard after ``since``, in Unix seconds."""
        try:
            async with self.http.get(f"{self.url}/api/v1/workers") as answer:
                found = (await answer.json())["workers"]
        except (aiohttp.ClientError, KeyError, ValueError):
            return False
        name = self.worker_name(worker)
        return any(one["name"] == name and one["heard_at"] > since for one in found)

    def hosts(self) -> list[psutil.Process]:
        """Shim hosts, and the shims that they forked."""
        return [
            process
            for process in family([], self.folder)
            if any("agent.shim_host" in word for word in words_of(process))
        ]

    def shims(self) -> int:
        """Shim hosts and shims beyond the one host that each agent keeps."""
        return max(0, len(self.hosts()) - len(self.workers))


def words_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@asynccontextmanager
async def open_house(wish: Wish) -> AsyncIterator[House]:
    """From when its page answers and its workers are heard; nothing of it is left afterwards."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=RESULTS.absolute()))
    async with AsyncExitStack() as stack:
        stack.callback(sweep, folder)
        network = engine = None
        if wish.own_network:
            network = await stack.enter_async_context(own_network())
        if wish.own_engine:
            engine = await stack.enter_async_context(private_engine(folder / "engine"))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30))
        )
        port, nats_port = free_port(), free_port()
        host = network.host if network else "127.0.0.1"
        house = House(
            folder, wish, f"http://127.0.0.1:{port}", f"nats://{host}:{nats_port}", http,
            network=network, engine=engine,
        )  # fmt: skip
        stack.push_async_callback(house.close)
        try:
            await start_all(house, port, nats_port, host)
            yield house
        except Exception as error:
            (folder / "keep").write_text(f"{error!r}\n")
            print(f"the logs of all parts are in {folder}", flush=True)
            raise


async def start_all(house: House, port: int, nats_port: int, host: str) -> None:
    house.start(nats_part(house, host, nats_port))
    async with asyncio.timeout(READY):
        while not await answers(house.nats):  # noqa: ASYNC110  # a server tells nobody
            await asyncio.sleep(0.05)
    for name in ("scheduler", "scheduler-2")[: house.wish.schedulers]:
        house.start(service_part(house, name))
    for name in BESIDE:
        house.start(service_part(house, name, port))
    for worker in house.workers:
        house.start(worker_part(house, worker))
    async with asyncio.timeout(READY):
        for worker in house.workers:
            while not await house.heard(worker, 0):  # noqa: ASYNC110
                await asyncio.sleep(0.2)


def nats_part(house: House, host: str, port: int) -> Part:
    config = ServerConfig(house.folder / "nats", host, port, sync_always=house.wish.sync_always)
    (config.data / "ports").mkdir(parents=True)
    path = write_config(config, port)
    command = (str(find_binary(config)), "-c", str(path))
    return Part("nats", command, house.folder / "nats.log", {"GOMEMLIMIT": str(config.heap)})


def service_part(house: House, name: str, port: int = 0) -> Part:
    service = name.partition("-")[0]
    command = [*STOKER, "serve", service, "--nats", house.nats]
    if service == "scheduler":
        command += ["--lost-after", f"{house.wish.lost_after:g}s"]
    if service in ("upload", "catalog"):
        command += ["--data", str(house.folder / name)]
    if service == "ui":
        command += ["--port", str(port), "--no-sign-in"]
    return Part(name, command, house.folder / f"{name}.log")


def worker_part(house: House, worker: str) -> Part:
    slots = house.wish.slots
    command = [
        *(*STOKER, "agent", "--nats", house.nats, "--name", house.worker_name(worker)),
        *("--work", str(house.work(worker)), "--runtime", house.wish.runtime),
        *("--slots", str(slots), "--cpus", str(slots), "--memory", "64g"),
        *("--base-image", LOCAL_IMAGE),
    ]
    if house.network is not None and worker == "far":
        command = [*house.network.enter, *command]
    engine = house.engine_of(worker)
    return Part(
        worker, command, house.folder / f"{worker}.log", {"DOCKER_HOST": engine} if engine else {}
    )


def docker_client(engine: str | None) -> docker.APIClient:
    return docker.APIClient(base_url=engine, timeout=30)


def sweep(folder: Path) -> None:
    """Whatever still names the folder ends; the folder goes, unless somebody wants to read it."""
    for process in family([], folder):
        process.kill()
    if (folder / "keep").exists():
        for heavy in ("engine", "nats"):
            shutil.rmtree(folder / heavy, ignore_errors=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
