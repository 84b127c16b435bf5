"""Does a program use more than it may, and what does its end say? Pure; shims use it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.runtimes.protocol import Exit, Limits, Use
from schemas.reason import Reason

FIRST_LOOK = 0.1
CLOSE_LOOK = 0.05
FAR_LOOK = 0.5
"""Seconds between two looks at what a program uses: first, near a limit, far from all."""
NEAR = 0.3
"""Share of a limit from which on it is looked at more often."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A stop that is under way; its reason wins over what the program makes of it."""

    reason: Reason
    detail: str


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


def with_peak(exit: Exit, seen: int, limits: Limits) -> Exit:
    """Nothing is killed for want of memory that did not use all that it may."""
    at_least = limits.memory if exit.reason is Reason.OOM else 0
    return replace(exit, peak_memory=max(exit.peak_memory or 0, seen, at_least) or None)
