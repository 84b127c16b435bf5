"""Does a program print so steadily that its output is better read in bigger pieces? Pure.

An engine passes on every dozen of lines by itself: read at once, each costs the shim a turn and the
agent a wake-up, which together take more of the machine than the printing does.
"""

from __future__ import annotations

STEADY = 0.004
"""Seconds between two pieces below which a program prints all the time."""
PAUSE = 0.002
"""Seconds in which the next piece grows; a pipe holds as much of 30 MB/s."""
BIG = 64 << 10
"""Bytes: a piece of this size has waited long enough, and more could stop the program."""


class Gather:
    """One program's output. The first piece after a silence never waits."""

    def __init__(self) -> None:
        self._before = float("-inf")

    def pause(self, size: int, now: float) -> float:
        """Seconds to wait before the next read, after ``size`` bytes were read at ``now``."""
        steady = now - self._before < STEADY
        self._before = now
        return PAUSE if steady and size < BIG else 0.0
