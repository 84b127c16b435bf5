"""Which points of a series are drawn? Pure.

Of each bucket the smallest and the largest value, so that no peak is lost: the min-max part of M4
(Jugel et al., "M4: A Visualization-Oriented Time Series Data Aggregation", VLDB 2014).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import islice
from operator import le

from schemas.metrics import Points


class Axis(StrEnum):
    STEP = "step"
    TIME = "time"

    def of(self, points: Points) -> Sequence[float]:
        return points.steps if self is Axis.STEP else points.times


def ordered(points: Points, axis: Axis) -> Points:
    """Ascending on that axis; of equal ones the order in which they came stays."""
    places = axis.of(points)
    if all(map(le, places, islice(places, 1, None))):
        return points
    return chosen(points, sorted(range(len(points)), key=places.__getitem__))


def within(points: Points, axis: Axis, low: float | None, high: float | None) -> Points:
    """Of ordered points those between the two, which are included."""
    places = axis.of(points)
    start = 0 if low is None else bisect_left(places, low)
    stop = len(points) if high is None else bisect_right(places, high)
    return points.part(start, max(start, stop))


def reduced(points: Points, axis: Axis, most: int) -> Points:
    """At most so many of ordered points; all of them where they are no more."""
    if len(points) <= most:
        return points
    places = axis.of(points)
    bad = not math.isfinite(sum(points.values))
    count = max(1, (most - 2) // (3 if bad else 2))
    width = (places[-1] - places[0]) / count
    edges = (bisect_left(places, places[0] + width * n) for n in range(1, count))
    return chosen(points, telling(points.values, edges))


def thinned(points: Points, most: int) -> Points:
    """The same in the order in which they came, by buckets of equally many."""
    if len(points) <= most:
        return points
    bad = not math.isfinite(sum(points.values))
    count = max(1, (most - 2) // (3 if bad else 2))
    edges = (len(points) * n // count for n in range(1, count))
    return chosen(points, telling(points.values, edges))


def telling(values: array[float], edges: Iterable[int]) -> list[int]:
    """The first, the last, and of each bucket its lowest, its highest and its first bad one."""
    places = {0, len(values) - 1}
    for start, stop in buckets(edges, len(values)):
        places.update(extremes(values, start, stop))
    return sorted(places)


def buckets(edges: Iterable[int], size: int) -> Iterator[tuple[int, int]]:
    start = 0
    for edge in edges:
        if edge > start:
            yield start, edge
            start = edge
    if start < size:
        yield start, size


def extremes(values: array[float], start: int, stop: int) -> Iterator[int]:
    bucket = values[start:stop]
    good: Sequence[float] = bucket
    if not math.isfinite(sum(bucket)):
        good = list(filter(math.isfinite, bucket))
        yield from islice((start + n for n, v in enumerate(bucket) if not math.isfinite(v)), 1)
    if good:
        yield start + bucket.index(min(good))
        yield start + bucket.index(max(good))


def chosen(points: Points, indices: Sequence[int]) -> Points:
    return Points(
        array("q", map(points.steps.__getitem__, indices)),
        array("d", map(points.times.__getitem__, indices)),
        array("d", map(points.values.__getitem__, indices)),
    )


def evenly(values: Sequence[float], most: int) -> list[float]:
    """At most so many, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[n * (len(values) - 1) // (most - 1)] for n in range(most)]
