"""On which cores does an attempt run?"""

from __future__ import annotations

import os

import pytest

from agent.runtimes.cores import Cores, own_cores, pinned


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ((1, 1, 1, 1), ((0,), (1,), (2,), (3,))),
        ((2, 1, 1), ((0, 1), (2,), (3,))),
        ((2, 2, 1, 1), ((0, 1), (2, 3), (0,), (1,))),
        ((1.5, 0.5, 0.1), ((0, 1), (2,), (3,))),
        ((3, 0.5, 0.2), ((0, 1, 2), (3,), (3,))),
        ((4, 9, 1), ((), (), (0,))),
    ],
)
def test_the_least_used_cores_are_chosen(
    asked: tuple[float, ...], chosen: tuple[tuple[int, ...], ...]
) -> None:
    cores = Cores(range(4))
    given = tuple(cores.take(f"job.{number}", cpus) for number, cpus in enumerate(asked))
    assert tuple(tuple(sorted(one)) for one in given) == chosen


def test_cores_that_were_given_back_are_free_again() -> None:
    cores = Cores((4, 6))
    cores.put("adopted", (4,), 1.0)
    assert cores.take("one", 1) == (6,)
    cores.give_back("adopted")
    assert cores.take("two", 1) == (4,)


def test_where_nothing_can_be_pinned_nothing_is() -> None:
    assert Cores(()).take("one", 1) == ()


def test_pinning_lasts_as_long_as_it_is_wanted() -> None:
    before = own_cores()
    if len(before) < 2:
        pytest.skip("one core, or a system without pinning")
    with pinned((min(before), 10_000)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert own_cores() == before
    with pinned(()):
        assert own_cores() == before
