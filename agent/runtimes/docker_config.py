"""What can be set of the docker runtime?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from agent.runtimes.bases import Bases
from agent.runtimes.docker_container import NETWORKS
from agent.runtimes.docker_engine import SOCKET
from agent.runtimes.docker_images import BuildLimits
from agent.runtimes.docker_packages import SIZE


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """The engine, and what plain bundles are built from."""

    engine: str = SOCKET
    """Path of its socket, or a ``unix://`` address."""
    bases: Bases = field(default_factory=Bases)
    builds: BuildLimits = field(default_factory=BuildLimits)
    networks: tuple[str, ...] = tuple(NETWORKS)
    """Those that a job may ask for."""
    install_network: str = "outbound"
    """Over which packages are installed; ``full`` where ``outbound`` cannot be had."""
    sandbox: str = ""
    """The engine's name of what runs the containers, such as ``runsc``; empty for its default."""
    registry: str = ""
    """``HOST/PATH`` through which the workers of the pool share environments."""
    registry_credentials: Path | None = None
    package_cache: int = SIZE
    """Bytes of downloads that are kept for the next installation, and of caches of builds."""
    docker_command: str = "docker"
    """Through which BuildKit builds; empty for the engine's classic builder."""
