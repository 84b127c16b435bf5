"""Which image does a bundle run in? The choice, its key, and the build where one is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from agent.runtimes.build_context import Place, files_context, folder_context
from agent.runtimes.choice import DOCKERFILE, PLAIN, CannotRead, Choice, choose
from agent.runtimes.docker_container import JOB_USER
from agent.runtimes.docker_images import Build, Images, image_name, say
from agent.runtimes.docker_install import FOLDER, SCRIPT, Install
from agent.runtimes.docker_threads import Threads
from agent.runtimes.protocol import CannotPrepare, Output
from schemas.job import Environment
from schemas.spec import JobSpec

TEMPLATE_PATH = Path(__file__).resolve().parents[2] / "deploy" / "job" / "install.sh"
PACKAGES = Place(f"{FOLDER.lstrip('/')}/", JOB_USER)
BASE = "python:{python}-slim"
NO_DOCKERFILES = (
    "the bundle has a Dockerfile, and this pool builds none: name its packages in a"
    " requirements.txt, or an image with --image"
)
PYTHON = "3.12"
"""Where the job does not ask for one."""


@dataclass(frozen=True, slots=True)
class Bases:
    """From what plain bundles are built."""

    image: str = BASE
    """A name, or a pattern with ``{python}`` in it."""
    template: Path = TEMPLATE_PATH
    """The script that installs their packages."""
    dockerfiles: bool = True
    """Whether bundles may bring a Dockerfile: building one gives it rights that no job has."""

    def name(self, spec: JobSpec) -> str:
        if spec.image:
            return spec.image
        return self.image.replace("{python}", spec.python or PYTHON)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is prepared."""

    bundle: str
    """Digest."""
    files: Path
    """The bundle's own."""
    spec: JobSpec


@dataclass(frozen=True, slots=True)
class Ready:
    """An image to run, and whether it brings its own command."""

    environment: Environment
    image: str
    own_command: bool = False


class Environments:
    """Finds or makes the image for a bundle."""

    def __init__(
        self, images: Images, threads: Threads, bases: Bases, network: Callable[[], str]
    ) -> None:
        """``network``: over which packages are installed; blocking."""
        self._network = network
        self._images = images
        self._threads = threads
        self._bases = bases

    async def ready(self, wish: Wish, output: Output) -> Ready:
        """Raises ``CannotPrepare``; says in the log what was chosen and why."""
        try:
            choice = await self._threads.run(choose, wish.files)
        except CannotRead as error:
            raise CannotPrepare(str(error)) from error
        base = self._bases.name(wish.spec)
        if choice.source == DOCKERFILE:
            if not self._bases.dockerfiles:
                raise CannotPrepare(NO_DOCKERFILES)
            return await self._own_dockerfile(wish, choice, base, output)
        found = await self._images.pulled(base, output)
        check_python(found, base, wish.spec.python)
        if choice.source == PLAIN:
            key = str(found["Id"]).removeprefix("sha256:")[:32]
            tell(output, choice, base, key, "nothing to build")
            return Ready(environment(choice, base, key, True, found["Id"]), found["Id"])
        return await self._from_template(wish, choice, base, found, output)

    async def _from_template(
        self, wish: Wish, choice: Choice, base: str, found: dict[str, Any], output: Output
    ) -> Ready:
        script = await self._threads.run(self._bases.template.read_bytes)
        parts = [str(found["Id"]).encode(), script, *flat(choice.files)]
        files = {**choice.files, SCRIPT: script}
        if choice.whole:
            parts.append(wish.bundle.encode())
            context = partial(folder_context, wish.files, files, PACKAGES)
        else:
            context = partial(files_context, files, PACKAGES)
        network = await self._threads.run(self._network)
        install = Install(key_of(parts), found, context, network)
        await self._tell(choice, base, install.key, output)
        image, cached = await self._images.installed(install, output)
        return Ready(environment(choice, base, install.key, cached, image), image)

    async def _own_dockerfile(self, wish: Wish, choice: Choice, base: str, output: Output) -> Ready:
        text = await self._threads.run((wish.files / DOCKERFILE).read_bytes)
        asks_base = b"BASE" in text
        base_id = ""
        if asks_base:
            found = await self._images.pulled(base, output)
            base_id = str(found["Id"])
        arguments = {"BASE": base_id} if asks_base else {}
        key = key_of([wish.bundle.encode(), base_id.encode()])
        build = Build(key, partial(folder_context, wish.files, {}), DOCKERFILE, arguments)
        ready = await self._built(build, choice, base if asks_base else DOCKERFILE, output)
        own = not (wish.files / wish.spec.entry).is_file()
        return Ready(ready.environment, ready.image, own)

    async def _built(self, build: Build, choice: Choice, base: str, output: Output) -> Ready:
        await self._tell(choice, base, build.key, output)
        image, cached = await self._images.built(build, output)
        return Ready(environment(choice, base, build.key, cached, image), image)

    async def _tell(self, choice: Choice, base: str, key: str, output: Output) -> None:
        there = await self._images.find(image_name(key))
        tell(output, choice, base, key, "cached" if there else "not built yet")


def environment(choice: Choice, base: str, key: str, cached: bool, image: str) -> Environment:
    return Environment(source=choice.source, base=base, key=key, cached=cached, image=image)


def tell(output: Output, choice: Choice, base: str, key: str, state: str) -> None:
    on = "" if choice.source == base else f" on {base}"
    say(output)(f"environment: {choice.source}{on} ({choice.because}) · key {key[:8]} · {state}")


def key_of(parts: Iterable[bytes]) -> str:
    """Of the contents, each with its length: no two lists of parts look the same."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()[:32]


def flat(files: dict[str, bytes]) -> list[bytes]:
    return [part for name, data in sorted(files.items()) for part in (name.encode(), data)]


def check_python(image: dict[str, Any], name: str, wanted: str | None) -> None:
    """Where an image says which Python it has, the job's wish is held against it."""
    variables = dict(
        entry.split("=", 1) for entry in image["Config"].get("Env") or () if "=" in entry
    )
    has = variables.get("PYTHON_VERSION", "")
    if wanted and has and not f"{has}.".startswith(f"{wanted}."):
        raise CannotPrepare(
            f"the job asks for Python {wanted}, but the image {name} has {has}; leave python out"
            " or name another image"
        )
