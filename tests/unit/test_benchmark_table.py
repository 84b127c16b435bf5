"""Does a figure know whether it holds its bar?"""

from __future__ import annotations

import pytest

from benchmarks.table import Figure, broken, percentile


@pytest.mark.parametrize(
    ("value", "bar", "at_most", "holds"),
    [(20, 20, True, True), (21, 20, True, False), (66, 66, False, True), (65, 66, False, False)],
)
def test_a_figure_beyond_its_bar_is_missed(
    value: float, bar: float, at_most: bool, holds: bool
) -> None:
    assert Figure("x", value, "ms", bar=bar, at_most=at_most).holds is holds


def test_what_could_not_be_measured_is_missed() -> None:
    assert not broken("x", 20.0, "ms", "no engine").holds
    assert not broken("x", 20.0, "jobs/s", "no engine", at_most=False).holds


def test_the_ratio_is_ours_over_what_stands_beside_it() -> None:
    assert Figure("x", 8.0, "jobs/s", reference=10.0).ratio == 0.8
    assert Figure("x", 8.0, "jobs/s").ratio is None


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([1, 2, 3], 0.5) == 2
    assert percentile(list(range(100)), 0.99) == 99
