"""What fits beside what is taken."""

from __future__ import annotations

import pytest

from agent.slots import Slots
from schemas.worker import Capacity, Requirement

GIB = 1 << 30


@pytest.mark.parametrize(
    ("capacity", "asked", "fits"),
    [
        (Capacity(cpus=4, memory=8 * GIB, slots=8), Requirement(cpus=1, memory=GIB), 4),
        (Capacity(cpus=4, memory=8 * GIB, slots=2), Requirement(cpus=1, memory=GIB), 2),
        (Capacity(cpus=4, memory=3 * GIB, slots=8), Requirement(cpus=1, memory=2 * GIB), 1),
        (Capacity(cpus=1, memory=8 * GIB, slots=50), Requirement(cpus=0.1, memory=GIB // 8), 10),
        (Capacity(cpus=4, memory=8 * GIB, slots=8), Requirement(cpus=1, memory=GIB, gpus=1), 0),
        (
            Capacity(cpus=4, memory=8 * GIB, gpus=3, slots=8),
            Requirement(cpus=1, memory=1, gpus=2),
            1,
        ),
    ],
)
def test_the_scarcest_resource_decides(capacity: Capacity, asked: Requirement, fits: int) -> None:
    assert Slots(capacity).how_many(asked) == fits


def test_shares_of_a_core_add_up_exactly() -> None:
    slots = Slots(Capacity(cpus=1, memory=GIB, slots=50))
    asked = Requirement(cpus=0.1, memory=1)
    for holder in range(10):
        assert slots.how_many(asked) == 10 - holder
        slots.take(holder, asked)
    assert slots.how_many(asked) == 0
    for holder in range(10):
        assert slots.give_back(holder)
    assert slots.free == Capacity(cpus=1, memory=GIB, slots=50)


def test_giving_back_twice_changes_nothing() -> None:
    slots = Slots(Capacity(cpus=2, memory=GIB, slots=2))
    slots.take("a", Requirement(cpus=1, memory=1))
    assert slots.give_back("a")
    assert not slots.give_back("a")
    assert slots.free.slots == 2


def test_what_runs_already_counts_beyond_the_capacity() -> None:
    slots = Slots(Capacity(cpus=1, memory=GIB, slots=1))
    slots.take("adopted", Requirement(cpus=2, memory=1))
    slots.take("too", Requirement(cpus=2, memory=1))
    assert slots.how_many(Requirement(cpus=0.1, memory=1)) == 0
    assert slots.free.slots == 0
