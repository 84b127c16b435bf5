"""No seed breaks G1 or G2. ``SEED=N`` replays one, ``SEEDS=N`` runs so many."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.verdict import breaches, report
from tests.simulation.world import World

SEEDS = int(os.environ.get("SEEDS", "400"))
CHUNK = 50
REPLAYED = os.environ.get("SEED")


def chunks() -> list[range]:
    if REPLAYED is not None:
        return [range(int(REPLAYED), int(REPLAYED) + 1)]
    return [range(first, min(first + CHUNK, SEEDS)) for first in range(0, SEEDS, CHUNK)]


@pytest.mark.parametrize("seeds", chunks(), ids=lambda seeds: f"from {seeds[0]}")
def test_jobs_are_neither_lost_nor_won_twice(seeds: range) -> None:
    for seed in seeds:
        outcome = World(seed).run()
        found = breaches(outcome)
        if found:
            pytest.fail(report(seed, outcome, found), pytrace=False)


def test_a_seed_stands_for_one_course_of_things_alone() -> None:
    assert World(3).run().trace == World(3).run().trace
    assert World(3).run().digest != World(4).run().digest


def test_a_seed_stands_for_the_same_in_any_process() -> None:
    program = "from tests.simulation.world import World; print(World(3).run().digest)"
    digests = {
        subprocess.run(
            (sys.executable, "-c", program),
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True, capture_output=True, text=True, timeout=100,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }  # fmt: skip
    assert digests == {World(3).run().digest}
