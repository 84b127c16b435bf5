"""How much of this machine is free, and how many jobs of a class fit now? Pure."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.spec import JobSpec
from schemas.worker import Capacity, Requirement

Amounts = tuple[int, int, int, int]
"""Thousandths of a core, bytes of memory, GPUs, slots: whole numbers add up exactly."""


def amounts(asked: Requirement) -> Amounts:
    return round(asked.cpus * 1000), asked.memory, asked.gpus, 1


def requirement_of(spec: JobSpec) -> Requirement:
    asked = spec.resources
    return Requirement(cpus=asked.cpus, memory=asked.memory, gpus=asked.gpus)


@dataclass
class Slots:
    """What is taken of a capacity, and by whom."""

    capacity: Capacity

    def __post_init__(self) -> None:
        whole = self.capacity
        self._free = [round(whole.cpus * 1000), whole.memory, whole.gpus, whole.slots]
        self._taken: dict[object, Amounts] = {}

    @property
    def free(self) -> Capacity:
        cpus, memory, gpus, slots = (max(0, amount) for amount in self._free)
        return Capacity(cpus=cpus / 1000, memory=memory, gpus=gpus, slots=slots)

    def how_many(self, asked: Requirement) -> int:
        """Attempts with this requirement that fit beside what is taken."""
        pairs = zip(self._free, amounts(asked), strict=True)
        return max(0, min(free // amount for free, amount in pairs if amount))

    def take(self, holder: object, asked: Requirement) -> None:
        """Also beyond what is free: what runs already counts in any case."""
        self.give_back(holder)
        self._taken[holder] = amounts(asked)
        self._change(self._taken[holder], -1)

    def give_back(self, holder: object) -> bool:
        """Whether it held anything."""
        taken = self._taken.pop(holder, None)
        if taken is None:
            return False
        self._change(taken, 1)
        return True

    def _change(self, by: Amounts, sign: int) -> None:
        for index, amount in enumerate(by):
            self._free[index] += sign * amount
