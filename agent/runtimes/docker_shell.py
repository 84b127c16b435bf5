"""Can a container of this image print to its shim without the engine? Asked once for each image."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any

from agent.runtimes.docker_container import OWNER
from agent.runtimes.docker_engine import Engine, EngineError

SHELL = "/bin/sh"
REMEMBERED = 256
"""Images."""


def shares_kernel(info: dict[str, Any]) -> bool:
    """The FIFOs of an engine in a virtual machine would be others, although its files are ours."""
    return info.get("KernelVersion") == os.uname().release


class Shells:
    """Which images have a shell."""

    def __init__(self, engine: Engine, owner: str) -> None:
        self._engine = engine
        self._owner = owner
        self._known: OrderedDict[str, bool] = OrderedDict()

    def has(self, image: str) -> bool:
        """Blocking. Where the engine does not say, the answer is no, and it is asked again."""
        try:
            return self.surely(image)
        except EngineError:
            return False

    def surely(self, image: str) -> bool:
        """Blocking. Raises ``EngineError``."""
        if image not in self._known:
            self._known[image] = self._look(image)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return self._known[image]

    def _look(self, image: str) -> bool:
        """In a container that is never started."""
        body = {
            "Image": image,
            "Entrypoint": [SHELL],
            "NetworkDisabled": True,
            "Labels": {OWNER: self._owner},
        }
        container = str(self._engine.call("POST", "/containers/create", None, body)["Id"])
        try:
            self._engine.call("HEAD", f"/containers/{container}/archive", {"path": SHELL})
            return True
        except EngineError as error:
            if error.status != 404:
                raise
            return False
        finally:
            self._engine.remove(container)


def command_of(image: dict[str, Any], arguments: tuple[str, ...]) -> tuple[str, ...]:
    """What the engine would run of an image that brings its own command."""
    config = image["Config"]
    return (*(config.get("Entrypoint") or ()), *(arguments or config.get("Cmd") or ()))
