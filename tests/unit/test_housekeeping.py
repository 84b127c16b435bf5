"""What is left behind in the work directory, and what of the engine's containers goes?"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agent import caches
from agent.housekeeping import remove_strays
from agent.runtimes.docker_leftovers import Container, dead, seconds_of
from agent.runtimes.shim_runtime import remove_fifos
from agent.surplus import DAY, HOUR, Rule

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("container", "goes", "goes_when_short"),
    [
        (Container("live", running=True, quiet_since=0, live=True), False, False),
        (Container("ending", running=False, quiet_since=0, live=True), False, False),
        (Container("forgotten", running=True, quiet_since=NOW, live=False), True, True),
        (Container("old", running=False, quiet_since=NOW - 2 * HOUR, live=False), True, True),
        (Container("gone", running=False, quiet_since=NOW, live=False, forgotten=True), True, True),
        (Container("new", running=False, quiet_since=NOW - 60, live=False), False, True),
    ],
)
def test_containers_go_by_age_and_by_pressure(
    container: Container, goes: bool, goes_when_short: bool
) -> None:
    assert bool(dead([container], NOW, short=False)) is goes
    assert bool(dead([container], NOW, short=True)) is goes_when_short


def test_the_engines_year_one_is_never() -> None:
    assert seconds_of("0001-01-01T00:00:00Z") == 0
    assert seconds_of("1970-01-01T00:01:00.123456789Z") == 60
    assert seconds_of("") == 0


def aged(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_folders_of_attempts_that_nobody_knows_go(tmp_path: Path) -> None:
    for name in ("known.1", "young.1", "stray.1"):
        (tmp_path / name / "job").mkdir(parents=True)
        aged(tmp_path / name, 0 if name == "young.1" else 2 * HOUR)
    remove_strays(tmp_path, {"known.1"}, time.time())
    assert sorted(os.listdir(tmp_path)) == ["known.1", "young.1"]


def test_fifos_of_earlier_agents_go(tmp_path: Path) -> None:
    for name in ("own", "old", "new"):
        os.mkfifo(tmp_path / name)
        aged(tmp_path / name, 0 if name == "new" else 2 * HOUR)
    assert remove_fifos(tmp_path, tmp_path / "own", time.time()) == 1
    assert sorted(os.listdir(tmp_path)) == ["new", "own"]
    assert remove_fifos(tmp_path / "nowhere", tmp_path, time.time()) == 0


@pytest.mark.parametrize(("wanted", "gone"), [(0, {"stale", "half"}), (15, {"stale", "half", "b"})])
def test_a_cache_loses_what_is_stale_half_made_or_in_the_way(
    tmp_path: Path, wanted: int, gone: set[str]
) -> None:
    days = {"stale": 31, "half": 1, "making": 1, "busy": 9, "b": 8, "c": 7}
    for name, age in days.items():
        (tmp_path / name).mkdir()
        if name not in ("half", "making"):
            (tmp_path / name / caches.COMPLETE).touch()
            aged(tmp_path / name / caches.COMPLETE, age * DAY)
        aged(tmp_path / name, age * DAY)
    removed = caches.clean(tmp_path, Rule(kept=9), {"busy", "making"}, wanted, lambda _: 10)
    assert removed == len(gone)
    assert set(os.listdir(tmp_path)) == set(days) - gone
