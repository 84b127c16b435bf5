"""For how long nothing has come to a log is counted from what was seen here."""

from __future__ import annotations

from services.archive.quiet import MOST, Quiet
from services.archive.sealing import Rank


def test_it_is_counted_from_the_first_look_and_anew_with_each_message() -> None:
    now = [1000.0]
    quiet = Quiet(lambda: now[0])
    log = Rank("j1", 1, 0, "w1")
    assert quiet.seconds(log, 7) == 0
    now[0] += 5
    assert quiet.seconds(log, 7) == 5
    assert quiet.seconds(log, 8) == 0
    now[0] += 2
    assert quiet.seconds(log, 8) == 2


def test_what_it_remembers_is_bounded() -> None:
    now = [0.0]
    quiet = Quiet(lambda: now[0])
    for number in range(MOST + 1):
        quiet.seconds(Rank(f"j{number}", 1, 0, "w1"), 1)
    now[0] = 9
    assert quiet.seconds(Rank(f"j{MOST}", 1, 0, "w1"), 1) == 9
    assert quiet.seconds(Rank("j0", 1, 0, "w1"), 1) == 0
