"""What a draining agent says of what it waits for."""

from __future__ import annotations

import pytest

from agent.leaving import Remaining, waits_for


@pytest.mark.parametrize(
    ("attempts", "words"),
    [
        ([], "nothing runs"),
        ([Remaining(60.0, 990.0)], "1 attempt runs, for 50 s at most"),
        ([Remaining(60.0, None), Remaining(9000.0, 100.0)], "2 attempts run, for 2 h 15 min"),
        ([Remaining(5.0, 10.0)], "1 attempt runs, for 0 s at most"),
        ([Remaining(None, 990.0)], "1 attempt runs; it has no time limit"),
        ([Remaining(60.0, 990.0), Remaining(None, 1.0)], "2 attempts run; 1 of them have no"),
    ],
)
def test_it_says_how_many_and_for_how_long_at_most(attempts: list[Remaining], words: str) -> None:
    assert words in waits_for(attempts, 1000.0)
