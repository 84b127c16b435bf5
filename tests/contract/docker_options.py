"""How the docker runtime is set up where no registry answers."""

from __future__ import annotations

import os

from agent.runtimes.bases import Bases
from agent.runtimes.docker_runtime import DockerConfig

BASE = os.environ.get("STOKER_BASE_IMAGE", "stoker-base:local")


def options() -> DockerConfig:
    return DockerConfig(bases=Bases(image=BASE))
