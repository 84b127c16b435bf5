"""What is too much, and how often is it looked for?"""

from __future__ import annotations

import pytest

from agent.looks import CLOSE_LOOK, FAR_LOOK, excess, pause
from agent.runtimes.protocol import Limits, Use
from schemas.reason import Reason

LIMITS = Limits(memory=100 << 20, pids=10)


@pytest.mark.parametrize(
    ("use", "reason", "told"),
    [
        (Use(), None, ""),
        (Use(memory=100 << 20, processes=10, peak=1 << 40), None, ""),
        (Use(memory=101 << 20), Reason.OOM, "the memory limit of 100 MiB was exceeded (101 MiB)"),
        (Use(processes=11), Reason.EXIT, "more than 10 processes and threads at one time"),
    ],
)
def test_what_is_beyond_a_limit_is_named(use: Use, reason: Reason | None, told: str) -> None:
    assert excess(use, LIMITS) == ((reason, told) if reason else None)


@pytest.mark.parametrize(
    ("use", "seconds"),
    [
        (Use(memory=20 << 20, processes=2, peak=99 << 20), FAR_LOOK),
        (Use(memory=40 << 20), CLOSE_LOOK),
        (Use(processes=4), CLOSE_LOOK),
    ],
)
def test_who_is_near_a_limit_is_looked_at_more_often(use: Use, seconds: float) -> None:
    assert pause(use, LIMITS) == seconds
