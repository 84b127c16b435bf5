"""When a worker asks for a new token."""

from __future__ import annotations

import pytest

from agent.renewing import LOOK_EVERY, renewed_in, runs_out
from bus.tokens import Identity

TAGS = ("inbox:ant", "pool:lab")


@pytest.mark.parametrize(("now", "pause"), [(1000, 500), (1500, 0), (1600, -100), (3000, -1500)])
def test_a_token_is_renewed_at_half_of_its_time(now: float, pause: float) -> None:
    assert renewed_in(Identity("ant", "U", TAGS, 1000, 2000), now) == pause


def test_a_token_for_ever_is_not_renewed() -> None:
    for_ever = Identity("ant", "U", TAGS, 1000, None)
    assert not runs_out(for_ever)
    assert renewed_in(for_ever, 5000) == LOOK_EVERY


def test_a_token_of_somebody_else_is_left_alone() -> None:
    assert not runs_out(Identity("ant", "U", (), 1000, 2000))
