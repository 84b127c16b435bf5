"""What does every program find in its environment, and what is it allowed?"""

from __future__ import annotations

from agent.runtimes.protocol import Limits
from schemas.worker import Grant

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Numeric libraries start as many threads as the machine has cores, unless these say less."""


def program_environment(
    grant: Grant, base: dict[str, str], *, outputs: str, home: str
) -> dict[str, str]:
    """``base``, then Stoker's own variables, then the user's on top."""
    threads = str(max(1, round(grant.spec.resources.cpus)))
    return {
        **base,
        "PYTHONUNBUFFERED": "1",
        "HOME": home,
        **dict.fromkeys(THREAD_VARIABLES, threads),
        "STOKER_JOB": grant.job,
        "STOKER_ATTEMPT": str(grant.attempt),
        "STOKER_RANK": "0",
        "STOKER_OUTPUTS": outputs,
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
