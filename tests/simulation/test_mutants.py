"""A simulation that finds nothing proves nothing: it has to find what is broken on purpose."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.simulation.agent import Habits
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.verdict import breaches
from tests.simulation.world import World

SEEDS = 200
"""Within which each has to be found; most are much earlier."""


def found(world: Callable[[int], World]) -> list[str]:
    return next((told for seed in range(SEEDS) if (told := breaches(world(seed).run()))), [])


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_it_is_found_that(mutant: Mutant) -> None:
    with mutant():
        assert found(World)


def test_it_is_found_that_shims_forget_the_lease() -> None:
    told = found(lambda seed: World(seed, leases_are_kept=False))
    assert any("at once" in one for one in told)


def test_it_is_found_that_agents_do_not_stop_what_they_should() -> None:
    assert found(lambda seed: World(seed, Habits(deaf_to_stops=True)))


@pytest.mark.parametrize("habits", [Habits(ack_first=True), Habits(new_claim_ids=True)])
def test_a_careless_claim_is_healed(habits: Habits) -> None:
    """By the sweep, and by the beats that do not list what was granted."""
    assert not any(breaches(World(seed, habits).run()) for seed in range(15))
