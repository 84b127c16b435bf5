"""How does an image come to be on this machine: pulled or built, once for all who want it?"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from agent.runtimes.docker_container import OWNER
from agent.runtimes.docker_engine import Engine, EngineError, Query, out_of_space
from agent.runtimes.docker_follow import Work, follow, plain, write
from agent.runtimes.docker_install import (
    Failed,
    Install,
    Installer,
    Limits,
    NeedsBuild,
    TooMuch,
)
from agent.runtimes.docker_leftovers import ENVIRONMENT, REPOSITORY, Leftovers
from agent.runtimes.docker_making import Makings
from agent.runtimes.docker_packages import Cache, Packages
from agent.runtimes.docker_private import Private
from agent.runtimes.docker_registry import (
    BadCredentials,
    Login,
    Logins,
    explained,
    host_of,
    persisted,
)
from agent.runtimes.docker_threads import Threads
from agent.runtimes.failing_lines import FailingLines
from agent.runtimes.protocol import CannotPrepare, Output
from schemas.reason import Reason
from schemas.stream import Stream

AT_ONE_TIME = 2
"""Builds and pulls that this machine does beside each other."""
CPU_PERIOD = 100_000
STEP = re.compile(r"^Step \d+/\d+ : ([A-Z]+)")
LAYER = re.compile(r"^ ---> ([0-9a-f]{12})$")

Say = Callable[[str], None]
Given = Mapping[str, Login]
"""Host to login."""
BuildKit = Callable[["Build", "BuildLimits", Output], Awaitable[bool]]
"""Builds it, or says that it cannot. Raises ``CannotPrepare``."""


@dataclass(frozen=True, slots=True)
class Build:
    """One image to make."""

    key: str
    context: Callable[[], Iterable[bytes]]
    """The tar that the engine gets."""
    dockerfile: str = "Dockerfile"
    arguments: dict[str, str] = field(default_factory=dict)
    owner: str = ""
    """Whose job it is for: what its steps keep for the next build is that one's alone."""


@dataclass(frozen=True, slots=True)
class BuildLimits(Limits):
    """What a build may use, and what stays of it."""

    kept: int = 50
    """Built environments that stay on the machine; the longest unused go first."""


class Images:
    """The images of one engine."""

    def __init__(
        self,
        engine: Engine,
        threads: Threads,
        limits: BuildLimits,
        leftovers: Leftovers,
        sandbox: str = "",
        logins: Logins | None = None,
    ) -> None:
        self.logins = logins or Logins()
        self._engine = engine
        self._threads = threads
        self._limits = limits
        self._leftovers = leftovers
        self._installer = Installer(engine, threads, limits, sandbox)
        self._turns = asyncio.Semaphore(AT_ONE_TIME)
        self.makings = Makings()
        self.private = Private(engine, threads, self.logins, leftovers.work / "private")
        self.packages: Packages | None = None
        """None: no download is kept."""
        self.buildkit: BuildKit | None = None
        """None: the engine's classic builder builds."""

    async def find(self, name: str) -> dict[str, Any] | None:
        return await self._threads.run(self._engine.image, name)

    async def pulled(self, name: str, output: Output, given: Given | None = None) -> dict[str, Any]:
        """The image of that name, pulled where it is not there; raises ``CannotPrepare``.

        ``given``: the job's own logins. Whether it may use what is there, ``private`` says.
        """
        found = await self.find(name)
        if found is not None:
            return found
        async with self.makings.alone(name, output) as heard:
            found = await self.find(name)
            if found is None:
                found = await self._fresh(name, heard, given)
        if found is None:
            raise CannotPrepare(
                f"the image {name} was pulled and is gone", Reason.IMAGE_UNAVAILABLE
            )
        return found

    async def _fresh(self, name: str, output: Output, given: Given | None) -> dict[str, Any] | None:
        own = host_of(name) in (given or {})
        with self.private.coming(name) if own else contextlib.nullcontext():
            async with self._turn(output):
                say(output)(f"pulling {name}")
                await self._pull(name, output, given)
            found = await self.find(name)
            if found is not None and own:
                await self.private.note(found, name)
            return found

    async def build(self, build: Build, output: Output) -> None:
        """Raises ``CannotPrepare``."""
        async with self._turn(output):
            if self.buildkit is None or not await self.buildkit(build, self._limits, output):
                await self._build(build, output)

    async def install(self, install: Install, output: Output) -> None:
        """Packages on a base image. Raises ``CannotPrepare``."""
        async with self._turn(output):
            await self._install(install, output)

    async def cache(self, source: str, files: Mapping[str, bytes], base: str) -> Cache | None:
        """What was downloaded before for that base image; None where nothing is kept of it."""
        if self.packages is None:
            return None
        return await self._threads.run(self.packages.cache, source, files, base)

    async def load(self, archive: Callable[[], Iterable[bytes]]) -> None:
        """What another engine made, as a tar. Raises ``EngineError``."""
        await self.follow(Work("/images/load", {"quiet": 1}, archive()), lambda message: None)

    async def follow(self, work: Work, hear: Callable[[dict[str, Any]], None]) -> None:
        """Raises ``EngineError``."""
        await follow(self._engine, self._threads, work, hear, self._limits.seconds)

    @contextlib.asynccontextmanager
    async def _turn(self, output: Output) -> AsyncIterator[None]:
        """Few at a time over all."""
        if self._turns.locked():
            say(output)("waiting for other builds on this machine")
        async with self._turns:
            yield

    async def _pull(self, name: str, output: Output, given: Given | None) -> None:
        host = host_of(name)
        try:
            await persisted(partial(self.pull, name, output, given), say(output), host)
        except BadCredentials as error:
            raise CannotPrepare(str(error), Reason.IMAGE_UNAVAILABLE) from error
        except EngineError as error:
            words = explained(str(error), host)
            detail = f"the image {name} is not on this machine and cannot be pulled: {words}"
            full = out_of_space(detail)
            reason = Reason.DISK_FULL if full else Reason.IMAGE_UNAVAILABLE
            raise CannotPrepare(detail, reason) from error

    async def pull(self, name: str, output: Output, given: Given | None = None) -> None:
        """Raises ``EngineError`` and ``BadCredentials``."""
        query: dict[str, str | int] = {"fromImage": name}
        if ":" not in name.rsplit("/", 1)[-1]:
            query["tag"] = "latest"
        headers = await self._threads.run(self.logins.header, name, given)
        work = Work("/images/create", query, headers=headers)
        await self.follow(work, lambda message: write(output, plain(message)))

    async def _build(self, build: Build, output: Output) -> None:
        heard = Heard(output)

        def hear(message: dict[str, Any]) -> None:
            before = heard.layer
            heard.hear(plain(message))
            if heard.layer not in ("", before):
                self._leftovers.building(build.key, heard.layer)

        try:
            work = Work("/build", self._build_query(build), build.context())
            await self.follow(work, hear)
        except EngineError as error:
            full = out_of_space(f"{heard.error} {error}")
            reason = Reason.DISK_FULL if full else Reason.BUILD_FAILED
            raise CannotPrepare(heard.error or str(error), reason) from error
        finally:
            await asyncio.shield(self._threads.run(self._leftovers.built, build.key, heard.layer))

    async def _install(self, install: Install, output: Output) -> None:
        heard = Heard(output)
        name, labels = image_name(install.key), self.labels(install.key)
        run = partial(self._installer.run, name=name, labels=labels, hear=heard.take)
        try:
            async with self.packages.bounded() if self.packages else contextlib.nullcontext():
                try:
                    await run(install)
                except NeedsBuild:
                    say(output)("a package has to be built: beginning anew, keeping no download")
                    await run(read_only(install))
        except TooMuch as error:
            raise CannotPrepare(str(error), Reason.BUILD_FAILED) from error
        except (Failed, EngineError) as error:
            full = out_of_space(f"{heard.error} {error}")
            reason = Reason.DISK_FULL if full else Reason.BUILD_FAILED
            raise CannotPrepare(heard.error or str(error), reason) from error

    def labels(self, key: str) -> dict[str, str]:
        return {ENVIRONMENT: key, OWNER: self._leftovers.owner}

    def _build_query(self, build: Build) -> Query:
        limits = self._limits
        return {
            "t": image_name(build.key),
            "dockerfile": build.dockerfile,
            "buildargs": json.dumps(build.arguments),
            "labels": json.dumps(self.labels(build.key)),
            "rm": 1,
            "forcerm": 1,
            "memory": limits.memory,
            "memswap": limits.memory,
            "cpuperiod": CPU_PERIOD,
            "cpuquota": int(limits.cpus * CPU_PERIOD),
        }


def read_only(install: Install) -> Install:
    return replace(install, cache=install.cache.read_only() if install.cache else None)


def image_name(key: str) -> str:
    return f"{REPOSITORY}:{key}"


def gone(name: str) -> CannotPrepare:
    return CannotPrepare(f"the image {name} was there and is gone", Reason.IMAGE_UNAVAILABLE)


class Heard:
    """What a build says, passed on; and what is worth keeping of it."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._own_layers = False
        self._failing = FailingLines()
        self.layer = ""
        """The last layer that was made so far; empty once the image is whole."""

    @property
    def error(self) -> str:
        """The line that says why it failed; empty where none does."""
        return self._failing.end()

    def take(self, data: bytes) -> None:
        """Of a program's output, cut anywhere."""
        self._output(Stream.BUILD, data)
        self._failing.take(data)

    def hear(self, text: str) -> None:
        write(self._output, text)
        self._failing.take(text.encode())
        for line in text.splitlines():
            if line.startswith("Successfully built"):
                self.layer = ""
            elif step := STEP.match(line):
                self._own_layers = step[1] != "FROM"
            elif self._own_layers and (layer := LAYER.match(line)):
                self.layer = layer[1]


def say(output: Output) -> Say:
    """Into the job's log, as Stoker's own words."""
    return lambda text: output(Stream.STOKER, f"[stoker] {text}\n".encode())
