"""What is a whole Stoker in one process, and in which order does it start and stop?"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.config import AgentConfig
from bus.certificates import SERVER, keep_renewed
from bus.connection import Bus
from bus.layout import declare
from bus.link import BusConfig
from bus.server import EmbeddedServer, ServerConfig, nats_server
from bus.server_tls import ServerTls, with_tls
from stoker import agents, config, keeping, own_worker, parts, ports, tls
from stoker.agent_process import run_agent_process
from stoker.answers import StokerError
from stoker.supervise import Part, supervise
from stoker.welcome import Welcome, clear, owner_of, welcomed

log = logging.getLogger(__name__)

READY_SECONDS = 20.0
"""Longest start."""
ORPHAN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class UpConfig:
    """What ``stoker up`` was asked for."""

    data: Path
    page: parts.PageFlags = field(default_factory=parts.PageFlags)
    nats_port: int | None = None
    """None: the usual one where it is free, else any."""
    nats_binary: Path | None = None
    nats: tls.NatsFlags = field(default_factory=tls.NatsFlags)
    agent: agents.AgentFlags = field(default_factory=agents.AgentFlags)
    quota: Mapping[str, int | None] = field(default_factory=dict)
    """What one user may have where nothing else is set."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A running one."""

    url: str
    nats: str
    data: Path
    runtime: str
    server: EmbeddedServer
    welcome: Welcome
    """How its owner gets in."""
    page: parts.PageFlags
    outside: tuple[str, ...] = ()
    """Where other machines reach NATS."""
    plain: tuple[str, ...] = ()
    """What other machines reach without TLS."""


@asynccontextmanager
async def running(asked: UpConfig) -> AsyncIterator[Stack]:
    """Everything, from when its page answers; it stops when the context is left."""
    private_folder(asked.data)
    end_orphan(asked.data)
    owner = owner_of(asked.data)
    page = replace(asked.page, port=ports.page_port(asked.page.host, asked.page.port), owner=owner)
    keys = asked.data / config.KEYS
    names = tls.machine_names(page, asked.nats)
    page = tls.page_with_tls(page, keys, names)
    server_config = ServerConfig(
        data=asked.data / "nats",
        host=asked.nats.host,
        port=ports.nats_port(asked.nats_port, asked.nats.host),
        binary=asked.nats_binary,
        keys=keys,
        tls=tls.nats_with_tls(asked.nats, keys, names),
    )
    async with nats_server(server_config) as server:
        agent = await agents.agent_config(asked.agent, asked.data / "work")
        users = Users((server.url,), keys, server_config.tls)
        async with Bus.connect(users.bus("identity")) as bus:
            await declare(bus)
            worker = await own_worker.admitted(bus, agent, users.keys)
        ready = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            made = all_parts(asked, users, page, announce(ready))
            made.append(agent_part(asked.data, worker, agent))
            if (keys / SERVER).exists():
                made.append(renewing_part(keys, asked.page, asked.nats))
            work = group.create_task(supervise(made))
            try:
                url = await page_of(ready)
                welcome = await let_in(asked, users, url)
                stack = Stack(
                    url, server.url, asked.data, agent.runtime, server, welcome, page,
                    tls.outside(asked.nats.host, server.url), tls.plain_parts(page, asked.nats),
                )  # fmt: skip
                write_files(stack)
                yield stack
            finally:
                work.cancel()
                (asked.data / config.ADDRESS_FILE).unlink(missing_ok=True)


def announce(ready: asyncio.Future[str]) -> Callable[[str], None]:
    """The page's address counts once: a restarted one keeps it."""
    return lambda url: None if ready.done() else ready.set_result(url)


async def page_of(ready: asyncio.Future[str]) -> str:
    try:
        async with asyncio.timeout(READY_SECONDS):
            return await ready
    except TimeoutError:
        raise StokerError(
            f"the page does not answer after {READY_SECONDS:.0f} s; the log says why"
        ) from None


async def let_in(asked: UpConfig, users: Users, url: str) -> Welcome:
    if not asked.page.sign_in:
        clear(asked.data)
        return Welcome(owner_of(asked.data))
    try:
        async with asyncio.timeout(READY_SECONDS):
            return await welcomed(users.bus("ui"), asked.data, url)
    except TimeoutError:
        raise StokerError(
            f"nobody can sign in after {READY_SECONDS:.0f} s; the log says why"
        ) from None


@dataclass(frozen=True, slots=True)
class Users:
    """Who the parts are on the bus: each has credentials of its own."""

    servers: tuple[str, ...]
    keys: Path
    tls: ServerTls | None = None

    def bus(self, role: str) -> BusConfig:
        made = parts.bus_config(self.servers, role, self.keys / f"{role}.creds")
        return with_tls(made, self.tls)


def all_parts(
    asked: UpConfig, users: Users, page: parts.PageFlags, on_ready: Callable[[str], None]
) -> list[Part]:
    flags = parts.ServiceFlags(
        asked.data,
        quota=asked.quota,
        keys=users.keys,
        secret_keys=users.keys / config.SECRET_KEYS,
        groups=page.oidc.groups if page.oidc else {},
    )
    return [
        *(service(name, users, flags) for name in parts.RUNNERS),
        on_bus(users.bus("ui"), lambda bus: parts.run_ui(bus, page, on_ready)),
    ]


def agent_part(data: Path, worker: BusConfig, agent: AgentConfig) -> Part:
    return Part("agent", lambda: run_agent_process(worker, agent, data / "agent.log"))


def renewing_part(keys: Path, page: parts.PageFlags, nats: tls.NatsFlags) -> Part:
    """What our own authority signed for page and NATS; whoever shows it watches the file."""
    return Part("certificates", lambda: keep_renewed(keys, lambda: tls.machine_names(page, nats)))


def service(name: str, users: Users, flags: parts.ServiceFlags) -> Part:
    return on_bus(users.bus(name), lambda bus: parts.run_service(name, bus, flags))


def on_bus(settings: BusConfig, run: Callable[[Bus], Awaitable[None]]) -> Part:
    """A part with a connection of its own, made anew at each start."""

    async def start() -> None:
        async with Bus.connect(settings) as bus:
            await run(bus)

    return Part(settings.name, start)


def private_folder(data: Path) -> None:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StokerError(f"{data} cannot be made: {error.strerror}; use --data") from error
    if not os.access(data, os.W_OK | os.X_OK):
        raise StokerError(f"{data} cannot be written; choose another with --data")


def write_files(stack: Stack) -> None:
    met, shown = stack.server.connection(), stack.page.certificate
    address = config.Address(
        stack.url,
        stack.nats,
        os.getpid(),
        certificate=str(shown.absolute()) if shown else "",
        authority=met.authority or "",
        nats_name=met.tls_name or "",
        outside=stack.outside,
        plain=stack.plain,
    )
    config.write_address(stack.data, address)
    keeping.note_here(stack.url, stack.data)
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
