"""On which image is a bundle's environment made, where it does not say so itself?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.runtimes.environment_key import digest_of, repository_of
from schemas.job import Pin
from schemas.worker import Grant

TEMPLATE_PATH = Path(__file__).resolve().parents[2] / "deploy" / "job" / "install.sh"
BASE = "python:{python}-slim"
GPU_BASE = "pytorch/pytorch:2.7.1-cuda12.8-cudnn9-runtime"
"""CUDA, cuDNN and a Python of its own: not for a job that asks for another one."""
PYTHON = "3.12"
"""Where the job does not ask for one."""


@dataclass(frozen=True, slots=True)
class Bases:
    """What a worker says of it."""

    image: str = ""
    """A name, or a pattern with ``{python}`` in it; empty for the usual one."""
    template: Path = TEMPLATE_PATH
    """The script that installs packages."""
    dockerfiles: bool = True
    """Whether bundles may bring a Dockerfile: building one gives it rights that no job has."""
    gpu_image: str = ""
    """Likewise, of jobs that ask for GPUs; empty for ``image``, or the usual one where neither is
    said."""

    def name(self, grant: Grant) -> str:
        """The job's own wish, or the pool's, or this worker's, or the usual one.

        What is said for jobs with GPUs goes before what is said for all.
        """
        spec = grant.spec
        said = [grant.image, self.image]
        if spec.resources.gpus:
            usual = GPU_BASE if spec.python is None else BASE
            said = [grant.gpu_image, self.gpu_image, *said, usual]
        name = spec.image or next((one for one in said if one), BASE)
        return name if spec.image else name.replace("{python}", spec.python or PYTHON)


def pinned(name: str, pin: Pin | None) -> str:
    """What the engine is asked for: the image that the job found under that name first."""
    if pin is None or pin.name != name:
        return name
    return f"{repository_of(name)}@{pin.digest}"


def is_pinned(found: dict[str, object] | None, name: str, pin: Pin | None) -> bool:
    """Whether what lies under the name here is the one."""
    if found is None:
        return False
    return pin is None or pin.name != name or digest_of(found, name) == pin.digest
