"""How does an agent start, and how does it leave?"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.attempt import Machine
from agent.bundles import Bundles
from agent.config import AgentConfig
from agent.data import Data
from agent.leaving import Leaving
from agent.renewing import renewing
from agent.runtimes.dummy import DummyRuntime
from agent.runtimes.process import ProcessRuntime
from agent.runtimes.protocol import Runtime
from agent.worker import Worker, make_folders
from bus.connection import Bus
from bus.link import BusConfig

log = logging.getLogger(__name__)


class AgentError(Exception):
    """The agent cannot start; the message says what to change."""


async def run_agent(
    bus_config: BusConfig, config: AgentConfig, leaving: Leaving | None = None
) -> None:
    """Until cancelled: what runs goes on under its shims, for a successor to take up.

    ``leaving`` makes it return: after what runs, or at once. Raises ``AgentError`` and
    ``Unanswered``.
    """
    make_folders(config.work)
    with only_agent(config.work):
        runtime = make_runtime(config)
        reason = await runtime.check()
        if reason:
            raise AgentError(f"the {config.runtime} runtime cannot be used: {reason}")
        await runtime.open()
        try:
            async with Bus.connect(bus_config) as bus, renewing(bus), runtime.shared(bus):
                bundles = Bundles(bus, config.name, config.work / "bundles")
                log.info("%s takes %s jobs of pool %s", config.name, config.runtime, config.pool)
                data = Data(bus, config.name, config.work / "data", config.data, config.disk)
                await data.look()
                machine = Machine(bus, config.name, runtime, bundles, data, config.rhythm)
                await Worker(machine, config).run(leaving or Leaving())
        finally:
            await runtime.close()


def make_runtime(config: AgentConfig) -> Runtime:
    match config.runtime:
        case "dummy":
            return DummyRuntime()
        case "process":
            return ProcessRuntime(config.work, config.environment)
        case "docker":
            return docker_runtime(config)
    raise AgentError(f"there is no runtime {config.runtime!r}; known: docker, process, dummy")


def docker_runtime(config: AgentConfig) -> Runtime:
    """Imports the engine's client only where it is used."""
    from agent.runtimes.bases import TEMPLATE_PATH, Bases
    from agent.runtimes.docker_engine import SOCKET
    from agent.runtimes.docker_runtime import DockerConfig, DockerRuntime

    bases = Bases(
        config.base_image or "",
        config.template or TEMPLATE_PATH,
        config.dockerfiles,
        config.gpu_base_image or "",
    )
    docker = DockerConfig(
        config.engine or SOCKET,
        bases,
        networks=config.networks,
        install_network=config.install_network,
        sandbox=config.sandbox,
        registry=config.registry,
        registry_credentials=config.registry_credentials,
        package_cache=config.package_cache,
        docker_command=config.docker_command,
    )
    return DockerRuntime(config.work, config.name, docker)


@contextmanager
def only_agent(work: Path) -> Iterator[None]:
    """Two agents in one work directory would take each other's attempts: refused."""
    descriptor = os.open(work / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AgentError(
                f"another agent works in {work}: stop it, or choose another work directory"
            ) from error
        yield
    finally:
        with suppress(OSError):
            os.close(descriptor)
