"""Can a container of an image print to its shim without the engine, and what would it run?"""

from __future__ import annotations

import os
from typing import Any


def shares_kernel(info: dict[str, Any]) -> bool:
    """The FIFOs of an engine in a virtual machine would be others, although its files are ours."""
    return info.get("KernelVersion") == os.uname().release


def command_of(image: dict[str, Any], arguments: tuple[str, ...]) -> tuple[str, ...]:
    """What the engine would run of an image that brings its own command."""
    config = image["Config"]
    return (*(config.get("Entrypoint") or ()), *(arguments or config.get("Cmd") or ()))
