"""Three nats-servers on this machine, set up by the files under ``deploy/cluster``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from bus.connection import Bus
from bus.server import ServerConfig, find_binary
from tests.integration.switch import Switch, switch

CONFIG = Path(__file__).parents[2] / "deploy" / "cluster" / "nats.conf"
NAMES = ("nats-1", "nats-2", "nats-3")


@dataclass
class Cluster:
    """Three servers, each with a folder of its own."""

    folder: Path
    places: dict[str, tuple[str, str]]
    """Addresses for clients and for the other servers."""
    enter: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What starts a server in a network of its own."""
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(f"nats://{client}" for client, _ in self.places.values())

    def configuration(self, name: str) -> Path:
        """The file as it is deployed, with addresses and folder of this machine."""
        client, route = self.places[name]
        text = CONFIG.read_text()
        for deployed, here in {
            "0.0.0.0:4222": client,
            "0.0.0.0:6222": route,
            "/var/lib/nats": str(self.folder / name),
            **{f"nats://{other}:6222": f"nats://{at[1]}" for other, at in self.places.items()},
        }.items():
            assert deployed in text, deployed
            text = text.replace(deployed, here)
        path = self.folder / f"{name}.conf"
        path.write_text(text)
        return path

    async def start(self, name: str) -> None:
        with open(self.folder / f"{name}.log", "ab") as output:
            self.processes[name] = await asyncio.create_subprocess_exec(
                *self.enter.get(name, ()),
                str(find_binary(ServerConfig(self.folder))), "-c", str(self.configuration(name)),
                stdout=output, stderr=output, env={**os.environ, "NATS_NAME": name},
            )  # fmt: skip

    async def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        await self.processes[name].wait()


@contextlib.asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Cluster]:
    at = [f"127.0.0.1:{port}" for port in free_ports(6)]
    async with running(
        Cluster(folder, dict(zip(NAMES, zip(at[:3], at[3:], strict=True), strict=True)))
    ) as made:
        yield made


@contextlib.asynccontextmanager
async def cluster_that_can_be_cut(folder: Path) -> AsyncIterator[tuple[Cluster, Switch]]:
    with switch(NAMES) as network:
        places = {
            name: (f"{network.client_address(name)}:4222", f"{network.route_address(name)}:6222")
            for name in NAMES
        }
        enter = {name: network.enter(name) for name in NAMES}
        async with running(Cluster(folder, places, enter)) as made:
            yield made, network


@contextlib.asynccontextmanager
async def running(made: Cluster) -> AsyncIterator[Cluster]:
    try:
        for name in NAMES:
            await made.start(name)
        yield made
    finally:
        for process in made.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


async def leader_of(bus: Bus, stream: str) -> str:
    """Empty while there is none."""
    info = await bus.api(f"STREAM.INFO.{stream}")
    return str(info["cluster"].get("leader", ""))


async def current(bus: Bus, stream: str) -> bool:
    """Whether all three servers have all of it."""
    info = (await bus.api(f"STREAM.INFO.{stream}"))["cluster"]
    return len(info["replicas"]) == 2 and all(
        replica["current"] and not replica.get("lag") for replica in info["replicas"]
    )
