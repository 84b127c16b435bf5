"""For how long is one thing tried, and how is what broke it told?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

ROUND = 50
"""Cases between two looks at the clock."""


@dataclass(frozen=True)
class Target:
    """What is tried: a strategy, and what must not raise."""

    name: str
    cases: st.SearchStrategy[Any]
    check: Callable[[Any], None]
    cases_a_round: int = ROUND


def run(target: Target, first: int) -> None:
    """One round; raises what the smallest case that was found raises."""

    @seed(first)
    @settings(
        max_examples=target.cases_a_round,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(target.cases)
    def trial(case: Any) -> None:
        target.check(case)

    trial()


def rounds(targets: Iterable[Target], seconds: float, first: int) -> tuple[int, list[str]]:
    """Turn by turn until the time is up; how many cases, and what was found."""
    tried, found = 0, []
    left = list(targets)
    deadline = time.monotonic() + seconds
    number = first
    while left and (time.monotonic() < deadline or number == first):
        for target in list(left):
            if number > first and time.monotonic() > deadline:
                break
            try:
                run(target, number)
            except Exception as error:
                found.append(f"{target.name} (--seed {number}): {told(error)}")
                left.remove(target)
            tried += target.cases_a_round
        number += 1
    return tried, found


def told(error: Exception) -> str:
    if isinstance(error, ExceptionGroup):
        return " AND ".join(told(one) for one in error.exceptions)
    notes = " ".join(getattr(error, "__notes__", ()))
    return " ".join(f"{type(error).__name__}: {error} {notes}".split())[:1500]
