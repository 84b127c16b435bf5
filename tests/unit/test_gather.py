"""When does a shim wait for more output before it reads on?"""

from __future__ import annotations

import pytest

from agent.gather import BIG, PAUSE, STEADY, Gather


def test_the_first_piece_after_a_silence_is_passed_on_without_waiting() -> None:
    gather = Gather()
    assert gather.pause(100, 5.0) == 0
    assert gather.pause(100, 5.0 + 2 * STEADY) == 0


def test_a_program_that_prints_all_the_time_is_read_in_bigger_pieces() -> None:
    gather = Gather()
    gather.pause(100, 5.0)
    pauses = [gather.pause(100, 5.0 + step * (PAUSE + 0.0001)) for step in range(1, 50)]
    assert pauses == [PAUSE] * 49


@pytest.mark.parametrize(("size", "pause"), [(BIG - 1, PAUSE), (BIG, 0.0)])
def test_a_flood_that_fills_the_pipe_is_never_waited_for(size: int, pause: float) -> None:
    gather = Gather()
    gather.pause(size, 5.0)
    assert gather.pause(size, 5.001) == pause
