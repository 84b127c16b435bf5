"""What does every program find in its environment, and what is it allowed?"""

from __future__ import annotations

from dataclasses import dataclass

from agent.data_places import data_variables
from agent.folder import AttemptFolder
from agent.runtimes.protocol import Limits, Preparation
from agent.stopping import STOP_FILE
from schemas.worker import Grant

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Numeric libraries start as many threads as the machine has cores, unless these say less."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the program finds its folders."""

    outputs: str
    checkpoints: str
    stop: str
    """The folder in which it is told why it is being stopped."""
    home: str
    job: str = ""
    """Its own folder, where it runs in no container: what it reads is linked there."""

    @classmethod
    def here(cls, folder: AttemptFolder, home: str) -> Places:
        """Of a program that runs on the machine itself."""
        found = (str(folder.outputs), str(folder.checkpoints), str(folder.stop))
        return cls(*found, home, str(folder.job))


def make_places(folder: AttemptFolder) -> None:
    """What the bundle does not bring; the outputs are the agent's to make."""
    for place in (folder.checkpoints, folder.stop):
        place.mkdir(exist_ok=True)
        place.chmod(0o755)


def program_environment(
    preparation: Preparation, base: dict[str, str], places: Places
) -> dict[str, str]:
    """``base``, then Stoker's own variables, then the user's on top."""
    grant = preparation.grant
    threads = str(max(1, round(grant.spec.resources.cpus)))
    return {
        **base,
        "PYTHONUNBUFFERED": "1",
        "HOME": places.home,
        **dict.fromkeys(THREAD_VARIABLES, threads),
        "STOKER_JOB": grant.job,
        "STOKER_ATTEMPT": str(grant.attempt),
        "STOKER_RANK": "0",
        "STOKER_OUTPUTS": places.outputs,
        "STOKER_CHECKPOINTS": places.checkpoints,
        "STOKER_STOP_FILE": f"{places.stop}/{STOP_FILE}",
        **data_variables(grant.spec.data, places.job),
        **({"STOKER_RESUME": "1"} if preparation.resumes else {}),
        **grant.spec.environment,
    }


def limits_of(grant: Grant) -> Limits:
    spec = grant.spec
    asked = spec.resources
    return Limits(
        cpus=asked.cpus,
        memory=asked.memory,
        gpus=asked.gpus,
        shm=asked.shm,
        pids=asked.pids,
        disk=asked.disk,
        timeout=spec.timeout,
        idle_timeout=spec.idle_timeout,
        exclusive=spec.exclusive,
        grace=spec.grace,
        log_rate=grant.log_rate,
        log_total=grant.log_total,
    )
