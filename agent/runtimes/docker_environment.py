"""Which image does a bundle run in? The choice, its key, and the build where one is needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from agent.runtimes.build_context import Place, files_context, folder_context
from agent.runtimes.choice import DOCKERFILE, PLAIN, CannotRead, Choice, choose
from agent.runtimes.docker_container import JOB_USER
from agent.runtimes.docker_dockerfile import context_of, read_needs
from agent.runtimes.docker_images import Build, Images, say
from agent.runtimes.docker_install import FOLDER, SCRIPT, Install
from agent.runtimes.docker_sharing import Make, Sharing, Wanted
from agent.runtimes.docker_threads import Threads
from agent.runtimes.environment_key import (
    Recipe,
    base_of,
    contents,
    difference,
    digest_of,
    python_of,
    shown,
)
from agent.runtimes.protocol import CannotPrepare, Output
from schemas.job import Environment
from schemas.spec import JobSpec
from schemas.worker import Grant

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


REMEMBERED = 1024
"""Owners' jobs whose last environment is compared with the next one."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is prepared."""

    grant: Grant
    files: Path
    """The bundle's own."""

    @property
    def spec(self) -> JobSpec:
        return self.grant.spec


@dataclass(frozen=True, slots=True)
class Ready:
    """An image to run, and whether it brings its own command."""

    environment: Environment
    image: str
    own_command: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What the log says of an environment."""

    choice: Choice
    base: str
    recipe: Recipe
    digest: str = ""
    """Of the base image."""
    python: str = ""

    def line(self, state: str) -> str:
        on = "" if self.choice.source == self.base else f" on {self.base}"
        return f"{shown(self.recipe.key)} {state}: {self.choice.source}{on} ({self.choice.because})"


class Environments:
    """Finds or makes the image for a bundle."""

    def __init__(
        self, sharing: Sharing, threads: Threads, bases: Bases, network: Callable[[], str]
    ) -> None:
        """``network``: over which packages are installed; blocking."""
        self._sharing = sharing
        self._network = network
        self._images: Images = sharing.images
        self._threads = threads
        self._bases = bases
        self._last: OrderedDict[tuple[str, str], Recipe] = OrderedDict()

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
            recipe = Recipe(PLAIN, {"the base image": base_of(found, base)})
            told = Told(choice, base, recipe, digest_of(found, base), python_of(found, None))
            say(output)(told.line("has nothing to build"))
            return Ready(environment(told, True, found["Id"]), found["Id"])
        return await self._from_template(wish, choice, base, found, output)

    async def _from_template(
        self, wish: Wish, choice: Choice, base: str, found: dict[str, Any], output: Output
    ) -> Ready:
        script = await self._threads.run(self._bases.template.read_bytes)
        parts = {
            **contents(choice.files),
            "the base image": base_of(found, base),
            "the Python version": python_of(found, wish.spec.python),
            **contents({"the installation script": script}),
        }
        files = {**choice.files, SCRIPT: script}
        if choice.whole:
            parts["the bundle"] = wish.grant.bundle
            context = partial(folder_context, wish.files, files, PACKAGES)
        else:
            context = partial(files_context, files, PACKAGES)
        recipe = Recipe(choice.source, parts)
        told = Told(choice, base, recipe, digest_of(found, base), python_of(found, None))

        async def install(heard: Output) -> None:
            network = await self._threads.run(self._network)
            wanted = Install(told.recipe.key, found, context, network)
            await self._images.install(wanted, heard)

        layers = tuple(found.get("RootFS", {}).get("Layers") or ())
        return await self._made(wish, told, install, layers, output)

    async def _own_dockerfile(self, wish: Wish, choice: Choice, base: str, output: Output) -> Ready:
        text = await self._threads.run((wish.files / DOCKERFILE).read_bytes)
        asks_base = b"BASE" in text
        parts: dict[str, str] = {}
        arguments: dict[str, str] = {}
        digest = ""
        needs = await self._threads.run(read_needs, wish.files)
        images = {image: image for image in needs.images - {"BASE"}} if needs else {}
        if asks_base:
            images["BASE"] = base
        for argument, image in sorted(images.items()):
            found = await self._images.pulled(image, output)
            parts[f"the image {image}"] = base_of(found, image)
            if argument == "BASE":
                arguments["BASE"] = str(found["Id"])
                digest = digest_of(found, image)
            if found["Config"].get("OnBuild"):
                # Its own steps may copy whatever they like.
                needs = None
        context = await self._threads.run(context_of, wish.files, wish.grant.bundle, needs)
        told = Told(
            choice,
            base if asks_base else DOCKERFILE,
            Recipe(DOCKERFILE, {**parts, **context.parts}),
            digest,
        )
        build = Build(told.recipe.key, context.tar, DOCKERFILE, arguments)
        ready = await self._made(wish, told, partial(self._images.build, build), (), output)
        own = not (wish.files / wish.spec.entry).is_file()
        return Ready(ready.environment, ready.image, own)

    async def _made(
        self, wish: Wish, told: Told, make: Make, layers: tuple[str, ...], output: Output
    ) -> Ready:
        name = (wish.grant.owner, wish.spec.name or wish.spec.entry)
        why = difference(self._last.get(name), told.recipe)
        self._last[name] = told.recipe
        self._last.move_to_end(name)
        while len(self._last) > REMEMBERED:
            self._last.popitem(last=False)

        def tell(cached: bool) -> None:
            missing = f"is not here yet ({why})" if why else "is not here yet"
            say(output)(told.line("cached" if cached else missing))

        wanted = Wanted(told.recipe.key, wish.grant, make, layers, tell)
        image, cached = await self._sharing.made(wanted, output)
        return Ready(environment(told, cached, image), image)


def environment(told: Told, cached: bool, image: str) -> Environment:
    return Environment(
        source=told.choice.source,
        base=told.base,
        key=told.recipe.key,
        cached=cached,
        image=image,
        digest=told.digest,
        python=told.python,
    )


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
