"""What becomes of an index when points come? Pure: limits, figures, the small curve for lists."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from bus.metric_blocks import Batch, Series
from schemas.metric_head import LeftOut, MetricsHead, SeriesHead, Spark
from schemas.metrics import (
    MOST_PARAMS,
    MOST_POINTS,
    MOST_SERIES,
    NAME_LENGTH,
    TEXT_LENGTH,
    Points,
    Source,
)

MOST_NAME_BYTES = 256 << 10
"""Of all names of one attempt: the index is one message."""
SPARK = 40
"""Values of a small curve that are shown; up to twice as many are kept."""
BEST = (
    ("loss", "train_loss", "train/loss", "train loss", "training_loss"),
    ("val_loss", "valid_loss", "eval_loss", "val/loss", "eval/loss", "val loss", "test_loss"),
    ("accuracy", "acc", "train_acc", "val_acc", "val_accuracy", "eval_accuracy", "val/acc"),
)
"""Names of the series that says most, the best first."""
SPARK_RANKS = len(BEST)


@dataclass
class News:
    """What came of one attempt since the last index."""

    batch: Batch = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    left_out: int = 0
    """Points that whoever sent them had to drop."""
    nameless: int = 0
    """Points whose names were too many to be looked at."""

    @property
    def anything(self) -> bool:
        return bool(self.batch or self.params or self.left_out or self.nameless)

    def add(self, series: Series, points: Points) -> None:
        source, name = series
        name = clean(name)
        if not name or not len(points):
            return
        held = self.batch.get((source, name))
        if held is None:
            self.batch[source, name] = points
        else:
            held.extend(points)

    def add_all(self, batch: Mapping[Series, Points]) -> None:
        for series, points in batch.items():
            self.add(series, points)


def clean(name: str) -> str:
    """Without what no line of text has, and not too long."""
    if not name.isprintable():
        name = "".join(letter for letter in name if letter.isprintable())
    return name.strip()[:NAME_LENGTH]


def grown(head: MetricsHead, news: News) -> tuple[MetricsHead, Batch]:
    """The index with the news in its figures, and the points that are kept."""
    shelf = Shelf(head, news)
    for key, points in news.batch.items():
        shelf.add(key, points)
    params, beyond = merged(head.params, news.params)
    out = head.left_out
    update = {
        "series": tuple(shelf.series.values()),
        "spark": shelf.spark,
        "params": params,
        "left_out": LeftOut(
            series=out.series + shelf.beyond_series,
            points=out.points + shelf.beyond_points,
            params=out.params + beyond,
        ),
    }
    return head.model_copy(update=update), shelf.kept


class Shelf:
    """The series of one attempt, and how much room there is for more."""

    def __init__(self, head: MetricsHead, news: News) -> None:
        self.series = {(one.source, one.name): one for one in head.series}
        self.spark = head.spark
        self.kept: Batch = {}
        self.beyond_series = news.nameless
        self.beyond_points = news.left_out
        self._room = MOST_POINTS - head.points
        self._counts = Counter(source for source, _ in self.series)
        self._names = sum(len(name.encode()) for _, name in self.series)

    def add(self, key: Series, points: Points) -> None:
        known = self.series.get(key) or self._new(key)
        if known is None:
            self.beyond_series += len(points)
            return
        stored = points if len(points) <= self._room else points.part(0, max(0, self._room))
        self._room -= len(stored)
        self.beyond_points += len(points) - len(stored)
        self.series[key] = told(known, points, len(stored))
        self.spark = drawn(self.spark, key, points)
        if len(stored):
            self.kept[key] = stored

    def _new(self, key: Series) -> SeriesHead | None:
        """None where there is no room for one more."""
        source, name = key
        size = len(name.encode())
        if self._counts[source] >= MOST_SERIES or self._names + size > MOST_NAME_BYTES:
            return None
        self._counts[source] += 1
        self._names += size
        return SeriesHead(source=source, name=name)


def told(series: SeriesHead, points: Points, kept: int) -> SeriesHead:
    """Its figures with these points, of which so many are kept."""
    good = finite(points.values)
    update: dict[str, object] = {
        "count": series.count + kept,
        "bad": series.bad + len(points) - len(good),
        "last": points.values[-1],
        "last_step": points.steps[-1],
        "last_time": points.times[-1],
    }
    if good:
        low, high = min(good), max(good)
        update["low"] = low if series.low is None else min(low, series.low)
        update["high"] = high if series.high is None else max(high, series.high)
    if not series.count:
        update |= {"first_step": points.steps[0], "first_time": points.times[0]}
    return series.model_copy(update=update)


def finite(values: array[float]) -> array[float]:
    if math.isfinite(sum(values)):
        return values
    return array("d", filter(math.isfinite, values))


def merged(params: dict[str, str], new: dict[str, str]) -> tuple[dict[str, str], int]:
    """And how many found no room."""
    if not new:
        return params, 0
    all_of_them, beyond = dict(params), 0
    for name, text in new.items():
        name = clean(name)
        if not name:
            continue
        if name not in all_of_them and len(all_of_them) >= MOST_PARAMS:
            beyond += 1
            continue
        all_of_them[name] = text[:TEXT_LENGTH]
    return all_of_them, beyond


# ---- the small curve


def drawn(spark: Spark | None, key: Series, points: Points) -> Spark | None:
    source, name = key
    if source is Source.MACHINE:
        return spark
    if spark is None or (source, name) != (spark.source, spark.name):
        if spark is not None and rank(name) >= rank(spark.name):
            return spark
        spark = Spark(source=source, name=name)
    return lengthened(spark, points.values)


def rank(name: str) -> int:
    word = name.lower()
    return next((n for n, names in enumerate(BEST) if word in names), SPARK_RANKS)


def lengthened(spark: Spark, values: array[float]) -> Spark:
    """Every so many points one value; when there are too many, every other one goes."""
    stride, kept = spark.stride, list(spark.values)
    at = -spark.seen % stride
    while at < len(values):
        kept.append(values[at])
        if len(kept) >= 2 * SPARK:
            kept, stride = kept[::2], stride * 2
        at += 1 + -(spark.seen + at + 1) % stride
    seen = spark.seen + len(values)
    return spark.model_copy(update={"values": tuple(kept), "stride": stride, "seen": seen})
