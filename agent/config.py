"""What can be set of an agent?"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from agent.data_rules import DataRules
from agent.disk import DiskBounds
from agent.output_plan import Rhythm
from agent.outputs import OutputBounds
from schemas.worker import Capacity

SLOTS_PER_CPU = 4
RESERVE = 0.1
"""Share of the machine's memory that is not given away by default."""


@dataclass(frozen=True)
class AgentConfig:
    """One worker machine."""

    name: str
    """Token of its subjects; no other worker may have it."""
    work: Path
    """Bundles, environments and attempts lie here."""
    pool: str = "default"
    labels: dict[str, str] = field(default_factory=dict)
    runtime: str = "docker"
    """``docker``, ``process`` or ``dummy``."""
    capacity: Capacity = field(default_factory=lambda: machine_capacity())
    base_image: str | None = None
    """Of plain bundles, in the docker runtime; may hold ``{python}``."""
    gpu_base_image: str | None = None
    """Likewise, for jobs that ask for GPUs."""
    template: Path | None = None
    """The script that installs the packages of plain bundles, instead of deploy/job's."""
    dockerfiles: bool = False
    """Whether bundles may bring a Dockerfile: building one gives it rights that no job has."""
    networks: tuple[str, ...] = ("none", "outbound", "full")
    """Those that jobs may ask for."""
    install_network: str = "outbound"
    """Over which packages are installed; ``full`` for a package index at a private address."""
    sandbox: str = ""
    """What runs the engine's containers, such as gVisor's ``runsc``; empty for its default."""
    registry: str = ""
    """``HOST/PATH`` through which the workers of the pool share environments; empty for none."""
    registry_credentials: Path | None = None
    """Passwords of registries, in a file such as ``docker login`` writes."""
    package_cache: int = 10 << 30
    """Bytes of downloads that are kept for the next installation, and of caches of builds."""
    docker_command: str = "docker"
    """Through which BuildKit builds; empty for the engine's classic builder."""
    engine: str | None = None
    """The Docker engine's socket."""
    environment: dict[str, str] = field(default_factory=dict)
    """What every program of the process runtime finds, under the job's own."""
    version: str = ""
    outputs: OutputBounds = field(default_factory=OutputBounds)
    """How much of what ended attempts wrote, and could not be sent, stays on the machine."""
    rhythm: Rhythm = field(default_factory=Rhythm)
    """When outputs are sent, and how long an end waits for them."""
    data: DataRules = field(default_factory=DataRules)
    """How much data is kept, and which lies elsewhere that jobs may have."""
    disk: DiskBounds = field(default_factory=DiskBounds)
    """What stays free."""


def machine_capacity(
    cpus: float | None = None,
    memory: int | None = None,
    gpus: int | None = None,
    slots: int | None = None,
) -> Capacity:
    """What was said, and the machine's own where nothing was."""
    cores = float(cpus or available_cpus())
    return Capacity(
        cpus=cores,
        memory=memory or int(psutil.virtual_memory().total * (1 - RESERVE)),
        gpus=visible_gpus() if gpus is None else gpus,
        slots=slots or max(4, int(cores * SLOTS_PER_CPU)),
    )


def available_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def visible_gpus() -> int:
    """NVIDIA devices of this machine."""
    return sum(1 for path in Path("/dev").glob("nvidia*") if path.name[6:].isdigit())
