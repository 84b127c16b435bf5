"""Does a program use more than it may, and when is it looked at next? Pure; shims use it."""

from __future__ import annotations

from agent.runtimes.protocol import Limits, Use
from schemas.reason import Reason

FIRST_LOOK = 0.1
CLOSE_LOOK = 0.05
FAR_LOOK = 0.5
"""Seconds between two looks at what a program uses: first, near a limit, far from all."""
NEAR = 0.3
"""Share of a limit from which on it is looked at more often."""


def excess(use: Use, limits: Limits) -> tuple[Reason, str] | None:
    """Why the program has to end, and in which words; None where it keeps its limits."""
    if use.memory > limits.memory:
        used = f"({use.memory >> 20} MiB)"
        return Reason.OOM, f"the memory limit of {limits.memory >> 20} MiB was exceeded {used}"
    if use.processes > limits.pids:
        return Reason.EXIT, f"more than {limits.pids} processes and threads at one time"
    return None


def pause(use: Use, limits: Limits) -> float:
    """Seconds until the next look."""
    near = use.memory > NEAR * limits.memory or use.processes > NEAR * limits.pids
    return CLOSE_LOOK if near else FAR_LOOK
