"""Does BuildKit build a bundle's Dockerfile here, and what stays of what its builds download?"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.runtimes.docker_buildkit import BuildKit, NoBuildKit, Order, Progress
from agent.runtimes.docker_engine import Engine, EngineError, out_of_space
from agent.runtimes.docker_follow import write
from agent.runtimes.docker_images import Build, BuildLimits, Heard, Images, image_name, say
from agent.runtimes.docker_threads import Threads
from agent.runtimes.protocol import CannotPrepare, Output
from schemas.reason import Reason

log = logging.getLogger(__name__)

FROM = "stoker-from"
"""Repository of names that base images bear while they are built upon: BuildKit knows no ids."""
CACHE_MOUNT = "exec.cachemount"
USE_SECONDS = 120.0
"""For an engine to tell what it uses: it looks at all its images."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept for the next build."""

    logins: Path | None = None
    """Passwords of registries, for the images that only the Dockerfile names."""
    size: int = 0
    """Bytes of all cache mounts of the engine."""


class Builds:
    """BuildKit's, for one engine."""

    def __init__(
        self, engine: Engine, threads: Threads, images: Images, buildkit: BuildKit, kept: Kept
    ) -> None:
        self._engine = engine
        self._threads = threads
        self._images = images
        self._buildkit = buildkit
        self._kept = kept

    async def build(self, build: Build, limits: BuildLimits, output: Output) -> bool:
        """False where BuildKit cannot be had. Raises ``CannotPrepare``."""
        heard = Heard(output)

        def tell(data: bytes) -> None:
            write(output, data.decode())

        progress = Progress(heard.take, tell)
        try:
            async with self._named(build) as arguments:
                order = Order(
                    name=image_name(build.key),
                    dockerfile=build.dockerfile,
                    arguments=arguments,
                    labels=self._images.labels(build.key),
                    owner=build.owner,
                    context=build.context,
                )
                await self._buildkit.build(order, self._kept.logins, progress, limits.seconds)
        except NoBuildKit as error:
            log.info("the engine's classic builder builds: %s", error)
            return False
        except (EngineError, OSError) as error:
            full = out_of_space(f"{heard.error} {error}")
            reason = Reason.DISK_FULL if full else Reason.BUILD_FAILED
            raise CannotPrepare(heard.error or str(error), reason) from error
        await self._trim(output)
        return True

    @contextlib.asynccontextmanager
    async def _named(self, build: Build) -> AsyncIterator[dict[str, str]]:
        """Its arguments, with names for the images that they tell by their ids."""
        named: list[str] = []
        arguments = dict(build.arguments)
        try:
            for argument, value in build.arguments.items():
                if value.startswith("sha256:"):
                    tag = f"{build.key}-{len(named)}"
                    query = {"repo": FROM, "tag": tag}
                    await self._threads.run(
                        self._engine.call, "POST", f"/images/{value}/tag", query
                    )
                    named.append(f"{FROM}:{tag}")
                    arguments[argument] = named[-1]
            yield arguments
        finally:
            await asyncio.shield(asyncio.ensure_future(self._forget(named)))

    async def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(EngineError):
                found = await self._threads.run(self._engine.image, name) or {}
                # The last name of an image would take the image along.
                if len([*(found.get("RepoTags") or ()), *(found.get("RepoDigests") or ())]) > 1:
                    await self._threads.run(self._engine.call, "DELETE", f"/images/{name}")

    async def _trim(self, output: Output) -> None:
        """Cache mounts go, the longest unused first, until the rest fits."""
        try:
            used = await self._threads.run(self._cache)
            for mount in surplus(used, self._kept.size):
                # The engine takes one id at a time.
                query = {"all": 1, "filters": json.dumps({"id": [mount]})}
                await self._threads.run(self._engine.call, "POST", "/build/prune", query)
        except EngineError as error:
            log.info("the cache of builds stays as it is: %s", error)
            say(output)(f"the cache of builds could not be trimmed: {error}")

    def _cache(self) -> list[dict[str, Any]]:
        query = {"type": "build-cache"}
        told = self._engine.call("GET", "/system/df", query, timeout=USE_SECONDS)
        return [one for one in told.get("BuildCache") or () if one.get("Type") == CACHE_MOUNT]


def surplus(mounts: Iterable[dict[str, Any]], size: int) -> list[str]:
    """Ids of those that go, so that the rest has no more bytes than ``size``. Pure."""
    left = sorted(mounts, key=lambda one: str(one.get("LastUsedAt") or ""))
    total = sum(int(one.get("Size") or 0) for one in left)
    gone = []
    for one in left:
        if total <= size:
            break
        if not one.get("InUse"):
            gone.append(str(one["ID"]))
            total -= int(one.get("Size") or 0)
    return gone
