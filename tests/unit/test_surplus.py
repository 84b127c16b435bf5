"""What of a cache goes, and when is a disk short?"""

from __future__ import annotations

import pytest

from agent.disk import DiskBounds, shortage, wanted
from agent.surplus import DAY, Rule, Thing, going

NOW = 1000 * DAY
RULE = Rule(kept=3)


def things(*days: float, busy: str = "", size: int = 10) -> list[Thing]:
    """Named a, b, c by their place; unused for so many days."""
    return [
        Thing("abcdefgh"[place], NOW - age * DAY, size, "abcdefgh"[place] in busy)
        for place, age in enumerate(days)
    ]


@pytest.mark.parametrize(
    ("there", "bytes_wanted", "gone"),
    [
        (things(), 99, ""),
        (things(1, 2, 3), 0, ""),
        (things(1, 31, 40), 0, "cb"),
        (things(1, 40, 31, busy="b"), 0, "c"),
        (things(4, 3, 2, 1, 0.5), 0, "ab"),
        (things(4, 3, 2, 1, 0.5, busy="a"), 0, "bc"),
        (things(1, 3, 2), 11, "bc"),
        (things(1, 2, 0.001), 999, "ba"),
        (things(0.001, 0.001, 0.001, 0.001), 0, ""),
        (things(-1, -400), 999, ""),
    ],
)
def test_the_longest_unused_go_first(there: list[Thing], bytes_wanted: int, gone: str) -> None:
    assert "".join(one.name for one in going(there, RULE, NOW, bytes_wanted)) == gone


@pytest.mark.parametrize(("free", "bytes_wanted"), [(39, 41), (40, 0), (0, 80), (1000, 0)])
def test_room_is_made_before_the_floor_is_reached(free: int, bytes_wanted: int) -> None:
    assert wanted(free, DiskBounds(floor=10)) == bytes_wanted


def test_who_is_short_is_so_until_there_is_twice_the_room() -> None:
    bounds = DiskBounds(floor=256 << 20)
    said = shortage(255 << 20, bounds, "")
    assert said == "takes nothing new: less than 256 MiB of its disk were free"
    assert shortage(256 << 20, bounds, "") == ""
    assert shortage(511 << 20, bounds, said) == said
    assert shortage(512 << 20, bounds, said) == ""
