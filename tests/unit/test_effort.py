"""Blocks are compressed hard while there is time for it."""

from __future__ import annotations

from services.archive.effort import HARD, SAVED, SHARE, USUAL, Effort


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_full_block_is_never_compressed_hard() -> None:
    effort = Effort(Clock())
    assert effort.level(whole=True) == USUAL
    assert effort.level(whole=False) == HARD


def test_hard_work_takes_its_share_of_the_time_and_no_more() -> None:
    clock = Clock()
    effort = Effort(clock)
    hard = 0.0
    for _ in range(1000):
        clock.now += 1.0
        level = effort.level(whole=False)
        effort.took(level, 0.5)
        hard += 0.5 if level == HARD else 0.0
    assert hard <= SAVED + 0.5 + SHARE * clock.now
    assert hard >= SHARE * clock.now - 0.5


def test_time_is_saved_up_to_a_bound() -> None:
    clock = Clock()
    effort = Effort(clock)
    clock.now = 1e6
    for _ in range(3):
        assert effort.level(whole=False) == HARD
        effort.took(HARD, SAVED / 3)
    assert effort.level(whole=False) == USUAL


def test_quick_work_costs_nothing() -> None:
    effort = Effort(Clock())
    effort.took(USUAL, 1000.0)
    assert effort.level(whole=False) == HARD
