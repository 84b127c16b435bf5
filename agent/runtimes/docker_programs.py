"""Which programs does an image bring? Looked for once, in a container that is never started.

Blocking.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agent.runtimes.docker_container import OWNER
from agent.runtimes.docker_engine import Engine, EngineError, Link

SHELL = "/bin/sh"
PYTHONS = ("python", "python3")
CONDAS = ("micromamba", "mamba", "conda")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The engine's, for an image that names none."""
VERSION = re.compile(r"python(3\.\d+)$")
STAT = "X-Docker-Container-Path-Stat"
FOLDER = 1 << 31
"""In the mode that the engine tells."""
MISSING = 404
REMEMBERED = 256
"""Images."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Of one image."""

    shell: bool = False
    python: str = ""
    """The name under which ``PATH`` has it; empty where it has none."""
    version: str = ""
    """Of Python, as far as the names of its files tell: ``3.12``."""


class ImagePrograms:
    """Of the images of one engine, by their ids."""

    def __init__(self, engine: Engine, owner: str) -> None:
        self._engine = engine
        self._owner = owner
        self._known: OrderedDict[str, Programs] = OrderedDict()

    def of(self, image: str) -> Programs:
        """Raises ``EngineError``; asked again then."""
        if image not in self._known:
            self._known[image] = self._look(image)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return self._known[image]

    def has_shell(self, image: str) -> bool:
        """Where the engine does not say, the answer is no."""
        try:
            return self.of(image).shell
        except EngineError:
            return False

    def has_conda(self, image: str) -> bool:
        """Whether it understands an environment.yml by itself. Raises ``EngineError``."""
        with self._inside(image) as looking:
            return bool(looking.first(CONDAS)[0])

    def _look(self, image: str) -> Programs:
        with self._inside(image) as looking:
            python, told = looking.first(PYTHONS)
            version = VERSION.search(str(told.get("linkTarget") or ""))
            shell = looking.stat(SHELL) is not None
            return Programs(shell, python, version[1] if version else "")

    @contextlib.contextmanager
    def _inside(self, image: str) -> Iterator[Looking]:
        known = self._engine.image(image)
        body = {
            "Image": image,
            "Entrypoint": [SHELL],
            "NetworkDisabled": True,
            "Labels": {OWNER: self._owner},
        }
        container = str(self._engine.call("POST", "/containers/create", None, body)["Id"])
        try:
            with contextlib.closing(self._engine.link()) as link:
                yield Looking(link, container, search_path((known or {}).get("Config") or {}))
        finally:
            self._engine.remove(container)


@dataclass(frozen=True, slots=True)
class Looking:
    """At the files of one container."""

    link: Link
    container: str
    folders: Sequence[str]
    """Where its programs are looked for."""

    def stat(self, path: str) -> dict[str, Any] | None:
        """What the engine tells of a file; None where there is none."""
        self.link.send_request("HEAD", f"/containers/{self.container}/archive", {"path": path})
        try:
            answer = self.link.answer()
        except EngineError as error:
            if error.status != MISSING:
                raise
            return None
        answer.read()
        told: dict[str, Any] = json.loads(base64.b64decode(answer.headers[STAT]))
        return None if told.get("mode", 0) & FOLDER else told

    def first(self, names: Iterable[str]) -> tuple[str, dict[str, Any]]:
        """As a shell finds it; the first of the names that is anywhere."""
        for name in names:
            for folder in self.folders:
                told = self.stat(f"{folder}/{name}")
                if told is not None:
                    return name, told
        return "", {}


def search_path(config: dict[str, Any]) -> list[str]:
    """The folders in which an image looks for programs."""
    variables = dict(one.partition("=")[::2] for one in config.get("Env") or ())
    folders = (variables.get("PATH") or DEFAULT_PATH).split(":")
    return [folder.rstrip("/") for folder in folders if folder.startswith("/")]
