"""May this job use an image that is here because somebody else's password was shown for it?

An engine asks nobody once it has an image. So what was pulled with a secret of a job's owner is
noted, and whoever else wants it has to be let in by its registry, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.runtimes.docker_engine import Engine, EngineError
from agent.runtimes.docker_registry import BadCredentials, Login, Logins, explained, host_of
from agent.runtimes.docker_threads import Threads
from agent.runtimes.environment_key import repository_of
from agent.runtimes.protocol import CannotPrepare
from schemas.reason import Reason

ASK_SECONDS = 60.0
"""For a registry to say whether it would give an image."""


class Private:
    """Of one engine: a file in ``private/`` for each such image."""

    def __init__(self, engine: Engine, threads: Threads, logins: Logins, folder: Path) -> None:
        self._engine = engine
        self._threads = threads
        self._logins = logins
        self._folder = folder
        self._coming: set[str] = set()
        """Names of those that are pulled at this moment: they are here before they are noted."""

    @contextlib.contextmanager
    def coming(self, name: str) -> Iterator[None]:
        """While it is pulled with a job's own password, and noted."""
        self._coming.add(name)
        try:
            yield
        finally:
            self._coming.discard(name)

    async def note(self, found: Mapping[str, Any], name: str) -> None:
        """It was pulled by that name. Not one that was here by another: that is anybody's.

        Raises ``OSError``.
        """
        names = [*(found.get("RepoTags") or ()), *(found.get("RepoDigests") or ())]
        if all(repository_of(one) == repository_of(name) for one in names):
            await self._threads.run(self._note, str(found["Id"]))

    async def check(
        self, found: Mapping[str, Any], name: str, given: Mapping[str, Login] | None
    ) -> None:
        """Raises ``CannotPrepare`` where the registry does not give it to this job."""
        noted = await self._threads.run(self._file(str(found["Id"])).exists)
        if not noted and name not in self._coming:
            return
        try:
            await self._threads.run(self._ask, name, given)
        except (EngineError, BadCredentials) as error:
            words = explained(str(error), host_of(name))
            raise CannotPrepare(
                f"the image {name} is another user's here, and its registry does not give it to"
                f" this job: {words}",
                Reason.IMAGE_UNAVAILABLE,
            ) from error

    def _ask(self, name: str, given: Mapping[str, Login] | None) -> None:
        headers = self._logins.header(name, given)
        with contextlib.closing(self._engine.link(ASK_SECONDS)) as link:
            link.send_request("GET", f"/distribution/{name}/json", more=headers)
            link.answer().read()

    def _note(self, image: str) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._file(image).touch()

    def _file(self, image: str) -> Path:
        return self._folder / image.removeprefix("sha256:")
