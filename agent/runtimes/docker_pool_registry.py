"""How does an environment get into the pool's registry, and out of it onto another machine?

The engine pushes and pulls. What is told of an image is its digest: whoever may write to the
registry could move a tag. The names that this takes at the engine are gone afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from agent.runtimes.docker_engine import Engine, EngineError, Query
from agent.runtimes.docker_follow import Work
from agent.runtimes.docker_images import Images
from agent.runtimes.docker_leftovers import REPOSITORY
from agent.runtimes.docker_registry import BadCredentials, explained, host_of, persisted
from agent.runtimes.docker_threads import Threads
from agent.runtimes.protocol import Output
from schemas.environments import Blob, SharedImage

DIGEST = "sha256:"
LAST_SECONDS = 10.0
"""To take a name away again, also where the rest was cancelled."""


class NotFromRegistry(Exception):
    """The registry does not take it, or does not give it; the message says why."""


class PoolRegistry:
    """Where the workers of a pool put what they build."""

    def __init__(self, place: str, engine: Engine, threads: Threads, images: Images) -> None:
        """``place``: ``HOST/PATH``, in which each pool has a repository of its name."""
        self.host = host_of(f"{place}/")
        self._place = place
        self._engine = engine
        self._threads = threads
        self._images = images

    async def push(self, key: str, pool: str, say: Callable[[str], None]) -> SharedImage:
        """Raises ``NotFromRegistry``."""
        repository = f"{self._place}/{pool}"
        name = f"{repository}:{key}"
        digests: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            with contextlib.suppress(KeyError, TypeError):
                digests.append(str(message["aux"]["Digest"]))

        try:
            found = await self._call("GET", f"/images/{REPOSITORY}:{key}/json")
            await self._tag(f"{REPOSITORY}:{key}", repository, key)
            headers = await self._threads.run(self._images.logins.header, name)
            work = Work(f"/images/{repository}/push", {"tag": key}, headers=headers)
            await persisted(partial(self._images.follow, work, hear), say, self.host)
            digest = digests[-1].removeprefix(DIGEST)
            return SharedImage(
                id=str(found["Id"]),
                config=Blob(digest=digest, size=0),
                layers=(),
                reference=f"{repository}@{DIGEST}{digest}",
            )
        except (EngineError, BadCredentials) as error:
            raise NotFromRegistry(self._words(error)) from error
        except (IndexError, ValueError) as error:
            raise NotFromRegistry(f"{self.host} told no digest of it") from error
        finally:
            await self._untag(name)

    async def take(
        self, image: SharedImage, key: str, say: Callable[[str], None], output: Output
    ) -> None:
        """Raises ``NotFromRegistry``."""
        if not image.reference.startswith(f"{self._place}/"):
            raise NotFromRegistry(f"it lies in {host_of(image.reference)}, not in {self._place}")
        pull = partial(self._images.pull, image.reference, output)
        try:
            await persisted(pull, say, self.host)
            await self._tag(image.reference, REPOSITORY, key)
        except (EngineError, BadCredentials) as error:
            raise NotFromRegistry(self._words(error)) from error
        finally:
            await self._untag(image.reference)

    def _words(self, error: Exception) -> str:
        return explained(str(error), self.host)

    async def _tag(self, image: str, repository: str, tag: str) -> None:
        await self._call("POST", f"/images/{image}/tag", {"repo": repository, "tag": tag})

    async def _untag(self, name: str) -> None:
        async def untag() -> None:
            with contextlib.suppress(EngineError, TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    await self._call("DELETE", f"/images/{name}")

        await asyncio.shield(asyncio.ensure_future(untag()))

    async def _call(self, method: str, path: str, query: Query | None = None) -> Any:
        return await self._threads.run(self._engine.call, method, path, query)
