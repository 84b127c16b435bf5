"""What is a whole Stoker in one process, and in which order does it start and stop?"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bus.connection import Bus, BusConfig
from bus.layout import declare
from bus.server import EmbeddedServer, ServerConfig, nats_server
from stoker import config, parts
from stoker.answers import StokerError
from stoker.supervise import Part, supervise

log = logging.getLogger(__name__)

READY_SECONDS = 20.0
"""Longest start."""
ORPHAN_SECONDS = 5.0
ANY_PORT = -1


@dataclass(frozen=True, slots=True)
class UpConfig:
    """What ``stoker up`` was asked for."""

    data: Path
    host: str = "127.0.0.1"
    port: int = config.PORT
    """0 for any free one."""
    hosts: tuple[str, ...] = ()
    """More names under which the page may be opened."""
    nats_port: int | None = None
    """None: the usual one where it is free, else any."""
    nats_binary: Path | None = None
    agent: parts.AgentFlags = parts.AgentFlags()


@dataclass(frozen=True, slots=True)
class Stack:
    """A running one."""

    url: str
    nats: str
    data: Path
    runtime: str
    server: EmbeddedServer


@asynccontextmanager
async def running(asked: UpConfig) -> AsyncIterator[Stack]:
    """Everything, from when its page answers; it stops when the context is left."""
    port = asked.port or free_port(asked.host)
    refuse_taken_port(asked.host, port)
    private_folder(asked.data)
    end_orphan(asked.data)
    server_config = ServerConfig(
        data=asked.data / "nats",
        port=nats_port(asked.nats_port),
        binary=asked.nats_binary,
    )
    async with nats_server(server_config) as server:
        async with Bus.connect(BusConfig(servers=(server.url,), name="up")) as bus:
            await declare(bus)
        runtime = await parts.chosen_runtime(asked.agent)
        stack = Stack(page_url(asked.host, port), server.url, asked.data, runtime, server)
        write_files(stack)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(supervise(all_parts(asked, stack, port)))
            try:
                await answering(asked.host, port)
                yield stack
            finally:
                work.cancel()
                (asked.data / config.ADDRESS_FILE).unlink(missing_ok=True)


def all_parts(asked: UpConfig, stack: Stack, port: int) -> list[Part]:
    servers = (stack.nats,)
    made = [connected(name, servers, asked.data) for name in parts.SERVICES]
    made.append(on_bus("ui", servers, lambda bus: parts.run_ui(bus, asked.host, port, asked.hosts)))
    work = asked.data / "work"
    agent = parts.agent_config(asked.agent, stack.runtime, work)
    made.append(Part("agent", lambda: parts.run_agent(BusConfig(servers=servers), agent)))
    return made


def connected(name: str, servers: tuple[str, ...], data: Path) -> Part:
    return on_bus(name, servers, lambda bus: parts.run_service(name, bus, data))


def on_bus(name: str, servers: tuple[str, ...], run: Callable[[Bus], Awaitable[None]]) -> Part:
    """A part with a connection of its own, made anew at each start."""

    async def start() -> None:
        async with Bus.connect(BusConfig(servers=servers, name=name)) as bus:
            await run(bus)

    return Part(name, start)


async def answering(host: str, port: int) -> None:
    """Until the page's port accepts a connection."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection(reachable(host), port)
                    writer.close()
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise StokerError(f"the page does not answer after {READY_SECONDS:.0f} s") from None


def reachable(host: str) -> str:
    """An address for this machine itself, where ``host`` means all of them."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


def page_url(host: str, port: int) -> str:
    name = reachable(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def free_port(host: str) -> int:
    with socket.socket(family_of(host)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    with socket.socket(family_of(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def refuse_taken_port(host: str, port: int) -> None:
    try:
        free = is_free(host, port)
    except OSError as error:
        raise StokerError(f"{host} is no address of this machine: {error.strerror}") from error
    if not free:
        raise StokerError(
            f"port {port} is taken, perhaps by another stoker up; choose one with --port"
        )


def nats_port(asked: int | None) -> int:
    if asked is not None:
        return asked or ANY_PORT
    return config.NATS_PORT if is_free("127.0.0.1", config.NATS_PORT) else ANY_PORT


def private_folder(data: Path) -> None:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StokerError(f"{data} cannot be made: {error.strerror}; use --data") from error
    if not os.access(data, os.W_OK | os.X_OK):
        raise StokerError(f"{data} cannot be written; choose another with --data")


def write_files(stack: Stack) -> None:
    config.write_address(stack.data, config.Address(stack.url, stack.nats, os.getpid()))
    (stack.data / "nats.pid").write_text(json.dumps(stack.server.pid))


def end_orphan(data: Path) -> None:
    """Ends the nats-server of a ``stoker up`` that was killed: two would tear the store apart."""
    if config.read_address(data) is not None:
        raise StokerError(f"another stoker up runs on {data}; stop it, or choose --data")
    with suppress(OSError, ValueError):
        pid = int((data / "nats.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if str(data / "nats").encode() not in command:
            return
        log.warning("ending the nats-server %d that was left behind", pid)
        os.kill(pid, signal.SIGTERM)
        wait_gone(pid)


def wait_gone(pid: int) -> None:
    import time

    deadline = time.monotonic() + ORPHAN_SECONDS
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
