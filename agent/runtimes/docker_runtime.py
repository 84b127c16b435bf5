"""How does the agent run jobs in containers?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import socket

from agent.data_places import make_mount_points
from agent.environments import Fleet
from agent.folder import AttemptFolder
from agent.runtimes.docker_config import DockerConfig as DockerConfig
from agent.runtimes.docker_container import (
    CHECKPOINTS,
    FULL,
    JOB_USER,
    OUTPUTS,
    STOP,
    owner_of,
)
from agent.runtimes.docker_engine import Engine, EngineError
from agent.runtimes.docker_environment import Environments, Looks
from agent.runtimes.docker_leftovers import Leftovers
from agent.runtimes.docker_listing import Listings
from agent.runtimes.docker_meter import container_meter
from agent.runtimes.docker_network import NoNetwork, Outbound
from agent.runtimes.docker_pipes import make_pipes
from agent.runtimes.docker_pool_registry import PoolRegistry
from agent.runtimes.docker_programs import ImagePrograms
from agent.runtimes.docker_provision import new_images
from agent.runtimes.docker_registry import host_in, image_logins
from agent.runtimes.docker_sharing import Sharing
from agent.runtimes.docker_shell import command_of, shares_kernel
from agent.runtimes.docker_sibling import SiblingHosts, misplaced, own_container
from agent.runtimes.docker_threads import Threads
from agent.runtimes.docker_tracking import ContainerTracking
from agent.runtimes.docker_wishes import Ready, Wish
from agent.runtimes.program import Places, limits_of, make_places, program_environment
from agent.runtimes.protocol import CannotPrepare, Launch, Output, Preparation, Prepared
from agent.runtimes.shim_runtime import HostProcess, ShimRuntime, start_local_host
from agent.runtimes.usage import Meter
from agent.shares import Shares
from agent.surplus import Rule
from bus.connection import Bus
from schemas.reason import Reason
from schemas.spec import JobSpec

log = logging.getLogger(__name__)

HOME = "/tmp"
"""Of the container, where it is a memory file system of the job's own."""
PLACES = Places(OUTPUTS, CHECKPOINTS, STOP, HOME)
CHECK_SECONDS = 5.0
NO_PYTHON_FOR = (
    "the image of the bundle's Dockerfile has no Python to run {entry} with: install one in it, or"
    " leave {entry} out of the bundle and name an ENTRYPOINT"
)
NO_SHELL = "the image has no /bin/sh, through which a container is given its secrets"
LIVES_ON_SECONDS = 2.0
"""How long it is believed that containers outlive their engine: a restart may change it."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a container runs."""

    command: tuple[str, ...]
    """Where it prints through the engine and the image brings its own: the arguments alone."""
    pipes: bool = False
    """Whether it prints to its shim itself."""


class DockerRuntime(ShimRuntime):
    """Containers under shims."""

    name = "docker"

    def __init__(self, work: Path, worker: str, config: DockerConfig | None = None) -> None:
        super().__init__(work, self._new_shim_host)
        config = config or DockerConfig()
        self._work = work
        self._worker = worker
        self._engine = Engine(config.engine)
        self._threads = Threads()
        rule = Rule(kept=config.builds.kept)
        self._leftovers = Leftovers(self._engine, worker, work, rule, config.registry)
        self._networks = config.networks
        self._sandbox = config.sandbox
        self._outbound = Outbound(self._engine)
        images = new_images(self._engine, self._threads, self._leftovers, work, config)
        self._logins = images.logins
        self._install_network = config.install_network
        self._sharing = Sharing(self._engine, self._threads, images, self._leftovers, work)
        if config.registry:
            self._sharing.registry = PoolRegistry(
                config.registry, self._engine, self._threads, images
            )
        owner = owner_of(worker, work)
        self._programs = ImagePrograms(self._engine, owner)
        self._listings = Listings(self._engine, self._threads, owner, work / "listings")
        self._environments = Environments(
            self._sharing,
            self._threads,
            config.bases,
            Looks(self._programs, self._listings),
            self._network_of_installs,
        )
        self._siblings: SiblingHosts | None = None
        self._shares_kernel = False
        self._tracking = ContainerTracking(self._engine)
        self._lives_on = Remembered(self._ask_whether_containers_live_on, LIVES_ON_SECONDS)
        self._cpus = 0.0
        self._root: Path | None = None
        """Where the engine keeps images and containers."""

    async def check(self) -> str | None:
        try:
            return await self._threads.run(self._look)
        except EngineError as error:
            return str(error)

    async def open(self) -> None:
        reason = await self.check()
        if reason:
            raise RuntimeError(reason)
        await super().open()
        await self._threads.run(self._leftovers.drop_unfinished)
        await self.clean(0)

    @contextlib.asynccontextmanager
    async def shared(self, bus: Bus) -> AsyncIterator[None]:
        shares = Shares(
            bus,
            self._worker,
            self._work / "shares",
            self._sharing.export,
            # A registry is there to keep what it is given.
            eager=self._sharing.registry is not None,
        )
        await asyncio.to_thread(shares.tidy)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(shares.run())
            self._sharing.fleet = Fleet(bus, self._worker, shares)
            try:
                yield
            finally:
                self._sharing.fleet = None
                running.cancel()

    async def prepare(self, preparation: Preparation, output: Output) -> Prepared:
        grant, folder = preparation.grant, preparation.folder
        wish = Wish(grant, folder.job, image_logins(grant.spec, preparation.image_login))
        try:
            await self._threads.run(self._check_network, grant.spec.network)
            ready = await self._environments.ready(wish, output)
            start = await self._threads.run(self._start_of, ready, grant.spec)
        except EngineError as error:
            raise CannotPrepare(str(error), Reason.AGENT_ERROR) from error
        await self._threads.run(make_mount_points, folder, preparation.data)
        await self._threads.run(hand_over, folder)
        if start.pipes:
            await self._threads.run(make_pipes, folder.path, job_user())
        packages = partial(self._listings.of, ready.image, ready.python)
        return Prepared(ready.environment, self._launch(preparation, ready, start), packages)

    async def clean(self, wanted: int) -> int:
        removed = await super().clean(wanted)
        if wanted and self._sharing.images.packages is not None:
            removed += await self._threads.run(self._sharing.images.packages.trim, wanted)
        try:
            return removed + await self._threads.run(self._leftovers.clean, wanted)
        except EngineError as error:
            log.warning("what ended attempts left in the engine stays: %s", error)
            return removed

    @property
    def disk(self) -> Path | None:
        # Not visible from a container, nor where somebody else's folder hides it.
        return self._root if self._root is not None and os.path.isdir(self._root) else None

    async def close(self) -> None:
        await super().close()
        self._threads.close()

    def _meter_of(self, identity: str) -> Meter | None:
        return container_meter(self._engine, identity)

    def _network_of_installs(self) -> str:
        try:
            return self._outbound.ensure() if self._install_network == "outbound" else FULL
        except NoNetwork as error:
            log.warning("packages are installed over the engine's bridge: %s", error)
            return FULL

    def _check_network(self, asked: str) -> None:
        if asked not in self._networks:
            allowed = ", ".join(self._networks)
            raise CannotPrepare(f"this pool gives no network {asked}; it gives {allowed}")
        if asked == "outbound":
            try:
                self._outbound.ensure()
            except NoNetwork as error:
                raise CannotPrepare(str(error)) from error

    def _look(self) -> str | None:
        if "://" in self._engine.path:
            return f"{self._engine.path} is no socket of this machine, and jobs need its files"
        info = self._engine.call("GET", "/info", timeout=CHECK_SECONDS)
        if info.get("OSType") != "linux":
            return f"the Docker engine runs {info.get('OSType')} containers, not linux ones"
        known = info.get("Runtimes") or {}
        if self._sandbox and self._sandbox not in known:
            return f"the engine has no runtime {self._sandbox}; it has {', '.join(sorted(known))}"
        self._cpus = float(info["NCPU"])
        self._root = Path(info["DockerRootDir"])
        self._logins.default = host_in(str(info.get("IndexServerAddress") or ""))
        # What a sandbox has for a kernel is another one.
        self._shares_kernel = not self._sandbox and shares_kernel(info)
        own = own_container(self._engine)
        self._tracking.look(same_kernel=self._shares_kernel, in_container=own is not None)
        if own is None:
            return None
        self._siblings = SiblingHosts(self._engine, self._threads, own, self._worker, self._work)
        return misplaced(own, self._work, self._engine.path)

    def _ask_whether_containers_live_on(self) -> bool:
        """Where they go with their engine, pipes past it would cost every job and save nothing."""
        return bool(self._engine.call("GET", "/info", timeout=CHECK_SECONDS)["LiveRestoreEnabled"])

    async def _listen(self, folder: AttemptFolder, port: int) -> socket:
        return await self._threads.run(self._tracking.listen, folder, port)

    async def _new_shim_host(self, fifo: Path, runtime: str) -> HostProcess:
        start = self._siblings.start if self._siblings else start_local_host
        return await start(fifo, runtime)

    def _start_of(self, ready: Ready, spec: JobSpec) -> Start:
        if not ready.own_command and not ready.python:
            raise CannotPrepare(NO_PYTHON_FOR.format(entry=spec.entry))
        python = (ready.python, spec.entry, *spec.arguments)
        command = spec.arguments if ready.own_command else python
        if spec.secrets and not self._programs.of(ready.image).shell:
            raise CannotPrepare(NO_SHELL, Reason.SECRET_UNAVAILABLE)
        has_shell = self._programs.has_shell
        pipes = self._shares_kernel and self._lives_on.answer() and has_shell(ready.image)
        if not pipes and not spec.secrets:
            return Start(command)
        if ready.own_command:
            image = self._engine.image(ready.image)
            command = command_of(image, spec.arguments) if image else ()
        if not command and spec.secrets:
            raise CannotPrepare("the image names no command, and the job gives none")
        return Start(command, pipes) if command else Start(spec.arguments)

    def _launch(self, preparation: Preparation, ready: Ready, start: Start) -> Launch:
        grant = preparation.grant
        spec = grant.spec
        return Launch(
            runtime=self.name,
            job=grant.job,
            attempt=grant.attempt,
            worker=preparation.worker,
            folder=str(preparation.folder.path),
            command=start.command,
            environment=program_environment(
                preparation, self._tracking.variables(grant, OUTPUTS), PLACES
            ),
            limits=limits_of(grant),
            network=spec.network,
            secrets=bool(spec.secrets),
            details={
                "engine": self._engine.path,
                "image": ready.image,
                "user": job_user(),
                "own_command": ready.own_command,
                "cpus": self._cpus,
                "pipes": start.pipes,
                "tracking": self._tracking.port(grant),
                "sandbox": self._sandbox,
                "data": [(str(one.source), one.mount.path) for one in preparation.data],
                "secret_files": any(use.file for use in spec.secrets),
            },
        )


class Remembered:
    """An answer that is asked for again once it is some seconds old; from any thread."""

    def __init__(self, ask: Callable[[], bool], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._known = (-math.inf, False)

    def answer(self) -> bool:
        asked_at, known = self._known
        if time.monotonic() - asked_at > self._seconds:
            known = self._ask()
            self._known = (time.monotonic(), known)
        return known


def job_user() -> str:
    """An agent that is not root cannot give files away: its jobs run as itself."""
    user, group = (JOB_USER, JOB_USER) if os.getuid() == 0 else (os.getuid(), os.getgid())
    return f"{user}:{group}"


def hand_over(folder: AttemptFolder) -> None:
    """The bundle's copy, outputs and checkpoints belong to the job's user."""
    make_places(folder)
    if os.getuid() != 0:
        return
    for top in (folder.job, folder.outputs, folder.checkpoints):
        os.chown(top, JOB_USER, JOB_USER)
        for place, folders, files in os.walk(top):
            for name in (*folders, *files):
                os.chown(os.path.join(place, name), JOB_USER, JOB_USER, follow_symlinks=False)
