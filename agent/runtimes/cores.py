"""On which cores does an attempt run, where nothing else limits its processors?"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Cores:
    """Those of this machine, and who was pinned to which. Pure."""

    def __init__(self, there: Iterable[int] | None = None) -> None:
        self._there = sorted(own_cores() if there is None else there)
        self._pinned: dict[str, tuple[tuple[int, ...], float]] = {}
        self._next = 0

    def take(self, holder: str, cpus: float) -> tuple[int, ...]:
        """The least used, as many as ``cpus`` needs; none where it may run on all of them."""
        count = math.ceil(cpus)
        if count >= len(self._there):
            return ()
        load = dict.fromkeys(self._there, 0.0)
        for cores, asked in self._pinned.values():
            for core in cores:
                if core in load:
                    load[core] += asked / len(cores)
        turn = self._there[self._next :] + self._there[: self._next]
        chosen = tuple(sorted(turn, key=load.__getitem__)[:count])
        self._next = (self._there.index(chosen[-1]) + 1) % len(self._there)
        self.put(holder, chosen, cpus)
        return chosen

    def put(self, holder: str, cores: Iterable[int], cpus: float) -> None:
        """What an earlier agent chose."""
        if pinned := tuple(cores):
            self._pinned[holder] = pinned, cpus

    def give_back(self, holder: str) -> None:
        self._pinned.pop(holder, None)


def own_cores() -> set[int]:
    """Empty where the system knows no pinning."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


@contextmanager
def pinned(cores: Iterable[int]) -> Iterator[None]:
    """What is started meanwhile runs on these cores alone; none: wherever this process may.

    A core that went away meanwhile pins nothing.
    """
    before = own_cores()
    wanted = set(cores) & before
    if wanted:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        if wanted:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, before)
