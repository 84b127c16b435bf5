"""How does an image come to be on this machine: pulled or built, once for all who want it?"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from agent.runtimes.docker_engine import Body, Engine, EngineError, Link, Query, json_lines
from agent.runtimes.docker_threads import Threads
from agent.runtimes.protocol import CannotPrepare, Output
from schemas.reason import Reason
from schemas.stream import Stream

log = logging.getLogger(__name__)

REPOSITORY = "stoker-env"
LABEL = "stoker.environment"
AT_ONE_TIME = 2
"""Builds and pulls that this machine does beside each other."""
CPU_PERIOD = 100_000
STEP = re.compile(r"^Step \d+/\d+ : ([A-Z]+)")
LAYER = re.compile(r"^ ---> ([0-9a-f]{12})$")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Build:
    """One image to make."""

    key: str
    context: Callable[[], Iterable[bytes]]
    """The tar that the engine gets."""
    dockerfile: str = "Dockerfile"
    arguments: dict[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        return f"{REPOSITORY}:{self.key}"


@dataclass(frozen=True, slots=True)
class BuildLimits:
    """What a build may use."""

    seconds: float = 3600.0
    memory: int = 8 << 30
    """Bytes; swap is not on top of it."""
    cpus: float = 0.0
    """0: all."""
    kept: int = 50
    """Built environments that stay on the machine; those made first go first."""


class Images:
    """The images of one engine."""

    def __init__(self, engine: Engine, threads: Threads, limits: BuildLimits) -> None:
        self._engine = engine
        self._threads = threads
        self._limits = limits
        self._turns = asyncio.Semaphore(AT_ONE_TIME)
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def find(self, name: str) -> dict[str, Any] | None:
        return await self._threads.run(self._engine.image, name)

    async def pulled(self, name: str, output: Output) -> dict[str, Any]:
        """The image of that name, pulled where it is not there; raises ``CannotPrepare``."""
        found = await self.find(name)
        if found is not None:
            return found
        async with self._alone(name, say(output)):
            found = await self.find(name)
            if found is None:
                say(output)(f"pulling {name}")
                await self._pull(name, output)
                found = await self.find(name)
        if found is None:
            raise CannotPrepare(
                f"the image {name} was pulled and is gone", Reason.IMAGE_UNAVAILABLE
            )
        return found

    async def built(self, build: Build, output: Output) -> tuple[str, bool]:
        """The image's id, and whether it was there already; raises ``CannotPrepare``."""
        found = await self.find(build.tag)
        if found is not None:
            return str(found["Id"]), True
        async with self._alone(build.tag, say(output)):
            found = await self.find(build.tag)
            if found is not None:
                return str(found["Id"]), True
            await self._build(build, output)
            found = await self.find(build.tag)
            await self._sweep()
        if found is None:
            raise gone(build.tag)
        return str(found["Id"]), False

    @contextlib.asynccontextmanager
    async def _alone(self, name: str, tell: Say) -> AsyncIterator[None]:
        """One at a time for a name; few at a time over all."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        if lock.locked():
            tell(f"another job makes {name} already: waiting for it")
        async with lock:
            if self._turns.locked():
                tell("waiting for other builds on this machine")
            async with self._turns:
                yield

    async def _pull(self, name: str, output: Output) -> None:
        query: dict[str, str | int] = {"fromImage": name}
        if ":" not in name.rsplit("/", 1)[-1]:
            query["tag"] = "latest"
        try:
            await self._follow("/images/create", query, None, lambda text: write(output, text))
        except EngineError as error:
            detail = f"the image {name} is not on this machine and cannot be pulled: {error}"
            raise CannotPrepare(detail, Reason.IMAGE_UNAVAILABLE) from error

    async def _build(self, build: Build, output: Output) -> None:
        heard = Heard(output)
        try:
            await self._follow("/build", self._build_query(build), build.context(), heard.hear)
        except EngineError as error:
            raise CannotPrepare(heard.error or str(error), Reason.BUILD_FAILED) from error
        finally:
            if heard.layer:
                await asyncio.shield(self._threads.run(remove_nameless, self._engine, heard.layer))

    def _build_query(self, build: Build) -> Query:
        limits = self._limits
        return {
            "t": build.tag,
            "dockerfile": build.dockerfile,
            "buildargs": json.dumps(build.arguments),
            "labels": json.dumps({LABEL: build.key}),
            "rm": 1,
            "forcerm": 1,
            "memory": limits.memory,
            "memswap": limits.memory,
            "cpuperiod": CPU_PERIOD,
            "cpuquota": int(limits.cpus * CPU_PERIOD),
        }

    async def _follow(
        self, path: str, query: Query, body: Body, hear: Callable[[str], None]
    ) -> None:
        """Until the engine has done it. Cancelled or out of time, the engine gives up too."""
        link = self._engine.link(self._limits.seconds)
        try:
            async with asyncio.timeout(self._limits.seconds):
                messages = await self._threads.run(begin, link, path, query, body, abort=link.abort)
                while (batch := await self._threads.run(messages, abort=link.abort)) is not None:
                    for message in batch:
                        if "error" in message:
                            raise EngineError(500, str(message["error"]).strip())
                        hear(plain(message))
        except TimeoutError as error:
            detail = f"it took longer than the {self._limits.seconds:g} s that it may take"
            raise EngineError(500, detail) from error
        finally:
            link.close()

    async def _sweep(self) -> None:
        """Keeps the cache of environments bounded; one that is in use stays."""
        try:
            await self._threads.run(remove_oldest, self._engine, self._limits.kept)
        except EngineError as error:
            log.warning("old environments were not removed: %s", error)


def begin(link: Link, path: str, query: Query, body: Body) -> Callable[[], Any]:
    """Sends the request; the answer's messages come in batches, None after the last."""
    link.send_request("POST", path, query, body)
    batches = json_lines(link.answer())
    return lambda: next(batches, None)


def gone(name: str) -> CannotPrepare:
    return CannotPrepare(f"the image {name} was there and is gone", Reason.IMAGE_UNAVAILABLE)


def plain(message: dict[str, Any]) -> str:
    """What a person wants to see of a message: no progress bars, no ids."""
    if "stream" in message:
        return str(message["stream"])
    if "status" in message and not message.get("progressDetail"):
        name = f"{message['id']}: " if message.get("id") else ""
        return f"{name}{message['status']}\n"
    return ""


def write(output: Output, text: str) -> None:
    if text:
        output(Stream.BUILD, text.encode())


class Heard:
    """What a build says, passed on; and what is worth keeping of it."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._own_layers = False
        self.error = ""
        """The line that says why it failed: the last that begins like pip's errors."""
        self.layer = ""
        """The last layer that was made so far; empty once the image is whole."""

    def hear(self, text: str) -> None:
        write(self._output, text)
        for line in COLOUR.sub("", text).splitlines():
            if line.lstrip().startswith("ERROR:"):
                self.error = line.strip().removeprefix("ERROR:").strip()
            elif line.startswith("Successfully built"):
                self.layer = ""
            elif step := STEP.match(line):
                self._own_layers = step[1] != "FROM"
            elif self._own_layers and (layer := LAYER.match(line)):
                self.layer = layer[1]


def say(output: Output) -> Say:
    """Into the job's log, as Stoker's own words."""
    return lambda text: output(Stream.STOKER, f"[stoker] {text}\n".encode())


def remove_nameless(engine: Engine, layer: str) -> None:
    """What a failed build leaves behind: it may hold a copy of a whole bundle."""
    with contextlib.suppress(EngineError):
        found = engine.image(layer)
        if found is not None and not found.get("RepoTags") and not found.get("RepoDigests"):
            engine.call("DELETE", f"/images/{layer}")


def remove_oldest(engine: Engine, kept: int) -> None:
    query = {"filters": json.dumps({"label": [LABEL]})}
    images = engine.call("GET", "/images/json", query)
    images.sort(key=lambda image: image["Created"], reverse=True)
    for image in images[kept:]:
        for name in image.get("RepoTags") or [image["Id"]]:
            try:
                engine.call("DELETE", f"/images/{name}")
            except EngineError as error:
                if error.status not in (404, 409):
                    raise
