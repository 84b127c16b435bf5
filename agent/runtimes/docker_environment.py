"""Which image does a bundle run in? The choice, its key, and the build where one is needed."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from agent.runtimes.bases import TEMPLATE_PATH, Bases, is_pinned, pinned
from agent.runtimes.build_context import Place, files_context, folder_context
from agent.runtimes.choice import CONDA, DOCKERFILE, PLAIN, CannotRead, Choice, choose
from agent.runtimes.docker_container import JOB_USER
from agent.runtimes.docker_dockerfile import context_of, may_keep, read_needs
from agent.runtimes.docker_images import Build, Images, say
from agent.runtimes.docker_install import FOLDER, MICROMAMBA, SCRIPT, Install
from agent.runtimes.docker_listing import Listings
from agent.runtimes.docker_programs import ImagePrograms, Programs
from agent.runtimes.docker_sharing import Make, Sharing, Wanted
from agent.runtimes.docker_threads import Threads
from agent.runtimes.docker_wishes import Ready, Told, Wish, environment, ready
from agent.runtimes.environment_key import (
    Recipe,
    base_of,
    contents,
    difference,
    digest_of,
    python_of,
)
from agent.runtimes.protocol import CannotPrepare, Output

PACKAGES = Place(f"{FOLDER.lstrip('/')}/", JOB_USER)
NO_DOCKERFILES = (
    "the bundle has a Dockerfile, and this pool builds none: name its packages in a"
    " requirements.txt, or an image with --image"
)
NO_CONDA = (
    "the bundle has an environment.yml, and neither the image {image} nor this worker has"
    " micromamba: name an image that has it with --image, install it on the worker, or name the"
    " packages in a requirements.txt"
)
NO_PYTHON = (
    "the image {image} has no Python: name one that has with --image, or bring a Dockerfile that"
    " installs it"
)
LISTING_WAITS = 10.0
"""Seconds that a job waits for the list of what was built for it."""
REMEMBERED = 1024
"""Owners' jobs whose last environment is compared with the next one."""


@dataclass(frozen=True, slots=True)
class Looks:
    """At what is in the images of one engine."""

    programs: ImagePrograms
    listings: Listings


class Environments:
    """Finds or makes the image for a bundle."""

    def __init__(
        self,
        sharing: Sharing,
        threads: Threads,
        bases: Bases,
        looks: Looks,
        network: Callable[[], str],
    ) -> None:
        """``network``: over which packages are installed; blocking."""
        self._sharing = sharing
        self._network = network
        self._images: Images = sharing.images
        self._threads = threads
        self._bases = bases
        self._looks = looks
        self._last: OrderedDict[tuple[str, str], Recipe] = OrderedDict()

    async def ready(self, wish: Wish, output: Output) -> Ready:
        """Raises ``CannotPrepare`` and ``EngineError``; says in the log what was chosen and why."""
        try:
            choice = await self._threads.run(choose, wish.files)
        except CannotRead as error:
            raise CannotPrepare(str(error)) from error
        base = self._bases.name(wish.grant)
        if choice.source == DOCKERFILE:
            if not self._bases.dockerfiles:
                raise CannotPrepare(NO_DOCKERFILES)
            return await self._own_dockerfile(wish, choice, base, output)
        found = await self._base(wish, base, output)
        if choice.source == PLAIN:
            programs = await self._checked(found, base, wish.spec.python)
            recipe = Recipe(PLAIN, {"the base image": base_of(found, base)})
            told = Told(choice, base, recipe, digest_of(found, base), python_of(found, None))
            say(output)(told.line("has nothing to build"))
            return ready(environment(told, True, found["Id"]), programs)
        return await self._from_template(wish, choice, base, found, output)

    async def _base(self, wish: Wish, name: str, output: Output) -> dict[str, Any]:
        """The one that the job found first, where it found one: a name may move."""
        pin = wish.grant.pin
        found = await self._images.find(name)
        if found is None or not is_pinned(found, name, pin):
            name = pinned(name, pin)
            found = await self._images.pulled(name, output, wish.logins)
        await self._images.private.check(found, name, wish.logins)
        return found

    async def _checked(self, found: dict[str, Any], name: str, wanted: str | None) -> Programs:
        """What it has, Python included; raises ``CannotPrepare``."""
        programs = await self._threads.run(self._looks.programs.of, str(found["Id"]))
        if not programs.python:
            raise CannotPrepare(NO_PYTHON.format(image=name))
        has = python_of(found, None) or programs.version
        if wanted and has and not f"{has}.".startswith(f"{wanted}."):
            raise CannotPrepare(
                f"the job asks for Python {wanted}, but the image {name} has {has}; leave python"
                " out or name another image"
            )
        return programs

    async def _from_template(
        self, wish: Wish, choice: Choice, base: str, found: dict[str, Any], output: Output
    ) -> Ready:
        script = await self._threads.run(self._bases.template.read_bytes)
        by_conda = choice.source == CONDA
        asked = wish.spec.python
        # What is installed on it has the same Python, under the same name.
        programs = None if by_conda else await self._checked(found, base, asked)
        parts = {
            **contents(choice.files),
            "the base image": base_of(found, base),
            "the Python version": asked or "" if by_conda else python_of(found, asked),
            **contents({"the installation script": script}),
        }
        files = {**choice.files, SCRIPT: script}
        if choice.whole:
            parts["the bundle"] = wish.grant.bundle
        recipe = Recipe(choice.source, parts)
        python = "" if by_conda else python_of(found, None)
        told = Told(choice, base, recipe, digest_of(found, base), python)

        async def install(heard: Output) -> None:
            conda = await self._micromamba(found, base) if by_conda else {}
            network = await self._threads.run(self._network)
            whole = wish.files if choice.whole else None
            context = partial(packages_context, {**files, **conda}, whole)
            key = told.recipe.key
            cache = None
            if self._bases.template == TEMPLATE_PATH:
                base_id = str(found["Id"])
                cache = await self._images.cache(choice.source, choice.files, base_id)
            wanted = Install(key, found, context, network, choice.source, asked or "", cache)
            await self._images.install(wanted, heard)

        layers = tuple(found.get("RootFS", {}).get("Layers") or ())
        return await self._made(wish, told, install, layers, output, programs=programs)

    async def _micromamba(self, found: dict[str, Any], base: str) -> dict[str, bytes]:
        """This worker's, where the image has nothing of the kind; raises ``CannotPrepare``."""
        if await self._threads.run(self._looks.programs.has_conda, str(found["Id"])):
            return {}
        own = await self._threads.run(shutil.which, "micromamba")
        if own is None:
            raise CannotPrepare(NO_CONDA.format(image=base))
        return {MICROMAMBA: await self._threads.run(Path(own).read_bytes)}

    async def _own_dockerfile(self, wish: Wish, choice: Choice, base: str, output: Output) -> Ready:
        text = await self._threads.run((wish.files / DOCKERFILE).read_bytes)
        asks_base = b"BASE" in text
        kept = may_keep(text)
        parts: dict[str, str] = {}
        arguments: dict[str, str] = {}
        digest = ""
        needs = await self._threads.run(read_needs, wish.files)
        images = {image: image for image in needs.images - {"BASE"}} if needs else {}
        if asks_base:
            images["BASE"] = base
        for argument, image in sorted(images.items()):
            own = argument == "BASE"
            if own:
                found = await self._base(wish, image, output)
            else:
                found = await self._images.pulled(image, output, wish.logins)
                await self._images.private.check(found, image, wish.logins)
            parts[f"the image {image}"] = base_of(found, image)
            if own:
                arguments["BASE"] = str(found["Id"])
                digest = digest_of(found, image)
            if found["Config"].get("OnBuild"):
                # Its own steps may copy whatever they like.
                needs = None
                kept = True
        if kept:
            # Of its owner's earlier builds it finds what they left: so it is that owner's alone.
            parts["the owner"] = wish.grant.owner
        context = await self._threads.run(context_of, wish.files, wish.grant.bundle, needs)
        told = Told(
            choice,
            base if asks_base else DOCKERFILE,
            Recipe(DOCKERFILE, {**parts, **context.parts}),
            digest,
        )
        build = Build(told.recipe.key, context.tar, DOCKERFILE, arguments, wish.grant.owner)
        ready = await self._made(wish, told, partial(self._images.build, build), (), output)
        return replace(ready, own_command=not (wish.files / wish.spec.entry).is_file())

    async def _made(
        self,
        wish: Wish,
        told: Told,
        make: Make,
        layers: tuple[str, ...],
        output: Output,
        *,
        programs: Programs | None = None,
    ) -> Ready:
        """``programs``: of the image, where they are known before it is made."""
        name = (wish.grant.owner, wish.spec.name or wish.spec.entry)
        why = difference(self._last.get(name), told.recipe)
        self._last[name] = told.recipe
        self._last.move_to_end(name)
        while len(self._last) > REMEMBERED:
            self._last.popitem(last=False)

        def tell(cached: bool) -> None:
            missing = f"is not here yet ({why})" if why else "is not here yet"
            say(output)(told.line("cached" if cached else missing))

        built = False

        async def making(heard: Output) -> None:
            nonlocal built
            await make(heard)
            built = True

        wanted = Wanted(told.recipe.key, wish.grant, making, layers, tell)
        image, cached = await self._sharing.made(wanted, output)
        if programs is None:
            programs = await self._threads.run(self._looks.programs.of, image)
        if built:
            # A job that runs for days is to show them from its first minute on.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LISTING_WAITS):
                    await self._looks.listings.of(image, programs.python)
        return ready(environment(told, cached, image), programs)


def packages_context(files: Mapping[str, bytes], bundle: Path | None) -> Iterable[bytes]:
    """``bundle``: where all of it is needed."""
    if bundle is None:
        return files_context(files, PACKAGES)
    return folder_context(bundle, files, PACKAGES)
