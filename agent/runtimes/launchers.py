"""Which module launches for which runtime, in the shim?"""

from __future__ import annotations

from importlib import import_module

from agent.runtimes.protocol import Launcher

MODULES = {
    "process": "agent.runtimes.process_launch",
    "docker": "agent.runtimes.docker_launch",
}


def launcher(runtime: str) -> Launcher:
    found: Launcher = import_module(MODULES[runtime]).LAUNCHER
    return found
