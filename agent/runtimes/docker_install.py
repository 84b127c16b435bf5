"""How do the packages of a bundle come into an image, with no more rights than a job has?

A build of the engine's runs its steps as root, with the engine's network, and without a limit on
processes and disk. So the packages are installed by a script (``deploy/job/install.sh``) in a
container of the base image, hardened as a job's, which is committed as the environment's image.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from agent.runtimes.choice import CONDA
from agent.runtimes.docker_container import INSTALLS, JOB_USER, OWNER, hardened, ulimit
from agent.runtimes.docker_engine import Body, Engine, EngineError, Link, Query
from agent.runtimes.docker_launch import READ_BYTES, Frames, listen
from agent.runtimes.docker_packages import Cache
from agent.runtimes.docker_programs import DEFAULT_PATH
from agent.runtimes.docker_threads import Threads

FOLDER = "/opt/stoker"
SCRIPT = ".install.sh"
"""Its name among the requirements, which may have an ``install.sh`` of their own."""
MICROMAMBA = ".micromamba"
"""The worker's own, where the base image has none and an environment.yml needs it."""
PROGRAMS = f"{FOLDER}/env/bin"
PIDS = 1024
LOOK_EVERY = 5.0
"""Seconds between two looks at how much was installed: the engine measures all of it each time."""
NEEDS_BUILD = 75
"""Exit code of the script where pip may not start what builds a package."""
OUT_OF_MEMORY = 137
"""128 + SIGKILL, as a shell tells it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an installation may use."""

    seconds: float = 3600.0
    memory: int = 8 << 30
    """Bytes; swap is not on top of it."""
    cpus: float = 0.0
    """0: all."""
    disk: int = 64 << 30
    """Bytes of what it leaves."""


@dataclass(frozen=True, slots=True)
class Install:
    """One environment to make from a base image and the bundle's requirements."""

    key: str
    base: dict[str, Any]
    """What the engine tells of the base image."""
    context: Callable[[], Iterable[bytes]]
    """A tar of ``/opt/stoker``, the script included, owned by the job's user."""
    network: str
    source: str
    """The file of the bundle that says what to install; the script is called with its name."""
    python: str = ""
    """The version that the job asks for."""
    cache: Cache | None = None
    """What was downloaded before."""


class Failed(Exception):
    """The script failed: its output says why, and the message how it ended."""


class NeedsBuild(Failed):
    """A package has to be built, which may not be done where downloads are kept."""


class TooMuch(Failed):
    """It went past a limit; the message says which."""


def settings(install: Install, limits: Limits, labels: dict[str, str]) -> dict[str, Any]:
    """The body of the engine's ``/containers/create``. Pure."""
    host = hardened(limits.memory, PIDS, limits.cpus)
    return {
        "Image": install.base["Id"],
        # Nothing in the environment: whatever stood there would stay in the image.
        "User": f"{JOB_USER}:{JOB_USER}",
        "WorkingDir": FOLDER,
        "Entrypoint": ["sh", f"{FOLDER}/{SCRIPT}"],
        "Cmd": [install.source, install.python],
        "Labels": labels,
        "AttachStdout": True,
        "AttachStderr": True,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            **host,
            "NetworkMode": install.network,
            "Mounts": [install.cache.mount()] if install.cache else [],
            "Ulimits": [*host["Ulimits"], ulimit("fsize", limits.disk)],
        },
    }


def image_config(install: Install) -> dict[str, Any]:
    """Of the committed image: the base's own, which finds the new programs first. Pure."""
    config = dict(install.base["Config"])
    variables = dict(entry.partition("=")[::2] for entry in config.get("Env") or ())
    variables["PATH"] = f"{PROGRAMS}:{variables.get('PATH') or DEFAULT_PATH}"
    if install.source == CONDA:
        variables["CONDA_PREFIX"] = f"{FOLDER}/env"
    return {**config, "Env": [f"{name}={value}" for name, value in variables.items()]}


class Installer:
    """Makes images in one engine."""

    def __init__(self, engine: Engine, threads: Threads, limits: Limits, sandbox: str = "") -> None:
        self._sandbox = sandbox
        self._engine = engine
        self._threads = threads
        self._limits = limits

    async def run(
        self,
        install: Install,
        name: str,
        labels: dict[str, str],
        hear: Callable[[bytes], None],
    ) -> None:
        """Until the image ``name`` is there, with ``labels``. Cancelled, it leaves nothing behind.

        Raises ``Failed`` and ``EngineError``.
        """
        container = f"stoker-install-{install.key[:12]}-{secrets.token_hex(4)}"
        body = settings(install, self._limits, {**labels, INSTALLS: labels[OWNER]})
        body["HostConfig"]["Runtime"] = self._sandbox
        creating = asyncio.ensure_future(
            self._call("POST", "/containers/create", {"name": container}, body)
        )
        try:
            async with asyncio.timeout(self._limits.seconds):
                await asyncio.shield(creating)
                await self._call(
                    "PUT", f"/containers/{container}/archive", {"path": "/"}, install.context()
                )
                await self._follow(container, hear, install.cache)
                await self._commit(container, name, install, labels)
        except TimeoutError as error:
            seconds = f"{self._limits.seconds:g} s"
            raise TooMuch(f"it took longer than the {seconds} that it may take") from error
        finally:
            await asyncio.shield(self._drop(creating, container))

    async def _follow(
        self, container: str, hear: Callable[[bytes], None], cache: Cache | None
    ) -> None:
        attached, waiting = (self._engine.link(self._limits.seconds) for _ in range(2))
        try:
            answer = await self._threads.run(listen, attached, waiting, container, "next-exit")
            attached.sock.settimeout(LOOK_EVERY)
            await self._call("POST", f"/containers/{container}/start")
            frames, looked_at = Frames(), time.monotonic()
            while (
                block := await self._threads.run(receive, attached, abort=attached.abort)
            ) != b"":
                for _, data in frames.feed(block or b""):
                    hear(data)
                if time.monotonic() - looked_at > LOOK_EVERY:
                    await self._look(container)
                    looked_at = time.monotonic()
            await self._threads.run(answer.read, abort=waiting.abort)
        finally:
            attached.close()
            waiting.close()
        await self._judge(container, cache)

    async def _look(self, container: str) -> None:
        """Raises ``Failed`` where it left more than it may."""
        with contextlib.suppress(EngineError):
            told = await self._call("GET", f"/containers/{container}/json", {"size": 1})
            if int(told.get("SizeRw") or 0) > self._limits.disk:
                most = self._limits.disk >> 20
                raise TooMuch(f"it installed more than the {most} MiB that an environment may have")

    async def _judge(self, container: str, cache: Cache | None) -> None:
        await self._look(container)
        state = (await self._call("GET", f"/containers/{container}/json"))["State"]
        code = int(state["ExitCode"])
        if state.get("OOMKilled") or code == OUT_OF_MEMORY:
            most = self._limits.memory >> 20
            raise TooMuch(f"installing needed more than the {most} MiB that it may use")
        if code == NEEDS_BUILD and cache is not None and cache.writable:
            raise NeedsBuild("a package has to be built")
        if code != 0:
            raise Failed(f"it ended with exit code {code}")

    async def _commit(
        self, container: str, name: str, install: Install, labels: dict[str, str]
    ) -> None:
        repository, _, tag = name.rpartition(":")
        config = image_config(install)
        # The engine adds the container's own, unless they are named here.
        config["Labels"] = {**(config.get("Labels") or {}), **labels, INSTALLS: ""}
        query = {"container": container, "repo": repository, "tag": tag}
        await self._call("POST", "/commit", query, config)

    async def _call(
        self, method: str, path: str, query: Query | None = None, body: Body = None
    ) -> Any:
        link = self._engine.link(self._limits.seconds)
        try:
            return await self._threads.run(link.call, method, path, query, body, abort=link.abort)
        finally:
            link.close()

    async def _drop(self, creating: asyncio.Future[Any], container: str) -> None:
        """What is being created is there only afterwards."""
        await asyncio.wait([creating])
        if creating.exception() is not None:
            return
        with contextlib.suppress(EngineError):
            await self._threads.run(self._engine.remove, container)


def receive(attached: Link) -> bytes | None:
    """What comes next of the output; empty at its end, None where nothing came for a while."""
    try:
        block: bytes = attached.sock.recv(READ_BYTES)
    except TimeoutError:
        return None
    except ConnectionError:
        return b""
    except OSError as error:
        raise EngineError(0, f"the Docker engine stopped answering: {error}") from error
    return block
